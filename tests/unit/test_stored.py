"""Feature rows that stay on disk: the same numbers as held ones, and never more of them in memory than are asked for."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import random_features, shrunk, small
from tmmsrec import zoo
from tmmsrec.data import mapping, store
from tmmsrec.data.catalog import Features
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.data.stored import Stored, feature_rows, leave_to_python
from tmmsrec.fit import fit
from tmmsrec.nn.items import FrozenRows
from tmmsrec.ranking import rank
from tmmsrec.training import Training


@pytest.fixture
def both(tmp_path):
    """The same Dataset with features that are held, and with features that stay on disk."""
    held = store.save(small(users=60), tmp_path / "data")
    stay = {name: replace(one, held=False) for name, one in held.features.items()}
    return held, replace(held, catalog=replace(held.catalog, features=stay))


@pytest.mark.parametrize("name", ["tmmsrec", "tmmsrec-add", "mmmlp"])
def test_a_training_ends_with_the_same_weights(both, name):
    method, found = shrunk(zoo.methods()[name]), []
    for data in both:
        parts = LeaveOneOut().cut(data.interactions)
        training = Training(epochs=2, batch=16, rows=64)
        found.append(fit(method, data, train=parts.train, valid=parts.valid, training=training))
    held, stay = (one.model.state_dict() for one in found)
    assert held.keys() == stay.keys()
    assert all(torch.equal(held[key], stay[key]) for key in held)
    ranks = [rank(one.model, LeaveOneOut().cut(d.interactions).test, history=20).ranks for one, d in zip(found, both, strict=True)]
    assert np.array_equal(*ranks)


def test_a_compiled_pass_reads_what_is_stored(tmp_path):
    one = random_features(50, 6, 3)
    np.save(tmp_path / "rows.npy", one.rows)
    torch.manual_seed(0)
    table = FrozenRows(Stored(np.load(tmp_path / "rows.npy", mmap_mode="r")), torch.tensor(one.present), 4)
    asked = torch.tensor([[3, 1], [50, 0]])
    leave_to_python()
    torch._dynamo.reset()
    for _ in range(2):  # the first time it is compiled
        assert torch.equal(torch.compile(lambda items: table(items) * 2, backend="eager")(asked), table(asked) * 2)
    told = torch._dynamo.explain(lambda items: table(items) * 2)(asked)
    assert told.graph_break_count == 1, told.break_reasons  # at the reading, and nowhere in it


def test_a_model_without_ids_holds_nothing_that_grows_with_the_catalogue(both):
    model = shrunk(replace(zoo.TMMSREC, modalities=("text", "image"))).build(both[1])
    tables = [part for part in model.modules() if isinstance(part, FrozenRows)]
    assert [part.features.numel() for part in tables] == [0, 0]
    assert all(isinstance(part.stored, Stored) and mapping.mapped(part.stored.rows) for part in tables)
    assert not any(len(p) == both[1].n_items + 1 for p in model.parameters())
    assert copy.deepcopy(model).tables[0].stored is model.tables[0].stored


def test_what_is_read_is_what_is_stored(tmp_path):
    rows = random_features(300, 7, 0).rows.astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    stored = Stored(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    asked = torch.tensor([[5, 5, 0], [299, 300, 1]])
    assert stored(asked).dtype == torch.float32
    assert torch.equal(stored(asked), torch.from_numpy(rows.astype(np.float32))[asked])
    assert torch.equal(stored(torch.arange(301)), torch.from_numpy(rows.astype(np.float32)))
    sliced = Stored(np.load(tmp_path / "rows.npy", mmap_mode="r")[100:])
    assert torch.equal(sliced(torch.arange(50)), torch.from_numpy(rows.astype(np.float32))[100:150])
    assert stored(torch.zeros(0, dtype=torch.long)).shape == (0, 7)


def test_all_rows_in_blocks_are_all_rows(monkeypatch):
    monkeypatch.setattr("tmmsrec.nn.items._ROWS", 7)
    one = random_features(30, 6, 3)
    torch.manual_seed(0)
    table = FrozenRows(Stored(one.rows), torch.tensor(one.present), 4)
    expected = torch.from_numpy(one.rows) @ table.map.weight.T
    assert torch.allclose(table(), expected, atol=1e-6)
    table().sum().backward()
    assert torch.allclose(table.map.weight.grad, torch.from_numpy(one.rows).sum(0).expand(4, -1), atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(table(), expected, atol=1e-6)


def test_a_person_or_the_size_says_what_is_held(monkeypatch):
    one = random_features(30, 6, 3)
    assert one.in_memory
    assert isinstance(feature_rows(one), torch.Tensor)
    assert not replace(one, held=False).in_memory
    monkeypatch.setattr("tmmsrec.data.catalog.HELD", one.rows.nbytes - 1)
    assert isinstance(feature_rows(one), Stored)
    assert isinstance(feature_rows(replace(one, held=True)), torch.Tensor)


def test_half_precision_is_kept_on_disk_and_every_method_reads_it(tmp_path):
    data = small()
    halves = {name: replace(one, rows=one.rows.astype(np.float16)) for name, one in data.features.items()}
    read = store.save(data.with_features(**halves), tmp_path / "half")
    assert read.features["text"].rows.dtype == np.float16
    rounded = {name: replace(one, rows=one.rows.astype(np.float32)) for name, one in halves.items()}
    assert read.fingerprint == data.with_features(**rounded).fingerprint
    part = LeaveOneOut().cut(data.interactions).test
    for name in ("tmmsrec", "tmmsrec-plus", "mmmlp", "vbpr-itv", "mgat", "maml", "freedom"):
        method = shrunk(zoo.methods()[name])
        model = method.build(read)
        model.prepare(LeaveOneOut().cut(data.interactions).train)
        assert np.isfinite(rank(model, part, history=method.history).ranks).all()
        assert all(p.dtype == torch.float32 for p in model.parameters())


def test_a_bad_row_in_a_later_block_is_named(monkeypatch):
    monkeypatch.setattr("tmmsrec.data.mapping.blocks.__defaults__", (4,))
    one = random_features(30, 6, 3)
    one.rows[[17, 23], 2] = np.nan
    with pytest.raises(DataProblem, match="infinity in 2 rows, first at item row 17"):
        Features(one.rows, one.present).check("text", 30)


def resident() -> int:
    with open("/proc/self/smaps_rollup") as told:
        return next(int(line.split()[1]) for line in told if line.startswith("Pss_File"))


@pytest.mark.skipif(not hasattr(__import__("mmap"), "MADV_DONTNEED"), reason="the system takes no advice about memory")
def test_what_was_read_is_given_back(tmp_path):
    """64 MB are read in four ways and the process keeps none of them."""
    np.save(tmp_path / "rows.npy", np.ones((1 << 17, 128), np.float32))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    before = resident()
    float(rows.sum())
    assert resident() - before > 50_000  # else this test says nothing
    mapping.give_back(rows)
    for _, block in mapping.blocks(rows):
        float(block.sum())
    Stored(rows)(torch.arange(len(rows)))
    assert resident() - before < 8_000
    writable = np.load(tmp_path / "rows.npy", mmap_mode="c")
    writable[5] = 7
    mapping.give_back(writable)  # a private copy would lose what was written: it is left alone
    assert (writable[5] == 7).all()
