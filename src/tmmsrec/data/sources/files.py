"""Raw files become tables on an engine's desk, every row with its true place in the file; text is read by DuckDB on any engine.

All text files are read as text (ids keep their leading zeros); casting is the business of portable expressions later.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from tmmsrec.data.engines import PLACE, Desk
from tmmsrec.data.engines.duck import sql_name, sql_text
from tmmsrec.data.problems import DataProblem

PACKINGS = (".gz", ".zst")
PARQUETS = (".parquet", ".pq")


def kind_of(path: Path) -> str:
    """The ending that says how a file is written, in lower case, without the packing: ``a.csv.gz`` -> ``.csv``.

    A folder holds Parquet.
    """
    path = Path(path)
    if path.is_dir():
        return ".parquet"
    return Path(path.stem).suffix.lower() if path.suffix.lower() in PACKINGS else path.suffix.lower()


def must_exist(path: Path) -> Path:
    """The path itself; raises DataProblem when there is no such file, it is empty, or it is a folder without Parquet files."""
    path = Path(path)
    if path.is_dir():
        shards(path)
        return path
    if not path.is_file():
        near = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else []
        raise DataProblem(f"there is no file {path}" + (f"; its folder holds: {', '.join(near)}" if near else ""))
    if path.stat().st_size == 0:
        raise DataProblem(f"{path} is empty (0 bytes); give a file with one event or item a line")
    return path


def lines(path: Path) -> Iterator[bytes]:
    """The raw lines of a text file, unpacked by its ending; raises DataProblem when the packing is broken."""
    try:
        with pa.input_stream(str(path), compression="detect") as packed, io.BufferedReader(packed) as text:
            yield from text
    except (OSError, EOFError, pa.ArrowException) as problem:
        raise _broken_packing(path, str(problem)) from None


def first_lines(path: Path, count: int = 1) -> list[str]:
    """The first ``count`` lines as text, without line ends or byte order mark.

    Raises:
        DataProblem: no such file, nothing in it, broken packing, or not UTF-8.
    """
    found = []
    for number, raw in zip(range(count), lines(must_exist(path)), strict=False):
        try:
            found.append(raw.decode("utf-8-sig" if number == 0 else "utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as problem:
            raise _not_utf8(path, number + 1, raw, problem) from None
    if not any(line.strip() for line in found):
        raise DataProblem(f"{path} holds no text: it is empty or begins with blank lines")
    return found


def read_delimited(
    desk: Desk, path: Path, delimiter: str, names: list[str], wanted: Collection[str], quote: str = '"'
) -> ibis.Table:
    """Some columns of a text file with a header line as text, plus ``PLACE``."""
    # The engine knows all columns by their numbers: what is not wanted may be called as it likes.
    columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(names)))
    select = ", ".join(f"c{names.index(name)} AS {sql_name(name)}" for name in apart(path, wanted))
    sizes = "max_line_size=67108864, buffer_size=134217728"  # left to itself, the buffer holds 16 of the longest lines
    reader = (
        f"read_csv({sql_text(path)}, auto_detect=false, header=true, delim={sql_text(delimiter)}, quote={sql_text(quote)}, "
        f"escape={sql_text(quote)}, columns={{{columns}}}, {sizes})"
    )
    return _stored(desk, path, select, reader, partial(_find_ragged, path, delimiter, names, quote))


def read_lines(desk: Desk, path: Path) -> ibis.Table:
    """A text file without a header: one text column ``line``, plus ``PLACE``."""
    plain = "auto_detect=false, header=false, delim='\x1f', quote='', escape='', columns={'line': 'VARCHAR'}"
    reader = f"read_csv({sql_text(path)}, {plain})"
    return _stored(desk, path, "*", reader)


def read_json(desk: Desk, path: Path, select: dict[str, str]) -> ibis.Table:
    """One JSON object a line.  ``select``: column name -> how to make it from ``json``; plus ``PLACE``."""
    reader = f"read_ndjson_objects({sql_text(path)}, maximum_object_size=67108864)"
    return _stored(desk, path, ", ".join(f"{select[n]} AS {sql_name(n)}" for n in apart(path, select)), reader)


def read_parquet(desk: Desk, path: Path, columns: list[str]) -> ibis.Table:
    """Columns of a Parquet file, or of a folder of them, in their own types, plus ``PLACE``.

    Raises:
        DataProblem: files that cannot be read, or in which a column has different types.
    """
    files = shards(path)
    kinds = schema(files[0])
    for one in files[1:]:
        there = schema(one)
        for column in columns:
            if column not in there.names or there.field(column).type != kinds.field(column).type:
                found = f"the type {there.field(column).type}" if column in there.names else "no such column"
                raise DataProblem(f"column '{column}' has the type {kinds.field(column).type} in {files[0]} and {found} in {one}")
    with _explained(path):
        return desk.parquet(files, apart(path, columns))


def apart(path: Path, names: Iterable[str]) -> list[str]:
    """The names, each once; raises DataProblem for two that differ in case only, which no engine tells apart."""
    known: dict[str, str] = {}
    for name in names:
        if (other := known.setdefault(name.lower(), name)) != name:
            raise DataProblem(f"{path} has the columns '{other}' and '{name}', which differ in case only; rename or remove one")
    return list(known.values())


def shards(path: Path) -> list[Path]:
    """The Parquet files that a path stands for: itself, or those in the folder by their names.

    Raises:
        DataProblem: none in the folder.
    """
    if not path.is_dir():
        return [must_exist(path)]
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in PARQUETS and not p.name.startswith((".", "_")))
    if not found:
        raise DataProblem(f"the folder {path} holds no Parquet file; give one that does, or a file")
    return found


def schema(path: Path) -> pa.Schema:
    """Columns and types of a Parquet file; raises DataProblem for one that is none."""
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as problem:
        raise DataProblem(f"{path} is no complete Parquet file ({str(problem).splitlines()[0]}); copy or write it again") from None


def json_keys(desk: Desk, path: Path) -> list[str]:
    """Every key that occurs in any object of a JSON lines file, in the order of their first occurrence."""
    with _explained(path):
        reader = f"read_ndjson_objects({sql_text(path)}, maximum_object_size=67108864)"
        found = desk.store(f"SELECT DISTINCT unnest(json_keys(json)) AS key FROM {reader}")
    every = set(found.key.to_pyarrow().to_pylist())
    early = [k for k in first_keys(path) if k in every]
    return early + sorted(every - set(early))


def first_keys(path: Path) -> list[str]:
    """The keys of the first thousand objects of a JSON lines file; raises DataProblem for a line that is no object."""
    return list(dict.fromkeys(key for one in _first_objects(path) for key in one))


def first_names(path: Path) -> list[str]:
    """The same, but for an object within an object the names of what it holds, KEY.KEY, in its place."""
    return list(dict.fromkeys(name for one in _first_objects(path) for name in _names_in(one)))


def _names_in(found: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in found.items():
        yield from _names_in(value, f"{above}{key}.") if isinstance(value, dict) and value else [above + key]


def _first_objects(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(first_lines(path, 1000), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except json.JSONDecodeError as problem:
            raise DataProblem(
                f"line {number} of {path} is not JSON: {problem.msg}, column {problem.colno}; one object a line is needed"
            ) from None
        if not isinstance(found, dict):
            raise DataProblem(f"line {number} of {path} is JSON but no object; one object a line is needed")
        yield found


def json_text(key: str) -> str:
    """SQL for a key's value as trimmed text of any type: lists of words are joined by spaces, objects left out, empty is null."""
    return f"nullif(trim({json_id(key)}), '')"


def json_id(key: str) -> str:
    """SQL for a key's value as text exactly as it stands, for ids; lists and objects as in ``json_text``.

    Where no key is called so, "user.id" is the key id of the object user.
    """
    whole = _json_id([key])
    return whole if "." not in key else f"coalesce({whole}, {_json_id(key.split('.'))})"


def _json_id(keys: list[str]) -> str:
    path = sql_text("$" + "".join('."' + key.replace('"', '\\"') + '"' for key in keys))
    joined = f"array_to_string(from_json(json_extract(json, {path}), '[\"VARCHAR\"]'), ' ')"
    return (
        f"CASE json_type(json, {path}) WHEN 'ARRAY' THEN {joined} WHEN 'OBJECT' THEN NULL "
        f"ELSE json_extract_string(json, {path}) END"
    )


def _stored(desk: Desk, path: Path, select: str, reader: str, find_more: Callable[[], None] | None = None) -> ibis.Table:
    must_exist(path)
    # A window without an order is computed in the order in which rows arrive, which DuckDB keeps as in the file.
    with _explained(path, find_more):
        return desk.store(f"SELECT {select}, row_number() OVER () - 1 AS {PLACE} FROM {reader}")


@contextmanager
def _explained(path: Path, find_more: Callable[[], None] | None = None) -> Iterator[None]:
    """Say what is wrong with a file that the engine cannot read; ``find_more`` looks for what only its format can have."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise  # nothing is wrong with the file
    except duckdb.Error as problem:
        text = str(problem)
        if kind_of(path) not in PARQUETS:
            _find_fault(path)
            if find_more is not None:
                find_more()
        elif "too small" in text or "magic bytes" in text.lower() or "footer" in text.lower():
            raise DataProblem(f"{path} is no complete Parquet file ({text.splitlines()[0]}); copy or write it again") from None
        raise DataProblem(f"{path} cannot be read: {_short(text)}") from None


def _find_fault(path: Path) -> None:
    # Only after the engine has failed: a slow walk over the lines that can name the one at fault.
    objects = kind_of(path) in (".json", ".jsonl", ".ndjson")
    for number, raw in enumerate(lines(path), start=1):
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise _not_utf8(path, number, raw, problem) from None
        if objects and text.strip():
            try:
                found = json.loads(text)
            except json.JSONDecodeError as problem:
                old = " (single quotes: this is the old Python notation, not JSON)" if text.startswith("{'") else ""
                raise DataProblem(f"line {number} of {path} is not JSON{old}: {problem.msg}, column {problem.colno}") from None
            if not isinstance(found, dict):
                raise DataProblem(f"line {number} of {path} is JSON but no object: {text.strip()[:60]!r}")


def _find_ragged(path: Path, delimiter: str, names: list[str], quote: str) -> None:
    """Raise DataProblem for the first line with more or fewer fields than the first one, or with a quote that is not closed."""
    quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    rows = csv.reader((raw.decode("utf-8") for raw in lines(path)), delimiter=delimiter, strict=True, **quoting)
    begun = 1
    try:
        for row in rows:
            if row and len(row) != len(names):
                raise DataProblem(
                    f"line {begun} of {path} has {len(row)} fields ({delimiter.join(row)[:60]}) where its first line names "
                    f"{len(names)} ({', '.join(names)}); complete it, or put quotes around a field that holds {delimiter!r}"
                )
            begun = rows.line_num + 1
    except csv.Error as problem:
        if "limit" not in str(problem):  # a field too long for this reader may be right: the engine's words are told
            raise DataProblem(f'line {begun} of {path}: a quote is not closed, or text follows one; write "" for a quote') from None


def _not_utf8(path: Path, number: int, raw: bytes, problem: UnicodeDecodeError) -> DataProblem:
    around = raw[max(0, problem.start - 10) : problem.start + 10]
    return DataProblem(
        f"line {number} of {path} is not UTF-8 (byte {problem.start + 1}, near {around!r}); convert the file to UTF-8"
    )


def _broken_packing(path: Path, said: str) -> DataProblem:
    return DataProblem(f"{path} is truncated or damaged ({said.strip() or 'packed data end early'}); download or copy it again")


def _short(text: str) -> str:
    useful = [ln.strip() for ln in text.splitlines() if ln.strip() and not ln.startswith(("LINE", "Possible"))]
    return " ".join(useful[:3])[:400]
