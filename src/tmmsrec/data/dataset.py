"""A Dataset: the log, the catalogue and a name; in memory or in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as _replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from tmmsrec.data.catalog import Catalog, Features
from tmmsrec.data.ids import Ids
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.mapping import BLOCK, blocks
from tmmsrec.data.problems import DataProblem


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything a recommender may learn from.

    Attributes:
        name: shown in tables.
        interactions: the log, user rows 0..U-1 and item rows 1..I.
        catalog: the items.
        users: outside user ids.
        report: what preparation counted and decided (ties, duplicates, drops, sources), for people to read.
        folder: where it lies on disk, None when only in memory.
    """

    name: str
    interactions: Interactions
    catalog: Catalog
    users: Ids
    report: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.interactions.users != len(self.users):
            raise DataProblem(f"the log has {self.interactions.users} users, the list of user ids {len(self.users)}")

    @classmethod
    def in_memory(
        cls,
        name: str,
        interactions: Interactions,
        n_items: int,
        features: dict[str, Features] | None = None,
        fields: pa.Table | None = None,
    ) -> Dataset:
        """A Dataset from arrays; ids are the rows' own numbers (users from 0, items from 1)."""
        users = Ids(pa.array(np.arange(interactions.users)), first=0, what="user")
        items = Ids(pa.array(np.arange(1, n_items + 1)), first=1, what="item")
        table = fields if fields is not None else pa.table({"title": pa.nulls(n_items, pa.string())})
        dataset = cls(name, interactions, Catalog(items, table, features or {}), users)
        dataset.check()
        return dataset

    @property
    def n_users(self) -> int:
        """Number of users U."""
        return self.interactions.users

    @property
    def n_items(self) -> int:
        """Number of items I."""
        return len(self.catalog)

    @property
    def features(self) -> dict[str, Features]:
        """Modality name -> Features."""
        return self.catalog.features

    @property
    def sparsity(self) -> float:
        """Share of user-item pairs without an event, counting events (not distinct pairs) as the paper's Table 2 does."""
        return 1.0 - len(self.interactions) / max(1, self.n_users * self.n_items)

    def check(self) -> None:
        """Refuse contradictions between log, catalogue and features; raises DataProblem."""
        self.interactions.check(self.n_items)
        if self.catalog.fields.num_rows != self.n_items:
            raise DataProblem(f"the item table has {self.catalog.fields.num_rows} rows for {self.n_items} items")
        for name, features in self.features.items():
            features.check(name, self.n_items)

    def with_features(self, **features: Features | Mapping[Any, ArrayLike]) -> Dataset:
        """The same data with feature matrices added or replaced (in memory only).

        Args:
            features: by modality: rows in the order of the items, or a vector for each item's outside id (``Features.of``).

        Raises:
            DataProblem: rows that do not fit the catalogue, or vectors of none of its items.
        """
        made = {n: one if isinstance(one, Features) else Features.of(self.catalog.ids, one, n) for n, one in features.items()}
        for name, one in made.items():
            one.check(name, self.n_items)
        return _replace(self, catalog=_replace(self.catalog, features={**self.features, **made}))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a BLAKE2 hash over log, ids, texts and features: equal data, equal fingerprint, anywhere."""
        digest = hashlib.blake2b(digest_size=8)
        log = self.interactions
        for array, kind in ((log.offsets, "<i8"), (log.items, "<i4"), (log.times, "<i8")):
            _feed(digest, array, kind)
        for ids in (self.users, self.catalog.ids):
            digest.update(np.array([len(ids)], dtype="<i8").data)
            _feed_words(digest, ids.array)
        for name in sorted(self.catalog.text_columns):  # some methods learn from words
            digest.update(name.encode())
            _feed_words(digest, self.catalog.fields[name])
        for name in sorted(self.features):
            digest.update(name.encode())
            _feed(digest, self.features[name].rows, "<f4")
            _feed(digest, self.features[name].present, "?")
        return digest.hexdigest()

    def table2(self) -> dict[str, str]:
        """The paper's Table 2 row: users, items, interactions, sparsity."""
        return {
            "Dataset": self.name,
            "#Users": f"{self.n_users:,}",
            "#Items": f"{self.n_items:,}",
            "#Interactions": f"{len(self.interactions):,}",
            "#Sparsity": f"{self.sparsity:.2%}",
        }

    def __repr__(self) -> str:
        row = self.table2()
        extra = "".join(f", {n} {f.width} wide ({f.coverage:.1%})" for n, f in sorted(self.features.items()))
        sizes = f"{row['#Users']} users, {row['#Items']} items, {row['#Interactions']} events"
        return f"{row['Dataset']}: {sizes}, {row['#Sparsity']} sparse{extra}"


def _feed(digest: hashlib.blake2b, array: NDArray[Any], kind: str) -> None:
    """The bytes of an array, a block of rows at a time: it may lie on disk and be larger than memory."""
    for _, rows in blocks(array, BLOCK):
        digest.update(np.ascontiguousarray(rows, dtype=kind).reshape(-1).data)


def _feed_words(digest: hashlib.blake2b, column: pa.Array | pa.ChunkedArray) -> None:
    """How long the words are (int64, in characters), then the words; a missing one is empty.

    Lengths come first: a word may hold any character, so no mark between them would be safe.
    """
    for at in range(0, len(column), BLOCK):
        digest.update(pc.utf8_length(_words(column.slice(at, BLOCK))).to_numpy().astype("<i8"))
    for at in range(0, len(column), BLOCK):
        digest.update("".join(_words(column.slice(at, BLOCK)).to_pylist()).encode())


def _words(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(values.type):
        return values.fill_null("")
    return pa.array(["" if v is None else str(v) for v in values.to_pylist()], pa.string())
