"""One file per raw format.  A source yields events and, where there are any, items as two tables of an engine.

events  user, item, time, position            time as it stands in the file; position from 0 in file order
items   item, position, text fields..., image  all but position may be null
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import ibis

    from tmmsrec.data.engines import Desk


@dataclass(frozen=True, eq=False)
class Events:
    """Events as a source gives them.

    Attributes:
        table: columns user, item, time, position.
        origin: the file, for messages and the report.
        unit: how a place in it is called, "row" (a header is not counted) or "line".
        notes: what a person should know of the reading (columns chosen, ...).
    """

    table: ibis.Table
    origin: str
    unit: str = "row"
    notes: dict[str, Any] = field(default_factory=dict)

    def place(self, position: int) -> str:
        """Words for the place of a row."""
        return f"{self.unit} {position + 1} of {self.origin}"


@dataclass(frozen=True, eq=False)
class Items(Events):
    """Items as a source gives them: columns item, position, text fields and, where there are pictures, image.

    ``repeats`` says what to do with two rows of one item that differ: refuse, or keep the first (for formats known to
    repeat items).
    """

    repeats: Literal["refuse", "first"] = "refuse"


class EventsFile(Protocol):
    """A value that can read events."""

    def events(self, desk: Desk) -> Events:
        """Read them; raises DataProblem."""


class ItemsFile(Protocol):
    """A value that can read items."""

    def items(self, desk: Desk) -> Items:
        """Read them; raises DataProblem."""


@dataclass(frozen=True)
class Source:
    """Where raw data come from; events and items may be of different formats."""

    events: EventsFile
    items: ItemsFile | None = None
