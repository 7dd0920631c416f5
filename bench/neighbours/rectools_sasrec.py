"""RecTools' SASRecModel, through its public interface: ``fit_partial`` an epoch at a time, and ``recommend``."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from bench.neighbours.desk import Desk, Events, Ints, lightning_clock, sit
from bench.neighbours.setting import TOP


def run(desk: Desk) -> None:
    """Train all epochs; rank after each."""
    import pytorch_lightning
    import rectools
    import torch
    from rectools.models import SASRecModel

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    how = desk.setting
    pytorch_lightning.seed_everything(how.seed, verbose=False)
    clock = lightning_clock(pytorch_lightning.Callback, desk.clock, lambda: None)

    def trainer() -> Any:
        # As the model makes its own, and with the clock.
        quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger", "enable_checkpointing"), False)
        return pytorch_lightning.Trainer(max_epochs=1, min_epochs=1, devices=1, accelerator="cpu", callbacks=[clock], **quiet)

    model = SASRecModel(
        n_blocks=how.blocks,
        n_heads=how.heads,
        n_factors=how.width,
        dropout_rate=how.dropout,
        session_max_len=how.length,
        loss="softmax" if how.loss == "ce" else "BCE",
        n_negatives=1,
        lr=how.lr,
        batch_size=how.batch,
        epochs=how.epochs,
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
    train, grown = _dataset(desk.train), _dataset(desk.grown)
    for _ in range(how.epochs):
        model.fit_partial(train, min_epochs=1, max_epochs=1)
        desk.ranked(_best(model, train, desk), _best(model, grown, desk))
    desk.timed(lambda: _best(model, grown, desk))
    versions = {"rectools": rectools.__version__, "torch": torch.__version__, "lightning": pytorch_lightning.__version__}
    desk.close(versions, sum(p.numel() for p in model.torch_model.parameters()))


def _dataset(events: Events) -> Any:
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset

    when = pd.to_datetime(events.times, unit="s")
    columns = {Columns.User: events.users, Columns.Item: events.items, Columns.Datetime: when, Columns.Weight: 1.0}
    return Dataset.construct(pd.DataFrame(columns))


def _best(model: Any, dataset: Any, desk: Desk) -> Ints:
    """[asked, 10]; a user of whose items it knows none gets no recommendation."""
    from rectools import Columns

    told = model.recommend(desk.asked, dataset, k=TOP, filter_viewed=False, on_unsupported_targets="ignore")
    found = np.zeros((len(desk.asked), TOP), np.int64)
    found[np.searchsorted(desk.asked, told[Columns.User]), told[Columns.Rank] - 1] = told[Columns.Item]
    return found


if __name__ == "__main__":
    sit(run)
