"""A network beside counts: trained before, on its own, and weighed by validation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import shrunk, small
from tmmsrec import metrics, zoo
from tmmsrec.data.batch import Pass, ranking_batches, training_batches
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut, Part
from tmmsrec.fit import Start, fit, go_on
from tmmsrec.lesson import Exam
from tmmsrec.models.additive import WEIGHTS
from tmmsrec.models.base import learned_numbers
from tmmsrec.nn.losses import CrossEntropy
from tmmsrec.study.run import Job, run
from tmmsrec.training import Adam, Training

METHOD = shrunk(zoo.TMMSREC_PLUS_SASREC)
METHOD = replace(METHOD, network=replace(METHOD.network, loss=CrossEntropy()))
ALONE = replace(METHOD, network=None, network_training=None)
TRAINING = Training(epochs=2, batch=16, optimiser=Adam(lr=0.02))


@pytest.fixture
def parts(dataset):
    return LeaveOneOut().cut(dataset.interactions)


def scores(model, part: Part) -> torch.Tensor:
    model.eval()
    model.observe(part)
    with torch.no_grad():
        return torch.cat([model.score(batch) for _, batch in ranking_batches(part, size=100, length=20)])


def test_a_score_is_that_of_the_counts_and_the_weight_times_the_networks(dataset, parts):
    torch.manual_seed(0)
    model = METHOD.build(dataset)
    model.prepare(parts.train)
    counts = ALONE.build(dataset)
    counts.load_state_dict({n: t for n, t in model.state_dict().items() if not n.startswith(("network", "weight"))})
    plain, network = scores(counts, parts.valid), scores(model.network, parts.valid)
    for weight in (0.0, 0.25, 2.0):
        model.weight.fill_(weight)
        torch.testing.assert_close(scores(model, parts.valid)[:, 1:], (plain + weight * network)[:, 1:], rtol=1e-4, atol=1e-4)


def test_the_loss_knows_nothing_of_the_network(dataset, parts):
    torch.manual_seed(0)
    model = METHOD.build(dataset)
    model.observe(parts.train)
    sampler = Sampler(parts.train, dataset.n_items, METHOD.negatives)
    batch = next(training_batches(parts.train, Pass(size=16, length=20), sampler, seed=(0,)))
    before = model.loss(batch)
    model.weight.fill_(1.5)
    assert torch.equal(model.loss(batch), before)
    before.backward()
    assert all(p.grad is None for p in model.network.parameters())
    assert learned_numbers(METHOD, model) == sum(p.numel() for p in model.parameters())
    assert learned_numbers(ALONE, ALONE.build(dataset)) < 1000


def test_the_weight_is_the_one_that_validation_likes_best(dataset):
    model = METHOD.build(dataset)
    liked = {weight: -abs(weight - 0.7) for weight in WEIGHTS}
    asked: list[float] = []

    def reached() -> float:
        asked.append(round(float(model.weight), 2))
        return liked[asked[-1]]

    assert model.settle(reached) == liked[0.75]
    assert tuple(asked) == WEIGHTS  # each ranks once
    assert float(model.weight) == 0.75
    assert model.settle(lambda: 0.5) == 0.5  # all alike: the network is not worth its price
    assert float(model.weight) == 0
    assert ALONE.build(dataset).settle(lambda: 0.25) == 0.25  # there is nothing to weigh


def test_it_is_the_two_trained_apart(dataset, parts):
    common = {"train": parts.train, "valid": parts.valid, "seed": 3}
    whole = fit(METHOD, dataset, training=TRAINING, **common)
    network = fit(METHOD.network, dataset, training=METHOD.network_training, **common)
    counts = fit(ALONE, dataset, training=TRAINING, **common)
    held = whole.model.state_dict()
    assert float(held["weight"]) in [pytest.approx(weight) for weight in WEIGHTS]
    for name, tensor in network.model.state_dict().items():
        assert torch.equal(held[f"network.{name}"], tensor), name
    for name, tensor in counts.model.state_dict().items():
        torch.testing.assert_close(held[name], tensor)
    assert whole.best >= counts.best
    exam = Exam(parts.valid, metrics.parse(TRAINING.metric), METHOD.history, observe=True, exclude_seen=False)
    assert whole.best == exam(whole.model)
    assert whole.seconds > counts.seconds / 100  # the network's are among them


def test_a_training_that_was_stopped_within_goes_on(dataset, parts, tmp_path):
    class Stop(Exception):
        pass

    def stop(told):
        if told.epoch == 1:
            raise Stop

    common = {"train": parts.train, "valid": parts.valid, "seed": 3, "training": TRAINING}
    whole = fit(METHOD, dataset, **common)
    with pytest.raises(Stop):
        fit(METHOD, dataset, folder=tmp_path, watch=stop, **common)
    assert (tmp_path / "network").exists()
    again = fit(METHOD, dataset, folder=tmp_path, **common)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_a_network_that_was_run_alone_is_not_trained_again(dataset, tmp_path):
    alone = run(Job(METHOD.network, METHOD.network_training), dataset, tmp_path)
    done = run(Job(METHOD, TRAINING), dataset, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([alone.folder.name, done.folder.name])
    held = done.model(dataset).state_dict()
    for name, tensor in alone.model(dataset).state_dict().items():
        assert torch.equal(held[f"network.{name}"], tensor), name
    assert done.about["parameters"] > alone.about["parameters"]
    assert done.about["seconds"]["fit"] >= alone.about["seconds"]["fit"]
    assert "result" in done.about


def test_alone_it_leaves_a_run_of_its_network_whose_test_stays_closed(dataset, tmp_path):
    done = run(Job(METHOD, TRAINING), dataset, tmp_path)
    (network,) = (p for p in tmp_path.iterdir() if p != done.folder)
    assert "result" not in json.loads((network / "run.json").read_text())


def test_going_on_leaves_the_network_and_its_weight(dataset, parts):
    common = {"train": parts.train, "valid": parts.valid, "training": TRAINING}
    first = fit(METHOD, dataset, **common)
    first.model.weight.fill_(0.25)
    held = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    start = Start(METHOD, dataset, lambda model: model.load_state_dict(held), "first")
    after = go_on(start, **common).model.state_dict()
    assert all(torch.equal(after[name], held[name]) for name in held if name.startswith(("network", "weight")))
    assert not all(torch.equal(after[name], held[name]) for name in held)


def test_a_refit_is_refused(dataset, parts):
    with pytest.raises(ValueError, match=r"training\.refit: the network of Additive and its weight are chosen by validation"):
        fit(METHOD, dataset, train=parts.train, valid=parts.valid, training=replace(TRAINING, refit=True))


def test_a_network_without_texts_and_pictures_reads_what_there_is():
    network = replace(shrunk(zoo.TMMSREC), loss=CrossEntropy())
    left = replace(METHOD, network=network).reading({"text"})
    assert left.network.modalities == ("id", "text")
    assert left.modalities == ("text",)
    assert np.isfinite(scores(left.build(small()), LeaveOneOut().cut(small().interactions).valid)[:, 1:]).all()
