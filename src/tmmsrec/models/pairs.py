"""Methods that are trained on pairs of user and item."""

from __future__ import annotations

from typing import ClassVar

from tmmsrec.data.batch import Per
from tmmsrec.models.base import Method


class PairMethod(Method):
    """A method that knows users by rows of their own, reads no history, and is trained on pairs of user and item."""

    reads_users: ClassVar[bool] = True
    modalities: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Ids and the named features."""
        return ("id", *self.modalities)

    @property
    def history(self) -> int:
        """None."""
        return 0

    @property
    def per(self) -> Per:
        """Pairs of user and item."""
        return "event"
