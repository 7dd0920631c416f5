"""The triangular mixer of TriMLP (Jiang et al. 2023) as a backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmmsrec.nn.backbones import Backbone
from tmmsrec.nn.mixing import WithoutGaps


@dataclass(frozen=True)
class TriMLP(Backbone):
    """Global, then local mixing of steps by triangular kernels, as in the official code: no residual, no norm, no channel mixing.

        Y = act(K_local^T act(K_global^T X)),   K = softmax over each row of a kernel, masked below its diagonal

    Row i of a kernel shares out step i among itself and later steps; the local one only within its session of n / s steps.
    Weights belong to positions.  TriMLP's own head is ``output=Classifier()`` with ``loss=CrossEntropy()``.  With the sigmoid,
    the paper's, states are positive; where they are multiplied with item rows directly, "gelu" and "identity" are not so.

    Attributes:
        sessions: s, equal parts of the n positions; must divide n.
        act: after each mixing.
    """

    sessions: int = 2
    act: Literal["sigmoid", "gelu", "identity"] = "sigmoid"

    source: ClassVar[str] = "TriMLP 2023"

    def build(self, width: int, length: int) -> nn.Module:
        """Two kernels [n, n] for n = ``length``; raises ValueError when the sessions do not divide it."""
        if self.sessions < 1 or length % self.sessions:
            raise ValueError(
                f"TriMLP cuts its {length} positions into {self.sessions} sessions of equal length, which does not come out even: "
                "change 'sessions', or 'length' to a multiple of it"
            )
        return WithoutGaps(_Encoder(self, length))


class _Encoder(nn.Module):
    def __init__(self, value: TriMLP, length: int) -> None:
        super().__init__()
        self.act = _ACTS[value.act]
        self.over_all = nn.Parameter(torch.ones(length, length))
        self.in_session = nn.Parameter(torch.ones(length, length))
        session = torch.arange(length) // (length // value.sessions)
        ahead = torch.ones(length, length, dtype=torch.bool).triu()
        self.register_buffer("ahead", ahead, persistent=False)
        self.register_buffer("ahead_in_session", ahead & (session[:, None] == session), persistent=False)
        self.ahead: Tensor
        self.ahead_in_session: Tensor

    def start(self) -> None:
        """Both kernels share evenly at first."""
        nn.init.ones_(self.over_all)
        nn.init.ones_(self.in_session)

    def kernels(self) -> tuple[Tensor, Tensor]:
        """[n, n] twice: rows of the global and of the local kernel sum to one."""
        return _shares(self.over_all, self.ahead), _shares(self.in_session, self.ahead_in_session)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d] for L up to n.

        A shorter stream takes the first L rows and columns of the kernels.  That is the same as padding it to n, since a step is
        shared out to later steps only.
        """
        steps = x.shape[1]
        if steps > len(self.over_all):
            raise ValueError(f"TriMLP's kernels are for {len(self.over_all)} steps, got {steps}: cut the stream to its newest")
        for kernel in self.kernels():
            x = self.act(kernel[:steps, :steps].T @ x)
        return x


def _shares(kernel: Tensor, ahead: Tensor) -> Tensor:
    return kernel.masked_fill(~ahead, -torch.inf).softmax(-1)


def _same(x: Tensor) -> Tensor:
    return x


_ACTS: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "gelu": functional.gelu, "identity": _same}
