"""WarpRec: for cross-entropy its SASRec, which learns from one target a row; for BCE its gSASRec with t = 0, which is that loss.

Both as its pipelines train them, with its data loaders and Lightning; its Ray is for searching settings, and left out.
"""

from __future__ import annotations

import logging
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from bench.neighbours.desk import Desk, Events, Ints, lightning_clock, sit
from bench.neighbours.setting import TOP


def run(desk: Desk) -> None:
    """Train all epochs; rank after each."""
    import lightning
    import pandas as pd
    from warprec.data.dataset import Dataset

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    how, grown, train = desk.setting, desk.grown, desk.train
    lightning.seed_everything(how.seed, verbose=False)
    table = pd.DataFrame({"user_id": train.users, "item_id": train.items, "timestamp": train.times})
    data = Dataset(table, timestamp_label="timestamp")
    model = _model(desk, data.info())
    known = {int(item): at for item, at in data.get_mappings()[1].items()}
    # gSASRec's windows are strided so far apart that every user has one; SASRec's rows are all prefixes of all users.
    strided = {"stride": 1 << 30} if how.loss == "bce" else {}
    batches = model.get_dataloader(data.train_set, data.train_session, num_workers=0, seed=how.seed, **strided)

    def after() -> None:
        desk.ranked(_best(model, known, train, desk), _best(model, known, grown, desk))
        model.train()

    clock = lightning_clock(lightning.Callback, desk.clock, after)
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger", "enable_checkpointing"), False)
    trainer = lightning.Trainer(max_epochs=how.epochs, accelerator="cpu", devices=1, callbacks=[clock], **quiet)
    trainer.fit(model, train_dataloaders=batches)
    desk.timed(lambda: _best(model, known, grown, desk))
    versions = {name: version(name) for name in ("warprec", "torch", "lightning")}
    targets = len(batches.dataset) if how.loss == "ce" else None
    desk.close(versions, sum(p.numel() for p in model.parameters()), targets)


def _model(desk: Desk, info: dict[str, Any]) -> Any:
    from warprec.recommenders.sequential_recommender.gsasrec import gSASRec
    from warprec.recommenders.sequential_recommender.sasrec import SASRec

    how = desk.setting
    params = {
        "embedding_size": how.width,
        "n_layers": how.blocks,
        "n_heads": how.heads,
        "inner_size": how.width,
        "dropout_prob": how.dropout,
        "attn_dropout_prob": how.dropout,
        "reg_weight": 0.0,
        "weight_decay": 0.0,
        "batch_size": how.batch,
        "epochs": how.epochs,
        "learning_rate": how.lr,
        "max_seq_len": how.length + (how.loss == "bce"),  # a window holds the last target too
    }
    if how.loss == "ce":
        model = SASRec(params | {"neg_samples": 0}, info, seed=how.seed)
    else:
        model = gSASRec(params | {"neg_samples": 1, "gbce_t": 0.0, "reuse_item_embeddings": True}, info, seed=how.seed)
    model._optimizer_kwargs = {"betas": (0.9, 0.98)}
    return model


@torch.inference_mode()
def _best(model: Any, known: dict[int, int], events: Events, desk: Desk, size: int = 256) -> Ints:
    """[asked, 10] the items with the highest scores, best first; items that training did not have are left out of histories."""
    model.eval()
    outside = np.array(sorted(known, key=known.__getitem__), dtype=np.int64)
    inside = np.full(desk.n_items + 1, -1)
    inside[outside] = np.arange(len(outside))
    histories = [row[row >= 0][-desk.setting.length :] for row in (inside[h] for h in events.histories(desk.asked))]
    counts = np.array([len(h) for h in histories])
    rows = np.full((len(histories), desk.setting.length), len(outside), np.int64)
    for row, items in zip(rows, histories, strict=True):
        row[: len(items)] = items
    found = []
    for some, count in zip(torch.from_numpy(rows).split(size), torch.from_numpy(counts).split(size), strict=True):
        found.append(model.predict(some[:, : max(1, int(count.max()))], count.clamp_min(1)).topk(TOP).indices.numpy())
    best = outside[np.concatenate(found)]
    best[counts == 0] = 0
    return best


if __name__ == "__main__":
    sit(run)
