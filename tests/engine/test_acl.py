"""Access: the table against its stated properties, and entries that take effect at once."""

from __future__ import annotations

import csv
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.acl import (
    TABLE,
    Access,
    Explicit,
    Gate,
    Relation,
    Rule,
    Standing,
    Verdict,
    Wanted,
    gate,
    level_rule,
)
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Denied, InvalidInput, NotFound
from swarmdeck.engine.model import (
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Level,
    Principal,
    Right,
    Role,
)
from swarmdeck.engine.store.database import Database, StoreOptions, open_database

ISOLATION = {
    "production": Isolation.STRICT,
    "staging": Isolation.STRICT,
    "development": Isolation.MODERATE,
    "testing": Isolation.MODERATE,
    "research": Isolation.LOOSE,
}
OWNER = Principal("dev_agent_owner", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
MATE = Principal("dev_agent_mate", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
PEER = Principal("dev_agent_peer", Role.AGENT, "development", "dev_swarm_1", ("dev_team_2",))
OTHER = Principal("dev_agent_other", Role.AGENT, "development")
RESEARCHER = Principal("research_agent_1", Role.AGENT, "research")
LIVE = Principal("prod_agent_1", Role.AGENT, "production")


def record(level: Level) -> Standing:
    return Standing(level, OWNER.id, "dev_team_1", "dev_swarm_1")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def database(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Database]:
    async with open_database(
        tmp_path / "d.db", "development", options=StoreOptions(), clock=clock
    ) as opened:
        yield opened


@pytest.fixture
async def access(database: Database, clock: FakeClock) -> Access:
    found = Access(Environment.DEVELOPMENT, ISOLATION, database, clock)
    await found.open()
    return found


def every_decision() -> Iterator[tuple[Any, Verdict]]:
    """What the table holds of every combination that can occur."""
    for key in itertools.product(Gate, Relation, Role, Level, Right, Explicit):
        if (key[0] is Gate.ALL) == (key[1] is not Relation.NONE):
            yield key, TABLE[key]


def every_case() -> Iterator[tuple[str, ...]]:
    """Every reachable combination with its decision, over all pairs of environments."""
    for subject, owner in itertools.product(Environment, Environment):
        passage = gate(ISOLATION[subject], ISOLATION[owner], same=subject == owner)
        for key, verdict in every_decision():
            if key[0] is passage and (subject == owner) == (key[1] is not Relation.NONE):
                yield (subject, owner, *(str(part) for part in key[1:]), str(verdict.allowed),
                       verdict.rule)  # fmt: skip


def test_the_table_is_the_committed_one() -> None:
    """A change of any decision shows here as a changed line."""
    rows = sorted(every_case())
    assert len(rows) == 5 * 4 * 3 * 5 * 4 * 4 + 20 * 3 * 5 * 4 * 4
    committed = Path(__file__).with_name("access_table.csv")
    with committed.open(newline="") as file:
        known = sorted(tuple(row) for row in csv.reader(file))
    assert known == rows


def test_nothing_crosses_a_strict_environment() -> None:
    for subject, owner, *_, allowed, _rule in every_case():
        if subject != owner and {subject, owner} & {"production", "staging"}:
            assert allowed == "False"


def test_properties_of_every_decision() -> None:
    for key, verdict in every_decision():
        passage, relation, role, level, right, explicit = key
        if verdict.allowed:
            if explicit in (Explicit.DENY, Explicit.BOTH):
                assert (role, right) == (Role.SYSTEM, Right.GRANT), key
            if level is Level.SYSTEM:
                assert role is Role.SYSTEM, key
            if (level, right) == (Level.PRIVATE, Right.READ):
                assert relation is Relation.OWNER or explicit is Explicit.ALLOW, key
            if passage is not Gate.ALL:
                assert right is Right.READ, key
        bare = TABLE[passage, relation, role, level, right, Explicit.NONE].allowed
        granted = TABLE[passage, relation, role, level, right, Explicit.ALLOW].allowed
        assert granted or not bare, "a grant took something away"
        if explicit is Explicit.DENY:
            assert bare or not verdict.allowed, "a denial gave something"


def test_roles_only_add() -> None:
    for relation, level, right in itertools.product(Relation, Level, Right):
        if level_rule(relation, Role.AGENT, level, right):
            assert level_rule(relation, Role.ADMIN, level, right)
            assert level_rule(relation, Role.SYSTEM, level, right)


@pytest.mark.parametrize(
    ("principal", "level", "rights"),
    [
        (OWNER, Level.PRIVATE, "rwdg"),
        (MATE, Level.PRIVATE, ""),
        (MATE, Level.TEAM, "rw"),
        (PEER, Level.TEAM, ""),
        (PEER, Level.SWARM, "r"),
        (OTHER, Level.SWARM, ""),
        (OTHER, Level.PUBLIC, "r"),
        (RESEARCHER, Level.PUBLIC, "r"),
        (RESEARCHER, Level.SWARM, ""),
        (LIVE, Level.PUBLIC, ""),
        (OPERATOR_PRINCIPAL, Level.PRIVATE, "d"),
        (OPERATOR_PRINCIPAL, Level.TEAM, "rdg"),
        (OPERATOR_PRINCIPAL, Level.SYSTEM, "rwdg"),
    ],
)
def test_levels(access: Access, principal: Principal, level: Level, rights: str) -> None:
    found = "".join(
        right[0]
        for right in Right
        if access.allows(principal, right, record(level), "default", "k")
    )
    assert found == rights


async def test_a_grant_counts_until_it_expires_or_is_revoked(
    access: Access, clock: FakeClock
) -> None:
    def may_read() -> bool:
        return access.allows(OTHER, Right.READ, record(Level.TEAM), "default", "user:1")

    wanted = Wanted(subject=OTHER.id, effect="allow", level="team", rights=("read",),
                    key_prefix="user:", expires_s=60)  # fmt: skip
    assert not may_read()
    first = await access.add(OPERATOR_PRINCIPAL, wanted)
    assert may_read()
    await access.revoke(OPERATOR_PRINCIPAL, first.id)
    assert not may_read()
    await access.add(OPERATOR_PRINCIPAL, wanted)
    clock.advance(61)
    assert not may_read()
    clock.advance(-3600)
    assert not may_read(), "a clock set back revived a grant"


async def test_a_grant_is_bound_to_namespace_prefix_level_and_right(access: Access) -> None:
    await access.add(
        OPERATOR_PRINCIPAL,
        Wanted(subject=OTHER.id, effect="allow", level="team", rights=("read",), key_prefix="a:"),
    )
    team = record(Level.TEAM)
    assert access.allows(OTHER, Right.READ, team, "default", "a:1")
    assert not access.allows(OTHER, Right.READ, team, "default", "b:1")
    assert not access.allows(OTHER, Right.READ, team, "elsewhere", "a:1")
    assert not access.allows(OTHER, Right.WRITE, team, "default", "a:1")
    assert not access.allows(OTHER, Right.READ, record(Level.SWARM), "default", "a:1")
    assert not access.allows(PEER, Right.READ, team, "default", "a:1")


async def test_a_denial_beats_owner_and_grant(access: Access) -> None:
    for effect in ("allow", "deny"):
        await access.add(
            OPERATOR_PRINCIPAL,
            Wanted(subject=OWNER.id, effect=effect, level="team", rights=("read",)),  # type: ignore[arg-type]
        )
    verdict = access.verdict(OWNER, Right.READ, record(Level.TEAM), "default", "k")
    assert (verdict.allowed, verdict.rule) == (False, Rule.EXPLICIT_DENY)


async def test_only_the_owner_opens_a_private_record(access: Access) -> None:
    wanted = Wanted(subject=OTHER.id, effect="allow", level="private", rights=("read",))
    with pytest.raises(Denied):
        await access.add(OPERATOR_PRINCIPAL, wanted)
    await access.add(MATE, wanted)
    assert not access.allows(OTHER, Right.READ, record(Level.PRIVATE), "default", "k")
    await access.add(OWNER, wanted)
    assert access.allows(OTHER, Right.READ, record(Level.PRIVATE), "default", "k")


@pytest.mark.parametrize(
    "bad",
    [{"level": "system"}, {"rights": ("grant",)}, {"rights": ()}, {"expires_s": 0},
     {"expires_s": 91 * 86_400}, {"namespace": "../x"}, {"level": "9"}],
)  # fmt: skip
async def test_a_bad_grant_changes_nothing(access: Access, bad: dict[str, object]) -> None:
    fields = {"subject": OTHER.id, "effect": "allow", "level": "team", "rights": ("read",)} | bad
    with pytest.raises(InvalidInput):
        await access.add(OPERATOR_PRINCIPAL, Wanted(**fields))  # type: ignore[arg-type]
    assert access.list() == []


async def test_entries_survive_a_restart_and_unknown_ones_are_not_found(
    access: Access, database: Database, clock: FakeClock
) -> None:
    wanted = Wanted(subject=OTHER.id, effect="allow", level="team", rights=("read", "write"))
    granted = await access.add(OPERATOR_PRINCIPAL, wanted)
    again = Access(Environment.DEVELOPMENT, ISOLATION, database, clock)
    await again.open()
    assert again.list() == [granted]
    with pytest.raises(NotFound):
        await again.revoke(OPERATOR_PRINCIPAL, "dev_grant_nothere")


async def test_explain_names_the_rule(access: Access) -> None:
    found = access.explain(PEER, Right.WRITE, record(Level.SWARM), "default", "k")
    assert (found.allowed, found.rule, found.level) == (False, "default", "swarm")
    assert "in its swarm" in found.detail
    missing = access.explain(PEER, Right.READ, None, "default", "k")
    assert (missing.allowed, missing.level) == (False, None)
    across = access.explain(RESEARCHER, Right.READ, record(Level.PUBLIC), "default", "k")
    assert (across.allowed, across.rule) == (True, "public")
