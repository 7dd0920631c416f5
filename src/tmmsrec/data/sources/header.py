"""The first line of a table in text, which names its columns."""

from __future__ import annotations

import csv
from pathlib import Path

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.sources import columns, files


def split_header(path: Path, delimiter: str | None = None) -> tuple[str, list[str]]:
    """Delimiter and column names of a text file with a header; the delimiter is the commonest of comma, tab, semicolon, bar.

    Raises:
        DataProblem: a name that occurs twice, besides what ``first_lines`` raises.
    """
    line = files.first_lines(path)[0]
    delimiter = delimiter or max(",\t;|", key=line.count)
    try:
        fields = next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as problem:
        raise DataProblem(f"the first line of {path} cannot be read as names of columns: {_why(line, problem)}") from None
    names = [n.strip() or f"column_{i + 1}" for i, n in enumerate(fields)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        data = "; where that line is data, put one with the names of the columns above it" if columns.like_data(names) else ""
        raise DataProblem(f"{path} has two columns named '{twice[0]}'; rename one in its first line{data}")
    return delimiter, names


def _why(line: str, problem: csv.Error) -> str:
    if "\r" in line:
        return "the file ends its lines with carriage returns alone, as old Mac programs do; save it with the usual line ends"
    if "unexpected end of data" in str(problem):
        return "it opens a quote that it does not close; a name must not hold a line end"
    return f"{problem}"
