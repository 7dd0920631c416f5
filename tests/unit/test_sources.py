"""Every raw format gives the same events and items; ids keep every character."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import real_data
from tmmsrec.data.engines.duck import DuckDB
from tmmsrec.data.prepare import Preparation, prepare_from
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources.amazon import AmazonMeta, AmazonReviews
from tmmsrec.data.sources.frames import FrameEvents, FrameItems
from tmmsrec.data.sources.guess import source_of
from tmmsrec.data.sources.recbole import RecBoleInter, RecBoleItem
from tmmsrec.data.sources.table import TableEvents, TableItems
from tmmsrec.data.sources.text import TextLines

ROWS = [("u1", "007", "1420588800"), ("u1", "7", "1420588801"), ("ü", "a b", "1420588802")]


def events_of(source) -> list[tuple]:
    with DuckDB().open() as desk:
        rows = source.events(desk).table.order_by("position").to_pyarrow().to_pylist()
    assert [r["position"] for r in rows] == list(range(len(rows)))
    return [(r["user"], r["item"], r["time"]) for r in rows]


def items_of(source) -> dict:
    with DuckDB().open() as desk:
        rows = source.items(desk).table.order_by("position").to_pyarrow().to_pylist()
    return {r.pop("item"): {k: v for k, v in r.items() if k != "position"} for r in rows}


def write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def delimited(mark: str) -> str:
    return mark.join(("user_id", "item_id", "timestamp")) + "\n" + "".join(mark.join(r) + "\n" for r in ROWS)


@pytest.mark.parametrize(
    ("name", "mark"), [("a.csv", ","), ("a.csv.gz", ","), ("a.tsv", "\t"), ("a.tsv.gz", "\t"), ("a.csv", ";"), ("a.txt", "|")]
)
def test_delimited_files_keep_ids_as_written(tmp_path: Path, name: str, mark: str) -> None:
    assert events_of(TableEvents(write(tmp_path / name, delimited(mark)))) == ROWS


def test_zstandard_windows_line_ends_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    text = (
        "\ufeffuid,note,asin,date\r\n" + 'u1,"a, ""b""\nc",007,1420588800\r\n' + "u1,,7,1420588801\r\n" + "ü,x,a b,1420588802\r\n"
    )
    path = tmp_path / "a.csv.zst"
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        out.write(text.encode())
    assert events_of(TableEvents(path)) == ROWS


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    lines = [json.dumps({"user": u, "item": i, "time": int(t), "more": [1]}) for u, i, t in ROWS]
    assert events_of(TableEvents(write(tmp_path / name, "\n".join(lines) + "\n"))) == ROWS


def test_parquet_keeps_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user": pa.array([3, 1], pa.int32()), "item": ["007", "7"], "ts": [1420588800, 1420588801]}), path)
    assert events_of(TableEvents(path)) == [(3, "007", 1420588800), (1, "7", 1420588801)]


def test_recbole_files(tmp_path: Path) -> None:
    inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(f"{u}\t{i}\t5\t{t}\n" for u, i, t in ROWS)
    item = 'item_id:token\ttitle:token_seq\temb:float_seq\n007\t"Quoted to begin with\t0.1 0.2\n7\t\t0.3\n'
    assert events_of(RecBoleInter(write(tmp_path / "a.inter", inter))) == ROWS
    assert items_of(RecBoleItem(write(tmp_path / "a.item", item))) == {
        "007": {"title": '"Quoted to begin with'},
        "7": {"title": None},
    }


def test_recbole_header_without_types_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"header field 'item_id' is no RecBole 'name:type'"), DuckDB().open() as desk:
        RecBoleInter(write(tmp_path / "a.inter", "user_id:token\titem_id\ttimestamp:float\n")).events(desk)


def test_text_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "1 02 1420588800\n\n1\t3   1420588801 \n")
    with DuckDB().open() as desk:
        rows = TextLines(path).events(desk).table.order_by("position").to_pyarrow().to_pylist()
    assert [(r["user"], r["item"], r["time"]) for r in rows] == [("1", "02", "1420588800"), ("1", "3", "1420588801")]


def test_a_line_with_four_fields_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"line 2 of .*a.txt is '1 2 5 1420588800': three fields"), DuckDB().open() as desk:
        TextLines(write(tmp_path / "a.txt", "1 2 1420588800\n1 2 5 1420588800\n")).events(desk)


REVIEW_2018 = {"overall": 5.0, "reviewerID": "A1", "asin": "B0000530HU", "style": {"Size:": " 7 oz"}, "unixReviewTime": 1472688000}
REVIEW_2023 = {"rating": 5.0, "user_id": "A1", "asin": "B1", "parent_asin": "B0", "timestamp": 1472688000123, "images": []}


def test_amazon_reviews_of_both_years(tmp_path: Path) -> None:
    old = write(tmp_path / "All_Beauty_5.json.gz", json.dumps(REVIEW_2018) + "\n")
    new = write(tmp_path / "All_Beauty.jsonl.gz", json.dumps(REVIEW_2023) + "\n")
    assert events_of(AmazonReviews(old)) == [("A1", "B0000530HU", "1472688000")]
    assert events_of(AmazonReviews(new)) == [("A1", "B0", "1472688000123")]


def test_amazon_products_of_2018_are_cleaned(tmp_path: Path) -> None:
    high = ["https://m/1.jpg", "https://m/2.jpg"]
    products = [
        {
            "asin": "A",
            "title": " Soap &amp;  <b>Water</b> ",
            "brand": "by\n  Dove",
            "category": ["Beauty", "Hair &amp; Care"],
            "imageURLHighRes": high,
        },
        {"asin": "B", "title": "var aPageStart = (new Date()).getTime();", "category": [], "imageURL": ["https://m/low.jpg"]},
        {"asin": "C", "title": 12, "brand": {"x": 1}, "category": "Beauty", "imageURLHighRes": "<img src=x>"},
        {"asin": "D", "imageURLHighRes": [], "brand": None},
    ]
    found = items_of(AmazonMeta(write(tmp_path / "meta.json", "\n".join(map(json.dumps, products)) + "\n")))
    assert found["A"] == {"category": "Beauty Hair & Care", "brand": "by Dove", "title": "Soap & Water", "image": "https://m/1.jpg"}
    assert found["B"] == {"category": None, "brand": None, "title": None, "image": "https://m/low.jpg"}
    assert found["C"] == {"category": "Beauty", "brand": None, "title": "12", "image": None}
    assert set(found["D"].values()) == {None}


def test_amazon_products_of_2023(tmp_path: Path) -> None:
    products = [
        {
            "parent_asin": "A",
            "title": "Soap",
            "store": "Dove",
            "categories": ["x"],
            "images": [{"hi_res": None, "large": "https://m/l.jpg"}],
        },
        {
            "parent_asin": "B",
            "title": "",
            "store": None,
            "categories": [],
            "images": {"hi_res": ["https://m/h.jpg"], "large": ["https://m/l.jpg"]},
        },
    ]
    found = items_of(AmazonMeta(write(tmp_path / "meta.jsonl", "\n".join(map(json.dumps, products)) + "\n")))
    assert found["A"] == {"category": "x", "brand": "Dove", "title": "Soap", "image": "https://m/l.jpg"}
    assert found["B"] == {"category": None, "brand": None, "title": None, "image": "https://m/h.jpg"}


def test_item_tables(tmp_path: Path) -> None:
    text = "article_id,title,price,id,image_url\n007,Strap top , 9.5,x,a.jpg\n7,,,,\n"
    expected = {
        "007": {"title": "Strap top", "price": "9.5", "id_": "x", "image": "a.jpg"},
        "7": {"title": None, "price": None, "id_": None, "image": None},
    }
    assert items_of(TableItems(write(tmp_path / "i.csv", text))) == expected
    path = tmp_path / "i.parquet"
    pq.write_table(pa.table({"id": ["a"], "tags": [["x", "y"]], "price": [1.5], "image": [b"\x89PNG"], "box": [{"w": 1}]}), path)
    assert items_of(TableItems(path)) == {"a": {"tags": "x, y", "price": "1.5", "image": "a"}}


def test_a_field_that_only_the_last_object_has_is_found(tmp_path: Path) -> None:
    lines = [json.dumps({"item_id": str(i)}) for i in range(1500)] + [json.dumps({"item_id": "x", "title": "late"})]
    assert items_of(TableItems(write(tmp_path / "i.jsonl", "\n".join(lines))))["x"] == {"title": "late"}


def test_histories_that_recbole_cut_beforehand_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "ml.train.inter", "user_id:token\titem_id_list:token_seq\titem_id:token\n1\t5 6\t7\n")
    with pytest.raises(DataProblem, match=r"histories that were cut beforehand \('item_id_list:token_seq'\)"):
        events_of(RecBoleInter(path))


def test_ids_within_objects_are_named_by_both_keys(tmp_path: Path) -> None:
    lines = [{"user": {"id": f"u{n}", "name": {"last": "x"}}, "item": {"id": n}, "ts": 1420588800 + n} for n in range(3)]
    path = write(tmp_path / "nested.jsonl", "\n".join(map(json.dumps, lines)))
    expected = [(f"u{n}", str(n), str(1420588800 + n)) for n in range(3)]
    assert events_of(TableEvents(path)) == events_of(TableEvents(path, user="user.id", item="item.id")) == expected
    flat = write(tmp_path / "flat.jsonl", json.dumps({"user.id": "a", "user": {"id": "b"}, "item": "i", "ts": 1420588800}))
    assert events_of(TableEvents(flat, user="user.id"))[0][0] == "a"
    with pytest.raises(DataProblem, match=r"no column 'user' for the user; did you mean .* It has: user.id, user.name.last"):
        events_of(TableEvents(path, user="user"))


def test_tables_at_hand() -> None:
    table = pa.table({"user": ["a", "b"], "item": [1, 2], "time": [1420588800, 1420588801]})
    assert (
        events_of(FrameEvents(table)) == events_of(FrameEvents(table.to_pandas())) == [("a", 1, 1420588800), ("b", 2, 1420588801)]
    )
    assert items_of(FrameItems(pa.table({"item": [1], "title": [" x "]}))) == {1: {"title": "x"}}
    assert items_of(FrameItems([{"sku": "a", "picture": "a.jpg", "name": "x"}])) == {"a": {"name": "x", "image": "a.jpg"}}
    streamed = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())  # as polars hands a table over
    assert events_of(FrameEvents(streamed)) == events_of(FrameEvents(table))
    renamed = table.rename_columns(["customer_id", "what", "created_at"])
    assert events_of(FrameEvents(renamed, item="what")) == events_of(FrameEvents(table))
    with DuckDB().open() as desk:
        with pytest.raises(DataProblem, match="the events table has no column for the time: it has user, item"):
            FrameEvents(table.drop_columns(["time"])).events(desk)
        with pytest.raises(DataProblem, match="the events are a int, no path and no table"):
            FrameEvents(5).events(desk)


def test_tables_are_prepared_as_files_are(tmp_path: Path) -> None:
    rows = [{"user_id": f"u{u}", "sku": f"i{(u + n) % 7}", "date": f"2024-01-{n + 1:02}"} for u in range(4) for n in range(6)]
    items = [{"id": f"i{n}", "title": f"thing {n}"} for n in range(7)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "events.parquet")
    pq.write_table(pa.Table.from_pylist(items), tmp_path / "items.parquet")
    of_files = prepare_from(tmp_path / "events.parquet", tmp_path / "items.parquet", name="data")
    assert prepare_from(table.to_pandas(), items).fingerprint == of_files.fingerprint
    assert prepare_from(rows, tmp_path / "items.parquet").fingerprint == of_files.fingerprint
    named = table.rename_columns(["who", "what", "when"])
    assert prepare_from(named, items, columns={"user": "who", "item": "what", "time": "when"}).fingerprint == of_files.fingerprint


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_positions_are_the_true_file_order_in_a_file_read_in_parallel(tmp_path: Path, ending: str) -> None:
    n = 400_000
    items = np.random.default_rng(0).permutation(n)
    path = tmp_path / f"big.{ending}"
    if ending == "parquet":
        pq.write_table(
            pa.table({"user": np.arange(n) % 7, "item": items, "time": np.full(n, 1420588800)}), path, row_group_size=20_000
        )
    elif ending == "csv":
        path.write_text("user,item,time\n" + "".join(f"{k % 7},{i},1420588800\n" for k, i in enumerate(items)))
    else:
        path.write_text("".join(f'{{"user":{k % 7},"item":{i},"time":1420588800}}\n' for k, i in enumerate(items)))
    with DuckDB(threads=4).open() as desk:
        table = TableEvents(path).events(desk).table.order_by("position").to_pyarrow()
    assert np.array_equal(table["position"].to_numpy(), np.arange(n))
    assert np.array_equal(table["item"].cast("int64").to_numpy(), items)


def test_formats_are_told_apart_by_name_and_first_lines(tmp_path: Path) -> None:
    given = {
        "a.inter": ("user_id:token\n", RecBoleInter),
        "a.txt": ("1 2 1420588800\n", TextLines),
        "b.txt": ("user,item,time\n", TableEvents),
        "a.csv.gz": ("user,item,time\n", TableEvents),
        "a.json.gz": (json.dumps(REVIEW_2018), AmazonReviews),
        "a.jsonl": (json.dumps(REVIEW_2023), AmazonReviews),
        "b.jsonl": ('{"user": 1, "item": 2, "time": 3}', TableEvents),
    }
    for name, (text, kind) in given.items():
        assert type(source_of(write(tmp_path / name, text)).events) is kind, name
    events = tmp_path / "b.txt"
    meta = write(tmp_path / "meta.json", json.dumps({"asin": "A", "category": ["x"], "title": "t"}))
    assert type(source_of(events, meta).items) is AmazonMeta
    assert source_of(events, meta, columns={"item_id": "asin"}).items == TableItems(meta, "asin")
    assert type(source_of(events, write(tmp_path / "a.item", "item_id:token\n")).items) is RecBoleItem
    with pytest.raises(DataProblem, match="unknown format 'xml'; known: auto, table, amazon, recbole, movielens, text"):
        source_of(events, format="xml")  # type: ignore[arg-type]
    with pytest.raises(DataProblem, match="'usr' is no role"):
        source_of(events, columns={"usr": "x"})


def test_a_column_named_for_the_item_table_says_nothing_of_the_events(tmp_path: Path) -> None:
    events, table = write(tmp_path / "a.txt", "u i 1420588800\n"), write(tmp_path / "i.csv", "code,title\ni,x\n")
    for columns in ({"item_id": "code"}, {"image": "code"}):
        assert type(source_of(events, table, columns=columns).events) is TextLines
    assert type(source_of(events, table, columns={"user": "u"}).events) is TableEvents


def test_ids_are_the_same_in_every_format_with_the_blanks_around_them(tmp_path: Path) -> None:
    row = {"user_id": " u", "item_id": "i ", "timestamp": "1420588800"}
    given = {
        "a.csv": "user_id,item_id,timestamp\n u,i ,1420588800\n",
        "a.jsonl": json.dumps(row),
        "b.jsonl": json.dumps({"reviewerID": " u", "asin": "i ", "unixReviewTime": 1420588800}),
        "a.inter": "user_id:token\titem_id:token\ttimestamp:float\n u\ti \t1420588800\n",
    }
    for name, text in given.items():
        assert events_of(source_of(write(tmp_path / name, text)).events) == [(" u", "i ", "1420588800")], name
    items = {
        "i.csv": "item_id,title\ni , x \n",
        "i.jsonl": json.dumps({"item_id": "i ", "title": " x "}),
        "m.jsonl": json.dumps({"asin": "i ", "title": " x ", "brand": "b", "category": ["c"]}),
    }
    for name, text in items.items():
        made = prepare_from(tmp_path / "a.csv", write(tmp_path / name, text), how=Preparation(min_events=1))
        assert list(made.catalog.ids) == ["i "]
        assert made.catalog.fields["title"].to_pylist() == ["x"], name


def test_chosen_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "who,what,when_,user_id\nu1,i1,1420588800,zz\n")
    assert events_of(TableEvents(path, "who", "what", "when_")) == [("u1", "i1", "1420588800")]
    with (
        pytest.raises(DataProblem, match=r"no column 'whom' for the user; did you mean 'who'\? It has: who, what, when_, user_id"),
        DuckDB().open() as desk,
    ):
        TableEvents(path, "whom").events(desk)
    with pytest.raises(DataProblem, match=r"for the time\. It has: who, what"), DuckDB().open() as desk:
        TableEvents(path, "who", "what", "nowhere").events(desk)


def test_real_amazon_reviews() -> None:
    rows = events_of(AmazonReviews(real_data("amazon-2018-raw", "All_Beauty_5.json.gz")))
    assert len(rows) == 5269
    assert (len({r[0] for r in rows}), len({r[1] for r in rows})) == (991, 85)
