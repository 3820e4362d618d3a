"""Every case there is: the engine against the committed table, and the table against what must
hold of it."""

from __future__ import annotations

import itertools

import access_reference as reference
import pytest

from swarmdeck.engine.acl import TABLE, Explicit, Gate, Relation, decide, gate, level_rule
from swarmdeck.engine.model import Environment, Isolation, Level, Right, Role

ISOLATION = {
    "production": Isolation.STRICT,
    "staging": Isolation.STRICT,
    "development": Isolation.MODERATE,
    "testing": Isolation.MODERATE,
    "research": Isolation.LOOSE,
}
STRICT = {"production", "staging"}
Row = tuple[str, ...]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return reference.committed()


def engine_says(row: Row) -> tuple[str, str]:
    subject, record, way, relation, role, level, right, said = row[:8]
    passage = gate(ISOLATION[subject], ISOLATION[record], same=subject == record)
    if way == "export":
        assert passage is Gate.NOTHING
        passage = Gate.EXPORT
    found = TABLE[
        passage, Relation(relation), Role(role), Level[level.upper()], Right(right), Explicit(said)
    ]
    return "yes" if found.allowed else "no", found.rule.value


def test_the_engine_decides_as_the_committed_table_says(rows: list[Row]) -> None:
    assert len(rows) == 19_200
    assert [row for row in rows if engine_says(row) != row[8:]] == []


def test_the_committed_table_follows_from_the_rules_as_people_read_them(rows: list[Row]) -> None:
    """A change of any rule shows here as changed lines; run the reference to write them."""
    assert rows == list(reference.cases())
    assert len({row[:8] for row in rows}) == len(rows)


def test_the_committed_table_has_every_case_that_can_occur(rows: list[Row]) -> None:
    inside = {row[3:8] for row in rows if row[0] == row[1]}
    kinds = (Role, [level.name.lower() for level in Level], Right)
    relations = [each for each in Relation if each is not Relation.NONE]
    assert inside == set(itertools.product(relations, *kinds, Explicit))
    assert {row[:2] for row in rows} == set(itertools.product(Environment, Environment))
    # Across environments nobody is the operator, so nothing is broken there.
    across = {row[3:8] for row in rows if row[0] != row[1]}
    said = [each for each in Explicit if each is not Explicit.GLASS]
    assert across == set(itertools.product([Relation.NONE], *kinds, said))


def test_nothing_crosses_a_strict_environment_but_what_an_export_names(rows: list[Row]) -> None:
    for subject, record, way, _, _, level, right, _, may, _ in rows:
        if subject != record and {subject, record} & STRICT and may == "yes":
            assert (way, record, level, right) == ("export", "staging", "public", "read")
            assert subject not in STRICT


def test_nothing_comes_out_of_production_or_into_it(rows: list[Row]) -> None:
    for subject, record, *_, may, _ in rows:
        if subject != record and "production" in {subject, record}:
            assert may == "no"


def test_nobody_changes_anything_in_another_environment(rows: list[Row]) -> None:
    for subject, record, _, _, _, level, right, _, may, _ in rows:
        if subject != record and may == "yes":
            assert right == "read"
            assert level not in {"private", "system"}


def test_a_role_does_not_travel(rows: list[Row]) -> None:
    across: dict[Row, set[Row]] = {}
    for row in rows:
        if row[0] != row[1] and not (row[7] in {"deny", "both"} and row[6] == "grant"):
            across.setdefault((*row[:4], *row[5:8]), set()).add(row[8:])
    assert all(len(found) == 1 for found in across.values())


def test_a_denial_wins_over_everything_but_the_system_roles_right_to_grant(
    rows: list[Row],
) -> None:
    for row in rows:
        if row[7] in {"deny", "both"} and row[8] == "yes":
            assert (row[4], row[6]) == ("system", "grant")


def test_system_records_are_for_the_system_role(rows: list[Row]) -> None:
    assert {row[4] for row in rows if row[5] == "system" and row[8] == "yes"} == {"system"}


def test_a_private_record_is_read_by_its_owner_by_grant_or_through_broken_glass(
    rows: list[Row],
) -> None:
    for row in rows:
        if (row[5], row[6], row[8]) == ("private", "read", "yes"):
            assert row[3] == "owner" or row[9] in {"grant", "break-glass"}
            assert row[9] != "break-glass" or row[4] == "system"


def test_broken_glass_gives_reading_one_private_record_and_nothing_else(rows: list[Row]) -> None:
    by_case = {row[:8]: row[8:] for row in rows}
    for case, found in by_case.items():
        if case[7] == "break-glass" and found != by_case[*case[:7], "none"]:
            assert (case[4], case[5], case[6], found) == (
                "system", "private", "read", ("yes", "break-glass")
            )  # fmt: skip


def test_an_allow_never_takes_and_a_denial_never_gives(rows: list[Row]) -> None:
    by_case = {row[:8]: row[8] for row in rows}
    for case, may in by_case.items():
        bare = by_case[*case[:7], "none"]
        if case[7] == "allow":
            assert may == "yes" or bare == "no"
        if case[7] in {"deny", "both"}:
            assert may == "no" or bare == "yes"


def test_an_allow_gives_neither_system_records_nor_the_right_to_grant(rows: list[Row]) -> None:
    for row in rows:
        if row[9] == "grant":
            assert row[5] != "system"
            assert row[6] != "grant"
            assert row[5] != "private" or row[6] == "read"


def test_monitor_and_coordinator_add_nothing_on_records(rows: list[Row]) -> None:
    by_case = {row[:8]: row[8:] for row in rows}
    for case, found in by_case.items():
        if case[4] in {"monitor", "coordinator"}:
            assert found == by_case[*case[:4], "agent", *case[5:]]


def test_roles_only_add() -> None:
    for relation, level, right in itertools.product(Relation, Level, Right):
        if level_rule(relation, Role.AGENT, level, right):
            assert all(level_rule(relation, role, level, right) for role in Role)


def test_the_table_keeps_what_the_function_says() -> None:
    for case in itertools.product(Gate, Relation, Role, Level, Right, Explicit):
        assert TABLE[case] == decide(*case)
