"""Extractions by shards: killed at any moment, shared, refused; what they leave is what one undisturbed process writes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.test_extract_image import PICTURES, Drawer
from tmmsrec.data import store
from tmmsrec.data.catalog import Features
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.extract import DescriptorImage, Form, TfidfText, Work, extract_into, extract_text, load_encoder, source_of_items
from tmmsrec.extract import sharded as making
from tmmsrec.extract.base import Encoder
from tmmsrec.extract.shards import Shards

COLOURS = ("red", "blue", "green", "black", "white")
KINDS = ("wool coat", "cotton shirt", "silk dress", "denim jeans", "leather boot")
TEXTS = [f"{c} {k} number {n}" if n != 5 else None for n in range(8) for c in COLOURS for k in KINDS]
SMALL = Form(shard=32)
TEXT, IMAGE = TfidfText(width=12), DescriptorImage(width=6)
DRAWER = Drawer({f"{i}.png": data for i, data in enumerate(PICTURES)} | {"7.png": b"broken"})


@pytest.fixture
def shop() -> Dataset:
    """200 items, of which 25 have no text; pictures of 40 garments, one of them broken, one not there."""
    names = [f"{i % 41}.png" for i in range(200)]
    log = Interactions.of(np.repeat(np.arange(30), 5), 1 + np.arange(150) * 7 % 200, np.arange(150) * 86_400)
    return Dataset.in_memory("shop", log, 200, fields=pa.table({"title": TEXTS, "image": names}))


def extract(place: Path, shop: Dataset, encoder: Encoder, form: Form = SMALL) -> None:
    report = place / "encoders" / f"{encoder.modality}-missing.parquet"
    pictures = DRAWER if encoder.modality == "image" else None
    extract_into(place, source_of_items(shop, encoder, pictures), Work(workers=1), form, report)


def written(place: Path) -> dict[str, bytes]:
    """Every file that is left, without what tells when it was made."""
    found = {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file() and p.suffix != ".lock"}
    for name in [n for n in found if n.endswith("provenance.json")]:
        found[name] = json.dumps({k: v for k, v in json.loads(found[name]).items() if k != "seconds"}).encode()
    return found


def forked(work: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def ended(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join(timeout=100)
    return process.exitcode


# ---- killed


def struck(place: Path, shop: Dataset, encoder: Encoder, target: object, name: str, call: int, before: bool) -> None:
    """Extract, and be killed before or after the so-many-th call of a function."""
    whole, calls = getattr(target, name), [0]

    def once(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if before and calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        done = whole(*given, **named)
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(target, name, once)
    extract(place, shop, encoder)


MOMENTS = {
    "before the first shard": (making._Maker, "_rows", 1, True),
    "a shard made and not yet written": (making._Maker, "_rows", 3, False),
    "a shard written": (Shards, "_make", 2, False),
    "fitted and not yet saved": (TfidfText, "learn", 1, False),
    "saving what was fitted": (store, "swap", 1, True),
    "assembled and not yet in place": (making, "assemble", 1, False),
    "swapping them in": (store, "swap", 2, True),
    "features in place, encoder not": (store, "put_features", 1, False),
    "all in place, not yet noted": (making, "_put", 1, False),
    "noted, not yet cleared": (Shards, "clear", 1, True),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_extraction_goes_on_and_ends_as_one_that_was_not(tmp_path: Path, shop: Dataset, moment: str) -> None:
    extract(tmp_path / "whole", shop, TEXT)
    child = forked(struck, tmp_path / "killed", shop, TEXT, *MOMENTS[moment])
    assert ended(child) == -signal.SIGKILL
    extract(tmp_path / "killed", shop, TEXT)
    assert written(tmp_path / "killed") == written(tmp_path / "whole")


@pytest.mark.parametrize(("target", "name", "call"), [("_Maker", "_raw", 4), ("_Maker", "_rows", 2)])
def test_pictures_described_before_a_kill_are_not_described_again(
    tmp_path: Path, shop: Dataset, monkeypatch: pytest.MonkeyPatch, target: str, name: str, call: int
) -> None:
    extract(tmp_path / "whole", shop, IMAGE)
    assert ended(forked(struck, tmp_path / "killed", shop, IMAGE, getattr(making, target), name, call, True)) == -signal.SIGKILL
    again: list[int] = []
    raw = making._Maker._raw
    monkeypatch.setattr(making._Maker, "_raw", lambda self, n, describer: again.append(n) or raw(self, n, describer))
    extract(tmp_path / "killed", shop, IMAGE)
    assert again == ([3, 4, 5, 6] if name == "_raw" else [])
    assert written(tmp_path / "killed") == written(tmp_path / "whole")


def test_rows_do_not_depend_on_the_shards_and_are_those_of_the_encoder(tmp_path: Path, shop: Dataset) -> None:
    fitted, done = TEXT.fit_encode(TEXTS, Work())
    for shard in (1, 7, 200, 1000):
        extract(tmp_path / str(shard), shop, TEXT, Form(shard=shard))
        features = store.read_features(tmp_path / str(shard) / "features" / "text")
        assert np.array_equal(features.rows[1:], done.rows)
        assert np.array_equal(features.present[1:], done.present)
    np.testing.assert_array_equal(load_encoder(tmp_path / "7" / "encoders" / "text").encode(TEXTS)[0], fitted.encode(TEXTS)[0])
    missing = pq.read_table(tmp_path / "7" / "encoders" / "text-missing.parquet")
    assert missing["item"].to_pylist() == [1 + i for i, text in enumerate(TEXTS) if text is None]


# ---- shared


def held_up(place: Path, shop: Dataset, shard: int) -> None:
    """Extract, and come to a stand in the midst of a shard."""
    whole = making._Maker._rows

    def stands(self: Any, n: int, fitted: Any) -> Any:
        if n == shard:
            (place / "standing").touch()
            time.sleep(1000)
        return whole(self, n, fitted)

    making._Maker._rows = stands  # type: ignore[method-assign]
    extract(place, shop, TEXT)


def until(happens: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happens():
            return
        time.sleep(0.1)
    pytest.fail("waited in vain")


def test_a_process_that_dies_leaves_its_shard_to_another(tmp_path: Path, shop: Dataset) -> None:
    extract(tmp_path / "whole", shop, TEXT)
    place = tmp_path / "shared"
    dying = forked(held_up, place, shop, 2)
    until((place / "standing").exists)
    living = forked(extract, place, shop, TEXT)
    rows = place / "features" / ".text-shards" / "rows"
    until(lambda: len(list(rows.glob("0*.safetensors"))) == 6)
    assert living.is_alive(), "the shard that another process is at is waited for"
    assert not (rows / "000002.safetensors").exists()
    assert dying.pid is not None
    os.kill(dying.pid, signal.SIGKILL)
    assert ended(living) == 0
    (place / "standing").unlink()
    assert written(place) == written(tmp_path / "whole")


def test_one_that_comes_when_all_is_done_does_not_begin_anew(
    tmp_path: Path, shop: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    first = forked(extract, tmp_path, shop, TEXT)
    until((tmp_path / "features" / ".text-shards" / "ended").exists)
    stamp = (tmp_path / "features" / "text" / "rows.npy").stat().st_mtime_ns
    assert first.is_alive(), "the first waits for the other, which was started with it"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(making._Maker, "_rows", None)  # nothing is left to be made
    extract(tmp_path, shop, TEXT)
    assert ended(first) == 0
    assert (tmp_path / "features" / "text" / "rows.npy").stat().st_mtime_ns == stamp
    assert not (tmp_path / "features" / ".text-shards").exists()


def test_other_options_are_refused_while_others_are_at_it_and_begin_anew_afterwards(tmp_path: Path, shop: Dataset) -> None:
    dying = forked(held_up, tmp_path, shop, 0)
    until((tmp_path / "standing").exists)
    with pytest.raises(DataProblem, match=r"encoder\.width: 12 there, 4 here; shard: 32 there, 64 here\): give all processes"):
        extract(tmp_path, shop, replace(TEXT, width=4), Form(shard=64))
    with pytest.raises(DataProblem, match="dtype: float32 there, float16 here"):
        extract(tmp_path, shop, TEXT, Form("float16", shard=32))
    dying.kill()
    dying.join()
    extract(tmp_path, shop, replace(TEXT, width=4))
    assert store.read_features(tmp_path / "features" / "text").width == 4
    assert [p.name for p in (tmp_path / "features").iterdir() if p.is_dir()] == ["text"]


# ---- refused


def test_a_shard_of_another_extraction_and_a_damaged_one_are_named(
    tmp_path: Path, shop: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "features" / ".text-shards" / "rows"
    monkeypatch.setattr(making, "assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, shop, TEXT)
    strange = (rows / "000001.safetensors").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, shop, replace(TEXT, width=4))
    monkeypatch.undo()
    (rows / "000001.safetensors").write_bytes(strange)
    with pytest.raises(DataProblem, match=r"000001\.safetensors is a shard of another extraction; remove it"):
        extract(tmp_path, shop, replace(TEXT, width=4))
    (rows / "000001.safetensors").write_bytes(strange[:-9])
    with pytest.raises(DataProblem, match=r"000001\.safetensors is damaged: .*; remove it and run again, the others are kept"):
        extract(tmp_path, shop, replace(TEXT, width=4))
    (rows / "000001.safetensors").unlink()
    extract(tmp_path, shop, replace(TEXT, width=4))
    extract(tmp_path / "whole", shop, replace(TEXT, width=4))
    made, whole = (store.read_features(p / "features" / "text").rows for p in (tmp_path, tmp_path / "whole"))
    assert np.array_equal(made, whole)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, shop: Dataset) -> None:
    (tmp_path / "features").write_text("in the way")
    with pytest.raises(DataProblem, match=r"cannot write .*\.text-shards: .*let all processes write there"):
        extract(tmp_path, shop, TEXT)


def test_a_full_disk_keeps_the_shards(tmp_path: Path, shop: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from tmmsrec.extract import shards as module

    whole = module.save_whole

    def full(path: Path, *given: Any) -> None:
        if path.name == "000003.safetensors":
            raise OSError(28, "No space left on device")
        whole(path, *given)

    monkeypatch.setattr(module, "save_whole", full)
    with pytest.raises(DataProblem, match=r"No space left.*make room, and run again: shards that are there are kept"):
        extract(tmp_path, shop, TEXT)
    assert sorted(p.stem for p in (tmp_path / "features" / ".text-shards" / "rows").iterdir()) == ["000000", "000001", "000002"]


def test_what_cannot_be_made_is_said_and_not_held_against_the_next_run(tmp_path: Path, shop: Dataset) -> None:
    empty = replace(
        shop, catalog=replace(shop.catalog, fields=pa.table({"title": [None] * 200}, pa.schema({"title": pa.string()})))
    )
    with pytest.raises(DataProblem, match=r"none of 200 items has text that can be encoded \(200 x no text\)"):
        extract(tmp_path, empty, TEXT)
    same_columns = replace(shop, catalog=replace(shop.catalog, fields=shop.catalog.fields.select(["title"])))
    extract(tmp_path, same_columns, TEXT)
    assert store.read_features(tmp_path / "features" / "text").present.sum() == 175
    with pytest.raises(DataProblem, match="float32 or float16, not as 'int8'"):
        Form("int8")  # type: ignore[arg-type]
    with pytest.raises(DataProblem, match="at least 1 item"):
        Form(shard=0)


# ---- half as wide


def test_float16_features_are_mapped_and_missing_ones_stay_missing(tmp_path: Path, shop: Dataset) -> None:
    store.save(shop, tmp_path)
    extract(tmp_path, shop, TEXT, Form("float16", shard=32))
    extract(tmp_path / "wide", shop, TEXT)
    features, wide = store.load(tmp_path).features["text"], store.read_features(tmp_path / "wide" / "features" / "text")
    assert features.rows.dtype == np.float16
    assert isinstance(features.rows, np.memmap)
    assert np.array_equal(features.rows, wide.rows.astype(np.float16))
    assert np.array_equal(features.present, wide.present)
    assert features.provenance["dtype"] == "float16"
    assert store.save(store.load(tmp_path), tmp_path / "copy").features["text"].rows.dtype == np.float16


def test_a_row_too_large_for_float16_is_refused_by_item(tmp_path: Path, shop: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from tmmsrec.extract.tfidf import FittedTfidf

    whole = FittedTfidf.examine
    monkeypatch.setattr(FittedTfidf, "examine", lambda *a: (d := whole(*a))._replace(rows=d.rows * 1e6))
    with pytest.raises(DataProblem, match=r"the row of item \d+ holds .*, more than float16 can \(65504\): write float32"):
        extract(tmp_path, shop, TEXT, Form("float16"))


def test_a_training_on_float16_features_is_that_on_the_same_numbers(tmp_path: Path, shop: Dataset) -> None:
    from tmmsrec import zoo
    from tmmsrec.fit import fit
    from tmmsrec.ranking import rank
    from tmmsrec.training import Training

    store.save(shop, tmp_path)
    extract(tmp_path, shop, TEXT, Form("float16"))
    half = store.load(tmp_path)
    text = half.features["text"]
    full = half.with_features(text=Features(text.rows.astype(np.float32), text.present))
    method = replace(zoo.TMMSREC, modalities=("id", "text"), width=12, length=10)
    parts = LeaveOneOut().cut(shop.interactions)
    ranks = []
    for data in (half, full):
        model = fit(method, data, train=parts.train, valid=parts.valid, training=Training(epochs=1, batch=8)).model
        ranks.append(rank(model, parts.test, history=method.history))
    assert np.array_equal(*[r.ranks for r in ranks])
    assert half.fingerprint == full.fingerprint


# ---- a sample


def test_tfidf_is_fitted_on_a_sample_that_does_not_know_the_order(shop: Dataset) -> None:
    encoder = TfidfText(width=8, fit_on=60)
    turn = np.random.default_rng(0).permutation(200)
    straight, turned = encoder.fit(TEXTS), encoder.fit([TEXTS[i] for i in turn])
    assert straight.about()["fitted_items"] == 60
    assert straight.grams == turned.grams
    assert np.array_equal(straight.components, turned.components)
    features, _ = extract_text(shop, encoder)
    assert features.present.sum() == 175
    assert features.provenance["fitted_on"] == "60 items of the catalogue, no events"
