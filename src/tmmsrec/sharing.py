"""A loss that several processes share: each takes it of its share of a batch, and the gradient is that of the whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tmmsrec.data.batch import Batch
from tmmsrec.models.base import Model
from tmmsrec.processes import Processes

Loss = Callable[[Batch], Tensor]


def shared(loss: Loss, model: Model, processes: Processes) -> Loss:
    """A loss whose mean over processes, and its gradient, are those of the whole batch; the loss itself for a process on its own.

    A loss is a mean over targets, and shares hold different numbers of them, so each counts by its number.

    Raises:
        ValueError: gradients are sparse, and GPUs are to sum them.
    """
    if processes.size == 1:
        return loss
    if _sparse(model) and distributed.get_backend() == "nccl":
        raise ValueError("nccl does not sum sparse gradients: take optimiser.tables=whole, or train with one process")
    with warnings.catch_warnings():
        # Its successor would send all buffers, features too, to every process at the start.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return DistributedDataParallel(
            _Share(loss, model, processes.size),
            broadcast_buffers=False,  # they are data, or told alike to every process
            init_sync=False,  # all began from one seed, or from one checkpoint
            find_unused_parameters=True,  # of a modality that no row of a share has met
            gradient_as_bucket_view=True,
        )


class _Share(nn.Module):
    """What DistributedDataParallel wraps: a loss as a forward pass."""

    def __init__(self, loss: Loss, model: Model, processes: int) -> None:
        super().__init__()
        self.model, self._loss, self._processes = model, loss, processes

    def forward(self, batch: Batch) -> Tensor:
        """Times processes and share of targets: their mean is the mean over all targets."""
        if not len(batch.users):  # the last batch of a pass can have fewer rows than there are processes
            return self._nothing(batch.users.device)
        mine = len(batch.asked)
        return self._loss(batch) * (mine * self._processes / batch.events)

    def _nothing(self, device: torch.device) -> Tensor:
        """Zero, of some parameter: a backward pass that met none would tell the others nothing.

        A table whose gradient is sparse has to have one in every process.
        """
        if tables := _sparse(self.model):
            return 0 * torch.stack([table(torch.ones(1, dtype=torch.long, device=device)).sum() for table in tables]).sum()
        return 0 * min((p for p in self.model.parameters() if p.requires_grad), key=Tensor.numel).sum()


def _sparse(model: nn.Module) -> list[nn.Embedding]:
    return [part for part in model.modules() if isinstance(part, nn.Embedding) and part.sparse]
