"""tmmsrec's SASRec, trained by its own loop; with ``--padding`` steps look at empty slots, as ports to torch let them."""

from __future__ import annotations

import sys

import numpy as np
import torch

from bench.neighbours.desk import Desk, Events, Ints, sit
from bench.neighbours.setting import TOP, Setting


def method(setting: Setting, padding: bool = False):  # type: ignore[no-untyped-def]
    """The zoo's SASRec with the common settings."""
    from dataclasses import replace

    from tmmsrec import zoo
    from tmmsrec.nn.backbones.attention import Attention
    from tmmsrec.nn.losses import BCE, CrossEntropy

    return replace(
        zoo.SASREC,
        width=setting.width,
        length=setting.length,
        backbone=Attention(blocks=setting.blocks, heads=setting.heads, dropout=setting.dropout, key_mask=not padding),
        entry=replace(zoo.SASREC.entry, dropout=setting.dropout),
        loss=CrossEntropy() if setting.loss == "ce" else BCE(),
    )


def run(desk: Desk) -> None:
    """Train all epochs; rank after each."""
    import tmmsrec
    from tmmsrec.data.batch import Pass, Sampler
    from tmmsrec.data.dataset import Dataset
    from tmmsrec.data.interactions import Interactions
    from tmmsrec.data.split import Part
    from tmmsrec.lesson import Lesson
    from tmmsrec.loop import Loop, Progress
    from tmmsrec.training import Adam, Training

    how, wanted = desk.setting, method(desk.setting, "--padding" in sys.argv)
    log = Interactions.of(desk.train.users, desk.train.items, desk.train.times, desk.n_users)
    train = Part("train", log, log.lengths, np.flatnonzero(log.lengths >= 2))
    model = wanted.build(Dataset.in_memory("neighbours", log, desk.n_items))
    sampler = Sampler(train, desk.n_items, wanted.negatives)
    lesson = Lesson(model.loss, train, sampler, Pass(how.batch, how.length, wanted.per))
    training = Training(epochs=how.epochs, batch=how.batch, optimiser=Adam(lr=how.lr, decay=1.0))
    grown = desk.grown

    def watch(progress: Progress) -> None:
        if progress.done == 1.0:
            desk.clock.stop()
            desk.ranked(best(model, desk.train, desk.asked, how.length), best(model, grown, desk.asked, how.length))
            model.train()
            desk.clock.start()

    desk.clock.start()
    Loop(model, lesson, None, training, how.seed).run(None, watch)
    desk.timed(lambda: best(model, grown, desk.asked, how.length))
    desk.close({"tmmsrec": tmmsrec.__version__, "torch": torch.__version__}, sum(p.numel() for p in model.parameters()))


@torch.inference_mode()
def best(model, events: Events, users: Ints, length: int, size: int = 512) -> Ints:  # type: ignore[no-untyped-def]
    """[users, 10] the items with the highest scores after each user's events, best first; histories of a length together."""
    from tmmsrec.data.batch import history_batch

    vectors, histories = model.eval().items(), [h[-length:] for h in events.histories(users)]
    counts = np.array([len(h) for h in histories])
    order, found = np.argsort(counts, kind="stable"), np.zeros((len(users), TOP), np.int64)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        items = np.zeros((len(chosen), max(1, int(counts[chosen].max()))), np.int64)
        for row, which in zip(items, chosen, strict=True):
            row[: counts[which]] = histories[which]
        batch = history_batch(users[chosen], items, np.zeros_like(items), np.zeros(len(chosen), np.int64))
        scores = model.users(batch) @ vectors.T
        found[chosen] = scores[:, 1:].topk(TOP).indices.numpy() + 1
    return found


if __name__ == "__main__":
    sit(run)
