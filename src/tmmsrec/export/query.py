"""The query side of a model as a graph: histories in, user vectors out."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tmmsrec.data.batch import Batch
from tmmsrec.data.problems import DataProblem
from tmmsrec.models.base import Method, VectorModel
from tmmsrec.nn.items import FrozenRows
from tmmsrec.recommender.state import State


class Query(nn.Module):
    """items [B, L], times [B, L] and, for a method that reads it, the moment asked about, at [B] -> user vectors [B, D].

    All int64, padded with 0 to the right, as ``data.batch.history_batch`` makes them.
    """

    def __init__(self, model: VectorModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, times: Tensor, at: Tensor | None = None) -> Tensor:
        """[B, D]; without ``at`` nothing is said of the moment, and the model must not read it."""
        nobody, none = torch.full_like(items[:, 0], -1), items.new_zeros(0)
        now = times if at is None else asked_at(items, times, at)
        return self.model.users(Batch(nobody, items, times, now, none, none, none, none))


def asked_at(items: Tensor, times: Tensor, at: Tensor) -> Tensor:
    """[B, L] ``Batch.now`` of histories: after each event but the newest the next one's time, after that the moment asked about."""
    steps = torch.arange(items.shape[1], device=items.device)
    following = times[:, (steps + 1).clamp_max(items.shape[1] - 1)]  # padding has no time, so nothing follows the last column
    newest = ((items != 0).sum(1, keepdim=True) - 1).clamp_min(0)
    return torch.where(steps == newest, at[:, None], following)


def exportable(state: State) -> VectorModel:
    """The model, if its query side is a function of the history alone.

    Raises:
        DataProblem: it is not, with the reason.
    """
    name, method = type(state.method).__name__, state.method
    if method.reads_users:
        vectors = ": export its users' vectors with 'tmmsrec export vectors'" if isinstance(state.model, VectorModel) else ""
        raise DataProblem(f"{name} knows users by rows of their own and reads no history, so there is no query to compute{vectors}")
    if method.beside:
        raise DataProblem(
            f"{name}'s score is more than an inner product, so its user vector alone ranks otherwise: "
            "a bundle of one whose score is one can be exported, such as that of 'tmmsrec run ... --method tmmsrec'"
        )
    if not isinstance(state.model, VectorModel):
        raise DataProblem(f"{name} scores by no inner product, so it has no user vector to export")
    return state.model


def inputs(method: Method) -> list[str]:
    """Names of the graph's inputs."""
    return ["items", "times", *(["at"] if method.reads_now else [])]


def graph(state: State) -> Any:
    """The query side as an ONNX program (``torch.onnx.ONNXProgram``), batch and length open.

    Raises:
        DataProblem: it cannot be exported (see ``exportable``), or torch finds something in it that ONNX has not.
    """
    query = Query(_plain(exportable(state))).eval()
    length = torch.export.Dim("length", min=1, max=max(2, state.method.history))
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    items = torch.ones(3, min(5, max(2, state.method.history)), dtype=torch.int64)
    given = (items, items * 1_500_000_000, torch.full((3,), 1_600_000_000))[: len(inputs(state.method))]
    shapes = ({0: batch, 1: length}, {0: batch, 1: length}, {0: batch})[: len(given)]
    with torch.no_grad(), _quiet():
        try:
            exported = torch.export.export(
                query, given, dynamic_shapes=shapes, strict=False, prefer_deferred_runtime_asserts_over_guards=True
            )
            return torch.onnx.export(
                exported, dynamo=True, verbose=False, optimize=False, input_names=inputs(state.method), output_names=["users"]
            )
        except (RuntimeError, torch._dynamo.exc.UserError) as problem:
            first = str(problem)
            raise DataProblem(f"torch cannot export {type(state.method).__name__} as ONNX: {first}") from problem


def _plain(model: VectorModel) -> VectorModel:
    """A copy on the CPU in which features are projected once and for all, and recurrent layers are ONNX's own."""
    plain = copy.deepcopy(model).cpu().eval()
    for parent in list(plain.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, FrozenRows):
                rows = part().detach()
                setattr(parent, name, FrozenRows(rows, part.present, rows.shape[1]))
            elif isinstance(part, nn.GRU):
                setattr(parent, name, _GRU(part))
    return plain


class _GRU(nn.Module):
    """One layer of torch's GRU as the operator of ONNX, which need not be told the number of steps."""

    def __init__(self, layer: nn.GRU) -> None:
        super().__init__()
        assert layer.num_layers == 1
        assert layer.batch_first
        assert not layer.bidirectional
        self.hidden = layer.hidden_size
        held = layer.state_dict()
        zero = torch.zeros(3 * self.hidden)
        self.register_buffer("weight", _gates(held["weight_ih_l0"])[None])
        self.register_buffer("recurrent", _gates(held["weight_hh_l0"])[None])
        self.register_buffer("bias", torch.cat([_gates(held.get(name, zero)) for name in ("bias_ih_l0", "bias_hh_l0")])[None])
        self.weight: Tensor
        self.recurrent: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, None]:
        """[B, L, d] -> [B, L, h]; what torch's layer gives beside that is not made."""
        steps = torch.onnx.ops.symbolic(
            "::GRU",
            (x.transpose(0, 1), self.weight, self.recurrent, self.bias, None, before),
            {"hidden_size": self.hidden, "linear_before_reset": 1},
            dtype=x.dtype,
            shape=(x.shape[1], 1, x.shape[0], self.hidden),
        )
        return steps[:, 0].transpose(0, 1), None


def _gates(of: Tensor) -> Tensor:
    """Torch's gates (reset, update, new) in ONNX's order (update, reset, new)."""
    reset, update, new = of.chunk(3)
    return torch.cat([update, reset, new])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says to its own developers."""
    said = logging.getLogger("torch.onnx")
    level = said.level
    said.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        said.setLevel(level)
