"""``prepare`` and ``extract``: from raw files to a Dataset with features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmmsrec.cli import screen

if TYPE_CHECKING:
    from tmmsrec.data.dataset import Dataset
    from tmmsrec.data.engines import Engine
    from tmmsrec.data.prepare import Preparation

EVENTS = "Events: csv, tsv, parquet (or a folder of it), jsonl (also .gz), Amazon, RecBole, MovieLens, or text lines."
Format = Annotated[str, typer.Option(help="Of the interactions: auto, table, amazon, recbole, movielens or text.")]
MinEvents = Annotated[int, typer.Option(help="Users with fewer events are dropped.")]
MinItemEvents = Annotated[int, typer.Option(help="Items with fewer events are dropped, in turns with users (a core).")]
Ties = Annotated[str, typer.Option(help="Order among equal times: file or hash.")]
Duplicates = Annotated[str, typer.Option(help="Events that repeat user, item and time: keep or drop.")]
Require = Annotated[str, typer.Option(help="Drop items without these: text, image or text,image.")]
Catalogue = Annotated[str, typer.Option(help="Items with events only, or all of the item table: events or all.")]
Time = Annotated[str, typer.Option(help="Unit of the times: auto, s, ms, us, ns or iso.")]
Zone = Annotated[str, typer.Option("--time-zone", help="Of clock times without an offset: Europe/Berlin.")]
Column = Annotated[str | None, typer.Option(help="Its name in the interactions, where it cannot be guessed.")]
ItemsColumn = Annotated[str | None, typer.Option(help="Its name in the item table, where it cannot be guessed.")]
Items = Annotated[Path | None, typer.Option(help="The item table.")]
Images = Annotated[str | None, typer.Option(help="Pictures: a folder, zip or Parquet file, or 'urls' (in the item table).")]
EngineName = Annotated[str, typer.Option(help="What runs it: duckdb, or spark (extra 'spark').")]
SparkUrl = Annotated[
    str | None, typer.Option(help="Spark's master: local[4], spark://host:7077, yarn; all cores of this machine by default.")
]
Memory = Annotated[str, typer.Option(help="Of the engine in this process, such as 2GB; what does not fit goes to disk.")]
Spill = Annotated[Path | None, typer.Option(help="Folder for what does not fit; on a Spark cluster one that all its machines see.")]
Text = Annotated[str, typer.Option(help="Text encoder: tfidf, minilm, a model's name or folder, or none.")]
Image = Annotated[str, typer.Option(help="Picture encoder: descriptors, resnet50, a model's name or folder, or none.")]
Template = Annotated[str, typer.Option(help="How item fields become a sentence: plain or recformer.")]
Encoders = Annotated[
    list[str] | None, typer.Option("--encoder", help="A field of an encoder: text.columns=title,brand or text.grams=char.")
]


def prepare(
    interactions: Annotated[Path, typer.Argument(help=EVENTS)],
    out: Annotated[Path, typer.Option(help="Where to write the Dataset folder.")],
    items: Items = None,
    images: Images = None,
    name: Annotated[str | None, typer.Option(help="Name of the Dataset.")] = None,
    format: Format = "auto",
    user_column: Column = None,
    item_column: Column = None,
    time_column: Column = None,
    item_id_column: ItemsColumn = None,
    image_column: ItemsColumn = None,
    min_events: MinEvents = 5,
    min_item_events: MinItemEvents = 1,
    ties: Ties = "file",
    duplicates: Duplicates = "keep",
    require: Require = "",
    catalogue: Catalogue = "events",
    time: Time = "auto",
    time_zone: Zone = "UTC",
    engine: EngineName = "duckdb",
    spark_url: SparkUrl = None,
    memory: Memory = "2GB",
    spill: Spill = None,
) -> None:
    """Raw events (and items, and pictures) -> a Dataset folder."""
    from tmmsrec.data.prepare import pictures_of, prepare_to
    from tmmsrec.data.sources.guess import source_of

    how = preparation(min_events, min_item_events, ties, duplicates, require, catalogue, time, time_zone)
    runs_on = engine_of(engine, spark_url, memory, spill)
    columns = roles(user_column, item_column, time_column, item_id_column, image_column)
    source = source_of(interactions, items, format, columns)  # type: ignore[arg-type]
    called = name or interactions.name.split(".")[0]
    _keep_features(out)
    told(prepare_to(out, source, how, name=called, pictures=pictures_of(items, images), engine=runs_on))
    screen.say(f"written to {out}; next: {screen.command('extract', out)}, then {screen.command('fit', 'tmmsrec', out)}")


def _keep_features(folder: Path) -> None:
    """Refuse to put a Dataset in the place of one with features, which may have taken hours."""
    from tmmsrec.data import store
    from tmmsrec.data.problems import DataProblem

    held = sorted(p.parent.name for p in (folder / store.FEATURES).glob("*/rows.npy"))
    if held:
        said = f"{folder} is a Dataset with {' and '.join(held)} features, which would be lost"
        raise DataProblem(f"{said}; choose another folder, or remove {folder / store.FEATURES} first")


def roles(user: str | None, item: str | None, time: str | None, item_id: str | None, image: str | None) -> dict[str, str]:
    """Role -> column name, of those that were named."""
    named = {"user": user, "item": item, "time": time, "item_id": item_id, "image": image}
    return {role: column for role, column in named.items() if column is not None}


def engine_of(engine: str, spark_url: str | None, memory: str, spill: Path | None) -> Engine:
    """The value; raises DataProblem for an engine that is not known, or a Spark URL where Spark was not asked for."""
    from tmmsrec.data.engines.duck import DuckDB
    from tmmsrec.data.engines.spark import Spark
    from tmmsrec.data.problems import DataProblem

    folder = None if spill is None else str(spill.absolute())
    if engine == "spark":
        return Spark(spark_url, memory, folder)
    if engine != "duckdb":
        raise DataProblem(f"unknown engine '{engine}'; known: duckdb, spark")
    if spark_url is not None:
        raise DataProblem(f"the engine is duckdb, which has no use for the Spark URL {spark_url}; add --engine spark")
    return DuckDB(memory, folder)


def preparation(
    min_events: int, min_item_events: int, ties: str, duplicates: str, require: str, catalogue: str, time: str, zone: str
) -> Preparation:
    """The value; raises ValueProblem for words that do not fit."""
    from tmmsrec import values
    from tmmsrec.data.prepare import Preparation

    wanted = {
        "min_events": min_events,
        "min_item_events": min_item_events,
        "ties": ties,
        "duplicates": duplicates,
        "catalogue": catalogue,
        "time": time,
        "zone": zone,
    }
    modalities = [m.strip() for m in require.split(",") if m.strip()]
    return values.from_json(Preparation, {"kind": "Preparation", **wanted, "require": modalities})


def told(dataset: Dataset) -> None:
    """Table 2's row, and everything counted and decided."""
    from tmmsrec.study.spelling import plain

    row = dataset.table2()
    table = screen.table()
    for head in row:
        table.add_column(head)
    table.add_row(*row.values())
    screen.console().print(table)
    screen.pairs("", {k.replace("_", " "): plain(v) for k, v in dataset.report.items() if v not in (None, "", {}, [])})
    for name, features in sorted(dataset.features.items()):
        screen.say(f"{name} features: {features.width} numbers for {features.coverage:.1%} of the items")


def extract(
    context: typer.Context,
    dataset: Annotated[Path, typer.Argument(help="A Dataset folder.")],
    text: Text = "tfidf",
    image: Image = "descriptors",
    template: Template = "plain",
    encoder: Encoders = None,
    width: Annotated[int, typer.Option(help="Numbers per item, for the encoders that need no download.")] = 128,
    dtype: Annotated[str, typer.Option(help="Of the rows on disk: float32, or float16 in half the room.")] = "float32",
    shard: Annotated[int | None, typer.Option(help="Items written at once; by default 1,024 to 8,192 by encoder.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where rows are kept by content; the user's cache by default.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no rows by content.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but results.")] = False,
) -> None:
    """Item texts and pictures -> features beside the Dataset; a second time only what is new, after a kill only what is left.

    A modality that no item has is left out; where its encoder was asked for by name, that is an error, once the other is made.
    Under torchrun all processes share the work; see docs/scale.md.
    """
    from tmmsrec.data import store
    from tmmsrec.data.pictures import cache_folder
    from tmmsrec.extract import Crew, Form, NothingToLearn, Work
    from tmmsrec.study import extraction

    data = store.load(dataset, features=False)
    wanted = extraction.encoders(text, image, template, width, encoder or ())
    work, form = Work(None if no_cache else cache or cache_folder() / "features"), Form(dtype, shard)  # type: ignore[arg-type]
    first, made = Crew.told().rank == 0, 0  # one of many processes speaks for all
    refused: list[NothingToLearn] = []
    with screen.Screen(quiet=quiet or not first) as listener:
        for modality, reader in wanted.items():
            if reader is None:
                listener.note(f"no {modality} features: it was not wanted")
                continue
            try:
                data = extraction.extract(data, reader, work, form, listener)
            except NothingToLearn as problem:
                listener.note(f"no {modality} features: {problem.found}")
                refused += [problem] if _asked(context, modality) else []
                continue
            made += 1
            if first:
                _missing(data.features[modality].provenance, dataset, modality)
    if first:
        screen.say(f"{made} of {len(wanted)} modalities have features: {data!r}")
    if refused:
        raise refused[0]


def _asked(context: typer.Context, option: str) -> bool:
    """Whether a person gave an option, in words or by the environment."""
    source = context.get_parameter_source(option)
    return source is not None and not source.name.startswith("DEFAULT")


def _missing(provenance: dict[str, Any], folder: Path, modality: str) -> None:
    from tmmsrec.study.extraction import list_of_missing

    missing = provenance.get("missing", {})
    for one in missing.get("first", []):
        screen.say(f"  no {modality} for item {one['item']}: {one['reason']}")
    left = missing.get("count", 0) - len(missing.get("first", []))
    if left > 0:
        screen.say(f"  and {left:,} more, all listed in {list_of_missing(folder, modality)}")
