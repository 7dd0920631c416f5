"""MovieLens as it comes: ratings and films of every edition, found by their first lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.test_cli import call
from tests.unit.test_sources import events_of, items_of
from tmmsrec.data import store
from tmmsrec.data.engines.duck import DuckDB
from tmmsrec.data.prepare import Preparation, prepare_from
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import Source
from tmmsrec.data.sources.guess import source_of
from tmmsrec.data.sources.movielens import GENRES, MovieLensFilms, MovieLensRatings
from tmmsrec.data.sources.recbole import RecBoleItem
from tmmsrec.data.sources.table import TableEvents, TableItems
from tmmsrec.data.sources.text import TextLines

RATINGS = "1::1193::5::978300760\n2::661::3.5::978302109\n1::661::1::978300761\n"
DATA = "196\t242\t3\t881250949\n186\t302\t0.5\t891717742\n196\t302\t1\t881250950\n"
MOVIES = """661::Misérables, Les: "Part" | 1 (1995)::Drama|Children's|Sci-Fi
1193::Why:::Comedy
7::::Drama
8::Daisy::(no genres listed)
"""
FILMS = {
    "661": {"title": 'Misérables, Les: "Part" | 1 (1995)', "genres": "Drama Children's Sci-Fi"},
    "1193": {"title": "Why:", "genres": "Comedy"},
    "7": {"title": None, "genres": "Drama"},
    "8": {"title": "Daisy", "genres": None},
}


def flags(*genres: str) -> str:
    return "|".join(str(int(g in genres)) for g in GENRES)


ITEM = (
    f"242|Kolya::é (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)|{flags('Comedy', 'Western')}\n"
    f"302|unknown||||{flags('unknown')}\n"
    f"5||01-Jan-1995|||{flags('Action')}\n"
    f"6|One | two|01-Jan-1995||x|{flags('War')}\n"
)
FLAGGED = {
    "242": {"title": "Kolya::é (1996)", "genres": "Comedy Western"},
    "302": {"title": "unknown", "genres": None},
    "5": {"title": None, "genres": "Action"},
    "6": {"title": "One | two", "genres": "War"},
}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    data = text.encode(encoding)
    if path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(data)
    else:
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def refused(source: Source) -> str:
    with pytest.raises(DataProblem) as problem:
        read(source)
    return str(problem.value)


def read(source: Source) -> None:
    with DuckDB().open() as desk:
        source.events.events(desk)
        if source.items is not None:
            source.items.items(desk)


@pytest.mark.parametrize("name", ["ratings.dat", "ratings.dat.gz", "ratings.dat.zst", "ra.train"])
def test_ratings_between_colons(tmp_path: Path, name: str) -> None:
    source = source_of(write(tmp_path / name, RATINGS)).events
    assert type(source) is MovieLensRatings
    assert events_of(source) == [("1", "1193", "978300760"), ("2", "661", "978302109"), ("1", "661", "978300761")]


@pytest.mark.parametrize("name", ["u.data", "u.data.gz", "u1.base", "ua.test"])
def test_ratings_between_tabs(tmp_path: Path, name: str) -> None:
    source = source_of(write(tmp_path / name, DATA.replace("\n", "\r\n"))).events
    assert type(source) is MovieLensRatings
    assert events_of(source) == [("196", "242", "881250949"), ("186", "302", "891717742"), ("196", "302", "881250950")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_films_in_either_encoding(tmp_path: Path, encoding: str, packing: str) -> None:
    events = write(tmp_path / "ratings.dat", RATINGS)
    for name, text, films in (("movies.dat", MOVIES, FILMS), ("u.item", ITEM, FLAGGED)):
        source = source_of(events, write(tmp_path / f"{name}{packing}", text, encoding)).items
        assert type(source) is MovieLensFilms
        assert items_of(source) == films
        with DuckDB().open() as desk:
            notes = source.items(desk).notes
        assert notes["encoding"] == ("ISO-8859-1" if encoding == "latin-1" else "UTF-8")
        assert notes["columns"] == {"item": "field 1", "image": None, "text": ["title", "genres"]}


def test_every_byte_of_latin_1_may_stand_in_a_title_and_no_mark_but_the_line_end_ends_a_line(tmp_path: Path) -> None:
    title = bytes(b for b in range(0x1C, 0x100) if chr(b) not in " \xa0\x85:").decode("latin-1") + "\x85."
    films = items_of(MovieLensFilms(write(tmp_path / "movies.dat", f"1::.{title}::Drama\r\n\r\n2::b::War\r\n", "latin-1")))
    assert films == {"1": {"title": "." + title, "genres": "Drama"}, "2": {"title": "b", "genres": "War"}}


def test_a_dataset_with_films_and_what_is_said_of_it(tmp_path: Path) -> None:
    events, items = write(tmp_path / "ratings.dat", RATINGS), write(tmp_path / "movies.dat.gz", MOVIES, "latin-1")
    made = prepare_from(events, items, how=Preparation(min_events=1, catalogue="all"))
    assert list(made.catalog.ids) == ["1193", "661", "7", "8"]
    assert made.catalog.fields["title"].to_pylist() == ["Why:", FILMS["661"]["title"], None, "Daisy"]
    assert made.catalog.fields["genres"].to_pylist() == ["Comedy", "Drama Children's Sci-Fi", "Drama", None]
    log = made.interactions
    assert [made.catalog.ids[int(i)] for i in log.items] == ["1193", "661", "661"]
    assert log.times.tolist() == [978300760, 978300761, 978302109]
    call("prepare", events, "--items", items, "--out", tmp_path / "out", "--format", "movielens", "--min-events", 1)
    there = store.load(tmp_path / "out")
    assert there.fingerprint == prepare_from(events, items, how=Preparation(min_events=1)).fingerprint
    said = str(there.report)
    for words in ("'time': 'field 4'", "field 3 (rating)", "'genres'", "ISO-8859-1"):
        assert words in said


def test_the_first_bad_line_is_named_with_what_to_do(tmp_path: Path) -> None:
    for name, text, bad in (
        ("ratings.dat", RATINGS, "1::2::5"),
        ("ratings.dat", RATINGS, "1::2::good::978300760"),
        ("ratings.dat", RATINGS, "1\t2\t5\t978300760"),
        ("u.data", DATA, "1\t2\t978300760"),
        ("u.data", DATA, "1::2::5::978300760"),
    ):
        said = refused(source_of(write(tmp_path / name, text + "\n" + bad + "\n" + "worse\n")))
        assert f"line 5 of {tmp_path / name} is {bad!r}: four fields are needed, user" in said
        assert "correct the line or take it out" in said
    said = refused(source_of(write(tmp_path / "a.csv", "userId,movieId,rating,timestamp\n"), format="movielens"))
    assert "line 1 of" in said
    assert "--format table" in said
    events = write(tmp_path / "ratings.dat", RATINGS)
    for name, text, bad in (
        ("movies.dat", MOVIES, "9::without genres"),
        ("movies.dat", MOVIES, "::no id::Drama"),
        ("u.item", ITEM, "9|x|1995||y|" + flags("War")[2:]),
        ("u.item", ITEM, "9|x|1995||y|" + flags("War").replace("1", "2")),
    ):
        said = refused(source_of(events, write(tmp_path / name, text + "\n" + bad + "\nworse\n")))
        assert f"line 6 of {tmp_path / name} is {bad!r}: a film is id::title::genre|genre" in said
        assert "correct the line or take it out" in said


def test_the_wrong_file_of_the_archive_is_refused(tmp_path: Path) -> None:
    ratings, movies = write(tmp_path / "ratings.dat", RATINGS), write(tmp_path / "movies.dat", MOVIES)
    users = write(tmp_path / "users.dat", "1::F::1::10::48067\n")
    assert "four fields are needed" in refused(source_of(movies))
    for other in (ratings, users):
        assert f"line 1 of {other}" in refused(source_of(ratings, other))
    blank = write(tmp_path / "u.item", "\n\n")
    with pytest.raises(DataProblem, match="holds no text"):
        MovieLensFilms(blank).items(None)  # type: ignore[arg-type]


def test_what_only_looks_like_movielens_is_none(tmp_path: Path) -> None:
    for line, kind in (
        ("user\titem\trating\ttimestamp", TableEvents),
        ("1\t2\t5\t12", TableEvents),  # no time: a row of a table, or a header of numbers
        ("a\tb\t5\t978300760", TableEvents),
        ("1\t2\t5\t978300760\t1", TableEvents),
        ("1 2 978300760", TextLines),
        ("1\t2\t978300760", TextLines),
    ):
        assert type(source_of(write(tmp_path / "a.dat", line + "\n")).events) is kind, line
    events = write(tmp_path / "u.data", DATA)
    assert type(source_of(events, columns={"user": "x"}).events) is TableEvents
    assert type(source_of(events, write(tmp_path / "a.item", "item_id:token\ttitle:token_seq\n")).items) is RecBoleItem
    assert type(source_of(events, write(tmp_path / "a.dat", "id|title|year\n1|x|1995\n")).items) is TableItems
    films = write(tmp_path / "movies.dat", MOVIES)
    assert type(source_of(events, films, columns={"item_id": "movie"}).items) is TableItems


def test_the_csv_editions_are_tables(tmp_path: Path) -> None:
    events = write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,7,0.5,1260759179\n")
    items = write(tmp_path / "movies.csv", 'movieId,title,genres\n31,"Minds, Dangerous (1995)",Drama\n7,Sabrina,Comedy|Romance\n')
    made = prepare_from(events, items, how=Preparation(min_events=1))
    assert list(made.catalog.ids) == ["31", "7"]
    assert made.interactions.times.tolist() == [1260759144, 1260759179]
    assert made.catalog.fields["title"].to_pylist() == ["Minds, Dangerous (1995)", "Sabrina"]
    assert made.catalog.fields["genres"].to_pylist() == ["Drama", "Comedy|Romance"]
