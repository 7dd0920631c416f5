"""Values: to JSON and back, short keys, what a folder offers, and changes written as text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

from tmmsrec import values, zoo
from tmmsrec.data.split import ByTime, LeaveOneOut, Split
from tmmsrec.models.base import Method
from tmmsrec.models.sequential import Sequential
from tmmsrec.nn.losses import BCE, CrossEntropy, Loss
from tmmsrec.nn.time import TIE, Nothing, TimeEncoder
from tmmsrec.training import Training
from tmmsrec.values import ValueProblem, change, change_all


@pytest.mark.parametrize("name", sorted(zoo.methods()))
def test_every_method_survives_json(name: str) -> None:
    method = zoo.methods()[name]
    text = json.dumps(values.to_json(method))
    assert values.from_json(Method, json.loads(text)) == method


def test_training_and_splits_survive_json() -> None:
    training = replace(Training(), epochs=3, bf16=True)
    assert values.from_json(Training, json.loads(json.dumps(values.to_json(training)))) == training
    split = ByTime("2020-01-01", "2020-02-01")
    assert values.from_json(Split, values.to_json(split)) == split


def test_key_is_short_and_tells_values_apart() -> None:
    assert values.key(zoo.SASREC) == values.key(replace(zoo.SASREC))
    assert values.key(zoo.SASREC) != values.key(replace(zoo.SASREC, width=132))
    assert values.key(zoo.SASREC, 1) != values.key(zoo.SASREC, 2)
    assert len(values.key(zoo.SASREC)) == 12
    # Kinds with the same fields are different values.
    assert values.key(zoo.TMMSREC_LEARNED) != values.key(zoo.TMMSREC_SINUSOID)


def test_a_folder_offers_what_lies_in_it() -> None:
    assert {"BCE", "CrossEntropy", "SampledSoftmax"} <= set(values.offered(Loss))
    assert {"TIE", "Nothing"} <= set(values.offered(TimeEncoder))
    assert {"Sequential", "Popularity", "Repeat", "Markov"} <= set(values.offered(Method))
    assert "Method" not in values.offered(Method)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"kind": "Sequentil"}, "did you mean 'Sequential'"),
        ({"kind": "Sequential", "widht": 12}, "did you mean 'width'"),
        ({"kind": "Sequential", "width": "wide"}, "Sequential.width"),
        ({"width": 12}, "with a 'kind'"),
        ({"kind": "Sequential", "time": {"kind": "TIEE"}}, "did you mean 'TIE'"),
    ],
)
def test_json_that_does_not_fit_says_where(data: dict[str, object], said: str) -> None:
    with pytest.raises(ValueProblem, match=said):
        values.from_json(Method, data)


def test_change_reads_numbers_parts_and_lists() -> None:
    base = Sequential(time=TIE())
    assert change(base, "width", "132").width == 132
    assert change(base, "time.dropout", ".2").time == TIE(dropout=0.2)
    assert change(base, "time", "Nothing").time == Nothing()
    assert change(base, "loss", "CrossEntropy").loss == CrossEntropy()
    assert change(base, "loss", '{"kind": "BCE", "negatives": 4}').loss == BCE(4)
    assert change(base, "backbone.blocks", "1").backbone.blocks == 1  # type: ignore[attr-defined]
    assert change(base, "modalities", "id,text").modalities == ("id", "text")
    assert change(base, "modalities", '["id", "image"]').modalities == ("id", "image")
    assert change(base, "modalities", "text").modalities == ("text",)
    assert base == Sequential(time=TIE())


def test_change_reads_training_options() -> None:
    training = Training()
    assert change(training, "optimiser.lr", "1e-4").optimiser.lr == 1e-4
    assert change(training, "optimiser.clip", "1.5").optimiser.clip == 1.5
    assert change(change(training, "optimiser.clip", "1.5"), "optimiser.clip", "null").optimiser.clip is None
    assert change(training, "optimiser.betas", "[0.8, 0.9]").optimiser.betas == (0.8, 0.9)
    assert change(training, "metric", "HR@5").metric == "HR@5"
    assert change(training, "bf16", "true").bf16 is True


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("widht", "12", "no field 'widht'.*did you mean 'width'"),
        ("time.dropot", "0.2", "TIE has no field 'dropot'.*did you mean 'dropout'"),
        ("time", "Nothin", "did you mean 'Nothing'"),
        ("width", "wide", "Sequential.width"),
        ("width", "128", "128"),
        ("width.x", "1", "'x' leads into 126"),
        ("backbone.dropout", "NaN", "finite"),
        ("modalities", "id,id", "distinct"),
    ],
)
def test_a_change_that_cannot_be_made_says_why(path: str, text: str, said: str) -> None:
    with pytest.raises(ValueProblem, match=said):
        change(Sequential(time=TIE()), path, text)


def test_changes_may_come_in_any_order() -> None:
    base = Sequential(time=TIE())
    with pytest.raises(ValueProblem, match="128"):
        change_all(base, ["width=128"])
    wanted = replace(base, time=Nothing(), width=128)
    assert change_all(base, ["width=128", "time=Nothing"]) == wanted
    assert change_all(base, ["time=Nothing", "width=128"]) == wanted
    with pytest.raises(ValueProblem, match="FIELD=VALUE"):
        change_all(base, ["width"])


def test_a_value_without_fields_says_so() -> None:
    with pytest.raises(ValueProblem, match="it has: none"):
        change(LeaveOneOut(), "seed", "1")


def test_a_part_that_may_be_lacking_is_named_changed_and_left_out() -> None:
    plus = zoo.TMMSREC_PLUS
    without = change(plus, "follows", "null")
    assert without.follows is None
    assert values.from_json(Method, values.to_json(without)) == without
    assert change(change(without, "follows", "Follows"), "follows.tempered", "true") == plus
    assert change(plus, "follows.span", "5").follows.span == 5
    network = change(plus, "network", '{"kind": "Sequential", "length": 50, "modalities": ["id", "text"], "width": 66}')
    assert network.network == replace(zoo.TMMSREC_ID, modalities=("id", "text"), width=66)
    with pytest.raises(ValueProblem, match="has no fields"):
        change(without, "follows.span", "5")
    with pytest.raises(ValueProblem, match="Folows"):
        change(plus, "follows", "Folows")


@dataclass(frozen=True)
class OfAnother(TimeEncoder):
    """A part that lives in no folder of the package."""

    strength: float = 1.0

    def build(self, width, length):
        raise NotImplementedError


def test_a_part_from_elsewhere_is_known_once_it_is_defined():
    assert values.offered(TimeEncoder)["OfAnother"] is OfAnother
    method = replace(zoo.SASREC, time=OfAnother(2.0))
    assert values.from_json(Method, values.to_json(method)) == method
    assert values.change(zoo.SASREC, "time", "OfAnother").time == OfAnother()


def test_a_file_of_parts_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_parts").mkdir()
    (tmp_path / "broken_parts" / "__init__.py").write_text("")
    (tmp_path / "broken_parts" / "bad.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(values.ValueProblem, match=r"bad\.py cannot be imported: No module named 'nothing_of_this_name'"):
        values._imported("broken_parts.bad")


def test_an_installed_package_announces_its_parts_by_an_entry_point(tmp_path):
    """In a program of its own, for such modules are looked for once."""
    (tmp_path / "elsewhere.py").write_text(
        "from dataclasses import dataclass\n"
        "from tmmsrec.nn.losses import BCE\n"
        "@dataclass(frozen=True)\n"
        "class Softer(BCE):\n"
        "    pass\n"
    )
    about = tmp_path / "elsewhere-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tmmsrec]\nsofter = elsewhere\n")
    code = "from tmmsrec import values; from tmmsrec.nn.losses import Loss; print('Softer' in values.offered(Loss))"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    there = {**os.environ, "PYTHONPATH": path}
    said = subprocess.run([sys.executable, "-c", code], env=there, capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "True", said.stderr
