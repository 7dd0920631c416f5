"""RePlay's SasRec, on its Parquet reader and its Lightning module; ``--grouped`` with its encoder that groups rows by length."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.neighbours.desk import Desk, Events, Ints, left_padded, lightning_clock, sit
from bench.neighbours.setting import TOP


class Negatives(torch.nn.Module):
    """One random item for each step: RePlay's own sampler draws for a whole batch."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch and its negatives [B, L, 1]."""
        return {**batch, "negative_labels": torch.randint(self.n_items, batch["positive_labels"].shape)}


def run(desk: Desk) -> None:
    """Train all epochs; rank after each."""
    import lightning
    from replay.nn.lightning import LightningModule
    from replay.nn.lightning.optimizer import OptimizerFactory

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    how, grown = desk.setting, desk.grown
    lightning.seed_everything(how.seed, verbose=False)
    schema = _schema(desk)
    model = _model(desk, schema)
    module = LightningModule(model, OptimizerFactory(learning_rate=how.lr))

    def after() -> None:
        desk.ranked(_best(model, desk.train, desk), _best(model, grown, desk))
        model.train()

    clock = lightning_clock(lightning.Callback, desk.clock, after)
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger", "enable_checkpointing"), False)
    trainer = lightning.Trainer(
        max_epochs=how.epochs, accelerator="cpu", devices=1, callbacks=[clock], limit_val_batches=0, **quiet
    )
    trainer.fit(module, datamodule=_data(desk, schema))
    desk.timed(lambda: _best(model, grown, desk))
    from importlib.metadata import version

    versions = {name: version(name) for name in ("replay-rec", "torch", "lightning")}
    desk.close(versions, sum(p.numel() for p in model.parameters()))


def _schema(desk: Desk) -> Any:
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema

    return TensorSchema(
        TensorFeatureInfo(
            "item_id",
            FeatureType.CATEGORICAL,
            is_seq=True,
            feature_hint=FeatureHint.ITEM_ID,
            feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
            cardinality=desk.n_items,
            padding_value=desk.n_items,
            embedding_dim=desk.setting.width,
        )
    )


def _model(desk: Desk, schema: Any) -> Any:
    """Its ``from_params``, with the loss that is asked for; grouped, the encoder wrapped."""
    from replay.nn.loss import BCESampled
    from replay.nn.sequential import LengthBucketedQueryEncoder, SasRec

    how = desk.setting
    model = SasRec.from_params(
        schema,
        embedding_dim=how.width,
        num_heads=how.heads,
        num_blocks=how.blocks,
        max_sequence_length=how.length,
        dropout=how.dropout,
    )
    if how.loss == "bce":
        model = SasRec(model.body, BCESampled())
    if "--grouped" in sys.argv:
        model.body.encoder = LengthBucketedQueryEncoder(model.body.encoder, bucket_size=max(1, how.batch // 4))
    return model


def _data(desk: Desk, schema: Any) -> Any:
    """A Parquet file with a row per user, items 0..I-1, and the reader of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from replay.data.nn import ParquetModule
    from replay.nn.transform.template import make_default_sasrec_transforms

    how, file = desk.setting, desk.folder / "train.parquet"
    histories = [h for h in desk.train.histories(np.arange(desk.n_users)) if len(h) >= 2]
    pq.write_table(pa.table({"item_id": pa.array([h - 1 for h in histories], pa.list_(pa.int64()))}), file)
    transforms = {"train": make_default_sasrec_transforms(schema)["train"]}
    if how.loss == "bce":
        transforms["train"].append(Negatives(desk.n_items))
    shape = {"item_id": {"shape": how.length + 1, "padding": desk.n_items}}  # one more: the targets are shifted
    return ParquetModule(how.batch, {"train": shape}, transforms, train_path=str(Path(file)))


@torch.inference_mode()
def _best(model: Any, events: Events, desk: Desk, size: int = 256) -> Ints:
    """[asked, 10] the items with the highest scores, best first."""
    model.eval()
    empty = desk.n_items
    shifted = [h - 1 for h in events.histories(desk.asked)]
    rows = torch.from_numpy(left_padded(shifted, desk.setting.length, empty))
    found = []
    for some in rows.split(size):
        scores = model(feature_tensors={"item_id": some}, padding_mask=some != empty)["logits"]
        found.append(scores[:, : desk.n_items].topk(TOP).indices + 1)
    return torch.cat(found).numpy()


if __name__ == "__main__":
    sit(run)
