"""The whole path: raw files -> Dataset -> features -> floors and trained methods -> table, page, bundle.

OUT/data/         the Dataset, its features, and in data/encoders the encoders that made them
OUT/cache/        what the encoders need not do twice
OUT/runs/KEY/     one folder per run
OUT/bundle/       the Recommender
OUT/report.html, .md, .tex, and OUT/figures/
OUT/path.json     what was made from what: a stage is done again only when its inputs have changed
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tmmsrec import memory, values, zoo
from tmmsrec.data import store
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.prepare import prepare_from
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import Part
from tmmsrec.extract import Encoder, Form, NothingToLearn, Work
from tmmsrec.models.base import Method
from tmmsrec.recommender import Recommender
from tmmsrec.study.blocks import Document
from tmmsrec.study.extraction import encoders, extract, fitted_encoders, list_of_missing, why_not
from tmmsrec.study.few import take_few
from tmmsrec.study.of_log import of_log
from tmmsrec.study.publish import publish
from tmmsrec.study.recipe import TRAINED, Inputs, Recipe, chosen_methods, fitting, quick_enough, refitted, told_of
from tmmsrec.study.report import Report
from tmmsrec.study.run import Job, Run, run
from tmmsrec.study.samples import samples, source_of
from tmmsrec.study.spelling import plain
from tmmsrec.study.stages import Listener, Silent, Stages, identity, key_of
from tmmsrec.study.telling import chapter
from tmmsrec.training import Training


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of it.

    Attributes:
        report: runs, samples, notes.
        recommender: the subject of the report, as it lies in the bundle.
        folder: OUT.
    """

    report: Report
    recommender: Recommender
    folder: Path

    @property
    def dataset(self) -> Dataset:
        """The data with its features."""
        return self.report.dataset


def whole_path(
    inputs: Inputs, recipe: Recipe, out: Path, *, listener: Listener | None = None, ceiling: Mapping[str, float] | None = None
) -> Outcome:
    """From raw files to a trained Recommender, an evaluation beside its floors, and a page; taken up where it was left.

    Args:
        inputs: the files.
        recipe: what is done with them.
        out: the folder for all results.
        listener: told of the progress.
        ceiling: what the best possible scorer earns, for a made world.

    Raises:
        DataProblem: input that cannot be used.
        ValueError: an unknown method, or a change that no method or encoder takes.
    """
    listener = listener or Silent()
    methods = chosen_methods(recipe)
    wanted = encoders(recipe.text, recipe.image, recipe.template, recipe.features, recipe.encoder_changes)
    trainings = {name: recipe.training_of(name) for name in methods}
    stages = Stages(out)
    dataset, fresh = _prepared(inputs, recipe, out, stages, listener)
    dataset, notes = _extracted(dataset, fresh, wanted, stages, listener)
    slow: list[str] = []
    if recipe.methods == TRAINED:
        methods, slow = quick_enough(methods, dataset.n_items)
    methods, chosen_once = refitted(methods, recipe)
    methods, left_out = fitting(methods, dataset)
    gone = [*left_out, *chosen_once]
    if gone and not any(method.learned for method in methods.values()):
        raise DataProblem(" ".join(gone) + " No other method was asked for.")
    left_out += slow + chosen_once
    for note in (*notes, *left_out):
        listener.note(note)
    log = of_log(dataset, recipe.split, recipe.exclude_seen)
    for note in log:
        listener.note(note)
    runs = _runs(methods, trainings, dataset, recipe, out / "runs", listener)
    subject, why = best_in_validation(runs, recipe.methods)
    listener.note(why)
    recommender = _bundle(subject, runs[subject], dataset, inputs, out / "bundle", stages, listener)
    asked, test = _before_the_test(runs[subject], dataset)
    shown = samples(asked, test, seed=recipe.seed, source=source_of(dataset), exclude_seen=recipe.exclude_seen)
    by_seed = {name: [run] for name, run in runs.items()}
    report = Report(
        dataset,
        by_seed,
        subject,
        ceiling or {},
        shown,
        (*notes, *left_out, *log, why, *told_of(methods, recipe)),
    )
    told = chapter(report)
    publish(Document(told.title, [told]), out / "report")
    return Outcome(report, recommender, out)


def _prepared(inputs: Inputs, recipe: Recipe, out: Path, stages: Stages, listener: Listener) -> tuple[Dataset, str]:
    folder = out / "data"
    files = [identity(inputs.interactions), identity(inputs.items), identity(inputs.images)]
    key = key_of(files, recipe.preparation, {"format": inputs.format, "columns": dict(inputs.columns), "name": inputs.name})
    if stages.stands("prepare", key) and (folder / "dataset.json").exists():
        dataset = store.load(folder)
        listener.stage(f"data: as before, {dataset!r}")
        return dataset, key
    listener.stage(f"reading {inputs.interactions}")
    dataset = prepare_from(
        inputs.interactions,
        inputs.items,
        inputs.images,
        recipe.preparation,
        inputs.name,
        inputs.format,
        dict(inputs.columns) or None,
    )
    stages.begin("prepare")
    dataset = store.save(dataset, folder)
    stages.done("prepare", key)
    listener.stage(f"data: {dataset!r}")
    for note in (_read_as(dataset), *_left_out(dataset)):
        listener.note(note)
    recipe.split.cut(dataset.interactions)  # where nothing can be held out, nobody should wait for features first
    return dataset, key


def _read_as(dataset: Dataset) -> str:
    """Which columns were taken for what, and times for which unit."""
    report = dataset.report
    told = [f"events by {plain(found)}"] if (found := report.get("source", {}).get("columns")) else []
    items = report.get("items", {}).get("table", {}).get("columns")
    told += [f"items by {plain(items)}"] if items else []
    dropped = report.get("duplicates", {}).get("same_user_item_time", 0)
    kept = report.get("duplicates", {}).get("done", "kept")
    repeated = f"; {dropped:,} events repeat user, item and time and were {kept}" if dropped else ""
    told += [f"times are {report['time']['said']}{repeated}."] if "time" in report else []
    return f"Read: {'; '.join(told)}"


def _left_out(dataset: Dataset) -> list[str]:
    """Which users and events the preparation did not keep, and by which rule."""
    users, events = dataset.report.get("users", {}), dataset.report.get("events", {})
    how = dataset.report.get("preparation", {})
    told = []
    if rare := events.get("of_rare_items", 0):
        told.append(f"{rare:,} events of items with fewer than {how['min_item_events']} (--min-item-events)")
    if lacking := events.get("of_items_lacking_modalities", 0):
        told.append(f"{lacking:,} events of items without {' and '.join(how['require'])} (--require)")
    if dropped := users.get("dropped", 0):
        few = f"{dropped:,} of {users['read']:,} users, who have fewer than {how['min_events']} events (--min-events)"
        told.append(f"{few}, with {events['of_users_dropped']:,} events")
    if told and (items := dataset.report.get("items", {}).get("left_out", 0)):
        told.append(f"{items:,} items that occur in these alone")
    return [*([f"Left out: {'; '.join(told)}."] if told else []), *_of_table(dataset.report.get("items", {}))]


def _of_table(items: Mapping[str, Any]) -> list[str]:
    """How the item table and the events go together."""
    told, source = [], Path(items.get("table", {}).get("source", "")).name
    if source and (lacking := items.get("without_metadata", 0)):
        few = ", ".join(map(str, items.get("such_as", [])))
        told.append(f"{lacking:,} of {items['kept']:,} items have no row in {source}, such as {few}: are their ids written alike?")
    if unmet := items.get("rows_of_no_event", 0):
        told.append(f"{unmet:,} items of {source} occur in no event and are left out; --catalogue all keeps them.")
    return told


def _extracted(
    dataset: Dataset, prepared: str, wanted: Mapping[str, Encoder | None], stages: Stages, listener: Listener
) -> tuple[Dataset, list[str]]:
    """Features for the modalities that the data has, and why there are none for the others."""
    assert dataset.folder is not None
    notes = []
    for modality, encoder in wanted.items():
        lacking = why_not(modality, dataset) if encoder is not None else "it was not wanted"
        if encoder is None or lacking:
            notes.append(f"No {modality} features: {lacking}.")
            continue
        key = key_of([prepared], encoder)
        if stages.stands(modality, key) and modality in dataset.features:
            listener.stage(f"{modality} features: as before")
            continue
        listener.stage(f"{modality} features")
        stages.begin(modality)
        try:
            dataset = extract(dataset, encoder, Work(stages.folder / "cache"), Form(), listener)
        except NothingToLearn as problem:  # as with no column at all; the path goes on with what is there
            notes.append(f"No {modality} features: {problem.found}.")
            continue
        stages.done(modality, key)
        for line in _lacking(dataset, modality):
            listener.note(line)
    dropped = [m for m in dataset.features if any(n.startswith(f"No {m} features") for n in notes)]
    return _without(dataset, dropped), notes


def _lacking(dataset: Dataset, modality: str) -> list[str]:
    """Which items have no features, and why."""
    missing = dataset.features[modality].provenance.get("missing", {})
    some = "; ".join(f"{one['item']}: {one['reason']}" for one in missing.get("first", [])[:3])
    if not some or dataset.folder is None:
        return []
    return [
        f"No {modality} for {missing['count']:,} items, such as {some}; all stand in {list_of_missing(dataset.folder, modality)}."
    ]


def _without(dataset: Dataset, modalities: list[str]) -> Dataset:
    kept = {n: f for n, f in dataset.features.items() if n not in modalities}
    return replace(dataset, catalog=replace(dataset.catalog, features=kept)) if modalities else dataset


def _runs(
    methods: Mapping[str, Method],
    trainings: Mapping[str, Training],
    dataset: Dataset,
    recipe: Recipe,
    root: Path,
    listener: Listener,
) -> dict[str, Run]:
    found = {}
    for name, method in methods.items():
        job = Job(method, trainings[name], recipe.split, recipe.seed, recipe.exclude_seen)
        there = (root / job.key(dataset) / "run.json").exists()
        listener.stage(f"{name}: as before" if there else f"{name}")
        for line in [] if there or name in zoo.FLOORS else memory.told(method, dataset, job.training):
            listener.note(line)
        found[name] = run(job, dataset, root, watch=None if there else listener.training(name))
    return found


def best_in_validation(runs: Mapping[str, Run], asked: Collection[str]) -> tuple[str, str]:
    """The method that the bundle holds, and why: of those that were asked for (of all, where none was) the best in validation."""
    values = {name: -1.0 if run.about["fit"]["best"] is None else run.about["fit"]["best"] for name, run in runs.items()}
    among = [name for name in runs if name in asked] or list(runs)
    best, metric = max(among, key=values.__getitem__), runs[among[0]].job.training.metric
    told = ", ".join(f"{name} {values[name]:.4f}" for name in among if name != best)
    said = f"The bundle holds {best}: {metric} {values[best]:.4f} in validation{f' ({told})' if told else ''}."
    floor = max(values, key=values.__getitem__)
    return best, said + (
        f" {floor}, which needs no training, has {values[floor]:.4f} there." if values[floor] > values[best] else ""
    )


def _bundle(name: str, of: Run, dataset: Dataset, inputs: Inputs, folder: Path, stages: Stages, listener: Listener) -> Recommender:
    key = key_of([of.folder.name, dataset.name])
    if stages.stands("bundle", key) and (folder / "bundle.json").exists():
        return Recommender.load(folder)
    listener.stage(f"bundle of {name}")
    told = {k: of.about[k] for k in ("result", "test_users", "seconds", "versions", "dataset")}
    asked = {"split": values.to_json(of.job.split), "exclude_seen": of.job.exclude_seen}
    about = {"name": name, "run": of.folder.name, "training": values.to_json(of.job.training), **asked, **told}
    recommender = Recommender(of.job.method, of.model(dataset), dataset, about, fitted_encoders(dataset))
    for line in take_few(recommender, inputs):
        listener.note(line)
    stages.begin("bundle")
    recommender.save(folder)
    stages.done("bundle", key)
    return recommender


def _before_the_test(of: Run, dataset: Dataset) -> tuple[Recommender, Part]:
    """What the run tested, and by what: the bundle has counted the targets, and asked about them it would know the answer."""
    test = of.job.split.cut(dataset.interactions).test
    return Recommender(of.job.method, of.model(dataset), dataset, counted=test), test
