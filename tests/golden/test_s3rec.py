"""S3-Rec against its closed forms, a public implementation with the same weights, and what is drawn for it (sheet 9)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.conftest import random_features, small
from tmmsrec.data.batch import Pass, history_batch, training_batches
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.models.attributes import Continuous, Discrete, Marked, clusters, words
from tmmsrec.models.s3rec import S3Rec, S3RecModel
from tmmsrec.models.s3rec_tasks import Instance, draw, draw_foreign, draw_masks, draw_negatives, draw_segments, sequences
from tmmsrec.training import Adam, Training

LN2 = float(np.log(2))


def marks(n_items: int, many: int) -> np.ndarray:
    found = np.arange((n_items + 1) * many).reshape(n_items + 1, many) * 7 % 5 < 2
    found[0] = False
    return found


def model_of(n_items: int, attributes: int, **changes) -> S3RecModel:
    torch.manual_seed(0)
    value = S3Rec(**changes)
    heads = Marked({"text": marks(n_items, attributes)}, value.width) if attributes else None
    return S3RecModel(value, n_items, heads).eval()


def by_formula(model: S3RecModel) -> S3RecModel:
    """Weights that a few lines can make anywhere: waves of the index, told apart by the place of the name in the alphabet."""
    with torch.no_grad():
        for k, (name, p) in enumerate(sorted(model.named_parameters())):
            wave = torch.sin(0.7 * torch.arange(p.numel(), dtype=torch.float64) + k).reshape(p.shape)
            p.copy_(1 + 0.1 * wave if "norm.weight" in name else 0.4 * wave)
        model.encoder.table.table.weight[0] = 0
    return model.eval()


def histories(*rows: list[int]):
    longest = max(map(len, rows))
    items = np.array([r + [0] * (longest - len(r)) for r in rows])
    return history_batch(np.arange(len(rows)), items, items * 10, np.full(len(rows), 99_999))


def given() -> Instance:
    """Two full rows of ten items with everything that is drawn written down."""
    tokens = torch.tensor([[3, 6, 7, 2, 10, 9], [1, 5, 4, 2, 8, 6]])
    masked = torch.tensor([[0, 1, 0, 0, 0, 1], [1, 0, 0, 1, 0, 1]], dtype=torch.bool)
    negatives = torch.tensor([[0, 4, 0, 0, 0, 8], [7, 0, 0, 9, 0, 10]])
    segment = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], dtype=torch.bool)
    foreign = torch.tensor([[0, 4, 2, 0, 0, 0], [0, 0, 0, 7, 2, 10]])
    return Instance(tokens, masked, negatives, segment, foreign)


def means(found) -> dict[str, float]:
    return {task: float(total.detach() / count) for task, (total, count) in found.items()}


@pytest.mark.parametrize(("d", "official"), [(64, 177_728), (128, 584_832)])
def test_parameters(d, official):
    """One row of d less than the sheet's: no attribute stands for padding."""
    model = model_of(800, 100, width=d)
    assert sum(p.numel() for p in model.parameters()) == official - d
    heads = sum(p.numel() for p in model.tasks.parameters())
    assert heads == 100 * d + 4 * (d * d + d)  # what scoring does not need


def test_equals_recbole_with_equal_weights():
    """Numbers of RecBole 7b02be5 (model/sequential_recommender/s3rec.py, layers.py), weights copied across from ``by_formula``.

    d 8, 2 heads, 2 layers, inner 32, n 6, 10 items, 5 attributes; full rows, as RecBole pads on the left.  Its losses are sums.
    """
    model = by_formula(model_of(10, 5, width=8, length=6))
    found = model.tasks.losses(model.encoder, given())
    expected = {"aap": (29.299331665, 35), "mip": (3.586768627, 5), "map": (18.563699722, 25), "sp": (1.371928692, 2)}
    for task, (total, count) in expected.items():
        assert float(found[task][0].detach()) == pytest.approx(total, rel=1e-6), task
        assert int(found[task][1]) == count, task
    weights = model.value.weights
    assert float(model.tasks.total(found, weights, "sum").detach()) == pytest.approx(28.6962986, rel=1e-6)
    by_hand = sum(getattr(weights, task) * total / count for task, (total, count) in expected.items())
    assert float(model.tasks.total(found, weights, "mean").detach()) == pytest.approx(by_hand, rel=1e-6)
    states = model.states(histories([3, 6, 7, 2], [5, 4, 1, 9, 8, 10]))
    expected_state = torch.tensor([0.7665801048278809, -0.40404829382896423, -0.9412643313407898, 0.20621439814567566])
    torch.testing.assert_close(states[0, 3, :4], expected_state, atol=1e-5, rtol=0)


def test_equal_sides_give_ln_2_and_the_sigmoid_inside_bounds_the_loss():
    model = by_formula(model_of(10, 5, width=8, length=6))
    drawn = given()
    same = replace(drawn, negatives=drawn.tokens * drawn.masked, foreign=drawn.tokens * drawn.segment)
    found = means(model.tasks.losses(model.encoder, same))
    assert found["mip"] == pytest.approx(LN2, abs=1e-6)
    assert found["sp"] == pytest.approx(LN2, abs=1e-6)
    apart = replace(drawn, negatives=10 * drawn.masked)  # an item that is masked nowhere
    for sign, bound in ((1, 0.3133), (-1, 1.3133)):
        with torch.no_grad():
            model.tasks.item.weight.zero_()
            model.tasks.item.bias.fill_(100.0)
            model.encoder.table.table.weight[1:] = -sign
            model.encoder.table.table.weight[drawn.tokens[drawn.masked]] = sign
        assert means(model.tasks.losses(model.encoder, apart))["mip"] == pytest.approx(bound, abs=1e-4)


def test_starts_from_ln_2_per_attribute_and_item():
    """Not per segment: two states of norm sqrt(d) meet there, not a state and a row of .02."""
    model = model_of(10, 5)
    found = means(model.tasks.losses(model.encoder, given()))
    assert 0.3133 < found.pop("sp") < 1.3133
    assert found == {task: pytest.approx(LN2, abs=0.05) for task in ("aap", "mip", "map")}


def test_without_attributes_two_tasks_are_left():
    model = by_formula(model_of(10, 0, width=8, length=6, modalities=()))
    assert set(model.tasks.losses(model.encoder, given())) == {"mip", "sp"}
    assert S3Rec(modalities=()).build(small()).attributes is None


def test_pretraining_looks_both_ways_and_fine_tuning_back_only():
    model = by_formula(model_of(10, 5, width=8, length=6))
    one, other = torch.tensor([[3, 6, 7, 2]]), torch.tensor([[3, 6, 7, 9]])
    assert torch.equal(model.encoder(one, causal=True)[:, :3], model.encoder(other, causal=True)[:, :3])
    assert ((model.encoder(one) - model.encoder(other))[:, :3].abs().amax(-1) > 1e-4).all()
    batch = histories([3, 6, 7, 2], [4], [])
    torch.testing.assert_close(model.states(batch)[0], model.encoder(one, causal=True)[0], atol=1e-6, rtol=0)
    at_last = model.states(batch)[torch.arange(3), batch.last]
    torch.testing.assert_close(model.users(batch), at_last, atol=1e-6, rtol=0)


def test_padding_gets_no_gradient_and_changes_no_loss():
    model = by_formula(model_of(10, 5, width=8, length=10))
    drawn = given()
    short = model.tasks.losses(model.encoder, drawn)
    wide = Instance(*(torch.nn.functional.pad(getattr(drawn, f), (0, 3)) for f in Instance.__dataclass_fields__))
    found = model.tasks.losses(model.encoder, wide)
    for task, (total, count) in found.items():
        torch.testing.assert_close(total, short[task][0], atol=1e-4, rtol=1e-6)
        assert count == short[task][1]
    sum(total for total, _ in found.values()).backward()
    assert model.encoder.positions.weight.grad[:6].any(1).all()
    assert not model.encoder.positions.weight.grad[6:].any()
    assert not model.encoder.table.table.weight.grad[0].any()


def test_instances_are_the_history_with_its_target_and_end_in_a_mask(dataset):
    part = LeaveOneOut().cut(dataset.interactions).train
    sampler = Sampler(part, dataset.n_items, S3Rec().negatives)
    log, seen = part.interactions, 0
    for batch in training_batches(part, Pass(size=16, length=4, per="event"), sampler, seed=(0,)):
        tokens = sequences(batch, 4)
        masked = draw_masks(tokens, 0.2)
        for user, row, hidden, targets in zip(batch.users.tolist(), tokens, masked, batch.targets, strict=True):
            own = row[row != 0].tolist()
            assert own[-1:] == targets[targets != 0].tolist()
            events = log.items[log.offsets[user] : log.offsets[user] + part.stop[user]].tolist()
            ends = [events[max(0, end - 4) : end] for end in range(2, len(events) + 1)]
            assert own in ends
            assert hidden[len(own) - 1]
            assert not hidden[len(own) :].any()
            seen += 1
    assert seen == int((part.stop[part.users] - 1).sum())


def rows_of_tokens(many: int = 4000, longest: int = 9, n_items: int = 30) -> torch.Tensor:
    torch.manual_seed(0)
    size = torch.randint(2, longest + 1, (many, 1))
    return torch.randint(1, n_items + 1, (many, longest)) * (torch.arange(longest) < size)


def test_masks_and_negatives():
    tokens = rows_of_tokens()
    size = (tokens != 0).sum(1)
    masked = draw_masks(tokens, 0.2)
    others = (torch.arange(9) < size[:, None] - 1).sum()
    assert float((masked.sum() - len(tokens)) / others) == pytest.approx(0.2, abs=0.01)
    negatives = draw_negatives(tokens, masked, 30)
    assert torch.equal(negatives != 0, masked)
    assert not (negatives[:, :, None] == tokens[:, None] + (tokens[:, None] == 0) * 99).any()
    drawn = negatives[masked].bincount(minlength=31)[1:].double()
    assert float(((drawn - drawn.mean()) ** 2 / drawn.mean()).sum()) < 60  # chi-square of 29, 99.9 % below 58.3
    everything = torch.arange(1, 6)[None]
    assert not draw_negatives(everything, everything > 3, 5).any()  # no item is outside of this row


def test_segments_are_runs_of_even_lengths_and_places():
    tokens = (torch.arange(9) < 7).long().expand(30_000, 9)
    torch.manual_seed(0)
    segment = draw_segments(tokens)
    length = segment.sum(1)
    begin = segment.int().argmax(1)
    assert torch.equal(segment, (torch.arange(9) >= begin[:, None]) & (torch.arange(9) < (begin + length)[:, None]))
    share = torch.stack([((length == n) & (begin == s)).double().mean() for n in (1, 2, 3) for s in range(8 - n)])
    expected = torch.cat([torch.full((8 - n,), 1 / 3 / (8 - n), dtype=torch.float64) for n in (1, 2, 3)])
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)
    assert float(share.sum()) == pytest.approx(1)


def test_foreign_segments_are_runs_of_other_users():
    tokens = torch.tensor([[11, 12, 13, 14], [21, 22, 0, 0], [31, 32, 33, 0], [15, 16, 17, 0]])
    users = torch.tensor([5, 2, 9, 5])
    segment = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]], dtype=torch.bool)
    ring = [21, 22, 11, 12, 13, 14, 15, 16, 17, 31, 32, 33]  # in the order of the users, end to end
    after = dict(zip(ring, ring[1:] + ring[:1], strict=True))
    seen: list[set[int]] = [set(), set(), set(), set()]
    for seed in range(300):
        torch.manual_seed(seed)
        foreign = draw_foreign(tokens, users, segment)
        assert torch.equal(foreign != 0, segment)
        for row, which in enumerate(foreign):
            run = which[which != 0].tolist()
            assert all(after[a] == b for a, b in pairwise(run))
            seen[row] |= set(run)
    mine, others = {11, 12, 13, 14, 15, 16, 17}, {21, 22, 31, 32, 33}
    assert seen == [others, set(ring) - {21, 22}, mine | {21, 22}, others]


def test_a_batch_of_one_user_has_no_foreign_segment():
    tokens = rows_of_tokens(8)
    drawn = draw(tokens, torch.full((8,), 3), 30, 0.2)
    assert not drawn.foreign.any()
    model = model_of(30, 5, width=12, length=10)
    total, count = model.tasks.losses(model.encoder, drawn)["sp"]
    assert (float(total.detach()), int(count)) == (0.0, 0)


def test_scores_without_the_heads_of_pretraining():
    model, other = model_of(10, 5, width=8, length=6), model_of(10, 5, width=8, length=6)
    by_formula(model)
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("tasks.")}
    missing, unexpected = other.load_state_dict(kept, strict=False)
    assert not unexpected
    assert all(name.startswith("tasks.") for name in missing)
    batch = histories([3, 6, 7, 2])
    assert torch.equal(model.score(batch), other.score(batch))


def test_new_words_do_not_keep_old_weights_from_loading():
    model, grown = model_of(10, 5, width=8, length=6), model_of(10, 7, width=8, length=6)
    grown.load_state_dict(model.state_dict())
    assert torch.equal(model.score(histories([3, 6])), grown.score(histories([3, 6])))


def shop(titles: list[str | None], images: Features | None = None) -> Dataset:
    log = Interactions.of(np.zeros(3, int), np.array([1, 2, 3]), np.arange(3))
    table = pa.table({"title": titles, "image": [f"{n}.jpg" for n in range(len(titles))]})
    return Dataset.in_memory("shop", log, len(titles), {"image": images} if images is not None else {}, table)


def test_words_of_texts():
    titles = ["Red coat", "red shirt, red", "blue coat", None, "RED wool a", "odd"]
    found = words(shop(titles), most=10, min_items=2)
    assert found.astype(int)[1:].tolist() == [[1, 1], [0, 1], [1, 0], [0, 0], [0, 1], [0, 0]]  # coat, red
    assert not found[0].any()
    assert words(shop(titles), most=1, min_items=2).astype(int)[1:, 0].tolist() == [1, 1, 0, 0, 1, 0]
    with pytest.raises(ValueError, match=r"lower Discrete\.min_items"):
        words(shop(titles), most=10, min_items=4)
    with pytest.raises(ValueError, match="'text' reads: run 'tmmsrec prepare'"):
        words(shop([None] * 6), most=10, min_items=2)


def test_clusters_of_pictures_know_no_numbering():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(61, 4)).astype(np.float32) * 0.01
    rows[1:] += 10 * np.eye(4, dtype=np.float32)[np.arange(60) % 3]
    present = np.arange(61) != 0
    present[[7, 20]] = False
    rows[~present] = 0
    features = Features(rows, present)
    found = clusters(features, 3, 1, 5)
    assert found.sum(1).tolist() == present.astype(int).tolist()
    groups = {tuple(np.flatnonzero(found[1:][np.arange(60) % 3 == g].any(0))) for g in range(3)}
    assert groups == {(0,), (1,), (2,)}  # each blob has a centroid of its own
    to = np.concatenate([[0], 1 + rng.permutation(60)])
    noise = random_features(60, 4, 5, missing=(7, 20))
    moved = Features(noise.rows[np.argsort(to)], noise.present[np.argsort(to)])
    assert np.array_equal(clusters(noise, 64, 2, 5), clusters(moved, 64, 2, 5)[to])
    assert clusters(noise, 64, 2, 5).shape == (61, 58 // 5)
    assert clusters(noise, 64, 2, 5)[noise.present].sum(1).tolist() == [2] * 58


def test_missing_contents_are_masked_and_told():
    model = replace(S3Rec(), width=12, modalities=("text", "image"), attributes=Discrete(centroids=4)).build(small())
    heads = model.attributes
    told = heads.describe()
    assert told["image"] == {"attributes": 4, "items": 28, "per_item": 1.0, "sparsity": 0.75}
    assert told["text"]["items"] == 30
    assert told["text"]["per_item"] == 3.0
    states = torch.randn(2, 12)
    total, count = heads.loss("aap", states, torch.tensor([3, 4]))  # item 3 has no picture
    assert count == 2 * told["text"]["attributes"] + 4
    both = sum(heads.loss("aap", states[at], torch.tensor([item]))[0] for at, item in (([0], 3), ([1], 4)))
    torch.testing.assert_close(total, both)
    scores = heads.heads["aap"](states) @ heads.rows.weight.T
    terms = torch.nn.functional.binary_cross_entropy_with_logits(scores, heads.marks[[3, 4]].float(), reduction="none")
    torch.testing.assert_close(total, terms.sum() - terms[0, -4:].sum())


def test_continuous_contents_are_found_among_those_of_the_batch():
    data = small(missing=(3, 7))
    model = replace(S3Rec(), width=12, modalities=("text", "image"), attributes=Continuous()).build(data)
    heads = model.attributes
    items = torch.tensor([3, 4, 5, 5, 6])
    states = torch.randn(5, 12)
    with torch.no_grad():
        for head in heads.heads.values():
            head.weight.zero_()
    total, count = heads.loss("map", states, items)
    assert count == 5 + 4  # texts of all, pictures of four
    assert float(total.detach()) == pytest.approx(5 * np.log(4) + 4 * np.log(3), abs=1e-4)  # 4 different texts, 3 pictures
    with torch.no_grad():
        heads.heads["map_text"].weight.copy_(torch.eye(12))  # texts are 12 wide and need no map
    own = torch.nn.functional.normalize(torch.tensor(data.features["text"].rows)[items], dim=-1)
    total, _ = heads.loss("map", own, items)
    assert float(total.detach()) < 5 * np.log(4) + 4 * np.log(3) - 5
    with pytest.raises(ValueError, match=r"no 'text' features.*run 'tmmsrec extract'"):
        replace(S3Rec(), attributes=Continuous()).build(shop(["red coat"] * 6))


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="'id' is always read"):
        S3Rec(modalities=("id", "text"))
    with pytest.raises(ValueError, match="run 'tmmsrec extract'"):
        S3Rec(modalities=("image",)).build(shop(["red coat"] * 6))
    assert S3Rec(pretraining_epochs=0).pretraining is None


def test_pretraining_learns_contents_and_changes_what_follows(dataset):
    parts = LeaveOneOut().cut(dataset.interactions)
    how = Training(epochs=1, batch=64, optimiser=Adam(lr=1e-3))
    method = S3Rec(width=24, length=10, dropout=0.0, pretraining_epochs=60)
    ready = fit(method, dataset, train=parts.train, valid=parts.valid, training=how).model
    raw = fit(replace(method, pretraining_epochs=0), dataset, train=parts.train, valid=parts.valid, training=how).model
    sampler = Sampler(parts.train, dataset.n_items, method.negatives)
    batch = next(training_batches(parts.train, Pass(size=400, length=10, per="event"), sampler, seed=(0,)))
    found = []
    for model in (ready, raw):
        torch.manual_seed(0)
        drawn = draw(sequences(batch, 10), batch.users, dataset.n_items, 0.2)
        with torch.no_grad():
            found.append(means(model.tasks.losses(model.encoder, drawn)))
    assert found[0]["aap"] < 0.8 * found[1]["aap"]
    assert found[0]["map"] < 0.95 * found[1]["map"]
    assert found[0]["mip"] < found[1]["mip"]
    assert found[1]["aap"] == pytest.approx(LN2, abs=0.02)
