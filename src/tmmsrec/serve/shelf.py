"""What is served now: bundles by name.  A swap puts another one in its place; whoever holds the old one goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tmmsrec.recommender import Recommender
from tmmsrec.serve.browsing import Index
from tmmsrec.serve.errors import Refused

MAIN = "main"


@dataclass(frozen=True, eq=False)
class Held:
    """An open bundle.

    Attributes:
        name: "main" or "beside".
        folder: where it lies.
        recommender: what answers.
        index: its items and users, to be searched.
    """

    name: str
    folder: Path
    recommender: Recommender
    index: Index = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", Index(self.recommender))

    @classmethod
    def open(cls, name: str, folder: Path) -> Held:
        """Read a bundle; raises DataProblem."""
        return cls(name, folder, Recommender.load(folder))


class Shelf:
    """Bundles by name; the first is the one that answers when none is named."""

    def __init__(self, held: list[Held]) -> None:
        self._held = {one.name: one for one in held}

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    @property
    def main(self) -> Held:
        """The bundle that answers when none is named."""
        return self._held[MAIN]

    def get(self, name: str | None) -> Held:
        """A bundle; raises Refused for a name that there is not."""
        found = self._held.get(name or MAIN)
        if found is None:
            raise Refused(404, f"there is no bundle {name!r}; there are: {', '.join(self._held)}", "bundle")
        return found

    def put(self, held: Held) -> None:
        """Swap a bundle in."""
        self._held[held.name] = held
