"""What is like an item: how much everybody wants it is no part of what it is like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import DAY, all_methods, random_features, small
from tests.shopkeeping import held, items
from tmmsrec import zoo
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.models.additive import Additive
from tmmsrec.models.base import VectorModel
from tmmsrec.nn.outputs import Classifier
from tmmsrec.recommender import HNSW, Recommender
from tmmsrec.recommender.asking import batch_of

PLUS = replace(zoo.TMMSREC_PLUS, length=20)
NETWORK = replace(zoo.SASREC, width=12, length=20, output=Classifier())
BARE = (3, 7)  # items without text and picture


def over(method, dataset: Dataset, noise: float = 0.5) -> Recommender:
    """A Recommender whose every parameter is away from where it begins, the scores of popularity and other biases among them."""
    torch.manual_seed(1)
    model = method.build(dataset)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn_like(parameter)
    return Recommender(method, model, dataset)


def without(dataset: Dataset) -> Dataset:
    n = dataset.n_items
    return dataset.with_features(text=random_features(n, 12, 1, BARE), image=random_features(n, 5, 2, BARE))


def test_an_item_without_text_and_picture_is_like_nothing_however_much_it_is_wanted():
    mine = over(PLUS, without(small()))
    assert (mine.state.vectors[list(BARE)] != 0).any(1).all()  # its popularity
    for bare in BARE:
        with pytest.raises(DataProblem, match=f"item {bare} has nothing to compare: .* by text and image, and the item has none"):
            mine.similar(bare)
    found = mine.similar(5, k=30)
    assert len(found) == 27
    assert not {5, *BARE} & set(items(found))
    assert {tuple(one.shares) for one in found} == {("text", "image")}


@pytest.mark.parametrize("method", [PLUS, replace(PLUS, network=NETWORK)], ids=["plain", "with a network"])
def test_likeness_is_the_cosine_without_popularity_and_biases(method):
    mine = over(method, small())
    vectors, biases = mine.model.items().detach().double(), mine.model.biases()
    kept = [at for at in range(vectors.shape[1]) if at not in biases]
    assert len(biases) == 5 + (method.network is not None)  # popularity, two waves of the season
    unit = torch.nn.functional.normalize(vectors[:, kept], dim=1)
    cosines = (unit @ unit[4]).index_fill(0, torch.tensor([0, 4]), -2)
    found = mine.similar(4, k=29)
    assert [one.score for one in found] == pytest.approx(cosines.sort(descending=True).values[:29].tolist(), abs=1e-6)
    assert items(found) == cosines.argsort(descending=True)[:29].tolist()
    assert all(sum(one.shares.values()) == pytest.approx(one.score, abs=1e-6) for one in found)


@pytest.mark.parametrize("method", [*all_methods(), replace(PLUS, network=NETWORK)])
def test_what_a_model_calls_a_bias_is_asked_for_alike_by_everybody(method):
    """The coordinate of a user's vector is one; how much popularity and season count may depend on the age of the newest event,
    and which season it is on the moment."""
    mine = over(method, small())
    biases = mine.model.biases() if isinstance(mine.model, VectorModel) else []
    shares = mine.model.shares() if isinstance(method, Additive) else {}
    timely = {at for name in ("popular", "season") if name in shares for at in range(shares[name].start, shares[name].stop)}
    asked = [one for _, one in mine.state.of_everybody(2_000_000_000)]
    for at in set(biases) - timely:
        assert (mine.state.queries(batch_of(asked, method.history))[:, at] == 1).all()
    assert timely <= set(biases)


def test_a_bias_does_not_change_what_is_like_an_item():
    """VBPR, BERT4Rec and a classifier of its own have biases: they may be anything."""
    for method, tables in (
        (replace(zoo.VBPR_ITV, width=6, content_width=6), lambda model: [model.item_biases.table.weight]),
        (replace(zoo.BERT4REC, width=12, length=20), lambda model: [model.bias]),
        (NETWORK, lambda model: [rows.table.weight[:, -1] for rows in model.output.rows]),
    ):
        dataset = small()
        first = over(method, dataset)
        second = over(method, dataset)
        with torch.no_grad():
            for table in tables(second.model):
                table += 3 * torch.randn_like(table)
        second = Recommender(method, second.model, dataset)
        assert items(second.recommend(2, k=30)) != items(first.recommend(2, k=30))
        assert second.similar(4, k=29) == first.similar(4, k=29)


def test_the_index_changes_nothing_of_it():
    pytest.importorskip("faiss", reason="approximate search needs faiss-cpu: pip install 'tmmsrec[ann]'")
    exact = over(PLUS, without(small(users=60, items=300)))
    near = exact.with_search(HNSW())
    assert near.similar(5, k=20) == exact.similar(5, k=20)
    with pytest.raises(DataProblem, match="nothing to compare"):
        near.similar(3)


def test_the_only_item_there_is_differs_in_nothing_from_the_average():
    log = Interactions.of(np.zeros(3, int), np.ones(3, int), np.arange(3) * DAY)
    features = {"text": random_features(1, 12, 1), "image": random_features(1, 5, 2)}
    one = Dataset.in_memory("one", log, 1, features)
    with pytest.raises(DataProblem, match="item 1 has nothing to compare: to the method it is the average of all items"):
        over(PLUS, one).similar(1)
    assert over(replace(zoo.SASREC, width=12, length=20), one).similar(1) == []


def test_a_method_that_knows_only_popularity_of_items_says_so():
    mine = over(replace(PLUS, modalities=()), small())
    with pytest.raises(DataProblem, match="knows nothing of it but how much it is wanted"):
        mine.similar(4)


def test_without_biases_it_is_the_cosine_of_whole_vectors():
    mine = held()
    assert mine.model.biases() == []
    assert torch.equal(mine.state.norms, mine.state.vectors.norm(dim=1))
