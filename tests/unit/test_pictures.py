"""Pictures from a folder, a zip, a Parquet column."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tmmsrec.data import pictures as module
from tmmsrec.data.pictures import Pictures, open_pictures, reopen
from tmmsrec.data.problems import DataProblem

FILES = {"a.jpg": b"A", "b.PNG": b"B", "deep/c.webp": b"C", "deep/a.jpg": b"deep A", "007.jpeg": b"seven", "notes.txt": b"no"}


def folder(root: Path) -> Path:
    for name, data in FILES.items():
        path = root / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root / "pictures"


def packed(root: Path, files: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(root / "p.zip", "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in (files or FILES).items():
            out.writestr(name, data)
    return root / "p.zip"


@pytest.fixture(params=[folder, packed])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Pictures:
    return open_pictures(request.param(tmp_path))


def test_files_are_found_by_name_by_last_part_and_by_id(files: Pictures) -> None:
    ids = ["a", "b", "c", "007", "7", "x", "notes", "y", "z"]
    names = [None, None, None, None, None, "deep/a.jpg", None, "https://shop/img/c.webp?size=2", "elsewhere/b.PNG"]
    found = files.resolve(ids, names)
    assert found == ["a.jpg", "b.PNG", "deep/c.webp", "007.jpeg", None, "deep/a.jpg", None, "deep/c.webp", "b.PNG"]
    assert [files.read(n) for n in found] == [b"A", b"B", b"C", b"seven", None, b"deep A", None, b"C", b"B"]


def test_a_named_picture_that_is_not_there_falls_back_to_the_id(files: Pictures) -> None:
    assert files.resolve(["a", "q"], ["gone.jpg", "gone.jpg"]) == ["a.jpg", None]
    assert files.get("gone.jpg").status == "missing"


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "deep/../../x.jpg", "C:\\x.jpg", "..\\x.jpg"])
def test_names_that_climb_out_have_no_picture(files: Pictures, name: str) -> None:
    assert files.resolve(["a", "b"], [name, "b.PNG"]) == [name, "b.PNG"]
    assert "leads out" in files.get(name).status
    assert files.read(name) is None


def test_a_folder_never_gives_what_lies_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    opened = open_pictures(folder(tmp_path))
    assert opened.get("../secret.jpg").status.startswith("damaged")


@pytest.mark.parametrize("name", ["../up.jpg", "/root.jpg", "in/../../up.jpg", "..\\up.jpg", "C:/up.jpg"])
def test_a_zip_with_paths_that_climb_out_is_refused_whole(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataProblem, match=r"p.zip holds '.*', whose name leads out of the zip; it is refused"):
        open_pictures(packed(tmp_path, {"a.jpg": b"A", name: b"bad"}))
    assert not (tmp_path.parent / "up.jpg").exists()


def test_a_truncated_zip_and_what_is_no_zip(tmp_path: Path) -> None:
    path = packed(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataProblem, match=r"p.zip is no complete zip"):
        open_pictures(path)
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(DataProblem, match="neither a folder nor a zip nor a Parquet"):
        open_pictures(tmp_path / "a.rar")
    with pytest.raises(DataProblem, match="there is no folder or file of pictures"):
        open_pictures(tmp_path / "nothing")


def test_one_damaged_member_is_a_status_and_the_rest_can_be_read(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a.jpg": bytes(range(256)) * 20, "b.jpg": b"B"})
    data = bytearray(path.read_bytes())
    data[60:80] = b"\0" * 20
    path.write_bytes(bytes(data))
    opened = open_pictures(path)
    assert opened.get("a.jpg").status.startswith("damaged: ")
    assert opened.read("b.jpg") == b"B"


def test_pictures_that_are_too_large_are_not_read(files: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 3)
    assert files.get("deep/a.jpg").status == "too large"
    assert files.read("a.jpg") == b"A"


def parquet(root: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), root / "p.parquet", row_group_size=3)
    return root / "p.parquet"


@pytest.mark.parametrize("record", [False, True])
def test_parquet_columns_of_bytes(tmp_path: Path, record: bool) -> None:
    data = [f"picture {k}".encode() if k != 5 else None for k in range(10)]
    column = [{"bytes": d, "path": None} for d in data] if record else data
    opened = open_pictures(parquet(tmp_path, item_id=[f"{k:03d}" for k in range(10)], image=column))
    assert opened.resolve(["001", "1", "009"], [None, None, "004"]) == ["001", None, "004"]
    names = ["009", "000", "005", "nine", "004"]
    found = {names[p]: f for p, f in opened.read_many(names)}
    assert {n: f.data for n, f in found.items()} == {"009": data[9], "000": data[0], "005": None, "nine": None, "004": data[4]}
    assert found["005"].status == "missing"
    assert [names[p] for p in opened.in_order(names)] == ["nine", "000", "004", "005", "009"]


def test_parquet_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="holds two pictures for 'a' in column 'id'"):
        open_pictures(parquet(tmp_path, id=["a", "a"], image=[b"1", b"2"]))
    with pytest.raises(DataProblem, match="has 0 columns of bytes"):
        open_pictures(parquet(tmp_path, id=["a"], image=["text"]))
    with pytest.raises(DataProblem, match="no column for the item id"):
        open_pictures(parquet(tmp_path, thing=["a"], image=[b"1"]))
    (tmp_path / "p.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataProblem, match="no complete Parquet file"):
        open_pictures(tmp_path / "p.parquet")


@pytest.mark.parametrize("make", [folder, packed, lambda root: parquet(root, id=list(FILES), image=list(FILES.values()))])
def test_many_threads_read_the_same_bytes_and_about_opens_it_again(tmp_path: Path, make) -> None:
    opened = reopen(open_pictures(make(tmp_path)).about())
    names = list(FILES) * 50
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opened.read, names)) == [FILES[n] for n in names]


def test_a_zip_inside_is_only_bytes(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as out:
        out.writestr("../x.jpg", b"x")
    opened = open_pictures(packed(tmp_path, {"a.jpg": inner.getvalue()}))
    assert opened.read("a.jpg") == inner.getvalue()
