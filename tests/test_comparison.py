"""The comparison with other consoles claims nothing that no test proves."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "comparison.md"
COLUMNS = ["SwarmDeck", "k9s", "btop", "lazydocker", "dolphie", "harlequin"]
MARKS = {"y", "~", "n", "?"}
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def sections(page: str) -> dict[str, list[list[str]]]:
    """The cells of the table below each heading, its head first."""
    found = {}
    for part in page.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        found[part.splitlines()[0]] = [row for row in rows if set("".join(row)) != {"-"}]
    return found


TABLES = sections(PAGE.read_text(encoding="utf-8"))
FEATURES = [row for name in list(TABLES)[:2] for row in TABLES[name][1:]]


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests in a file, parametrised ones too."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, functions) and node.name.startswith("test_")
    )


def wrong(cell: str) -> list[str]:
    """What is wrong with a cell of ours."""
    mark, *_ = re.split(r"[\s<]", cell)
    proofs = PROOF.findall(cell)
    if mark not in {"y", "~", "n"}:
        return [f"begins with none of y ~ n: {cell}"]
    if mark == "n":
        return [f"proves what is not there: {cell}"] if proofs else []
    gone = [
        f"{path}::{name} is no test"
        for path, name in proofs
        if not (ROOT / path).is_file() or name not in names_in(path)
    ]
    return gone if proofs else [f"no test is named: {cell}"]


def test_there_are_two_tables_of_features_and_one_of_costs() -> None:
    assert [table[0][1:] for table in TABLES.values()] == [COLUMNS] * 3
    assert [len(table) > 5 for table in TABLES.values()] == [True] * 3


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_a_cell_for_each_console(name: str) -> None:
    rows = TABLES[name]
    assert {len(row) for row in rows} == {len(COLUMNS) + 1}
    assert all(cell for row in rows for cell in row)
    features = [row[0] for row in rows]
    assert len(features) == len(set(features))


@pytest.mark.parametrize("row", FEATURES, ids=lambda row: row[0])
def test_every_own_cell_names_tests_that_exist(row: list[str]) -> None:
    assert wrong(row[1]) == []


@pytest.mark.parametrize("row", FEATURES, ids=lambda row: row[0])
def test_the_cells_of_the_others_begin_with_a_mark(row: list[str]) -> None:
    assert {cell.split()[0] for cell in row[2:]} <= MARKS


@pytest.mark.parametrize(
    "cell",
    [
        "y",
        "~ nearly",
        "yes",
        "?",
        "y<br>`tests/test_comparison.py::test_that_is_not_there`",
        "y<br>`tests/test_not_there.py::test_x`",
        "n<br>`tests/test_comparison.py::test_a_claim_without_its_proof_is_found`",
    ],
)
def test_a_claim_without_its_proof_is_found(cell: str) -> None:
    assert wrong(cell)


def test_a_claim_with_its_proof_is_fine() -> None:
    proof = "`tests/test_comparison.py::test_a_claim_without_its_proof_is_found`"
    assert wrong(f"y parametrised<br>{proof}") == []
    assert wrong("n") == []
