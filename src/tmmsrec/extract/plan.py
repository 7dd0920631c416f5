"""What an extraction makes: what all processes that work at it must agree on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.base import Encoder
from tmmsrec.values import to_json

Kind = Literal["float32", "float16"]


@dataclass(frozen=True)
class Form:
    """How features are written.

    Attributes:
        dtype: of the rows on disk, "float32" or "float16" (half the bytes; all that reads them computes in float32).
        shard: items encoded and written at once, None for the encoder's own number; changes no row of an encoder that needs no
            model, and those of a model by rounding.
    """

    dtype: Kind = "float32"
    shard: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Kind):
            raise DataProblem(f"features are written as float32 or float16, not as '{self.dtype}'")
        if self.shard is not None and self.shard < 1:
            raise DataProblem(f"a shard holds at least 1 item, not {self.shard}")


@dataclass(frozen=True)
class Plan:
    """What is made of which items.

    Attributes:
        encoder: the value.
        dtype: of the rows on disk.
        shard: items of a shard; the last may have fewer.
        items: I.
        fields: names of the item table's columns.
    """

    encoder: Encoder
    dtype: Kind
    shard: int
    items: int
    fields: tuple[str, ...]

    @property
    def shards(self) -> int:
        """How many shards."""
        return -(-self.items // self.shard)

    def items_of(self, shard: int) -> slice:
        """The items (from 0) of a shard."""
        return slice(shard * self.shard, min((shard + 1) * self.shard, self.items))

    def written(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**to_json(self), "kind": "Plan"}


def differences(there: dict[str, Any], here: dict[str, Any], inside: str = "") -> list[str]:
    """What differs between two plans in JSON, each as "encoder.width: 64 there, 128 here"."""
    found = []
    for name in sorted({*there, *here} - {"token"}):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict) and old.get("kind") == new.get("kind"):
            found += differences(old, new, f"{inside}{name}.")
        elif old != new:
            found.append(f"{inside}{name}: {_short(old)} there, {_short(new)} here")
    return found


def _short(value: Any) -> Any:
    return value["kind"] if isinstance(value, dict) and "kind" in value else value


@dataclass(frozen=True)
class Crew:
    """The processes that were started together, as torchrun tells each of them.

    Attributes:
        rank: of this process, from 0.
        size: how many they are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def told(cls) -> Crew:
        """From RANK and WORLD_SIZE; a process that was told nothing is alone."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
