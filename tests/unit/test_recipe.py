"""What ``run`` is asked: which methods, each with the training that suits it and the modalities that the data has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conftest import small
from tmmsrec import zoo
from tmmsrec.data.dataset import Dataset
from tmmsrec.models.terms import Similar
from tmmsrec.nn.losses import BCE, BySize
from tmmsrec.study import recipe
from tmmsrec.study.recipe import Recipe, chosen_methods, fitting, quick_enough, refitted, told_of
from tmmsrec.training import Adam, Training


def test_a_method_with_a_training_of_its_own_keeps_it_but_for_what_was_changed_for_all():
    usual = Training(epochs=7, optimiser=Adam(lr=3e-3))
    asked = Recipe(training=usual, training_changes=("patience=2",))
    assert asked.training_of("tmmsrec") == Training(epochs=7, optimiser=Adam(lr=3e-3), patience=2)
    own = zoo.training("tmmsrec-plus")
    assert own.optimiser.lr != usual.optimiser.lr
    plus = asked.training_of("tmmsrec-plus")
    assert (plus.batch, plus.optimiser, plus.patience) == (own.batch, own.optimiser, 2)
    (told,) = told_of({n: recipe.named(n) for n in ("markov", "sasrec", "tmmsrec", "tmmsrec-plus", "vbpr")}, asked)
    assert "vbpr: about 1024 events a step" in told
    assert "markov" not in told
    assert "sasrec, tmmsrec: about 128 users a step, at most 7 epochs" in told
    assert f"tmmsrec-plus: about {own.batch} users a step" in told


def test_a_catalogue_too_large_for_comparing_all_with_all_goes_without_plus(monkeypatch):
    monkeypatch.setattr(recipe, "MANY", 29)
    methods = chosen_methods(Recipe())
    found, notes = quick_enough(methods, 30)
    assert set(methods) - set(found) == {"tmmsrec-plus", "tmmsrec-plus-now", "tmmsrec-plus-sasrec"}
    assert any("30 are many" in note and "--method tmmsrec-plus" in note for note in notes)
    assert quick_enough(methods, 29) == (methods, [])


def test_without_features_plus_counts_alone_and_the_others_read_ids():
    log = small().interactions
    bare = Dataset.in_memory("bare", log, 30)
    found, notes = fitting(chosen_methods(Recipe()), bare)
    assert found["tmmsrec-plus"].modalities == ()
    assert found["tmmsrec-plus"].reads == ("id",)
    assert found["tmmsrec"].modalities == ("id",)
    without = "tmmsrec-no-time, tmmsrec, tmmsrec-plus, tmmsrec-plus-now, tmmsrec-plus-sasrec"
    assert notes == [f"{without} read id only: the data has no text and no image features."]
    assert found["tmmsrec-plus"] == replace(
        zoo.TMMSREC_PLUS, modalities=(), alike=None, season=None, similar=Similar()
    )  # nothing to tell likeness by
    assert found["tmmsrec-plus"].build(bare).alike is None


def test_a_network_within_is_the_one_that_stands_alone_and_learns_as_that_does():
    asked = Recipe(changes=("width=24", "entry.dropout=0.1", "length=20"), training_changes=("optimiser.lr=0.003",))
    methods = chosen_methods(asked)
    plus = methods["tmmsrec-plus-sasrec"]
    assert plus.network == methods["sasrec"] != zoo.SASREC
    assert plus.network_training == asked.training_of("sasrec") != zoo.OWN
    assert (plus.length, plus.network.length) == (20, 20)
    assert replace(plus, network=None, network_training=None) == methods["tmmsrec-plus"]


def test_how_a_network_within_is_trained_is_told():
    asked = Recipe(methods=("tmmsrec-plus-sasrec",), training_changes=("patience=7",))
    (told,) = told_of(chosen_methods(asked), asked)
    own, network = asked.training_of("tmmsrec-plus-sasrec"), asked.training
    assert f" tmmsrec-plus-sasrec: about {own.batch} users a step, at most {own.epochs} epochs, patience 7." in told
    rows = f"about {network.batch} windows of all their events a step, at most {network.epochs} epochs, patience 7."
    assert f" The network within tmmsrec-plus-sasrec learns before the rest and on its own: {rows}" in told
    assert "loss=BySize, which is not the paper's, for the network within tmmsrec-plus-sasrec." in told
    assert "Set where a method has it: width=126." in told


def test_a_network_within_that_has_no_training_of_its_own_is_told_by_that_of_the_rest():
    method = replace(zoo.TMMSREC_PLUS_SASREC, network_training=None)
    (told,) = told_of({"tmmsrec-plus-sasrec": method}, Recipe())
    own = zoo.training("tmmsrec-plus-sasrec")
    assert f"on its own: about {own.batch} users a step, at most {own.epochs} epochs" in told


def test_what_chooses_by_validation_events_is_left_out_where_those_are_learned_too():
    methods = chosen_methods(Recipe())
    assert refitted(methods, Recipe()) == (methods, [])
    found, (note,) = refitted(methods, Recipe(training_changes=("refit=true",)))
    assert set(methods) - set(found) == {"tmmsrec-plus-sasrec"}
    assert note.startswith("tmmsrec-plus-sasrec was left out: its network")


def test_a_change_that_no_method_takes_is_explained_by_the_one_that_knows_the_word():
    with pytest.raises(ValueError, match="did you mean 'width'"):
        chosen_methods(Recipe(changes=("widht=12",)))


def test_a_change_may_be_for_the_network_within_alone():
    made = chosen_methods(Recipe(methods=("tmmsrec-plus-sasrec",), changes=("width=24",)))["tmmsrec-plus-sasrec"]
    assert made.within.method.width == 24


def test_what_is_usual_is_for_those_that_have_it_and_what_was_asked_for_must_fit_one():
    (plus,) = (m for n, m in chosen_methods(Recipe(methods=("tmmsrec-plus",))).items() if n not in zoo.FLOORS)
    assert plus == zoo.TMMSREC_PLUS
    assert chosen_methods(Recipe(methods=("sasrec",)))["sasrec"].width == 126
    assert chosen_methods(Recipe(methods=("sasrec",), changes=("width=12",)))["sasrec"].width == 12
    with pytest.raises(ValueError, match="has no field 'width'"):
        chosen_methods(Recipe(methods=("tmmsrec-plus",), changes=("width=12",)))


def test_only_what_some_method_took_is_told_as_set():
    asked = Recipe(methods=("tmmsrec-plus",))
    assert "Set" not in told_of(chosen_methods(asked), asked)[0]
    asked = Recipe(methods=("sasrec",), changes=("width=12",))
    assert "Set where a method has it: width=12." in told_of(chosen_methods(asked), asked)[0]


def test_networks_learn_by_cross_entropy_unless_the_papers_loss_is_asked_for():
    methods = chosen_methods(Recipe(methods=("tmmsrec", "mgat", "mmmlp", "vbpr")))
    assert methods["tmmsrec"].loss == BySize()
    assert methods["mmmlp"] == replace(zoo.methods()["mmmlp"], width=126)
    assert methods["mgat"].loss == zoo.methods()["mgat"].loss
    (told,) = told_of(methods, Recipe())
    assert "loss=BySize, which is not the paper's, for tmmsrec." in told
    asked = Recipe(methods=("tmmsrec",), changes=("loss=BCE",))
    assert chosen_methods(asked)["tmmsrec"].loss == BCE()
    assert "BySize" not in told_of(chosen_methods(asked), asked)[0]
