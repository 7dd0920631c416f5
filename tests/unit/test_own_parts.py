"""Parts that a person writes: told from the library's and from what they were before, and tried out before they are trained."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import small
from tmmsrec import metrics, zoo
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut, Part, Parts
from tmmsrec.extract import extract_text
from tmmsrec.extract.base import Content, Encoded, Encoder, Fitted, Work
from tmmsrec.models.counting import Popularity
from tmmsrec.nn.backbones import Backbone
from tmmsrec.own import own_parts
from tmmsrec.study.run import Job
from tmmsrec.study.tune import tune
from tmmsrec.study.tuning import Tuning
from tmmsrec.values import ValueProblem

LITTLE = replace(zoo.SASREC, width=12, length=10)

TEXT = """
from dataclasses import dataclass
from torch import nn
from tmmsrec.nn.backbones import Backbone

@dataclass(frozen=True)
class NAME(Backbone):
    def build(self, width, length):
        return Kept()

class Kept(nn.Module):
    def forward(self, x, mask=None):
        return x
"""


def module(folder: Path, text: str, name: str) -> ModuleType:
    """A file of a person's own, imported anew."""
    file = folder / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def test_a_run_of_an_own_part_is_another_when_its_text_is(tmp_path: Path) -> None:
    data = small()
    keys = []
    for text in (TEXT, TEXT, TEXT.replace("return x\n", "return 2 * x\n")):
        made = module(tmp_path, text.replace("NAME", "OwnOne"), "own_one")
        keys.append(Job(replace(LITTLE, backbone=made.OwnOne())).key(data))
    assert keys[0] == keys[1] != keys[2]
    assert own_parts(LITTLE) == []


def test_a_part_with_the_name_of_the_librarys_own_is_refused(tmp_path: Path) -> None:
    made = module(tmp_path, TEXT.replace("NAME", "GRU4Rec"), "own_two")
    with pytest.raises(ValueProblem, match=r"the name GRU4Rec of a Backbone from own_two is taken by the library's own"):
        Job(replace(LITTLE, backbone=made.GRU4Rec())).key(small())


def test_a_value_of_a_class_that_was_defined_anew_is_refused(tmp_path: Path) -> None:
    old = module(tmp_path, TEXT.replace("NAME", "OwnThree"), "own_three").OwnThree()
    new = module(tmp_path, TEXT.replace("NAME", "OwnThree"), "own_three").OwnThree()
    with pytest.raises(ValueProblem, match="defined later"):
        own_parts(replace(LITTLE, backbone=old))
    assert own_parts(replace(LITTLE, backbone=new))


class Ahead(nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return x + x.mean(1, keepdim=True)


class OfOne(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Last(nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return x[:, -1]


@dataclass(frozen=True)
class Tried(Backbone):
    """Builds what a test says."""

    builds: str = "Ahead"

    def build(self, width: int, length: int) -> nn.Module:
        return {"Ahead": Ahead, "OfOne": OfOne, "Last": Last}[self.builds]()


@dataclass(frozen=True)
class TriedAhead(Tried):
    """The same, and says what it does."""

    causal: ClassVar[bool] = False


@pytest.mark.parametrize(
    ("builds", "said"),
    [
        ("Ahead", "Tried calls itself causal, but what comes later changes a state by .*: each step would see its own target"),
        ("OfOne", r"Tried: what it builds takes \(x \[B, L, d\], mask"),
        ("Last", r"Tried gave \[2, 12\] for streams of \[2, 10, 12\]"),
    ],
)
def test_what_a_backbone_promises_is_tried_out(builds: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(LITTLE, backbone=Tried(builds)).build(small())


def test_a_backbone_that_says_that_it_sees_ahead_is_built() -> None:
    replace(LITTLE, backbone=TriedAhead(), steps="last").build(small())


def test_trying_out_draws_nothing() -> None:
    torch.manual_seed(3)
    first = replace(LITTLE, length=9).build(small())
    after = torch.rand(1)
    torch.manual_seed(3)
    second = replace(LITTLE, length=9).build(small())  # tried out before
    assert torch.equal(after, torch.rand(1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_split_that_shows_a_target_is_refused() -> None:
    log = small().interactions
    parts = LeaveOneOut().cut(log)
    with pytest.raises(ValueError, match="the part 'train' may read the valid target of user row 0"):
        Parts(Part("train", log, log.lengths, parts.train.users), parts.valid, parts.test)
    with pytest.raises(ValueError, match="the part 'valid' may read the test target"):
        Parts(parts.train, replace(parts.valid, stop=log.lengths), parts.test)


@dataclass(frozen=True)
class OwnFloor(Popularity):
    """A method that learns nothing, under a name of its own."""


def test_a_floor_of_ones_own_is_not_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "OWN_FLOOR", OwnFloor(), raising=False)
    assert zoo.space("own-floor", zoo.methods()["own-floor"], zoo.training("own-floor")) == {}
    with pytest.raises((DataProblem, ValueError), match="nothing to tune in own-floor"):
        tune(Tuning("own-floor", trials=2), small(), tmp_path)


class _Length(Fitted):
    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.width = encoder, 1

    def examine(self, contents: Iterable[Content], work: Work) -> Encoded:
        rows = np.array([[float(len(str(one)))] for one in contents], np.float32)
        return Encoded(rows, np.ones(len(rows), np.bool_), {})

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}

    def about(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class LengthText(Encoder):
    """How long a text is."""

    modality: ClassVar[str] = "text"

    def learn(self, contents: Iterable[Content], described: Iterable[Any]) -> Fitted:
        return _Length(self)

    def fit_encode(self, contents: Iterable[Content], work: Work) -> tuple[Fitted, Encoded]:
        return _Length(self), _Length(self).examine(contents, work)

    def restore(self, state: dict[str, Any], arrays: Any) -> Fitted:
        return _Length(self)


def test_a_text_encoder_of_ones_own_reads_texts() -> None:
    features, _ = extract_text(small(), LengthText())
    assert features.width == 1


def test_vectors_by_id_become_features() -> None:
    data = small()
    first, *others = list(data.catalog.ids)
    vectors = {one: [float(n), 1.0] for n, one in enumerate([*others, "gone"])}
    made = data.with_features(audio=vectors).features["audio"]
    assert made.rows.shape == (data.n_items + 1, 2)
    assert made.present.tolist() == [False, False, *[True] * len(others)]
    assert made.rows[data.catalog.ids.row(others[3])].tolist() == [3.0, 1.0]
    assert made.provenance["left_out"] == 1
    method = replace(LITTLE, modalities=("id", "audio"))
    method.build(data.with_features(audio=vectors))
    with pytest.raises(ValueError, match=r"no 'audio' features .*give them \(Dataset.with_features\(audio=...\)\)"):
        method.build(data)
    with pytest.raises(DataProblem, match=r"the vector of .* has the shape"):
        data.with_features(audio={**vectors, first: [1.0]})
    with pytest.raises(DataProblem, match="of no item of the catalogue: they have 'x'"):
        data.with_features(audio={"x": [1.0]})
    with pytest.raises(DataProblem, match="got ndarray"):
        data.with_features(audio=np.zeros((3, 2)))  # type: ignore[arg-type]


def test_recall_of_one_target_is_the_hit_rate() -> None:
    assert metrics.parse("Recall@10") == metrics.parse("hit@10") == metrics.HR @ 10
