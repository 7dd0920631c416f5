"""What every place of pictures can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 64 * 2**20  # bytes of one picture; more is a mistake or an attack


@dataclass(frozen=True)
class Found:
    """One looked-up picture: its bytes (not yet known to be a picture), or None and why: missing, too large, damaged: ..."""

    data: bytes | None
    status: str = "ok"


class Pictures(ABC):
    """Pictures by name.  Names are what ``resolve`` returned and the catalogue's column ``image`` holds."""

    kind: str

    def __init__(self, path: Path) -> None:
        self.path = Path(path).resolve()

    @abstractmethod
    def resolve(self, ids: Sequence[str], names: Sequence[str | None]) -> list[str | None]:
        """For each item its picture's name here, found by the name its table gives or else by its id; None where there is none."""

    @abstractmethod
    def get(self, name: str) -> Found:
        """The picture of that name, or why it cannot be had; never raises for a single picture."""

    def read(self, name: str | None) -> bytes | None:
        """The bytes of a picture, None where it cannot be had."""
        return None if name is None else self.get(name).data

    def in_order(self, names: Sequence[str]) -> list[int]:
        """Positions of ``names`` in the order in which reading them is cheapest."""
        return list(range(len(names)))

    def read_many(self, names: Sequence[str]) -> Iterator[tuple[int, Found]]:
        """(position in ``names``, picture) in the cheapest order."""
        for position in self.in_order(names):
            yield position, self.get(names[position])

    def about(self) -> dict[str, Any]:
        """Kind and path, for the report; ``reopen`` understands it."""
        return {"kind": self.kind, "path": str(self.path)}


def climbs_out(name: str) -> bool:
    """Whether a file name is absolute or steps above its folder."""
    unified = name.replace("\\", "/")
    return unified.startswith("/") or unified[1:2] == ":" or ".." in unified.split("/") or "\0" in unified
