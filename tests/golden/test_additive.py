"""Additive and its terms, against their formulas written out in loops; and that training is asked what a request will be asked."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import DAY, small
from tmmsrec import zoo
from tmmsrec.data.batch import Pass, history_batch, training_batches
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.negatives import Sampler
from tmmsrec.data.split import Part
from tmmsrec.models.additive import Additive
from tmmsrec.models.base import with_beside
from tmmsrec.models.terms import Ages, Alike, Asking, Follows, Lately, Popular, Season, Similar
from tmmsrec.models.terms.asking import longest_gap
from tmmsrec.nn.beside import Beside
from tmmsrec.nn.softmax import cross_entropy

AGES = Ages(edges=(DAY, 30 * DAY), lags=(1, 3))
METHOD = Additive(
    length=20,
    ages=AGES,
    follows=Follows(span=2, reach=3, tempered=True),
    popular=Popular(sizes=6, never_apart=True),
    alike=Alike(reach=3, most=4),
    lately=Lately(halves=(1.0, 30.0), most=7),
    season=Season(waves=2),
)


def whole(log: Interactions) -> Part:
    return Part("train", log, log.lengths, np.arange(log.users))


def built(method: Additive = METHOD, dataset=None):
    """A model with random parameters, which has counted the whole log."""
    dataset = dataset or small(missing=(3, 7))
    model = method.build(dataset).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    model.prepare(whole(dataset.interactions))
    model.observe(whole(dataset.interactions))
    return model, dataset


def age_of(seconds: float) -> int:
    return sum(seconds >= edge for edge in AGES.edges)


def cell_of(seconds: float, lag: int) -> int:
    return age_of(seconds) * 3 + sum(lag >= edge for edge in AGES.lags)


def pairs_of(log: Interactions, span: int) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = {}
    for u in range(log.users):
        own = log.items[log.offsets[u] : log.offsets[u + 1]].tolist()
        for k in range(1, span + 1):
            for a, b in zip(own, own[k:], strict=False):
                found[a, b] = found.get((a, b), 0) + 1 / k
    return found


def by_hand(model, log: Interactions, items: list[int], times: list[int], now: int) -> np.ndarray:
    """[I+1] scores of one history, from the formulas."""
    method: Additive = model.value
    moment = now if method.ages.to_now else times[-1]
    parameters = {name: p.detach().numpy() for name, p in model.named_parameters()}
    cells = [cell_of(moment - t, len(items) - 1 - j) for j, t in enumerate(times)]
    newest, scores = age_of(moment - times[-1]), np.zeros(model.n_items + 1)
    for number, term in enumerate(model.similar):
        rows, kernel = term.items().numpy(), parameters[f"similar.{number}.kernel.weight"][:, 0]
        weights = np.array([math.exp(kernel[c]) * bool(term.present[i]) for c, i in zip(cells, items, strict=True)])
        if weights.any():
            query = (weights / weights.sum()) @ rows[items]
            if method.similar.rank:
                down, up = parameters[f"similar.{number}.down"], parameters[f"similar.{number}.up"]
                query = query + query @ down @ up
            scores += rows @ query * math.exp(parameters[f"similar.{number}.scale.weight"][newest, 0])
    counts = np.bincount(log.items, minlength=model.n_items + 1)
    size = [0 if c == 0 else min(int(math.log2(c)) + 1, method.popular.sizes - 1) for c in counts]
    scores += parameters["popular.weight"][size, 0] * parameters["popular.strength.weight"][newest, 0]
    for i in set(items):
        scores[i] += math.log(
            sum(math.exp(parameters["again.kernel.weight"][c, 0]) for c, j in zip(cells, items, strict=True) if i == j)
        )
    pairs, follows = pairs_of(log, method.follows.span), np.zeros(model.n_items + 1)
    x, y = parameters.get("follows.powers", (1.0, 0.0))
    for c, a in list(zip(cells, items, strict=True))[-method.follows.reach :]:
        softplus = math.log1p(math.exp(parameters["follows.kernel.weight"][c, 0]))
        total = sum(n for (start, _), n in pairs.items() if start == a)
        for (start, b), n in pairs.items():
            follows[b] += softplus * n / (1 + total) ** x * (start == a)
    strength = parameters["follows.strength.weight"][newest, 0]
    follows /= (1 + counts) ** y
    scores += strength * np.log1p(follows * math.exp(parameters["follows.sharpness"][0]))
    scores += season_by_hand(model, parameters, moment, newest)
    return scores + alike_by_hand(model, parameters, items, cells, newest) + lately_by_hand(model, log, moment, parameters, newest)


def season_by_hand(model, parameters, moment: int, newest: int) -> np.ndarray:
    """[I+1] what the features have to do with the time of the year."""
    rows = np.concatenate([term.items().numpy() for term in model.similar], axis=1)
    weights = np.concatenate([parameters[f"season.weights.{n}"] for n in range(len(model.similar))])
    waves, turn = model.value.season.waves, 2 * math.pi * moment / (365.2425 * DAY)
    scores = np.zeros(len(rows))
    for k in range(waves):
        scores += math.cos((k + 1) * turn) * (rows @ weights[:, k]) + math.sin((k + 1) * turn) * (rows @ weights[:, waves + k])
    return parameters["season.strength.weight"][newest, 0] * scores


def alike_by_hand(model, parameters, items: list[int], cells: list[int], newest: int) -> np.ndarray:
    """[I+1] ln(1 + e^c sum over the newest events of softplus(kernel) exp(-d)), over the nearest of each."""
    value, rows = model.value.alike, [term.items().numpy() for term in model.similar]
    whole = np.concatenate(rows, axis=1)
    whole = whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
    total, spread = np.zeros(model.n_items + 1), np.exp(parameters["alike.away"])
    for c, a in list(zip(cells, items, strict=True))[-value.reach :]:
        others = [b for b in range(1, model.n_items + 1) if b != a and whole[a].any() and whole[b].any()]
        for b in sorted(others, key=lambda b: -float(whole[a] @ whole[b]))[: value.most]:
            away = sum(w * (1 - float(x[a] @ x[b])) for w, x in zip(spread, rows, strict=True))
            total[b] += math.log1p(math.exp(parameters["alike.kernel.weight"][c, 0])) * math.exp(-away)
    return parameters["alike.strength.weight"][newest, 0] * np.log1p(total * math.exp(parameters["alike.sharpness"][0]))


def lately_by_hand(model, log: Interactions, moment: int, parameters, newest: int) -> np.ndarray:
    """[I+1] ln(1 + sum over half-lives of e^c n_h), for what was met most by the end of the last day before the moment's."""
    value, day = model.value.lately, moment // DAY
    earlier = [(t // DAY, i) for t, i in zip(log.times.tolist(), log.items.tolist(), strict=True) if t // DAY < day]
    scores = np.zeros(model.n_items + 1)
    if not earlier:
        return scores
    last = max(d for d, _ in earlier)
    held = np.zeros((len(value.halves), model.n_items + 1))
    for d, i in earlier:
        held[:, i] += [0.5 ** ((last - d) / h) for h in value.halves]
    told = (held / np.array(value.halves)[:, None]).sum(0)
    for i in np.argsort(-told, kind="stable")[: value.most]:
        odds = sum(
            math.exp(c) * n * 0.5 ** ((day - last) / h)
            for c, n, h in zip(parameters["lately.sharpness"], held[:, i], value.halves, strict=True)
        )
        scores[i] = parameters["lately.strength.weight"][newest, 0] * math.log1p(odds)
    return scores


@pytest.mark.parametrize("to_now", [False, True])
@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("tempered", [False, True])
def test_scores_are_the_formulas(to_now, rank, tempered):
    follows = replace(METHOD.follows, tempered=tempered)
    model, dataset = built(replace(METHOD, ages=replace(AGES, to_now=to_now), similar=Similar(rank=rank), follows=follows))
    histories = [([4, 3, 9, 4], [0, 3, 3, 50]), ([7], [0]), ([3, 7], [0, 400])]  # 3 and 7 have no picture
    for items, days in histories:
        times = [1_400_000_000 + d * DAY for d in days]
        batch = history_batch(np.array([-1]), np.array([items]), np.array([times]), np.array([times[-1] + 9 * DAY]))
        expected = by_hand(model, dataset.interactions, items, times, times[-1] + 9 * DAY)
        np.testing.assert_allclose(model.score(batch)[0, 1:].detach().numpy(), expected[1:], atol=1e-6)


def test_a_step_in_training_is_asked_what_a_request_would_be_asked():
    """Scores at each training step equal those of a model that counted a log which ends, for this person, with that step."""
    dataset = small(users=12, items=9, missing=(3,))  # items come again, so that pairs are a person's own and others'
    model, _ = built(METHOD, dataset)
    log, part = dataset.interactions, whole(dataset.interactions)
    sampler = Sampler(part, dataset.n_items, METHOD.negatives)
    seen = 0
    for batch in training_batches(part, Pass(size=5, length=20), sampler, seed=(0,)):
        asking = Asking.everywhere(batch, AGES)
        dense = model.states(batch) @ model.items().T
        there = Beside.of([*model._beside(asking).values(), *model._too_much(asking)])
        scores = there.added(dense.flatten(0, 1)).view_as(dense)
        for row, user in enumerate(batch.users.tolist()):
            for step in range(int(batch.mask[row].sum())):
                stop = log.offsets[user] + step + 1
                kept = np.r_[0:stop, log.offsets[user + 1] : len(log)]
                owner = log.owners
                model.observe(whole(Interactions.of(owner[kept], log.items[kept], log.times[kept], log.users)))
                own = slice(log.offsets[user], stop)
                asked = history_batch(
                    np.array([user]), log.items[None, own], log.times[None, own], batch.now[row, step][None].numpy()
                )
                torch.testing.assert_close(scores[row, step, 1:], model.score(asked)[0, 1:], atol=1e-6, rtol=1e-6)
                seen += 1
        model.observe(part)
    assert seen == len(log) - log.users


def test_items_never_met_stand_with_those_met_once_unless_told_apart():
    dataset = small()
    log = dataset.interactions
    few = replace(dataset, interactions=replace(log, items=np.minimum(log.items, 20)))  # nobody meets 21..30
    once = (
        int(np.flatnonzero(np.bincount(few.interactions.items, minlength=31) == 1)[0])
        if 1 in np.bincount(few.interactions.items)
        else 0
    )
    together, _ = built(replace(METHOD, popular=Popular(sizes=6, never_apart=False)), few)
    apart, _ = built(METHOD, few)
    at = together.shares()["popular"]
    assert together.items()[25, at] == together.items()[29, at] == together.popular.weight[1] * 0.01
    assert apart.items()[25, at] == apart.popular.weight[0] * 0.01
    assert not once or together.items()[25, at] == together.items()[once, at]


def test_cross_entropy_beside_a_product_and_its_gradients():
    generator = torch.Generator().manual_seed(0)
    states, items = (torch.randn(n, 4, generator=generator, dtype=torch.float64, requires_grad=True) for n in (7, 12))
    rows, places = torch.randint(0, 7, (30,), generator=generator), torch.randint(1, 12, (30,), generator=generator)
    given = torch.randn(30, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1, 5, 11, 2, 2, 9, 4])
    summed = Beside.summed(rows, places, given)
    several = [summed, Beside(torch.tensor([0, 6]), torch.tensor([5, 4]), given[:2])]
    one = cross_entropy(states, items, targets, several)
    of_one = torch.autograd.grad(one, [states, items, given], retain_graph=True)
    dense = Beside.of(several).added(states @ items.T)
    other = torch.nn.functional.cross_entropy(dense[:, 1:], targets - 1)
    of_other = torch.autograd.grad(other, [states, items, given])
    torch.testing.assert_close(one, other)
    for a, b in zip(of_one, of_other, strict=True):
        torch.testing.assert_close(a, b)


def test_columns_that_are_fixed_get_no_gradient_and_the_others_theirs():
    generator = torch.Generator().manual_seed(0)
    states, items = (torch.randn(n, 4, generator=generator, dtype=torch.float64, requires_grad=True) for n in (7, 12))
    targets = torch.tensor([1, 5, 11, 2, 2, 9, 4])
    some = torch.autograd.grad(cross_entropy(states, items, targets, fixed=3), [states, items])
    every = torch.autograd.grad(cross_entropy(states, items, targets), [states, items])
    assert torch.equal(some[0], every[0])
    torch.testing.assert_close(some[1][:, 3:], every[1][:, 3:])
    assert not some[1][:, :3].any()


def test_a_list_beside_says_what_it_holds():
    there = Beside.summed(torch.tensor([2, 0, 2, 2]), torch.tensor([5, 1, 3, 5]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert there.padded(3).tolist() == [[1, 0], [0, 0], [3, 5]]
    assert there.at(torch.tensor([[1, 5], [1, 5], [5, 9]])).tolist() == [[2, 0], [0, 0], [5, 0]]
    nothing = Beside.summed(*(torch.zeros(0, dtype=torch.int64),) * 2, torch.zeros(0))
    assert nothing.at(torch.tensor([[1]])).tolist() == [[0]]
    assert nothing.padded(2).shape == (2, 0)


def test_a_follower_counts_as_before_while_nothing_was_learned_of_trust():
    plain, dataset = built(replace(METHOD, follows=replace(METHOD.follows, tempered=False)))
    tempered = METHOD.build(dataset).double().eval()
    tempered.load_state_dict(plain.state_dict(), strict=False)
    tempered.observe(whole(dataset.interactions))
    assert tempered.follows.powers.tolist() == [1, 0]
    asked = history_batch(np.array([-1]), np.array([[4, 3, 9]]), np.array([[0, 0, DAY]]), np.array([DAY]))
    torch.testing.assert_close(tempered.score(asked), plain.score(asked), atol=1e-6, rtol=1e-6)


def test_parameters_are_few():
    """Kernels of nine ages and six lags with a strength for each age, a few columns for each feature; all that depends on the
    catalogue is counted."""
    dataset = small()
    model = zoo.TMMSREC_PLUS.build(dataset)
    cells, ages = 9 * 6, 9
    expected = 2 * (cells + ages) + (20 + ages) + cells + (cells + ages + 3) + (cells + ages + 3)
    widths = sum(features.rows.shape[1] for features in dataset.features.values())
    assert sum(p.numel() for p in model.parameters()) == expected + widths * (2 * 16 + 2 * 2) + ages


def test_items_that_came_later_find_their_neighbours_and_are_found_by_them():
    dataset = small(missing=(3, 7, 29))
    method = replace(METHOD, alike=Alike(most=29))  # all are neighbours of each other, so that order is all that can differ
    whole_model, _ = built(method, dataset)
    few, _ = built(method, replace(dataset, catalog=dataset.catalog.first(27), interactions=few_items(dataset.interactions, 27)))
    grown = method.build(dataset).double().eval()
    assert len(grown.alike.near) == 0
    grown.alike.near = few.alike.near.clone()
    grown.alike.follow(grown._likenesses)
    torch.testing.assert_close(grown.alike.near[1:], whole_model.alike.near[1:])
    assert (grown.alike.near[3] > 0).sum() == 29  # no picture, but a text


def few_items(log: Interactions, items: int) -> Interactions:
    return replace(log, items=np.minimum(log.items, items))


def test_a_model_that_only_observes_finds_its_neighbours_too():
    prepared, dataset = built()
    observing = METHOD.build(dataset).double().eval()
    observing.observe(whole(dataset.interactions))
    assert torch.equal(observing.alike.near, prepared.alike.near)
    assert (observing.alike.near[1:, 0] > 0).all()


def test_distances_are_kept_while_training_and_only_then():
    """A model that answers measures those it is asked for, and each is the one that training had, bit for bit."""
    model, _ = built()
    model.float().begin_epoch(0)
    kept = model.alike.apart
    assert kept.shape == (31, 4, 2)
    model.begin_epoch(1)
    assert model.alike.apart is kept
    batch = history_batch(np.array([-1]), np.array([[9]]), np.array([[DAY]]), np.array([2 * DAY]))
    of_one = model.beside(batch)["alike"]
    model.load_state_dict(model.state_dict())
    assert not len(model.alike.apart)
    assert torch.equal(model.beside(batch)["alike"].values, of_one.values)
    assert not len(model.alike.apart)
    model.begin_epoch(0)
    assert torch.equal(model.alike.apart, kept)


def test_an_item_without_any_feature_is_near_to_nothing():
    dataset = small(missing=(3, 7))
    for features in dataset.features.values():
        features.rows[5], features.present[5] = 0, False
    model, _ = built(METHOD, dataset)
    assert not model.alike.near[5].any()
    assert not (model.alike.near == 5).any()
    batch = history_batch(np.array([-1]), np.array([[5]]), np.array([[DAY]]), np.array([2 * DAY]))
    assert not len(model.beside(batch)["alike"].rows)


def test_lately_counts_nothing_of_the_day_that_is_asked_on():
    log = Interactions.of(np.array([0, 0, 1, 1, 1]), np.array([1, 2, 3, 1, 1]), np.array([0.5, 4.0, 4.9, 5.0, 9.0]) * DAY)
    dataset = Dataset.in_memory("days", log, 4)
    method = Additive(modalities=(), length=9, again=None, follows=None, lately=Lately(halves=(2.0,), most=3))
    model, _ = built(method, dataset)
    with torch.no_grad():
        model.lately.sharpness.zero_()
        model.lately.strength.weight.fill_(1.0)

    def met(day: float) -> dict[int, float]:
        at = np.array([int(day * DAY)])
        found = model.beside(history_batch(np.array([-1]), np.array([[2]]), at[:, None], at))["lately"]
        return {i: math.expm1(v) for i, v in zip(found.items.tolist(), found.values.tolist(), strict=True)}

    assert met(0.9) == {}
    assert met(4.99) == pytest.approx({1: 0.25})
    assert met(5.0) == pytest.approx({1: 0.5**2.5, 2: 0.5**0.5, 3: 0.5**0.5})
    assert met(9.5) == pytest.approx({1: 0.5**4.5 + 0.25, 2: 0.5**2.5, 3: 0.5**2.5})
    assert met(30.5)[1] == pytest.approx(0.5**15 + 0.5**12.5 + 0.5**10.5)  # long after the log ends


def test_without_lists_it_is_one_inner_product_and_says_so():
    bare = replace(METHOD, again=None, follows=None, alike=None, lately=None)
    assert METHOD.beside
    assert not bare.beside
    assert {"popular", "season"} < set(built(bare)[0].shares())
    model, _ = built(bare)
    batch = history_batch(np.array([-1]), np.array([[4, 3]]), np.array([[DAY, 2 * DAY]]), np.array([3 * DAY]))
    assert model.beside(batch) == {}
    torch.testing.assert_close(model.score(batch), model.users(batch) @ model.items().T)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="rising"):
        Ages(edges=(5.0, 5.0))
    with pytest.raises(ValueError, match="ids belong"):
        Additive(modalities=("id", "text"))
    with pytest.raises(ValueError, match=r"Alike\.reach must be at least 1, got 0"):
        Alike(reach=0)
    with pytest.raises(ValueError, match="must be positive"):
        Lately(halves=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"Season\.waves must be at least 1, got 0"):
        Season(waves=0)
    with pytest.raises(ValueError, match=r"Lately\.most"):
        Lately(most=0)
    with pytest.raises(ValueError, match="as many events"):
        Additive(network=replace(zoo.SASREC, length=10))


def test_the_season_comes_again_each_year_and_is_asked_where_ages_end():
    model, _ = built(replace(METHOD, ages=replace(AGES, to_now=True)))
    year = round(365.2425 * DAY)

    def told(now: int, since: int = DAY) -> torch.Tensor:
        batch = history_batch(np.array([-1]), np.array([[4]]), np.array([[now - since]]), np.array([now]))
        at = model.shares()["season"]
        return model.users(batch)[0, at] @ model.items()[:, at].T

    summer = 1_500_000_000
    torch.testing.assert_close(told(summer), told(summer + 30 * year))
    torch.testing.assert_close(told(summer - 60 * year), told(summer))
    assert (told(summer) - told(summer + year // 2)).abs().max() > 0.1
    assert not told(summer)[0].any()


def test_items_are_compared_without_season_and_popularity():
    model, _ = built(replace(METHOD, network=replace(zoo.SASREC, width=6, length=20, output=zoo.GRU4REC.output)))
    shares = model.shares()
    left_out = set(model.biases())
    assert set(range(shares["popular"].start, shares["season"].stop)) <= left_out
    assert not left_out & set(range(shares["popular"].start))


def test_a_catalogue_without_features_has_no_seasons():
    value = zoo.TMMSREC_PLUS.reading(())
    assert value.season is None
    assert value.alike is None
    assert not replace(value, ages=Ages(edges=())).reads_time
    assert replace(zoo.TMMSREC_PLUS, ages=Ages(edges=())).reads_time
    assert replace(zoo.TMMSREC_PLUS, ages=Ages(edges=(), to_now=True)).reads_now


def test_who_stays_away_longer_than_training_knows_is_answered_as_if_it_were_just_so_long():
    """All but the season, which is that of the day."""
    log = Interactions.of(np.array([0, 0, 0, 1, 1]), np.array([1, 2, 3, 3, 4]), np.array([0, 5, 45, 3, 500]) * DAY)
    part = Part("train", log, np.array([3, 1]), np.arange(2))
    assert longest_gap(part) == 40 * DAY  # what follows the fourth event may not be read
    assert longest_gap(replace(part, stop=np.array([1, 1]))) == 0
    model, _ = built(replace(METHOD, ages=Ages(edges=(DAY, 30 * DAY, 60 * DAY), lags=(1, 3), to_now=True)))
    model.longest.fill_(40 * DAY)

    def asked(days: int) -> tuple[torch.Tensor, torch.Tensor]:
        times = np.array([[0, 3 * DAY]])
        batch = history_batch(np.array([-1]), np.array([[4, 9]]), times, times[:, -1] + days * DAY)
        at = model.shares()["season"]
        users = model.users(batch)
        of_season = users[:, at] @ model.items()[:, at].T
        rest = model.score(batch) - of_season - with_beside(torch.zeros_like(of_season), {"lately": model.beside(batch)["lately"]})
        return rest[0, 1:], of_season[0, 1:]

    (known, then), (later, of_later) = asked(40), asked(400)
    torch.testing.assert_close(later, known)
    assert not torch.allclose(of_later, then)
    assert not torch.allclose(asked(20)[0], known)


def test_weights_from_before_seasons_and_long_absences_are_read():
    value = replace(METHOD, season=None)
    model, dataset = built(value)
    held = {name: tensor for name, tensor in model.state_dict().items() if name != "longest"}
    other = value.build(dataset).double()
    other.prepare(whole(dataset.interactions))
    assert other.longest < 1 << 50
    other.load_state_dict(held)
    assert other.longest > 1 << 50
