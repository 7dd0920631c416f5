"""Checkpoints of the training loop: one safetensors file, replaced whole, that holds everything a loop needs to go on."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.store import atomic_text
from tmmsrec.data.whole import whole
from tmmsrec.models.base import Model


@dataclass(eq=False)
class Checkpoint:
    """Where a loop stands.

    Attributes:
        best_weights: of the best validation so far.
        epoch: the epoch under way.
        step: batches of it that are done.
        events: targets of it that were trained on.
        loss_sum: of those targets.
        best: best validation value.
        best_epoch: when it was; -1 before the first validation.
        seconds: spent so far.
        history: one record per finished epoch.
    """

    best_weights: dict[str, Tensor]
    epoch: int = 0
    step: int = 0
    events: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    best: float = -1.0
    best_epoch: int = -1
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


_SCALARS = ("epoch", "step", "events", "best", "best_epoch", "seconds", "history")


class Saver:
    """Writes and reads the checkpoint of one job in one folder.

    Saving is due when ``interval`` seconds have passed, and never takes more than about a tenth of the time.
    """

    def __init__(self, folder: Path, job: str, interval: float = 15.0) -> None:
        self.folder, self.job, self.interval = Path(folder), job, interval
        self.file = self.folder / "checkpoint.safetensors"
        self._due = time.monotonic() + interval

    def save_if_due(self, state: Checkpoint, model: Model, optimiser: torch.optim.Optimizer) -> None:
        """Save when the time has come."""
        if time.monotonic() >= self._due:
            begun = time.monotonic()
            self.save(state, model, optimiser)
            took = time.monotonic() - begun
            self._due = time.monotonic() + max(self.interval, 10 * took)

    def save(self, state: Checkpoint, model: Model, optimiser: torch.optim.Optimizer) -> None:
        """Write the file beside the old one and put it in its place; an error leaves the old one."""
        tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in state.best_weights.items()}
        for at, parameter in enumerate(optimiser.param_groups[0]["params"]):
            tensors |= {f"adam/{at}/{k}": v for k, v in optimiser.state.get(parameter, {}).items()}
        tensors["loss_sum"] = state.loss_sum
        about = {"job": self.job, **{k: getattr(state, k) for k in _SCALARS}}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_tensors(self.file, tensors, {"state": json.dumps(about)})

    def restore(self, state: Checkpoint, model: Model, optimiser: torch.optim.Optimizer) -> bool:
        """Take up a checkpoint, if there is one.

        Raises:
            DataProblem: it cannot be read, or belongs to another job.
        """
        if not self.file.exists():
            return False
        tensors, metadata = read_tensors(self.file)
        about = json.loads(metadata["state"])
        if about["job"] != self.job:
            raise DataProblem(f"{self.folder} holds the checkpoint of another training: choose another folder or remove it")
        model.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
        state.best_weights = {k.removeprefix("best/"): v for k, v in tensors.items() if k.startswith("best/")}
        for at, parameter in enumerate(optimiser.param_groups[0]["params"]):
            prefix = f"adam/{at}/"
            kept = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            if kept:
                on = {k: v if k == "step" and not parameter.is_cuda else v.to(parameter.device) for k, v in kept.items()}
                optimiser.state[parameter] = on
        state.loss_sum = tensors["loss_sum"]
        for name in _SCALARS:
            setattr(state, name, about[name])
        return True

    def log(self, history: list[dict[str, Any]]) -> None:
        """Write log.jsonl, a line per epoch."""
        atomic_text(self.folder / "log.jsonl", "".join(json.dumps(record) + "\n" for record in history))


def write_tensors(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file so that a reader sees the old one or the new one, never a part."""
    with whole(file) as fresh:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, fresh, metadata)


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; raises DataProblem when it is damaged."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {k: opened.get_tensor(k) for k in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as problem:
        raise DataProblem(f"{file} is damaged ({problem}); remove it and start again") from None
