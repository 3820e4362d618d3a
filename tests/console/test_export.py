"""Views written out: CSV, JSON, and files that are never overwritten."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.console.export import (
    Export,
    as_csv,
    as_json,
    file_name,
    read_arguments,
    text_export,
    write_new,
    written,
)
from swarmdeck.engine.errors import Conflict, InvalidInput, Unavailable

ROWS = Export("Messages · dead", ("id", "note"), (("a", 'said "no", twice\nand left'), ("b", "")))
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)


def test_csv_has_a_heading_and_quotes_what_needs_it() -> None:
    read = list(csv.reader(io.StringIO(as_csv(ROWS))))
    assert read == [["id", "note"], ["a", 'said "no", twice\nand left'], ["b", ""]]


def test_json_has_an_object_for_each_row() -> None:
    assert json.loads(as_json(ROWS))[1] == {"id": "b", "note": ""}


def test_a_text_is_a_row_for_each_line() -> None:
    assert as_csv(text_export("output", ["started", "a,b"])) == 'line\nstarted\n"a,b"\n'


@pytest.mark.parametrize("cell", ["=cmd()", "@SUM(1)", "+cmd", "-2+cmd()", "\tx"])
def test_no_cell_is_a_formula_to_a_spreadsheet(cell: str) -> None:
    [[_], [read]] = csv.reader(io.StringIO(as_csv(Export("x", ("a",), ((cell,),)))))
    assert read == f"'{cell}"


@pytest.mark.parametrize("cell", ["-", "-5", "+1,234.5", "a=b", "7/8"])
def test_numbers_and_words_stay_as_they_are(cell: str) -> None:
    [[_], [read]] = csv.reader(io.StringIO(as_csv(Export("x", ("a",), ((cell,),)))))
    assert read == cell


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5).map(tuple))
def test_every_cell_comes_back(rows: tuple[tuple[str, str], ...]) -> None:
    made = Export("x", ("a", "b"), rows)
    assert [tuple(row.values()) for row in json.loads(as_json(made))] == list(rows)
    assert len(list(csv.reader(io.StringIO(as_csv(made))))) == len(rows) + 1


def test_a_file_is_named_after_view_and_moment() -> None:
    name = file_name("Messages · dead · /x=1 ✗", "csv", 1_795_000_000_000_000)
    assert name == "messages-dead-x-1-20261118-110640.csv"
    assert file_name("···", "json", 0) == "view-19700101-000000.json"
    assert "/" not in file_name("../../etc", "csv", 0)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ("csv", "")),
        (["json"], ("json", "")),
        (["out.json"], ("json", "out.json")),
        (["json", "out.csv"], ("json", "out.csv")),
        (["out.txt"], ("csv", "out.txt")),
    ],
)
def test_format_and_file_are_read(words: list[str], wanted: tuple[str, str]) -> None:
    assert read_arguments(words) == wanted


def test_too_many_files_are_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_arguments(["jsn", "out"])
    assert "did you mean json?" in refused.value.hint


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    write_new(file, written(ROWS, "csv"))
    with pytest.raises(Conflict, match="is there already"):
        write_new(file, "other")
    assert file.read_text() == as_csv(ROWS)
    with pytest.raises(Unavailable, match="cannot be written"):
        write_new(tmp_path / "none" / "out.csv", "")
