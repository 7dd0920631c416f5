"""User rows, for methods that know users by a row of their own."""

from __future__ import annotations

from torch import Tensor, nn


class UserRows(nn.Module):
    """One learned row per user of the training data, [U, d]."""

    def __init__(self, n_users: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n_users, width)

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Rows [B] -> [B, d]; all rows [U, d] when none are named.

        Raises:
            ValueError: a row of -1, which stands for somebody unknown.
        """
        if rows is None:
            whole: Tensor = self.table.weight
            return whole
        if not self.training and bool((rows < 0).any()):  # training knows its own, and to ask waits for a GPU
            raise ValueError("this method knows users by rows of their own: it cannot score for somebody it was not trained on")
        found: Tensor = self.table(rows)
        return found
