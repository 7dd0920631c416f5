"""Input that cannot be used: each with a message that says what, where and what to do, and nothing written."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tmmsrec.data.prepare import Preparation, prepare_from, prepare_to
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources.guess import source_of

ALL = Preparation(min_events=1)
HEAD = "user,item,time\n"
ROW = "u1,i1,1420588800\n"


def refused(folder: Path, files: dict[str, bytes | str], message: str, how: Preparation = ALL) -> None:
    """Write the files (events first, then items), prepare into a folder, and see it refused with nothing left behind."""
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    paths = [folder / name for name in files]
    with pytest.raises(DataProblem, match=message):
        prepare_to(folder / "out", source_of(*paths), how)
    assert sorted(p.name for p in folder.iterdir()) == sorted(files)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "e.csv",
            "user,thing,time\nu1,i1,1\n",
            r"e.csv has no column for the item: it has user, thing, time; expected one of item_id, .*: --item-column NAME$",
        ),
        ("e.csv", "user,item\nu1,i1\n", r"e.csv has no column for the time.*say which column it is: --time-column NAME$"),
        ("e.csv", "u1,i1,1420588800\nu1,i2,1420588801\n", r": --user-column NAME; its first line looks like data"),
        ("e.csv", "u1,i1,2015-01-07\n", r"looks like data: where that is so, put a line with the names"),
        ("e.csv", "1,1,1420588800\n", r"e.csv has two columns named '1'.*; where that line is data, put one with the names"),
        ("e.jsonl", '{"0": 1, "1": 2}\n', r"no column for the user.*: --user-column NAME$"),
        ("e.csv", "user,item,user,time\nu1,i1,u1,1\n", r"e.csv has two columns named 'user'"),
        ("e.csv", "user,item,time\ru1,i1,1420588800\r", r"first line of .*e.csv cannot be read.*carriage returns alone"),
        (
            "e.csv",
            '"user,item,time\nof day"\nu1,i1,1420588800\n',
            r"first line of .*e.csv cannot.*a quote that it does not close",
        ),
        ("e.jsonl", '{"user": 1, "item": 2}\n', r"e.jsonl has no column for the time: it has user, item"),
        ("e.csv", HEAD + ROW + "u2,i2,soon\n", r"row 2 of .*e.csv: time 'soon' is neither"),
        ("e.csv", HEAD + ROW + "u2,i2,1420588800000\n", r"mixes units: row 2 of .*e.csv is '1420588800000', milliseconds"),
        ("e.csv", HEAD + ROW + "u2,i2,\n", r"row 2 of .*e.csv has no time"),
        ("e.csv", HEAD + ROW + ",i2,1420588800\n", r"row 2 of .*e.csv has no user id \(1 such\)"),
        ("e.csv", HEAD + ROW + 'u2,"",1420588800\n', r"row 2 of .*e.csv has no item id"),
        ("e.csv", HEAD + ROW + "  ,i2,1420588800\n\t,i2,1\n", r"row 2 of .*e.csv has no user id \(2 such\)"),
        ("e.jsonl", '{"user": " ", "item": 2, "time": 1420588800}\n', r"line 1 of .*e.jsonl has no user id \(1 such\)"),
        ("e.jsonl", '{"user": 1, "item": 2, "time": 1420588800}\n{"user": 1}\n', r"line 2 of .*e.jsonl has no item id"),
        ("e.csv", b"", r"e.csv is empty \(0 bytes\)"),
        ("e.csv.gz", gzip.compress(b"", mtime=0), r"e.csv.gz holds no text"),
        ("e.csv", HEAD, r"there are no events in .*e.csv; give a file that has at least one"),
        ("e.csv", HEAD + ROW + "u2,2\n", r"line 3 of .*e.csv has 2 fields \(u2,2\) where .* names 3 \(user, item, time\)"),
        ("e.csv", HEAD + ROW + "\nu2,2,3,4\n", r"line 4 of .*e.csv has 4 fields .* put quotes around a field that holds ','$"),
        ("e.tsv", "user\titem\ttime\nu\ti\n", r"line 2 of .*e.tsv has 2 fields .* holds '\\t'$"),
        ("e.csv", HEAD + ROW + 'u2,"2,3\n' + ROW, r"line 3 of .*e.csv: a quote is not closed"),
        ("e.csv", HEAD + ROW, r"none of 1 users has 5 events; ask for fewer"),
        (
            "e.csv",
            HEAD.encode() + ROW.encode() + b"u2,caf\xe9,1420588800\n",
            r"line 3 of .*e.csv is not UTF-8 \(byte 7, near b'u2,caf",
        ),
        ("e.jsonl", b'{"user":1,"item":2,"time":1420588800}\n{"user":1,"item":"\xe9"}\n', r"line 2 of .*e.jsonl is not UTF-8"),
        ("e.csv", (HEAD + ROW).encode("utf-16"), r"line 1 of .*e.csv is not UTF-8"),
        ("e.jsonl", '{"user":1,"item":2,"time":1420588800}\n{"user":1,\n', r"line 2 of .*e.jsonl is not JSON"),
        ("e.json", "{'reviewerID': 'A', 'asin': 'B'}\n", r"line 1 of .*e.json is not JSON"),
        ("e.json", '[{"user": 1}]\n', r"line 1 of .*e.json is JSON but no object"),
        ("e.parquet", b"PAR1 and no more", r"e.parquet is no complete Parquet file"),
        ("e.xlsx", b"PK", r"files ending in '.xlsx' are not known; give csv"),
    ],
)
def test_events_that_cannot_be_used(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    refused(tmp_path, {name: content}, message, Preparation() if "min" in message or "5 events" in message else ALL)


@pytest.mark.parametrize("cut", [-4, -12, 0.5, 20])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "txt"])
def test_a_truncated_gz_is_never_taken_for_the_whole(tmp_path: Path, cut: float, ending: str) -> None:
    row = {
        "csv": "u{k},i{k},1420588800\n",
        "jsonl": '{{"user":"u{k}","item":"i{k}","time":1420588800}}\n',
        "txt": "u{k} i{k} 1420588800\n",
    }[ending]
    text = (HEAD if ending == "csv" else "") + "".join(row.format(k=k) for k in range(20_000))
    whole = gzip.compress(text.encode(), mtime=0)
    end = int(len(whole) * cut) if isinstance(cut, float) else cut
    refused(tmp_path, {f"e.{ending}.gz": whole[:end]}, r"is truncated or damaged \(.*\); download or copy it again")


def test_a_gz_of_several_members_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "e.csv.gz").write_bytes(
        gzip.compress(HEAD.encode(), mtime=0) + gzip.compress(ROW.encode()) + gzip.compress(b"u2,i2,1420588801\n")
    )
    assert len(prepare_from(tmp_path / "e.csv.gz", how=ALL).interactions) == 2


def test_damaged_bytes_and_a_plain_file_called_gz(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress((HEAD + "".join(f"u{k},i{k * 7919 % 10007},1420588800\n" for k in range(5000))).encode()))
    whole[len(whole) // 2] ^= 0xFF
    refused(tmp_path, {"e.csv.gz": bytes(whole)}, "truncated or damaged")
    refused(tmp_path, {"e.csv.gz": HEAD + ROW}, "truncated or damaged")


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user": ["u"], "item": ["i"], "time": [1420588800]}), tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "whole").unlink()
    refused(tmp_path, {"e.parquet": data[:-20]}, "e.parquet is no complete Parquet file")


@pytest.mark.parametrize("column", [[1.0, 2.0], [True, False], [None, "i"]])
def test_ids_of_a_type_that_is_no_id(tmp_path: Path, column: list) -> None:
    pq.write_table(pa.table({"user": ["u", "u"], "item": column, "time": [1420588800] * 2}), tmp_path / "e.parquet")
    with pytest.raises(DataProblem, match=r"the item ids of .* have type|row 1 of .* has no item id"):
        prepare_from(tmp_path / "e.parquet", how=ALL)


EVENTS = HEAD + ROW + "u1,i2,1420588801\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("i.csv", "name,title\ni1,x\n", r"i.csv has no column for the item id: it has name, title.*: --item-id-column NAME$"),
        ("i.csv", "item,title\ni1,x\n,y\n", r"row 2 of .*i.csv has no item id; give every item one"),
        (
            "i.csv",
            "item,title\ni1,x\ni2,y\ni1,z\n",
            r"i.csv describes 1 items twice with different contents: i1 \(rows 1, 3\); keep one row",
        ),
        (
            "i.csv",
            "item,title\n01,x\n",
            r"no item of the events is in .*i.csv: events have i., i., ..., the table has 01.*leading zeros",
        ),
        ("i.csv", "item,title\n", r"no item of the events is in .*i.csv.*the table has nothing"),
        ("i.jsonl", '{"asin": "i1", "title": "x"}\n{"asin": "i1"}\n', r"i.jsonl describes 1 items twice .*i1 \(lines 1, 2\)"),
        ("i.item", "title:token_seq\nx\n", r"i.item has no column for the item id"),
    ],
)
def test_item_tables_that_cannot_be_used(tmp_path: Path, name: str, content: str, message: str) -> None:
    refused(tmp_path, {"e.csv": EVENTS, name: content}, message)


def test_amazon_products_that_repeat_are_kept_once_and_counted(tmp_path: Path) -> None:
    reviews = [{"reviewerID": "u", "asin": a, "unixReviewTime": 1420588800} for a in ("A", "B")]
    products = [{"asin": "A", "title": t, "brand": "b", "category": []} for t in ("first", "second")]
    for name, rows in (("e.json", reviews), ("m.json", products)):
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    dataset = prepare_from(tmp_path / "e.json", tmp_path / "m.json", how=ALL)
    assert dataset.catalog.fields["title"].to_pylist() == ["first", None]
    assert dataset.report["items"]["table"]["repeated_rows"] == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (Preparation(1, require=("text",)), "no item table with text fields was given"),
        (Preparation(1, require=("image",)), "no pictures .* were given"),
    ],
)
def test_required_modalities_that_nothing_could_give(tmp_path: Path, how: Preparation, message: str) -> None:
    refused(tmp_path, {"e.csv": EVENTS}, message, how)


def test_every_item_lacks_what_is_required(tmp_path: Path) -> None:
    refused(
        tmp_path,
        {"e.csv": EVENTS, "i.csv": "item,title\ni1,\ni2,\n"},
        "every item lacks one of text",
        Preparation(1, require=("text",)),
    )


def test_preparations_that_make_no_sense() -> None:
    with pytest.raises(DataProblem, match="cannot be asked to have 'sound'; known: text, image"):
        Preparation(require=("sound",))
    with pytest.raises(DataProblem, match="min_events is 0"):
        Preparation(min_events=0)


def test_a_file_that_is_not_there_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(EVENTS)
    with pytest.raises(DataProblem, match=r"there is no file .*event.csv; its folder holds: events.csv"):
        prepare_from(tmp_path / "event.csv")


def test_a_failed_preparation_leaves_the_old_dataset_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(EVENTS)
    before = prepare_to(tmp_path / "out", source_of(tmp_path / "e.csv"), ALL).fingerprint
    (tmp_path / "e.csv").write_text(EVENTS + "u1,i3,never\n")
    with pytest.raises(DataProblem, match="row 3"):
        prepare_to(tmp_path / "out", source_of(tmp_path / "e.csv"), ALL)
    from tmmsrec.data.store import load

    assert load(tmp_path / "out").fingerprint == before


def test_a_place_that_cannot_be_written_is_said_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("never read\n")
    (tmp_path / "file").write_text("precious")
    source = source_of(tmp_path / "e.csv")
    with pytest.raises(DataProblem, match=r"file is a file; choose an empty or new folder"):
        prepare_to(tmp_path / "file", source, ALL)
    with pytest.raises(DataProblem, match=r"the folder .*file cannot be made, for .*file is a file; write to another place"):
        prepare_to(tmp_path / "file" / "sub", source, ALL)
    with pytest.raises(DataProblem, match=r"holds other files and no Dataset"):
        prepare_to(tmp_path, source, ALL)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_that_differ_in_case_only_are_named(tmp_path: Path, kind: str) -> None:
    table = pa.table({"item": ["i1"], "title": ["a"], "Title": ["b"]})
    name = f"m.{kind}"
    if kind == "parquet":
        pq.write_table(table, tmp_path / name)
        content: bytes | str = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
    else:
        content = "item,title,Title\ni1,a,b\n" if kind == "csv" else json.dumps(table.to_pylist()[0]) + "\n"
    refused(tmp_path, {"e.csv": HEAD + ROW, name: content}, "has the columns 'title' and 'Title', which differ in case only")
