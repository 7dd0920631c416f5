"""What a study does where data lack a modality, and how a floor with settings is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import small
from tmmsrec import studies, zoo
from tmmsrec.data import store
from tmmsrec.models.counting import Markov
from tmmsrec.study.conduct import conduct
from tmmsrec.study.results import report
from tmmsrec.study.study import Entrant, Study

BEYOND = studies.named("beyond")


def lacking(*features: str):
    """A shop whose items have no such features."""
    data = small()
    left = {name: held for name, held in data.features.items() if name not in features}
    return replace(data, catalog=replace(data.catalog, features=left))


def test_with_all_modalities_all_entrants_stand_as_they_are():
    fitted = BEYOND.fitting(small())
    assert fitted.entrants == BEYOND.entrants
    assert fitted.remarks == ()


def test_without_pictures_methods_read_texts_and_what_becomes_the_same_stands_once():
    fitted = BEYOND.fitting(lacking("image"))
    assert fitted.entrants["plus now"].method == replace(zoo.TMMSREC_PLUS_NOW, modalities=("text",))
    assert fitted.entrants["TMMSRec"].method.modalities == ("id", "text")
    assert set(BEYOND.entrants) - set(fitted.entrants) == {"plus now without pictures", "plus now without texts"}
    assert fitted.subject == "plus now"
    assert fitted.parts["texts"] == ("plus now", "plus now counting alone")
    assert not {"pictures", "texts and pictures"} & set(fitted.parts)
    (remark,) = fitted.remarks
    assert remark.endswith("read text only: the data has no image features.")
    assert "TMMSRec without time, TMMSRec, " in remark


def test_without_features_counting_is_what_is_left():
    fitted = BEYOND.fitting(lacking("text", "image"))
    assert fitted.subject == "plus now counting alone"
    assert not {"plus", "plus now", "plus now without neighbours"} & set(fitted.entrants)
    assert fitted.parts["followers"] == ("plus now counting alone", "plus now without followers")
    assert fitted.fitting(lacking("text", "image")) == fitted


def test_other_studies_leave_a_method_out_that_cannot_read_what_it_asks_for():
    table = studies.named("table4-modalities")
    assert set(table.fitting(lacking("image")).entrants) < set(table.entrants)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("floors")
    dataset = store.save(small(users=80), folder / "data")
    # One that reads the newest event, and one to which the newest five are worth the same.
    grid = (("decay=0.0",), ("decay=1.0", "span=5", "reach=5"))
    study = Study("Floors", {"markov": Entrant(zoo.MARKOV), "markov-chosen": Entrant(Markov(), grid=grid)}, seeds=3)
    return conduct(study, dataset, folder / "runs")


def test_a_floor_is_chosen_by_validation_and_tested_once(chosen):
    values = chosen.tried["markov-chosen"]
    assert not np.isnan(values).any()
    best = chosen.study.entrants["markov-chosen"].settings()[int(np.argmax(values))]
    assert chosen.chosen["markov-chosen"] == best
    (run,) = chosen.runs["markov-chosen"]
    assert run.job.method == best.method
    assert run.about["fit"]["best"] == max(values)


def test_a_report_says_among_how_many_settings_a_floor_was_chosen(chosen):
    assert "markov-chosen: the best of 2 settings in validation." in report(chosen).notes


def test_what_is_set_for_every_training_is_no_longer_chosen():
    study = studies.named("beyond").changed(["optimiser.lr=0.3", "epochs=2"])
    for name, entrant in study.entrants.items():
        for setting in entrant.settings():
            assert (setting.training.optimiser.lr, setting.training.epochs) == (0.3, 2), name
            assert not any(c.startswith("training.optimiser.lr=") for c in setting.changes)
    assert [len(study.entrants[n].grid) for n in ("SASRec", "plus now", "markov")] == [3, 1, 1]
