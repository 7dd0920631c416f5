import os

import numpy as np
import pytest

from tmmsrec.data.problems import DataProblem
from tmmsrec.extract import whole as module
from tmmsrec.extract.base import Absent, Work
from tmmsrec.extract.cache import ContentCache, content_key
from tmmsrec.extract.describe import describe_all


def keys(*names: str) -> list[bytes]:
    return [content_key(n) for n in names]


def rows(*numbers: float) -> np.ndarray:
    return np.array([[n, n + 1, n + 2] for n in numbers], dtype=np.float32)


def test_rows_come_back_by_content_over_several_shards(tmp_path):
    first = ContentCache(tmp_path, "enc", 3, "float32")
    first.add(keys("a", "b"), rows(1, 2))
    first.flush()
    first.add(keys("c"), rows(3))
    first.flush()
    hits, found = ContentCache(tmp_path, "enc", 3, "float32").find(keys("c", "x", "a", "c"))
    assert hits == [0, 2, 3]
    assert np.array_equal(found, rows(3, 1, 3))
    assert ContentCache(tmp_path, "other", 3, "float32").find(keys("a"))[0] == []


def test_a_damaged_shard_is_left_out_and_the_others_serve(tmp_path):
    cache = ContentCache(tmp_path, "enc", 3, "float32")
    for name, number in (("a", 1.0), ("b", 2.0)):
        cache.add(keys(name), rows(number))
        cache.flush()
    shards = sorted((tmp_path / "enc").glob("*.safetensors"))
    shards[0].write_bytes(shards[0].read_bytes()[:-5])
    (tmp_path / "enc" / "zz.safetensors").write_bytes(b"junk")
    again = ContentCache(tmp_path, "enc", 3, "float32")
    hits, found = again.find(keys("a", "b"))
    assert hits == [1]
    assert np.array_equal(found, rows(2))


def test_what_a_killed_process_left_is_never_read_and_swept_in_time(tmp_path):
    (tmp_path / "enc").mkdir()
    young, old = tmp_path / "enc" / ".shard.young", tmp_path / "enc" / ".shard.old"
    for left in (young, old):
        left.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert len(ContentCache(tmp_path, "enc", 3, "float32")) == 0
    assert young.exists()
    assert not old.exists()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = ContentCache(tmp_path, "enc", 3, "float32")
    monkeypatch.setattr(module, "save_file", full)
    cache.add(keys("a"), rows(1))
    with pytest.raises(DataProblem, match=r"No space left.*make room"):
        cache.flush()
    assert os.listdir(tmp_path / "enc") == []


class Lengths:
    """Describes a text by its length; fails on "bad"; counts its work."""

    name, width, dtype, block, what = "lengths", 1, "float32", 4, "texts"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def describe(self, contents: list[str], threads: int) -> tuple[np.ndarray, dict[int, str]]:
        self.seen += contents
        return np.array([[len(c)] for c in contents], np.float32), {i: "is bad" for i, c in enumerate(contents) if c == "bad"}


def test_each_content_is_described_once_and_each_failure_has_its_reason(tmp_path):
    texts = ["one", "", "bad", "three", "one", "bad", None, Absent("lost"), "five!", "three", "one"]
    told: list[tuple[int, int, str]] = []
    worker = Lengths()
    done = describe_all(worker, texts, Work(tmp_path, lambda *a: told.append(a)))
    assert done.rows[:, 0].tolist() == [3, 0, 0, 5, 3, 0, 0, 0, 5, 5, 3]
    assert done.present.tolist() == [bool(n) for n in done.rows[:, 0]]
    assert done.reasons == {1: "empty", 2: "is bad", 5: "is bad", 6: "none given", 7: "lost"}
    assert sorted(worker.seen) == ["bad", "bad", "five!", "one", "three"]
    assert told == [(4, 11, "texts"), (8, 11, "texts"), (11, 11, "texts")]
    again = Lengths()
    second = describe_all(again, texts, Work(tmp_path))
    assert np.array_equal(second.rows, done.rows)
    assert second.reused == 3
    assert set(again.seen) == {"bad"}


def test_work_done_before_a_stop_is_kept(tmp_path):
    def stopped() -> object:
        yield from ["a", "bb", "ccc", "dddd"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe_all(Lengths(), stopped(), Work(tmp_path))  # type: ignore[arg-type]
    again = Lengths()
    assert describe_all(again, ["a", "bb", "ccc", "dddd", "eeeee"], Work(tmp_path)).reused == 4
    assert again.seen == ["eeeee"]
