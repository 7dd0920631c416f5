"""Several processes that do one thing together: which of them this is, and what they tell one another.

Starting them, and taking them all down when one dies, is torchrun's; talking is torch.distributed's (gloo between processors, nccl
between GPUs).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

#: How long one may wait for another, for instance while the first tests alone.  Where one has died torchrun ends the rest at once.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Processes:
    """The processes at work on one thing, as one of them sees them.

    Attributes:
        rank: which one this is.
        size: how many there are; 1 for a process on its own, which talks to nobody.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Processes:
        """Those of torch.distributed where it was begun, else this process on its own."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def share(self, n: int) -> NDArray[np.int64]:
        """Which of n things are this process's: every ``size``-th, so that what is sorted is shared out evenly."""
        return np.arange(self.rank, n, self.size)

    def sum(self, number: Tensor) -> Tensor:
        """A tensor summed over all processes."""
        if self.size > 1:
            number = number.clone()
            distributed.all_reduce(number)
        return number

    def mean(self, number: Tensor) -> Tensor:
        """A tensor's mean over all processes."""
        return self.sum(number) / self.size if self.size > 1 else number

    def agree(self, told: int) -> int:
        """What the first process says."""
        if self.size == 1:
            return told
        word = torch.tensor([told], device=_device())
        distributed.broadcast(word, 0)
        return int(word)

    def wait(self) -> None:
        """Until all have come here."""
        self.agree(0)

    def gather(self, mine: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        """[n] numbers of which each process has made its ``share``."""
        whole = torch.zeros(n, dtype=torch.float64, device=_device())
        whole[torch.from_numpy(self.share(n)).to(whole.device)] = torch.from_numpy(mine).to(whole.device)
        return self.sum(whole).cpu().numpy()


ALONE = Processes()


def asked_for() -> int:
    """How many processes torchrun has started; 1 without it.  Raises ValueError when its variables make no sense."""
    said = os.environ.get("WORLD_SIZE", "1")
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(f"WORLD_SIZE is '{said}': it is set by torchrun and says how many processes there are")
    return int(said)


@contextmanager
def joined() -> Iterator[Processes]:
    """Those that torchrun has started, joined for as long as the block runs; a process on its own without torchrun.

    Raises:
        ValueError: torchrun's variables make no sense, or there are more processes on this machine than GPUs.
    """
    if asked_for() == 1 or distributed.is_initialized():
        yield Processes.here()
        return
    backend = "gloo"
    if torch.cuda.is_available():
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise ValueError(f"process {local} of this machine has no GPU: there are {gpus}; start as many processes as GPUs")
        torch.cuda.set_device(local)
        backend = "nccl"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Processes.here()
    finally:
        distributed.destroy_process_group()


def _device() -> torch.device:
    return torch.device("cuda" if distributed.is_initialized() and distributed.get_backend() == "nccl" else "cpu")
