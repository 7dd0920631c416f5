"""Cross-entropy over every item, value and gradients, against the plain chain of operations."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import Tensor
from torch.nn import functional

from bench.rows import Row, median, spent
from tmmsrec.nn.softmax import cross_entropy
from tmmsrec.study.circumstances import peak_memory

STEPS, WIDTH, ITEMS = 3_500, 127, 16_636


def run(quick: bool = False) -> list[Row]:
    """How many times faster the blocks are, in processor seconds, the two in turns; and the memory of each."""
    states, items, targets = _batch()

    def step(loss: Tensor) -> None:
        torch.autograd.grad(loss, (states, items))

    step(_plain(states, items, targets))
    pairs = [
        (spent(lambda: step(_plain(states, items, targets))), spent(lambda: step(cross_entropy(states, items, targets))))
        for _ in range(2 if quick else 7)
    ]
    gain = median([plain / blocks for plain, blocks in pairs])
    memory = {name: int(_peak(name)) for name in ("plain", "blocks")}
    note = f"{STEPS:,} steps, {ITEMS:,} items, d={WIDTH}; peak {memory['plain']:,} MB plain, {memory['blocks']:,} MB in blocks"
    return [Row("cross-entropy over all items against the plain one", None, gain, "times", True, note, {"pairs": pairs, **memory})]


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = (0.3 * torch.randn(STEPS, WIDTH, generator=generator)).requires_grad_()
    items = (0.3 * torch.randn(ITEMS + 1, WIDTH, generator=generator)).requires_grad_()
    return states, items, torch.randint(1, ITEMS + 1, (STEPS,), generator=generator)


def _plain(states: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy((states @ items.T)[:, 1:], targets - 1)


def _peak(name: str) -> str:
    """Most memory of a process that does one step, in MB."""
    return subprocess.run([sys.executable, "-m", "bench.softmax", name], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    made = _batch()
    {"plain": _plain, "blocks": cross_entropy}[sys.argv[1]](*made).backward()
    print(peak_memory())
