"""A modality that no item has, though there is a column for it: left out with the reason, and all else goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_cli import call
from tmmsrec.data import store
from tmmsrec.data.prepare import Preparation, prepare_to
from tmmsrec.data.sources.guess import source_of
from tmmsrec.extract import NothingToLearn, TfidfText
from tmmsrec.extract.plan import Crew, Plan
from tmmsrec.extract.shards import joined
from tmmsrec.study.path import Inputs, Recipe, whole_path

ITEMS = range(6)
NO_TEXT = "none of 6 items has text that can be encoded (6 x no text)"
NO_PICTURE = (
    "none of 6 items has a picture that can be encoded "
    "(5 x the item named no picture that was there when the data was prepared; 1 x not a picture that can be read)"
)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """events.csv, items without text, items with text, and a folder with one broken picture."""
    events = [f"u{u},i{(u + k) % 6},{1_600_000_000 + 86_400 * k}" for u in range(8) for k in range(5)]
    (tmp_path / "events.csv").write_text("user,item,time\n" + "\n".join(events))
    (tmp_path / "bare.csv").write_text("item,title\n" + "\n".join(f"i{n}," for n in ITEMS))
    (tmp_path / "told.csv").write_text("item,title,image\n" + "\n".join(f"i{n},thing number {n},{n}.jpg" for n in ITEMS))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.jpg").write_bytes(b"no picture")
    return tmp_path


def test_a_path_goes_on_without_texts_that_are_all_empty(raw: Path) -> None:
    made = whole_path(Inputs(raw / "events.csv", raw / "bare.csv"), Recipe(methods=(), changes=()), raw / "out")
    assert f"No text features: {NO_TEXT}." in made.report.notes
    assert (raw / "out" / "report.html").exists()


def test_a_path_goes_on_without_pictures_that_are_all_broken_and_keeps_the_texts(raw: Path) -> None:
    inputs = Inputs(raw / "events.csv", raw / "told.csv", str(raw / "pictures"))
    made = whole_path(inputs, Recipe(methods=(), changes=()), raw / "out")
    assert f"No image features: {NO_PICTURE}." in made.report.notes
    assert set(made.dataset.features) == {"text"}


@pytest.fixture
def prepared(raw: Path) -> Path:
    how = Preparation(min_events=1)
    from tmmsrec.data.pictures import open_pictures

    prepare_to(raw / "d", source_of(raw / "events.csv", raw / "told.csv"), how, pictures=open_pictures(raw / "pictures"))
    return raw / "d"


def test_extract_makes_the_other_modality(prepared: Path) -> None:
    said = call("extract", prepared, "--no-cache")
    assert f"no image features: {NO_PICTURE}" in said.stderr
    assert "1 of 2 modalities have features" in said.stdout
    assert set(store.load(prepared).features) == {"text"}


def test_extract_is_refused_where_the_encoder_was_asked_for_and_names_the_cure(prepared: Path) -> None:
    said = call("extract", prepared, "--no-cache", "--image", "descriptors", code=2)
    assert f"error: {NO_PICTURE}; leave this modality out (--image none) or repair it" in said.stderr
    assert set(store.load(prepared).features) == {"text"}


def test_every_process_at_the_same_features_is_told_the_same(tmp_path: Path) -> None:
    plan = Plan(TfidfText(), "float32", 8, 8, ("title",))
    with joined(tmp_path / ".text-shards", plan, Crew()) as one, joined(tmp_path / ".text-shards", plan, Crew()) as other:
        one.end(NothingToLearn("nothing there", "leave it out"))
        with pytest.raises(NothingToLearn, match=r"^nothing there; leave it out$"):
            other.ended()
