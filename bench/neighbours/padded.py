"""A plain reference in the style of the papers' code: SASRec as its paper describes it, in plain PyTorch, with nothing clever.

Every batch is padded on the left to the full length, attention is nn.MultiheadAttention with a causal mask, losses are taken over
all slots and masked, Adam is torch's default.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.neighbours.desk import Desk, Events, Ints, left_padded, sit
from bench.neighbours.setting import TOP, Setting


class Block(nn.Module):
    """Attention and a feed-forward network, each with a norm before it and the normed input added after it."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        d = setting.width
        self.before_attention, self.before_feeding = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, setting.heads, setting.dropout, batch_first=True)
        dropout = nn.Dropout(setting.dropout)
        self.feed = nn.Sequential(nn.Linear(d, d), nn.ReLU(), dropout, nn.Linear(d, d), dropout)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """[B, L, d]; hidden [L, L] is True where a step may not look."""
        query = self.before_attention(x)
        x = self.before_feeding(query + self.attention(query, x, x, attn_mask=hidden, need_weights=False)[0])
        return x + self.feed(x)


class Padded(nn.Module):
    """SASRec over left-padded rows of items, 0 being padding."""

    def __init__(self, setting: Setting, n_items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 1, setting.width, padding_idx=0)
        self.positions = nn.Embedding(setting.length, setting.width)
        self.dropout = nn.Dropout(setting.dropout)
        self.blocks = nn.ModuleList(Block(setting) for _ in range(setting.blocks))
        self.norm = nn.LayerNorm(setting.width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def forward(self, rows: Tensor) -> Tensor:
        """[B, L] items -> [B, L, d] the states after every step."""
        steps, there = rows.shape[1], (rows != 0)[..., None]
        x = self.items(rows) * self.items.embedding_dim**0.5 + self.positions(torch.arange(steps))
        x = self.dropout(x) * there
        hidden = torch.ones(steps, steps, dtype=torch.bool).triu(1)
        for block in self.blocks:
            x = block(x, hidden) * there
        return self.norm(x)


def loss(model: Padded, rows: Tensor, targets: Tensor, kind: str) -> Tensor:
    """The mean over steps that have a target; rows and targets [B, L]."""
    states, asked = model(rows), targets != 0
    if kind == "ce":
        scores = states @ model.items.weight.T
        scores[..., 0] = -torch.inf
        return functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=0)
    negatives = torch.randint(1, model.items.num_embeddings, targets.shape)
    right, wrong = ((states * model.items(which)).sum(-1) for which in (targets, negatives))
    slots = functional.binary_cross_entropy_with_logits(right, torch.ones_like(right), reduction="none")
    slots = slots + functional.binary_cross_entropy_with_logits(wrong, torch.zeros_like(wrong), reduction="none")
    return (slots * asked).sum() / asked.sum()


def run(desk: Desk) -> None:
    """Train all epochs; rank after each."""
    how, grown = desk.setting, desk.grown
    model = Padded(how, desk.n_items)
    optimiser = torch.optim.Adam(model.parameters(), lr=how.lr, betas=(0.9, 0.98))
    histories = [h for h in desk.train.histories(np.arange(desk.n_users)) if len(h) >= 2]
    rows = torch.from_numpy(left_padded([h[:-1] for h in histories], how.length))
    targets = torch.from_numpy(left_padded([h[1:] for h in histories], how.length))
    for _ in range(how.epochs):
        desk.clock.start()
        model.train()
        for chosen in torch.randperm(len(rows)).split(how.batch):
            optimiser.zero_grad()
            loss(model, rows[chosen], targets[chosen], how.loss).backward()
            optimiser.step()
        desk.clock.stop()
        desk.ranked(best(model, desk.train, desk), best(model, grown, desk))
    desk.timed(lambda: best(model, grown, desk))
    desk.close({"torch": torch.__version__}, sum(p.numel() for p in model.parameters()))


@torch.inference_mode()
def best(model: Padded, events: Events, desk: Desk, size: int = 256) -> Ints:
    """[asked, 10] the items with the highest scores, best first."""
    model.eval()
    rows = torch.from_numpy(left_padded(events.histories(desk.asked), desk.setting.length))
    found = [(model(some)[:, -1] @ model.items.weight[1:].T).topk(TOP).indices + 1 for some in rows.split(size)]
    return torch.cat(found).numpy()


if __name__ == "__main__":
    sit(run)
