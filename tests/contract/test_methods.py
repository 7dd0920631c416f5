"""The contract that every method of the zoo keeps.  Methods are found by themselves; nobody keeps a list."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tests.conftest import all_methods, small
from tmmsrec import values
from tmmsrec.checkpoint import read_tensors, write_tensors
from tmmsrec.data.batch import Batch, Pass, history_batch, ranking_batches, training_batches
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.models.base import Method, VectorModel, with_beside
from tmmsrec.ranking import rank
from tmmsrec.training import Adam, Training

every_method = pytest.mark.parametrize("method", all_methods())
TRAINING = Training(epochs=3, batch=16, optimiser=Adam(lr=3e-3))


@pytest.fixture
def parts(dataset):
    return LeaveOneOut().cut(dataset.interactions)


def built(method: Method, dataset: Dataset, seed: int = 0):
    torch.manual_seed(seed)
    model = method.build(dataset).eval()
    model.prepare(LeaveOneOut().cut(dataset.interactions).train)
    model.observe(LeaveOneOut().cut(dataset.interactions).test)
    return model


def epoch(method: Method, part, sampler: Sampler, size: int, seed: tuple[int, ...], per=None) -> list[Batch]:
    return list(training_batches(part, Pass(size=size, length=method.history, per=per or method.per), sampler, seed=seed))


def first_batch(method: Method, part) -> Batch:
    return next(iter(ranking_batches(part, size=16, length=method.history)))[1]


@every_method
def test_scores_have_a_column_per_item_and_are_finite(method, dataset, parts):
    batch = first_batch(method, parts.test)
    scores = built(method, dataset).score(batch).expand(len(batch.users), -1)
    assert scores.shape == (16, dataset.n_items + 1)
    assert scores[:, 1:].isfinite().all()


@every_method
def test_float16_features_are_computed_with_in_float32(method, dataset, parts):
    half = {m: Features(f.rows.astype(np.float16), f.present) for m, f in dataset.features.items()}
    full = {m: Features(f.rows.astype(np.float32), f.present) for m, f in half.items()}
    batch = first_batch(method, parts.test)
    scores = [built(method, dataset.with_features(**rows)).score(batch) for rows in (half, full)]
    assert scores[0].dtype in (torch.float32, torch.float64)  # counting models count in float64
    assert torch.equal(*scores)


@every_method
@pytest.mark.parametrize("there", [(), ("text",), ("image",)], ids=["no features", "text", "image"])
def test_goes_without_the_features_that_a_catalogue_lacks(method, dataset, parts, there):
    """Or says that it is nothing without them."""
    if not method.can_read(there):
        assert method.modalities
        assert not set(method.modalities) & set(there)
        return
    left = replace(dataset, catalog=replace(dataset.catalog, features={m: dataset.features[m] for m in there}))
    reading = method.reading(left.features)
    assert set(reading.reads) <= {"id", *there}
    scores = built(reading, left).score(first_batch(reading, parts.test))
    assert scores[:, 1:].isfinite().all()


@every_method
def test_goes_to_json_and_back(method):
    again = values.from_json(Method, values.to_json(method))
    assert again == method
    assert values.key(again) == values.key(method)


@every_method
def test_empty_and_one_event_histories_are_scored(method, dataset):
    items, times = np.array([[0, 0], [4, 0]]), np.array([[0, 0], [1_500_000_000, 0]])
    batch = history_batch(np.array([0, 1]), items, times, np.array([1_500_000_000, 1_600_000_000]))
    assert built(method, dataset).score(batch)[:, 1:].isfinite().all()


@every_method
def test_one_example_alone_equals_the_same_in_a_batch(method, dataset, parts):
    """Also: how far a batch is padded changes nothing."""
    model = built(method, dataset)
    _, whole = next(iter(ranking_batches(parts.test, size=40, length=method.history)))
    together = model.score(whole).detach()
    for at in (0, 17, 39):
        n = max(1, int(whole.mask[at].sum()))
        alone = history_batch(
            whole.users[at : at + 1].numpy(),
            whole.items[at : at + 1, :n].numpy(),
            whole.times[at : at + 1, :n].numpy(),
            whole.now[at, n - 1 : n].numpy(),
        )
        expected = together[at if len(together) > 1 else 0, 1:]
        torch.testing.assert_close(model.score(alone)[0, 1:].detach(), expected, atol=2e-5, rtol=1e-5)


@every_method
def test_training_gives_a_finite_falling_loss_and_reaches_every_parameter(method, dataset, parts):
    torch.manual_seed(0)
    model = method.build(dataset)
    model.prepare(parts.train)
    model.observe(parts.train)
    if not model.trainable:
        pytest.skip("a counting model has nothing to train")
    sampler = Sampler(parts.train, dataset.n_items, method.negatives)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    touched = {name: torch.zeros((), dtype=torch.bool) for name, p in model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def loss_without_dropout() -> float:
        model.eval()
        torch.manual_seed(9)
        mean = float(np.mean([float(model.loss(batch)) for batch in epoch(method, parts.train, sampler, 100, (9,))]))
        model.train()
        return mean

    def learn(loss_of, batches):
        for batch in batches:
            optimiser.zero_grad()
            loss_of(batch).backward()
            optimiser.step()
            model.after_step()
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and parameter.grad is not None:
                    touched[name] |= parameter.grad.ne(0).any()

    if method.pretraining is not None:
        learn(model.pretraining_loss, epoch(method, parts.train, sampler, 16, (8,), method.pretraining.per))
    before = loss_without_dropout()
    for number in range(15):
        model.begin_epoch(number)
        learn(model.loss, epoch(method, parts.train, sampler, 16, (0, number)))
    after = loss_without_dropout()
    assert np.isfinite([before, after]).all()
    assert after < before
    # A key's bias shifts all attention logits of a row alike, so its gradient is zero by nature; it is half of a vector here.
    assert all(touched.values()), [n for n, hit in touched.items() if not hit]


@every_method
def test_same_seed_same_ranks_and_another_seed_others(method, dataset, parts):
    def trained(seed):
        return fit(method, dataset, train=parts.train, valid=parts.valid, training=TRAINING, seed=seed).model

    def ranks(model):
        return rank(model, parts.test, history=method.history).ranks

    one, same, other = trained(1), trained(1), trained(2)
    assert np.array_equal(ranks(one), ranks(same))
    if one.trainable:
        # Where all begins at zero and little is learned, ranks may agree; weights do not.
        assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@every_method
def test_saved_and_loaded_scores_are_the_same_bit_for_bit(method, dataset, parts, tmp_path):
    model = built(method, dataset)
    write_tensors(tmp_path / "w.safetensors", model.state_dict())
    again = method.build(dataset).eval()
    again.load_state_dict(read_tensors(tmp_path / "w.safetensors")[0])
    batch = first_batch(method, parts.test)
    assert torch.equal(model.score(batch), again.score(batch))


@every_method
def test_swapping_the_test_items_changes_nothing_before_the_test(method, dataset):
    """Training, validation values and the chosen weights do not know the test items (the authors' code does: D17)."""

    def trained(data):
        parts = LeaveOneOut().cut(data.interactions)
        return fit(method, data, train=parts.train, valid=parts.valid, training=TRAINING, seed=0)

    log = dataset.interactions
    items, times = log.items.copy(), log.times.copy()
    last = log.offsets[1:] - 1
    items[last] = np.roll(items[last], 1) % dataset.n_items + 1
    times[last] += 86400 * 400
    swapped = replace(dataset, interactions=Interactions(log.offsets, items, times))
    one, other = trained(dataset), trained(swapped)
    for (name, a), b in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    drop = [{k: v for k, v in record.items() if k != "seconds"} for record in one.history]
    assert drop == [{k: v for k, v in record.items() if k != "seconds"} for record in other.history]
    assert one.best_epoch == other.best_epoch


@every_method
def test_later_events_do_not_change_earlier_states_or_a_loss_at_every_step_is_refused(method, dataset):
    model = built(method, dataset)
    if not hasattr(model, "states"):
        pytest.skip("scores only after the newest event")
    backbone = getattr(method, "backbone", None)
    if backbone is not None and not backbone.causal:
        with pytest.raises(ValueError, match="not causal"):
            replace(method, steps="every")
        return
    items = np.array([[4, 8, 15, 16, 23]])
    times = np.array([[1, 2, 3, 4, 5]]) * 40 * 86400 + 1_400_000_000
    changed_items, changed_times = items.copy(), times.copy()
    changed_items[0, 3], changed_times[0, 3] = 5, times[0, 3] + 86400 * 30
    users, at = np.array([0]), times[:, -1] + 86400
    batch = history_batch(users, items, times, at)
    # The moments of the requests stay: a step may read its own, which while training is the time of the event after it.
    changed = replace(history_batch(users, changed_items, changed_times, at), now=batch.now)
    before, after = model.states(batch).detach(), model.states(changed).detach()
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


@every_method
def test_says_truly_whether_it_reads_time(method, dataset, parts):
    model = built(method, dataset)
    with torch.no_grad():  # what begins at zero says nothing of what it reads
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    batch = first_batch(method, parts.test)
    days = torch.arange(batch.times.shape[1]) * 86400 * 37
    later = replace(batch, times=(batch.times + days) * batch.mask)
    same = torch.equal(model.score(batch), model.score(later))
    assert same is not method.reads_time
    moved = replace(batch, now=batch.now + 86400 * 365 * 20)
    assert torch.equal(model.score(batch), model.score(moved)) is not method.reads_now


@every_method
def test_says_truly_which_modalities_it_reads(method, dataset, parts):
    bare = Dataset.in_memory("bare", dataset.interactions, dataset.n_items)
    reads = set(method.reads) - {"id"}
    if reads:
        with pytest.raises(ValueError, match=r"tmmsrec (extract|prepare)"):
            method.build(bare)
    else:
        method.build(bare)


@every_method
def test_relabelling_users_and_items_permutes_the_scores(method):
    """New numbers for users and items, the same rows carried along: the same scores, permuted."""
    dataset = small(users=41, items=31)  # sizes that no width has, so that rows of users and items are known by their number
    rng = np.random.default_rng(0)
    to = np.concatenate([[0], 1 + rng.permutation(dataset.n_items)])
    back = np.argsort(to)
    of_users = rng.permutation(dataset.n_users)  # new user -> old user
    log = dataset.interactions
    at = np.concatenate([np.arange(log.offsets[u], log.offsets[u + 1]) for u in of_users])
    offsets = np.concatenate([[0], np.cumsum(log.lengths[of_users])])
    features = {n: Features(f.rows[back], f.present[back]) for n, f in dataset.features.items()}
    moved = Dataset.in_memory(
        "moved",
        Interactions(offsets, to[log.items[at]].astype(np.int32), log.times[at]),
        dataset.n_items,
        features,
        dataset.catalog.fields.take(back[1:] - 1),
    )
    one, other = built(method, dataset), built(method, moved)
    carried = {dataset.n_items + 1: torch.from_numpy(back), dataset.n_users: torch.from_numpy(of_users)}
    for name, tensor in other.named_parameters():
        source = one.get_parameter(name).detach()
        tensor.data.copy_(source[carried[len(source)]] if source.dim() and len(source) in carried else source)
    items = np.array([[4, 8, 15, 0], [16, 23, 4, 8]])
    times = np.where(items > 0, np.array([[1, 2, 3, 4]]) * 40 * 86400 + 1_400_000_000, 0)
    users, when = np.array([3, 17]), np.array([1_500_000_000, 1_500_000_000])
    plain = one.score(history_batch(users, items, times, when)).expand(2, -1)
    permuted = other.score(history_batch(np.argsort(of_users)[users], to[items], times, when)).expand(2, -1)
    torch.testing.assert_close(permuted[:, to[1:]], plain[:, 1:], atol=2e-5, rtol=1e-5)


@every_method
def test_says_truly_whether_it_reads_users(method, dataset, parts):
    model = built(method, dataset)
    batch = first_batch(method, parts.test)
    others = replace(batch, users=(batch.users + 7) % dataset.n_users)
    assert torch.equal(model.score(batch), model.score(others)) is not method.reads_users
    assert method.reads_users or method.history > 0 or not model.trainable
    nobody = replace(batch, users=torch.full_like(batch.users, -1))
    if method.reads_users:
        with pytest.raises(ValueError, match="not trained on"):
            model.score(nobody)
    else:
        assert torch.equal(model.score(batch), model.score(nobody))


@every_method
def test_vectors_reproduce_scores_through_a_plain_product(method, dataset, parts):
    model = built(method, dataset)
    assert isinstance(model, VectorModel) is method.inner_product
    if not isinstance(model, VectorModel):
        pytest.skip("not an inner product, and says so")
    batch = first_batch(method, parts.test)
    users, items = model.users(batch).detach().numpy(), model.items().detach().numpy()
    beside = model.beside(batch)
    assert bool(beside) is method.beside
    product = with_beside(torch.from_numpy(users @ items.T), beside).detach().numpy()
    np.testing.assert_allclose(model.score(batch).detach().numpy(), product, atol=1e-4)
    rows = torch.tensor([[1, 5], [30, 2]]).repeat(8, 1)
    torch.testing.assert_close(
        sum(model.shares_of_score(batch, rows).values()), model.score(batch).gather(1, rows), atol=1e-4, rtol=1e-5
    )


def test_a_missing_picture_is_masked_not_a_zero_picture():
    """An event whose item has no picture is no step of the picture stream."""
    from tmmsrec import zoo

    data = small(missing=(7,))
    method = replace(zoo.TMMSREC_NO_TIME, width=12, modalities=("image",))
    model = built(method, data)
    at, users = np.array([1_500_000_000]), np.array([0])
    times = np.full((1, 3), 1_400_000_000)
    with_gap = model.users(history_batch(users, np.array([[4, 7, 8]]), times, at))
    without = model.users(history_batch(users, np.array([[4, 8]]), times[:, :2], at))
    torch.testing.assert_close(with_gap, without, atol=1e-6, rtol=1e-5)


def test_a_history_without_pictures_gets_no_score_from_pictures_and_no_wild_gradient():
    """A stream that has met nothing yet is silent; layer norms of zero rows would multiply its gradients by 1e4 each."""
    from tmmsrec import zoo
    from tmmsrec.models.sequential import Entry
    from tmmsrec.nn.backbones.attention import Attention

    data = small(missing=(1, 2, 3, 4, 5, 6, 7, 8))
    method = replace(zoo.TMMSREC, width=12, entry=Entry(dropout=0.0), backbone=Attention(dropout=0.0))
    model = built(method, data)
    items, times = np.array([[3, 7, 0], [3, 7, 20]]), np.array([[1, 2, 0], [1, 2, 3]]) * 86400 * 400
    batch = history_batch(np.array([0, 1]), items, times, np.array([2_000_000_000] * 2))
    image = model.shares()["image"]
    users = model.users(batch)
    assert not users[0, image].any()
    assert users[1, image].any()
    states = model.states(batch)
    assert not states[:, :2, image].any()
    torch.testing.assert_close(states[torch.arange(2), batch.last], users, atol=1e-5, rtol=1e-5)
    part = LeaveOneOut().cut(data.interactions).train
    sampler = Sampler(part, data.n_items, method.negatives)
    model.loss(next(iter(training_batches(part, Pass(size=40, length=20), sampler, seed=(0,))))).backward()
    assert max(float(p.grad.abs().max()) for p in model.parameters()) < 1e3


@every_method
@pytest.mark.parametrize("size", [0, -6])
def test_sizes_are_positive(method, size):
    for name in {"width", "content_width", "length"} & {field.name for field in fields(method)}:
        with pytest.raises(ValueError, match=f"{type(method).__name__}.{name} must be at least"):
            replace(method, **{name: size})
