"""Figure 4: ID rows before and after a training, item rows in two dimensions, and the company that near rows keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import random_features, small
from tmmsrec import studies, zoo
from tmmsrec.checkpoint import read_tensors
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.data.worlds import checkerboard
from tmmsrec.loop import Loop
from tmmsrec.study.blocks import Points, Table, figures
from tmmsrec.study.gather import Results
from tmmsrec.study.item_rows import ItemRows, by_lot, id_rows, of_features, of_run, start
from tmmsrec.study.looks import figure4
from tmmsrec.study.neighbours import company
from tmmsrec.study.projection import FEWEST, projected
from tmmsrec.study.run import Job, run
from tmmsrec.study.study import Entrant, Study
from tmmsrec.training import Training

TRAINING = Training(epochs=2, batch=16)
ENTRANTS = {
    "alone": Entrant(replace(zoo.TMMSREC_ID_TIE, width=12, length=10), TRAINING),
    "TMMSRec": Entrant(replace(zoo.TMMSREC, width=12, length=10), TRAINING),
}
STUDY = Study("Small", ENTRANTS, seeds=1, more=figure4.sections)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small study, and the ID rows that the loop itself was handed for each of its runs."""
    root, dataset, began = tmp_path_factory.mktemp("runs"), small(), []
    whole = Loop.run

    def watched(self, *given, **named):
        began.append(next(p for p in self.model.parameters() if p.shape == (31, 12)).detach().cpu().numpy().copy())
        return whole(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "run", watched)
        runs = {name: [run(Job(e.method, e.training, seed=3), dataset, root)] for name, e in ENTRANTS.items()}
    return Results(STUDY, dataset, root, {}, runs, {}), dict(zip(ENTRANTS, began, strict=True))


@pytest.mark.parametrize("name", list(ENTRANTS))
def test_before_is_what_training_began_with_and_after_what_it_kept(done, name):
    results, began = done
    of = results.runs[name][0]
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    before, after = of_run(of, results.dataset, name)
    fresh = id_rows(start(of, results.dataset))
    assert np.array_equal(before.rows, began[name])
    assert np.array_equal(fresh, before.rows)
    assert np.array_equal(after.rows, read_tensors(of.folder / "weights.safetensors")[0]["tables.0.table.weight"].numpy())
    assert not np.allclose(before.rows[1:], after.rows[1:], atol=1e-4)
    assert before.present.tolist() == after.present.tolist() == [False] + 30 * [True]
    torch.random.set_rng_state(state)
    start(of, results.dataset)
    assert torch.equal(torch.random.get_rng_state(), state)  # nothing is drawn from what others draw from


def test_a_method_without_id_rows_shows_none(tmp_path):
    dataset = small()
    assert of_run(run(Job(zoo.POPULARITY), dataset, tmp_path), dataset, "popularity") == []


def test_the_lot_is_one_order_of_all_items():
    everything = np.array([False] + 50 * [True])
    some = everything.copy()
    some[10:40] = False
    few = by_lot(everything, 20)
    assert len(few) == len(set(few.tolist())) == 20
    assert (np.diff(few) > 0).all()
    assert few.min() >= 1
    assert set(few.tolist()) & set(np.flatnonzero(some).tolist()) <= set(by_lot(some, 20).tolist())
    assert by_lot(some).tolist() == np.flatnonzero(some).tolist()
    assert few.tolist() != by_lot(everything, 20, seed=1).tolist()


def test_equal_seeds_give_equal_points_and_blocks_stay_together():
    rng = np.random.default_rng(0)
    which = np.arange(40) % 2
    rows = (np.eye(2)[which] * 5 + rng.normal(size=(40, 2)) * 0.3).astype(np.float32)
    points = projected(rows, seed=4)
    assert points.shape == (40, 2)
    assert np.array_equal(points, projected(rows, seed=4))
    near = np.argsort(((points[:, None] - points) ** 2).sum(-1), axis=1)[:, 1:6]
    assert (which[near] == which[:, None]).mean() > 0.95


def test_what_cannot_be_projected_is_none():
    rng = np.random.default_rng(0)
    assert projected(rng.normal(size=(FEWEST - 1, 3)).astype(np.float32)) is None
    assert projected(np.ones((20, 3), dtype=np.float32)) is None
    assert projected(rng.normal(size=(FEWEST, 1)).astype(np.float32)).shape == (FEWEST, 2)


def rows_of(matrix: np.ndarray, missing: tuple[int, ...] = ()) -> ItemRows:
    """Item rows with a padding row before them."""
    rows = np.concatenate([np.zeros((1, matrix.shape[1])), matrix]).astype(np.float32)
    present = np.ones(len(rows), dtype=bool)
    present[[0, *missing]] = False
    return ItemRows("rows", rows, present)


def slow(rows: ItemRows, dataset: Dataset, k: int = 10) -> tuple[float, float, float]:
    """Share, dealt and chance by loops over items, for rows without ties."""
    train = LeaveOneOut().cut(dataset.interactions).train
    log, stop = train.interactions, train.stop
    met = [set(log.items[log.offsets[u] : log.offsets[u] + stop[u]].tolist()) for u in range(log.users)]
    candidates = [i for i in range(1, len(rows.present)) if rows.present[i] and any(i in of for of in met)]
    friends = {i: {j for of in met if i in of for j in of if j != i and j in candidates} for i in candidates}
    asked = [i for i in candidates if friends[i]]
    x = rows.rows / np.maximum(np.linalg.norm(rows.rows, axis=1, keepdims=True), 1e-12)
    k = min(k, len(candidates) - 1)
    near = {i: sorted((j for j in candidates if j != i), key=lambda j: -float(x[i] @ x[j]))[:k] for i in asked}
    share = np.mean([len(friends[i] & set(near[i])) / k for i in asked])
    lists = [(i, [j for j in near[other] if j != i]) for i in asked for other in asked if i != other]
    dealt = sum(len(friends[i] & set(of)) for i, of in lists) / sum(len(of) for _, of in lists)
    chance = np.mean([len(friends[i]) / (len(candidates) - 1) for i in asked])
    return float(share), float(dealt), float(chance)


@pytest.mark.parametrize(("seed", "missing"), [(0, ()), (1, (2, 5, 9)), (2, tuple(range(8, 31)))])
def test_company_is_that_of_slow_counting(seed, missing):
    dataset = small(users=25, seed=seed)
    rows = rows_of(np.random.default_rng(seed).normal(size=(30, 6)), missing)
    found = company(rows, LeaveOneOut().cut(dataset.interactions).train)
    assert (found.share, found.dealt, found.chance) == pytest.approx(slow(rows, dataset))
    assert found.within.lo <= found.share <= found.within.hi


def test_near_rows_keep_company_where_that_was_planted_and_not_by_chance():
    world = checkerboard(users=300)
    train = LeaveOneOut().cut(world.dataset.interactions).train
    rng = np.random.default_rng(0)
    planted = np.eye(2)[np.arange(1, 41) % 2] + 0.05 * rng.normal(size=(40, 2))
    found = company(rows_of(planted), train)
    assert found.share == 1.0
    assert found.chance == pytest.approx(19 / 39)
    assert found.dealt == pytest.approx(19 / 39, abs=0.03)
    at_random = [company(rows_of(rng.normal(size=(40, 20))), train) for _ in range(30)]
    assert np.mean([of.share - of.chance for of in at_random]) == pytest.approx(0, abs=0.02)


def test_rows_that_are_all_the_same_keep_company_by_chance_exactly():
    """Ties are shared out, so that the order of the items says nothing."""
    world = checkerboard(users=100, items=60)
    found = company(rows_of(np.ones((60, 3))), LeaveOneOut().cut(world.dataset.interactions).train)
    assert found.share == pytest.approx(found.chance, abs=1e-9)


def test_rows_that_are_near_to_all_count_as_such():
    """A few items that everybody had are nearest to all others: far above chance, and no better than the lists dealt anew."""
    users, popular = 60, 12
    met = [[*range(1, popular + 1), popular + 1 + u, 1, 1] for u in range(users)]
    owner = np.repeat(np.arange(users), popular + 3)
    log = Interactions.of(owner, np.concatenate(met), np.tile(np.arange(popular + 3), users))
    away = np.random.default_rng(0).normal(size=(popular + users, 200)) / np.sqrt(200)
    middle = np.eye(200)[np.zeros(popular + users, int)]
    share = np.where(np.arange(popular + users) < popular, 0.1, 1.0)[:, None]  # of its own direction in a row
    found = company(rows_of(middle + share * away), LeaveOneOut().cut(log).train)
    assert (found.share, found.dealt) == (1.0, 1.0)
    assert found.chance < 0.4


def test_no_company_is_none():
    log = Interactions.of(np.array([0, 0, 0]), np.array([1, 2, 3]), np.arange(3))
    dataset = Dataset.in_memory("one", log, 3)
    assert company(rows_of(np.eye(3)), LeaveOneOut().cut(dataset.interactions).train) is None


def shown(results: Results) -> tuple[dict[str, np.ndarray], list[str], list[list[str]]]:
    clouds, like = results.study.more(results)
    panels = {p.title: p for f in figures(clouds.blocks) for p in f.chart.panels}
    said = [point for block in clouds.blocks if isinstance(block, Points) for point in block.points]
    return panels, said, [list(row) for block in like.blocks if isinstance(block, Table) for row in block.rows]


def test_every_modality_and_every_run_has_its_panel(done):
    results, _ = done
    panels, said, rows = shown(results)
    assert [title.split(" (")[0] for title in panels] == [
        "text features", "image features",
        "ID rows before training, alone", "ID rows after training, alone",
        "ID rows before training, TMMSRec", "ID rows after training, TMMSRec",
    ]  # fmt: skip
    assert len(panels["image features (28)"].points) == 28  # two have no picture
    counts = LeaveOneOut().cut(results.dataset.interactions).train.item_counts(30)
    assert panels["text features (30)"].shade == pytest.approx(np.log10(1 + counts[1:]))
    assert [row[0] for row in rows] == [title.split(" (")[0] for title in panels]
    assert sum("cosine of" in line for line in said) == 2
    again, *_ = shown(results)
    assert all(np.array_equal(again[title].points, panel.points) for title, panel in panels.items())


def test_rows_of_items_without_the_modality_change_nothing():
    features = random_features(30, 5, 2, missing=(3, 7))
    dataset = small()
    (kind,) = (k for k in of_features(dataset) if k.name == "image features")
    other = kind.rows.copy()
    other[[3, 7]] = 100.0
    changed = replace(kind, rows=other)
    train = LeaveOneOut().cut(dataset.interactions).train
    items = by_lot(kind.present)
    assert items.tolist() == np.flatnonzero(features.present).tolist()
    assert np.array_equal(projected(kind.directions(items)), projected(changed.directions(items)))
    assert company(kind, train) == company(changed, train)


def test_data_without_texts_and_pictures_shows_id_rows(tmp_path):
    data = small()
    bare = replace(data, catalog=replace(data.catalog, features={}))
    entrants = studies.named("figure4-features").fitting(bare).entrants
    assert list(entrants) == ["w/ ID&TIE"]
    job = Job(ENTRANTS["alone"].method, TRAINING)
    panels, said, rows = shown(Results(STUDY.fitting(bare), bare, tmp_path, {}, {"alone": [run(job, bare, tmp_path)]}, {}))
    assert len(panels) == len(rows) == 2
    assert any("no text and no image features" in line for line in said)


def test_a_study_under_way_says_what_is_not_trained(done):
    results, _ = done
    panels, said, rows = shown(replace(results, runs={}))
    assert len(panels) == len(rows) == 2
    assert {"alone: not trained yet.", "TMMSRec: not trained yet."} <= set(said)
