"""A Recommender as a folder: the same answers bit for bit, and never a damaged or half-written one."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tmmsrec.recommender.bundle as bundle_module
from tests.conftest import small
from tests.killing import killed
from tests.shopkeeping import TMMSREC, learned, picture, shopkeeper
from tmmsrec.data import swap
from tmmsrec.data.problems import DataProblem, NewerFormat
from tmmsrec.recommender import Recommender

__all__ = ["learned", "shopkeeper"]  # fixtures


def _rewrite(folder: Path, change) -> None:
    head = json.loads((folder / "bundle.json").read_text())
    change(head)
    (folder / "bundle.json").write_text(json.dumps(head))


def _sealed(folder: Path) -> None:
    """Write the hash of the weights as they are, as one would who made a bundle by hand."""
    digest = hashlib.blake2b((folder / "weights.safetensors").read_bytes(), digest_size=16).hexdigest()
    _rewrite(folder, lambda head: head["files"].update({"weights.safetensors": digest}))


def test_a_bundle_gives_the_same_answers_bit_for_bit(learned, tmp_path):
    method, model, dataset, encoders = learned
    mine = Recommender(method, model, dataset, {"training": {"epochs": 60}, "HR@10": 0.5}, encoders)
    mine.save(tmp_path / "bundle")
    again = Recommender.load(tmp_path / "bundle")
    assert again.recommend_many([f"u{n}" for n in range(60)], k=24) == mine.recommend_many([f"u{n}" for n in range(60)], k=24)
    assert again.recommend("u7") == mine.recommend("u7")
    assert again.similar("B003") == mine.similar("B003")
    assert again.about == {"training": {"epochs": 60}, "HR@10": 0.5}
    assert again.method == method
    assert again.dataset.fingerprint == dataset.fingerprint
    new = [{"id": "N", "title": "red shirt", "image": picture("red", 91)}]
    assert again.add_items(new) == mine.add_items(new)
    assert again.recommend("u0", k=25) == mine.recommend("u0", k=25)
    found = {p.relative_to(tmp_path / "bundle").parts[0] for p in (tmp_path / "bundle").rglob("*") if p.is_file()}
    assert found == {"bundle.json", "weights.safetensors", "dataset", "encoders"}


def test_a_bundle_is_replaced_by_its_own_reader(shopkeeper, tmp_path):
    before = shopkeeper.recommend("u0")
    shopkeeper.save(tmp_path / "fresh")  # its arrays are maps of the files that are replaced
    assert shopkeeper.recommend("u0") == before == Recommender.load(tmp_path / "fresh").recommend("u0")
    assert [p.name for p in tmp_path.iterdir()] == ["fresh"]


def test_a_bundle_that_is_replaced_while_it_is_read_is_read_again(shopkeeper, tmp_path, monkeypatch):
    """As by an update in its place: the head is of the old one, the files are of the new one."""
    shopkeeper.save(tmp_path / "bundle")
    opened, seen = bundle_module._opened, []

    def late(folder, head):
        if not seen:
            shopkeeper.add_events([("u0", "B003", "2030-01-01")])
            shopkeeper.save(folder)
        seen.append(head["files"])
        return opened(folder, head)

    monkeypatch.setattr(bundle_module, "_opened", late)
    events = Recommender.load(tmp_path / "bundle").people.events
    assert len(seen) == 2
    assert events == shopkeeper.people.events


def test_a_bundle_whose_replacement_was_killed_between_two_renames_is_there(shopkeeper, tmp_path, monkeypatch):
    """As on a file system that does not let two folders change places at once."""
    monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    renames, real = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: renames.append(b) or real(a, b))
    shopkeeper.save(tmp_path / "fresh")
    before = shopkeeper.recommend("u0")
    assert renames[-1] == tmp_path / "fresh"
    shopkeeper.add_events([("u0", "B001", 1_700_000_000)])
    killed(os, "replace", len(renames), lambda: shopkeeper.save(tmp_path / "fresh"))
    assert not (tmp_path / "fresh").exists()
    assert Recommender.load(tmp_path / "fresh").recommend("u0") == before


def test_a_bundle_of_a_newer_version_is_refused(shopkeeper, tmp_path):
    _rewrite(tmp_path / "fresh", lambda head: head.update(format=99))
    with pytest.raises(NewerFormat, match=r"bundle format 99.*upgrade"):
        Recommender.load(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda b: (b / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda b: (b / "dataset" / "items.arrow").unlink(), "dataset/items.arrow is missing"),
        (lambda b: (b / "dataset" / "features" / "text" / "rows.npy").write_bytes(b"x"), "text/rows.npy is not what was saved"),
        (lambda b: (b / "encoders" / "text" / "encoder.json").unlink(), "encoders/text/encoder.json is missing"),
        (lambda b: (b / "weights.safetensors").write_bytes((b / "weights.safetensors").read_bytes()[:-9]), "not what was saved"),
        (lambda b: (b / "bundle.json").write_text("{"), "not readable JSON"),
        (lambda b: (b / "bundle.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
        (lambda b: (b / "bundle.json").write_text("[]"), "damaged"),
        (lambda b: (b / "bundle.json").unlink(), "is no bundle"),
        (lambda b: _rewrite(b, lambda head: head.pop("method")), "lacks 'method'"),
        (lambda b: _rewrite(b, lambda head: head["method"].update(kind="Sequentail")), "did you mean 'Sequential'"),
        (lambda b: _rewrite(b, lambda head: head["method"].update(width=13)), "divide by 6"),
        (lambda b: _rewrite(b, lambda head: head.update(trained_items=25)), "25 items were trained; the bundle holds 24"),
    ],
)
def test_a_damaged_bundle_is_refused_with_the_reason(shopkeeper, tmp_path, damage, said):
    damage(tmp_path / "fresh")
    with pytest.raises(DataProblem, match=said):
        Recommender.load(tmp_path / "fresh")


def test_weights_of_a_wrong_shape_or_lacking_are_named(shopkeeper, tmp_path):
    file = tmp_path / "fresh" / "weights.safetensors"
    weights = load_file(file)
    save_file({**weights, "tables.0.table.weight": torch.zeros(24, 12)}, file)
    _sealed(tmp_path / "fresh")
    with pytest.raises(DataProblem, match=r"(?s)does not fit the method and the items.*tables\.0\.table\.weight.*\[24, 12\]"):
        Recommender.load(tmp_path / "fresh")
    save_file({name: w for name, w in weights.items() if name != "tables.0.table.weight"}, file)
    _sealed(tmp_path / "fresh")
    with pytest.raises(DataProblem, match=r"(?s)does not fit.*tables\.0\.table\.weight"):
        Recommender.load(tmp_path / "fresh")
    file.write_bytes(b"not safetensors")
    _sealed(tmp_path / "fresh")
    with pytest.raises(DataProblem, match="damaged"):
        Recommender.load(tmp_path / "fresh")


def test_a_folder_with_other_things_in_it_is_left_alone(shopkeeper, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataProblem, match="holds other files and no bundle"):
        shopkeeper.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataProblem, match="is a file; choose"):
        shopkeeper.save(tmp_path / "file")


@pytest.mark.parametrize("where", ["write_tensors", "_hash"])
def test_a_full_disk_leaves_the_old_bundle(shopkeeper, tmp_path, monkeypatch, where):
    before = shopkeeper.recommend("u0")
    shopkeeper.add_items([{"id": "N", "title": "red shirt"}])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(bundle_module, where, full)
        with pytest.raises(DataProblem, match=r"(?i)no space left"):
            shopkeeper.save(tmp_path / "fresh")
    assert [p.name for p in tmp_path.iterdir()] == ["fresh"]  # nothing half-written beside it
    again = Recommender.load(tmp_path / "fresh")
    assert again.recommend("u0") == before
    assert again.dataset.n_items == 24


def test_what_does_not_go_to_json_is_refused_before_anything_is_written(shopkeeper, tmp_path):
    shopkeeper.about["model"] = object()
    with pytest.raises(DataProblem, match="'about' must hold"):
        shopkeeper.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_encoder_this_version_cannot_use_matters_only_to_new_items(shopkeeper, tmp_path, monkeypatch):
    monkeypatch.setattr("tmmsrec.extract.descriptors.VERSION", 99)
    mine = Recommender.load(tmp_path / "fresh")
    assert mine.recommend("u0")
    with pytest.raises(DataProblem, match="version"):
        mine.add_items([{"id": "N", "image": picture("red", 1)}])
    with pytest.raises(DataProblem, match="version"):
        mine.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_model_that_holds_nan_or_other_items_is_refused():
    dataset = small()
    model = TMMSREC.build(dataset)
    with torch.no_grad():
        model.item_tables[0].table.weight[5, 0] = float("nan")
    with pytest.raises(DataProblem, match=r"vector of item 5 holds NaN or infinity \(1 such\)"):
        Recommender(TMMSREC, model, dataset)
    with pytest.raises(DataProblem, match="the model has 12 items and the dataset 30"):
        Recommender(TMMSREC, TMMSREC.build(small(items=12)), dataset)
