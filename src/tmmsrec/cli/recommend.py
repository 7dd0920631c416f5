"""``recommend`` and ``similar``: ask a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmmsrec.cli import screen
from tmmsrec.cli.train import OwnSeen

if TYPE_CHECKING:
    from tmmsrec.recommender import Recommendation


Where = Annotated[
    list[str] | None,
    typer.Option(
        help="Only items whose field is so: brand=Fjellvik,Nordlys or price=10..50, either end may be open (may be repeated)."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Count = Annotated[int, typer.Option("-k", "--k", help="How many.")]
Explain = Annotated[bool, typer.Option("--explain", help="Show each modality's share of the score.")]


def recommend(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    user: Annotated[str | None, typer.Option(help="A known user.")] = None,
    history: Annotated[
        str | None,
        typer.Option(help="ITEM@TIME,ITEM@TIME,... with ISO dates or seconds, or as JSON [[ITEM, TIME], ...]; '' for nobody's."),
    ] = None,
    at: Annotated[str | None, typer.Option(help="The moment of the request; now by default.")] = None,
    k: Count = 10,
    exclude_seen: OwnSeen = None,
    allow: Annotated[list[str] | None, typer.Option(help="Only this item (may be repeated).")] = None,
    deny: Annotated[list[str] | None, typer.Option(help="Not this item (may be repeated).")] = None,
    where: Where = None,
    as_json: AsJson = False,
    ann: Annotated[bool, typer.Option("--ann", help="Search by an index (faiss), built first: worth it for many items.")] = False,
    explain: Explain = False,
) -> None:
    """The k best items for a known user, or for a history."""
    from tmmsrec.data.problems import DataProblem
    from tmmsrec.recommender import Recommender

    if (user is None) == (history is None):
        raise DataProblem(
            "name a known user (--user 42) or give a history (--history 'A7@2024-01-05,A9@2024-03-01'), one of the two"
        )
    held = Recommender.load(bundle)
    if ann:
        from tmmsrec.cli.index import told
        from tmmsrec.recommender import HNSW

        held = held.with_search(HNSW())
        screen.note(told(held))
    found = held.recommend(
        user,
        history=None if history is None else events(history),
        at=None if at is None else moment(at),
        k=k,
        exclude_seen=exclude_seen,
        allow=allow or None,
        deny=deny or None,
        where=conditions(where),
    )
    strange = [one for one in (*(allow or ()), *(deny or ())) if one not in held.catalog.ids]
    if strange:
        screen.note(f"Not in the catalogue, and passed over: {', '.join(strange)}.")
    _show(found, as_json, explain)
    if found and found[0].basis == "popularity" and not as_json:
        screen.say("No history to read: these are the most popular items.")


def similar(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    item: Annotated[str, typer.Argument(help="A known item.")],
    k: Count = 10,
    where: Where = None,
    as_json: AsJson = False,
    explain: Explain = False,
) -> None:
    """The k items nearest to one; of a bundle that counts, what it recommends after that item alone."""
    from tmmsrec.recommender import Recommender

    _show(Recommender.load(bundle).similar(item, k=k, where=conditions(where)), as_json, explain)


def _show(found: list[Recommendation], as_json: bool, explain: bool) -> None:
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(r) for r in found], ensure_ascii=False, indent=2, default=str))
    elif not found:
        screen.tell("No item is left: the conditions leave out every item that may be recommended.")
    else:
        screen.console().print(table(found, shares=explain))


def table(found: list[Recommendation], *, shares: bool) -> Any:
    """Recommendations as a table."""
    from rich.markup import escape

    from tmmsrec.study.samples import title_of

    names = list(found[0].shares) if shares and found else []
    made = screen.table()
    made.add_column("", justify="right")
    made.add_column("item", no_wrap=True)
    made.add_column("title")
    for head in ("score", *names):
        made.add_column(head.replace(" ", "\n"), justify="right", no_wrap=True)
    for r in found:
        parts = [f"{r.shares[n]:+.2f}" for n in names]
        made.add_row(str(r.rank), escape(str(r.item)), escape(title_of(r.fields)), f"{r.score:.2f}", *parts)
    return made


def events(text: str) -> list[tuple[str, Any]]:
    """ITEM@TIME,ITEM@TIME, or pairs in JSON, as (item, time) pairs; raises DataProblem naming the place."""
    from tmmsrec.data.problems import DataProblem

    if text.lstrip().startswith("["):
        return _pairs(text)
    found = []
    for place, one in enumerate(part for part in text.split(",") if part.strip()):
        item, mark, time = one.strip().rpartition("@")
        if not mark or not item or not time:
            raise DataProblem(f"history[{place}]: '{one.strip()}' is no ITEM@TIME, like A0042@2022-03-01")
        found.append((item, moment(time)))
    return found


def _pairs(text: str) -> list[tuple[str, Any]]:
    """[[item, time], ...] as pairs, for ids that hold a comma or a blank at an end."""
    import json

    from tmmsrec.data.problems import DataProblem

    try:
        given = json.loads(text)
    except json.JSONDecodeError as problem:
        raise DataProblem(f"the history is no JSON: {problem}; write [[item, time], ...] or ITEM@TIME,ITEM@TIME") from None
    for place, one in enumerate(given):
        if not isinstance(one, list) or len(one) != 2:
            raise DataProblem(f"history[{place}]: {json.dumps(one)} is no [item, time]")
    return [(item, moment(time) if isinstance(time, str) else time) for item, time in given]


def conditions(given: list[str] | None) -> dict[str, Any] | None:
    """FIELD=VALUE,VALUE and FIELD=LOW..HIGH as ``Recommender.recommend`` takes them; raises DataProblem for what is neither."""
    from tmmsrec.data.problems import DataProblem

    found: dict[str, Any] = {}
    for one in given or ():
        field, mark, said = one.partition("=")
        if not mark or not field.strip() or not said.strip():
            raise DataProblem(f"--where {one}: write FIELD=VALUE,VALUE or FIELD=LOW..HIGH, like brand=Fjellvik or price=10..50")
        low, dots, high = said.partition("..")
        try:
            ends = {name: float(end) for name, end in (("min", low), ("max", high)) if end.strip()} if dots else {}
        except ValueError:
            ends = {}  # two dots in a name
        found[field.strip()] = ends or [value.strip() for value in said.split(",") if value.strip()]
    return found or None


def moment(text: str) -> str | int:
    """Seconds where it is a whole number, else the text (an ISO date)."""
    return int(text) if text.strip().isascii() and text.strip().isdigit() else text
