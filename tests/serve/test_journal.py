"""The journal: what was acknowledged is there, what was torn is not, and damage is said."""

from __future__ import annotations

import json

import pytest

from tmmsrec.data.problems import DataProblem, NewerFormat
from tmmsrec.serve.journal import Journal

ENTRIES = [{"events": [["me", "B001", n]]} for n in range(5)]


@pytest.fixture
def folder(tmp_path):
    journal = Journal(tmp_path / "live")
    for entry in ENTRIES:
        journal.append(entry)
    journal.sync()
    journal.close()
    return tmp_path / "live"


def entries(folder) -> list:
    journal = Journal(folder)
    try:
        return list(journal.read())
    finally:
        journal.close()


def test_what_was_appended_is_read(folder):
    assert entries(folder) == ENTRIES
    lines = (folder / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["entry"] for line in lines][1:] == ENTRIES  # plain JSON lines


def test_a_torn_end_is_cut_off_wherever_it_was_torn(folder):
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    last = whole.rindex(b'{"check"')
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert entries(folder) == ENTRIES[:-1]
        assert path.read_bytes() == whole[:last]
    journal = Journal(folder)
    journal.append({"events": []})  # and what comes next stands on a line of its own
    assert list(journal.read()) == [*ENTRIES[:-1], {"events": []}]
    journal.close()


def test_garbage_at_the_end_is_cut_off(folder):
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b"\0\0\0\0\n\xff\xfe\n")
    assert entries(folder) == ENTRIES


def test_a_flipped_byte_in_the_middle_is_refused(folder):
    path = folder / "journal.jsonl"
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"B001")] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataProblem, match=r"journal\.jsonl is damaged at line 2"):
        Journal(folder)
    assert path.read_bytes() == bytes(whole)


def test_a_part_is_read_from_a_position(folder):
    journal = Journal(folder)
    position = journal.size
    journal.append({"events": [1]})
    middle = journal.size
    journal.append({"events": [2]})
    assert list(journal.read(position)) == [{"events": [1]}, {"events": [2]}]
    assert list(journal.read(position, middle)) == [{"events": [1]}]
    journal.close()


def test_one_process_at_a_time(folder):
    journal = Journal(folder)
    with pytest.raises(DataProblem, match="in use by another process"):
        Journal(folder)
    journal.close()
    assert entries(folder) == ENTRIES


def test_a_failed_write_leaves_nothing(folder, monkeypatch):
    journal = Journal(folder)
    import os

    real = os.write

    def half(file, data):
        if len(data) < 40:
            raise OSError(28, "No space left on device")
        return real(file, data[:20])

    monkeypatch.setattr("tmmsrec.serve.journal.os.write", half)
    with pytest.raises(OSError, match="No space"):
        journal.append({"events": ["x" * 30]})
    monkeypatch.undo()
    journal.append({"events": ["y"]})
    assert list(journal.read()) == [*ENTRIES, {"events": ["y"]}]
    journal.close()


def test_another_file_and_a_newer_format_are_refused(tmp_path):
    def head(**changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        journal = Journal.__new__(Journal)
        folder.mkdir()
        import os

        journal._file, journal.size = os.open(folder / "journal.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND), 0
        journal.append({"kind": "tmmsrec journal", "format": 1, **changes})
        os.close(journal._file)
        return folder

    with pytest.raises(NewerFormat, match="journal format 9"):
        Journal(head(format=9))
    with pytest.raises(DataProblem, match="is no journal of tmmsrec"):
        Journal(head(kind="diary"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataProblem, match="cannot be written"):
        Journal(tmp_path / "file" / "live")


def test_pictures_are_kept_by_their_hash(folder):
    journal = Journal(folder)
    name = journal.keep_picture(b"one")
    assert journal.keep_picture(b"one") == name != journal.keep_picture(b"two")
    assert journal.picture(name) == b"one"
    assert journal.picture("gone") is None
    journal.close()
