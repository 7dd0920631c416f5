"""Users and items to look through: lists in pages, searched by words."""

from __future__ import annotations

from typing import Any

import numpy as np

from tmmsrec.data.catalog import Catalog
from tmmsrec.recommender import Recommender


class Index:
    """What can be looked for in one Recommender.  It is made when first needed and made anew when items or users were added."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self._users: list[tuple[Any, str]] = []
        self._items: tuple[Catalog | None, list[str]] = (None, [])

    def users(self, query: str, offset: int, limit: int) -> tuple[int, list[int]]:
        """How many users have the query in their id, and the rows of a page of them; ids that begin with it come first."""
        people = self._recommender.people
        if len(self._users) < len(people):
            self._users = [(user, str(user).lower()) for user in people]
        if not query:
            return len(self._users), list(range(offset, min(offset + limit, len(self._users))))
        words = query.lower()
        found = [row for row, (_, text) in enumerate(self._users) if words in text]
        found.sort(key=lambda row: not self._users[row][1].startswith(words))
        return len(found), found[offset : offset + limit]

    def user(self, row: int) -> Any:
        """The id of a user's row that ``users`` gave."""
        return self._users[row][0]

    def items(self, query: str, offset: int, limit: int) -> tuple[int, list[int]]:
        """How many items have every word of the query in a field or the id, and the rows of a page of them, most popular first."""
        recommender = self._recommender
        catalog = recommender.catalog
        held = self._items  # another request may put a newer catalogue there meanwhile
        if held[0] is not catalog:
            held = self._items = catalog, _texts(catalog)
        counts = recommender.people.counts(len(catalog))
        words = query.lower().split()
        texts = held[1]
        rows = [n + 1 for n, text in enumerate(texts) if all(word in text for word in words)] if words else range(1, len(texts) + 1)
        found = np.fromiter(rows, np.int64)
        order = np.argsort(-counts[found], kind="stable")[offset : offset + limit]
        return len(found), found[order].tolist()


def _texts(catalog: Catalog) -> list[str]:
    """All words of each item in lower case, its id first."""
    columns = [map(str, catalog.ids), *[catalog.fields[name].to_pylist() for name in catalog.text_columns]]
    return ["\n".join(str(part) for part in parts if part is not None).lower() for parts in zip(*columns, strict=True)]
