"""BERT4Rec against its closed forms, a public implementation with the same weights, and what its masks must be (sheet 6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tmmsrec.data.batch import history_batch
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.models import bert4rec
from tmmsrec.models.bert4rec import BERT4Rec, draw_masks
from tmmsrec.nn.transformer import Transformer
from tmmsrec.ranking import rank
from tmmsrec.training import Adam, Training


def sized(n_items: int = 800) -> Dataset:
    return Dataset.in_memory("sized", Interactions.of(np.zeros(3, int), np.array([1, 2, 3]), np.arange(3)), n_items)


def built(method: BERT4Rec, n_items: int = 800):
    torch.manual_seed(0)
    return method.build(sized(n_items)).eval()


def by_formula(model):
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


@pytest.mark.parametrize(("d", "official"), [(64, 159_714), (128, 523_426)])
def test_parameters(d, official):
    """One less than the sheet's: MASK is no candidate and has no bias."""
    assert sum(p.numel() for p in BERT4Rec(width=d).build(sized()).parameters()) == official - 1


def test_a_layer_has_12_dd_and_13_d_parameters():
    layers = Transformer(24, layers=3, heads=2, dropout=0.1, attention_dropout=0.1)
    assert sum(p.numel() for p in layers.parameters()) == 3 * (12 * 24 * 24 + 13 * 24)


def test_equals_recbole_with_equal_weights(monkeypatch):
    """Numbers of RecBole 7b02be5 (model/sequential_recommender/bert4rec.py, layers.py), weights copied across from ``by_formula``.

    d 8, 2 heads, 2 layers, inner 32, n 6, 10 items; largest difference over all logits 6e-7.  Its loss is the one without the
    padding item among the candidates (its bias set to -1e9); with it, RecBole says 2.8010497.
    """
    model = by_formula(BERT4Rec(width=8, length=6).build(sized(10)))
    mask = 11
    tokens = torch.tensor([[3, mask, 7, 2, mask, 9], [mask, 5, 4, mask, 0, 0], [8, mask, 0, 0, 0, 0]])
    logits = model.queries(model.encoder(tokens)) @ model.items().T
    expected = torch.tensor([-0.5215940475463867, -1.243621587753296, -1.4158810377120972, -0.9600019454956055])
    torch.testing.assert_close(logits[0, 1, 1:5], expected, atol=1e-5, rtol=0)
    expected = torch.tensor([0.9626811742782593, 1.2858551740646362, 1.0372650623321533, 0.3229354918003082])
    torch.testing.assert_close(logits[1, 3, 7:11], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits[2, 1, [1, 10]], torch.tensor([-0.991797685623169, -0.7642769813537598]), atol=1e-5, rtol=0)
    scores = model.score(histories([3, 6, 7, 2], [5, 4]))
    expected = torch.tensor([0.1161736249923706, -0.6979771852493286, -1.207282304763794])
    torch.testing.assert_close(scores[0, 1:4], expected, atol=1e-5, rtol=0)
    hidden = torch.tensor([[0, 1, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0]], dtype=torch.bool)
    monkeypatch.setattr(bert4rec, "draw_masks", lambda *_: hidden)
    whole = torch.tensor([[3, 6, 7, 2, 10, 9], [1, 5, 4, 2, 8, 6]])
    batch = replace(histories([1], [1]), items=whole[:, :-1], targets=whole[:, 1:])
    assert float(model.loss(batch).detach()) == pytest.approx(2.7361035, abs=1e-5)


@pytest.mark.parametrize(("rho", "counts"), [(0.6, {3: 2, 5: 3, 10: 6, 50: 30, 1: 1}), (0.2, {5: 1, 8: 2, 2: 1})])
def test_how_many_are_masked(rho, counts):
    longest = max(counts)
    tokens = (torch.arange(longest) < torch.tensor(list(counts))[:, None]).long() * 7
    for seed in range(20):
        torch.manual_seed(seed)
        masked = draw_masks(tokens, rho, 0.0)
        assert masked.sum(1).tolist() == list(counts.values())
        assert not masked[tokens == 0].any()


def test_masks_are_even_and_a_share_of_rows_has_its_last_token_alone():
    torch.manual_seed(0)
    tokens = torch.ones(20_000, 10, dtype=torch.long)
    even = draw_masks(tokens, 0.6, 0.0).double().mean(0)
    torch.testing.assert_close(even, torch.full((10,), 0.6, dtype=torch.float64), atol=0.015, rtol=0)
    tokens[:, 7:] = 0
    masked = draw_masks(tokens, 0.6, 1 / 11)
    alone = masked.sum(1) == 1  # round(7 * .6) = 4 otherwise
    assert float(alone.double().mean()) == pytest.approx(1 / 11, abs=0.008)
    assert masked[alone].nonzero()[:, 1].unique().tolist() == [6]
    assert draw_masks(tokens, 0.6, 1.0).sum() == len(tokens)


def test_sees_both_sides_and_no_padding_and_not_what_is_masked():
    model = built(BERT4Rec(width=24, length=40))
    tokens = torch.tensor([[4, 801, 15, 16, 23]])
    later = tokens.clone()
    later[0, 4] = 42
    with torch.no_grad():
        before, after = model.encoder(tokens), model.encoder(later)
        assert (before[0, 1] - after[0, 1]).abs().max() > 1e-4  # a later token changes an earlier state
        padded = model.encoder(torch.cat([tokens, torch.zeros(1, 10, dtype=torch.long)], dim=1))
        torch.testing.assert_close(padded[:, :5], before, atol=1e-6, rtol=0)
        hidden = torch.tensor([[False, True, False, True, False]])
        one, other = torch.tensor([[4, 8, 15, 16, 23]]), torch.tensor([[4, 9, 15, 700, 23]])
        assert torch.equal(*(model.encoder(row.masked_fill(hidden, 801)) for row in (one, other)))


def test_loss_is_of_the_masked_places_only(monkeypatch):
    model = built(BERT4Rec(width=24, length=12))
    whole = torch.tensor([[4, 8, 15, 16], [23, 42, 0, 0]])
    hidden = torch.tensor([[False, True, False, True], [True, False, False, False]])
    monkeypatch.setattr(bert4rec, "draw_masks", lambda *_: hidden)
    batch = replace(histories([1], [1]), items=whole[:, :-1].clone(), targets=whole[:, 1:].clone())
    batch.items[1, 1] = 0  # its last target is in the targets alone
    with torch.no_grad():
        states = model.encoder(torch.tensor([[4, 801, 15, 801], [801, 42, 0, 0]]))
        logits = (model.queries(states) @ model.items().T)[..., 1:]
        terms = [-logits[row, at].log_softmax(0)[item - 1] for row, at, item in ((0, 1, 8), (0, 3, 16), (1, 0, 23))]
        torch.testing.assert_close(model.loss(batch), torch.stack(terms).mean())


def test_starts_from_the_logarithm_of_the_number_of_candidates():
    """Ln 800; the authors count padding and MASK too, ln 802."""
    model = built(BERT4Rec())
    items = torch.randint(1, 801, (200, 20), generator=torch.Generator().manual_seed(0))
    batch = replace(histories([1], [1]), items=items[:, :-1], targets=items[:, 1:])
    assert float(model.loss(batch).detach()) == pytest.approx(np.log(800), abs=0.1)
    for p in (model.encoder.table.table.weight[1:], model.encoder.positions.weight, model.encoder.mask, model.map.weight):
        assert float(p.detach().std()) == pytest.approx(0.02, rel=0.25)
    assert not any(part.bias.any() for part in model.modules() if isinstance(part, nn.Linear))
    assert not model.encoder.table.table.weight[0].any()


def test_mask_is_no_candidate_and_stands_after_the_history():
    model = built(BERT4Rec(width=24, length=6))
    batch = histories([4, 8, 15, 16, 23], [42, 7], [])
    tokens = torch.tensor([[4, 8, 15, 16, 23, 801], [42, 7, 801, 0, 0, 0], [801, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        model.bias.normal_()
        states = model.encoder(tokens)[torch.arange(3), torch.tensor([5, 2, 0])]
        assert model.score(batch).shape == (3, 801)
        head = model.norm(nn.functional.gelu(model.map(states)))
        expected = head @ model.encoder.table.table.weight.T + model.bias
        torch.testing.assert_close(model.score(batch), expected, atol=1e-5, rtol=1e-5)
    assert BERT4Rec(length=6).history == 5


def test_an_item_that_came_after_training_is_not_looked_at():
    model = built(BERT4Rec(width=24, length=10))
    model.encoder.table.only_first(700)
    with torch.no_grad():
        one, other = model.users(histories([4, 750, 15])), model.users(histories([4, 790, 15]))
        model.encoder.table.table.weight[750] = 9.0
        assert torch.equal(model.users(histories([4, 750, 15])), one)
        assert torch.equal(one, other)
        assert not torch.equal(one, model.users(histories([4, 8, 15])))


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="do not divide"):
        built(BERT4Rec(width=10, heads=3))
    with pytest.raises(ValueError, match="at least 2"):
        BERT4Rec(length=1)
    with pytest.raises(ValueError, match="masked lies between"):
        BERT4Rec(masked=1.5)
    with pytest.raises(ValueError, match="at most 4"):
        built(BERT4Rec(width=12, length=4)).users(histories([1, 2, 3, 4]))


def test_overfits_a_cycle():
    """40 users, each walking round a cycle of 10 items: every next item is certain.

    Asked are those whose MASK stands at a place that longer rows have trained.
    """
    lengths = 6 + np.arange(40) % 10
    owner = np.repeat(np.arange(40), lengths)
    step = np.concatenate([np.arange(n) for n in lengths])
    data = Dataset.in_memory("cycle", Interactions.of(owner, (owner * 3 + step) % 10 + 1, step), 11)
    parts = LeaveOneOut().cut(data.interactions)
    how = Training(epochs=300, batch=40, patience=300, every=20, optimiser=Adam(lr=5e-3, decay=1.0))
    method = BERT4Rec(width=24, length=20, masked=0.3, dropout=0.0, attention_dropout=0.0)
    fitted = fit(method, data, train=parts.train, valid=parts.valid, training=how)
    found = rank(fitted.model, parts.test, history=method.history)
    assert (found.ranks[lengths[found.users] <= 12] < 1).mean() >= 0.95
