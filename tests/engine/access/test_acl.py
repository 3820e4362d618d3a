"""Access: what a decision depends on, and entries that take effect at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.acl import Access, Conditions, Rule, Standing, Wanted
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Denied, InvalidInput, NotFound, StorageError
from swarmdeck.engine.model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Level,
    Principal,
    Right,
    Role,
)
from swarmdeck.engine.store.database import (
    Database,
    Reader,
    StoreOptions,
    Transaction,
    open_database,
)

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
ADMIN = Principal("dev_agent_admin", Role.ADMIN, "development")
WATCHER = Principal("dev_agent_watcher", Role.MONITOR, "development", "dev_swarm_1")
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


class People:
    """Who is registered in development."""

    def __init__(self) -> None:
        self.principals = {each.id: each for each in (OWNER, MATE, PEER, OTHER, ADMIN, WATCHER)}
        self.epoch = 0


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
async def access(database: Database, clock: FakeClock, people: People) -> Access:
    return await opened(database, clock, people)


async def opened(
    database: Database, clock: FakeClock, people: People, operator: Role = Role.SYSTEM
) -> Access:
    found = Access(
        Environment.DEVELOPMENT, ISOLATION, database, clock, people=people, operator=operator
    )
    await found.open()
    return found


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
        (ADMIN, Level.PRIVATE, "d"),
        (ADMIN, Level.TEAM, "dg"),
        (ADMIN, Level.PUBLIC, "rdg"),
        (WATCHER, Level.TEAM, ""),
        (WATCHER, Level.SWARM, "r"),
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
    again = await opened(database, clock, People())
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


# --- hours and days ---------------------------------------------------------------------------

TEAM = record(Level.TEAM)
READING = {"subject": OTHER.id, "effect": "allow", "level": "team", "rights": ("read",)}


def at(clock: FakeClock, text: str) -> None:
    """Set the clock, in UTC. 2026-03-02 is a Monday."""
    clock.now_us = int(datetime.fromisoformat(f"{text}+00:00").timestamp() * 1_000_000)


def may_read(access: Access, who: Principal = OTHER, key: str = "k") -> bool:
    return access.allows(who, Right.READ, TEAM, "default", key)


@pytest.mark.parametrize(
    ("hours", "days", "zone", "when", "counts"),
    [
        ("09:00-17:30", (), "UTC", "2026-03-02T08:59:59", False),
        ("09:00-17:30", (), "UTC", "2026-03-02T09:00:00", True),
        ("09:00-17:30", (), "UTC", "2026-03-02T17:29:59", True),
        ("09:00-17:30", (), "UTC", "2026-03-02T17:30:00", False),
        ("00:00-24:00", (), "UTC", "2026-03-02T23:59:59", True),
        ("22:00-06:00", (), "UTC", "2026-03-02T23:00:00", True),
        ("22:00-06:00", (), "UTC", "2026-03-02T05:59:00", True),
        ("22:00-06:00", (), "UTC", "2026-03-02T06:00:00", False),
        ("22:00-06:00", ("mon",), "UTC", "2026-03-03T05:00:00", True),
        ("22:00-06:00", ("mon",), "UTC", "2026-03-02T05:00:00", False),
        ("22:00-06:00", ("sun",), "UTC", "2026-03-02T05:00:00", True),
        ("", ("mon", "tue"), "UTC", "2026-03-03T00:00:00", True),
        ("", ("mon", "tue"), "UTC", "2026-03-04T00:00:00", False),
        ("09:00-10:00", (), "Europe/Berlin", "2026-03-02T08:30:00", True),
        ("09:00-10:00", (), "Europe/Berlin", "2026-03-02T09:30:00", False),
        ("09:00-10:00", (), "Europe/Berlin", "2026-07-06T07:30:00", True),
        ("00:00-01:00", ("tue",), "Asia/Kolkata", "2026-03-02T18:45:00", True),
        ("02:00-03:00", (), "Europe/Berlin", "2026-03-29T01:30:00", False),
        ("02:00-03:00", (), "Europe/Berlin", "2026-10-25T00:30:00", True),
        ("02:00-03:00", (), "Europe/Berlin", "2026-10-25T01:30:00", True),
    ],
)
def test_hours_and_days_are_those_of_the_zone(
    hours: str, days: tuple[str, ...], zone: str, when: str, counts: bool
) -> None:
    now_us = int(datetime.fromisoformat(f"{when}+00:00").timestamp() * 1_000_000)
    assert Conditions(hours, days, zone).hold(now_us) is counts


async def test_an_entry_counts_in_its_hours_only(access: Access, clock: FakeClock) -> None:
    at(clock, "2026-03-02T08:00:00")
    wanted = Wanted(**READING, hours="09:00-17:00", days=("mon",), zone="UTC")
    await access.add(OPERATOR_PRINCIPAL, wanted)
    found = []
    for hour in ("08:59", "09:00", "16:59", "17:00"):
        at(clock, f"2026-03-02T{hour}:00")
        found.append(may_read(access))
    assert found == [False, True, True, False]


async def test_a_denial_has_hours_too(access: Access, clock: FakeClock) -> None:
    at(clock, "2026-03-02T08:00:00")
    wanted = {**READING, "subject": OWNER.id, "effect": "deny"}
    await access.add(OPERATOR_PRINCIPAL, Wanted(**wanted, hours="09:00-10:00"))
    assert may_read(access, OWNER)
    at(clock, "2026-03-02T09:30:00")
    assert not may_read(access, OWNER)


async def test_a_clock_set_back_does_not_bring_hours_back(access: Access, clock: FakeClock) -> None:
    at(clock, "2026-03-02T09:30:00")
    await access.add(OPERATOR_PRINCIPAL, Wanted(**READING, hours="09:00-10:00"))
    assert may_read(access)
    at(clock, "2026-03-02T10:30:00")
    assert not may_read(access)
    at(clock, "2026-03-02T09:30:00")
    assert not may_read(access)


@pytest.mark.parametrize(
    ("bad", "hint"),
    [
        ({"hours": "9-17"}, "09:00-17:30"),
        ({"hours": "09:00-09:00"}, "09:00-17:30"),
        ({"hours": "25:00-26:00"}, "09:00-17:30"),
        ({"hours": "09:00-24:30"}, "09:00-17:30"),
        ({"hours": "09:00-17:00", "zone": "Mars/Olympus"}, "Europe/Berlin"),
        ({"hours": "09:00-17:00", "zone": "../../etc/passwd"}, "Europe/Berlin"),
        ({"days": ("funday",)}, "mon, tue"),
    ],
)
async def test_conditions_that_are_none_are_refused_with_a_hint(
    access: Access, bad: dict[str, Any], hint: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await access.add(OPERATOR_PRINCIPAL, Wanted(**READING, **bad))
    assert hint in refused.value.hint
    assert access.list() == []


async def test_conditions_survive_a_restart(
    access: Access, database: Database, clock: FakeClock, people: People
) -> None:
    at(clock, "2026-03-02T08:00:00")
    wanted = Wanted(**READING, hours="22:00-06:00", days=("mon", "fri"), zone="Europe/Berlin")
    granted = await access.add(OPERATOR_PRINCIPAL, wanted)
    again = await opened(database, clock, people)
    assert again.list() == [granted]
    assert (granted.hours, granted.days) == ("22:00-06:00", ("mon", "fri"))
    at(clock, "2026-03-02T21:30:00")
    assert may_read(again)
    at(clock, "2026-03-03T21:30:00")
    assert not may_read(again)


async def test_a_zone_that_is_gone_allows_nothing_and_denies_always(
    database: Database, clock: FakeClock, people: People, access: Access
) -> None:
    await access.add(OPERATOR_PRINCIPAL, Wanted(**READING, hours="00:00-24:00"))
    denied = {**READING, "subject": OWNER.id, "effect": "deny"}
    await access.add(OPERATOR_PRINCIPAL, Wanted(**denied, hours="00:00-00:01"))
    await database.write(
        lambda tx: tx.execute("UPDATE grant_entry SET zone = 'Lost/Town'") and None
    )
    again = await opened(database, clock, people)
    assert not may_read(again)
    assert not may_read(again, OWNER)


# --- entries that agents make -----------------------------------------------------------------


async def test_an_owner_opens_its_own_records_and_no_others(access: Access) -> None:
    await access.add(OWNER, Wanted(**READING))
    assert may_read(access)
    foreign = Standing(Level.TEAM, MATE.id, "dev_team_1")
    assert not access.allows(OTHER, Right.READ, foreign, "default", "k")


async def test_what_was_granted_cannot_be_passed_on(access: Access) -> None:
    await access.add(OPERATOR_PRINCIPAL, Wanted(**{**READING, "subject": PEER.id}))
    assert may_read(access, PEER)
    await access.add(PEER, Wanted(**READING))
    assert not may_read(access)


async def test_an_admin_grants_what_it_holds_itself_and_denies_where_it_may_grant(
    access: Access,
) -> None:
    await access.add(ADMIN, Wanted(**{**READING, "rights": ("read", "delete")}))
    assert not may_read(access), "an admin does not read team records"
    assert access.allows(OTHER, Right.DELETE, TEAM, "default", "k")
    await access.add(ADMIN, Wanted(**{**READING, "subject": OWNER.id, "effect": "deny"}))
    assert not may_read(access, OWNER)
    await access.add(WATCHER, Wanted(**{**READING, "subject": MATE.id, "effect": "deny"}))
    assert may_read(access, MATE), "a monitor denies nothing"


async def test_a_grant_dies_when_its_granter_loses_what_it_gave(
    access: Access, people: People
) -> None:
    await access.add(ADMIN, Wanted(**{**READING, "rights": ("delete",)}))
    may_delete = partial(access.allows, OTHER, Right.DELETE, TEAM, "default", "k")
    assert may_delete()
    people.principals[ADMIN.id] = msgspec.structs.replace(ADMIN, role=Role.COORDINATOR)
    assert not may_delete()
    people.principals[ADMIN.id] = ADMIN
    assert may_delete()
    denial = {**READING, "subject": ADMIN.id, "effect": "deny", "rights": ("delete",)}
    against = await access.add(OPERATOR_PRINCIPAL, Wanted(**denial))
    assert not may_delete()
    await access.revoke(OPERATOR_PRINCIPAL, against.id)
    assert may_delete()
    del people.principals[ADMIN.id]
    assert not may_delete()


async def test_a_denial_over_its_own_outlasts_an_agent_that_has_gone(
    access: Access, people: People
) -> None:
    await access.add(OWNER, Wanted(**{**READING, "subject": MATE.id, "effect": "deny"}))
    await access.add(OWNER, Wanted(**READING))
    del people.principals[OWNER.id]
    assert not may_read(access, MATE)
    assert not may_read(access)


async def test_an_operator_without_the_system_role_grants_what_it_holds(
    database: Database, clock: FakeClock, people: People
) -> None:
    found = {}
    for role in Role:
        access = await opened(database, clock, people, role)
        made = await access.add(
            OPERATOR_PRINCIPAL, Wanted(**{**READING, "rights": ("read", "delete")})
        )
        found[role] = may_read(access), access.allows(OTHER, Right.DELETE, TEAM, "default", "k")
        await access.revoke(OPERATOR_PRINCIPAL, made.id)
    nothing = (False, False)
    assert found == dict.fromkeys(Role, nothing) | {
        Role.ADMIN: (False, True),
        Role.SYSTEM: (True, True),
    }


async def test_an_agent_of_elsewhere_grants_nothing(access: Access) -> None:
    with pytest.raises(Denied, match="grants nothing in development"):
        await access.add(RESEARCHER, Wanted(**READING))


async def test_an_agent_revokes_what_it_has_made(access: Access) -> None:
    mine = await access.add(OWNER, Wanted(**READING))
    theirs = await access.add(
        OPERATOR_PRINCIPAL, Wanted(**{**READING, "subject": OWNER.id, "effect": "deny"})
    )
    with pytest.raises(Denied, match="made by operator"):
        await access.revoke(OWNER, theirs.id)
    with pytest.raises(NotFound):
        await access.revoke(PEER, mine.id)
    await access.revoke(OWNER, mine.id)
    assert [entry.id for entry in access.list()] == [theirs.id]


# --- export rules -----------------------------------------------------------------------------

EXPORT = act.AclExport(source="staging", target="research", name="nightly", key_prefix="model:")


async def place_of(
    environment: Environment,
    folder: Path,
    clock: FakeClock,
    stack: AsyncExitStack,
    operator: Role = Role.SYSTEM,
) -> Access:
    database = await stack.enter_async_context(
        open_database(folder / "x.db", environment.value, options=StoreOptions(), clock=clock)
    )
    access = Access(environment, ISOLATION, database, clock, operator=operator)
    await access.open()
    return access


async def test_an_export_lets_public_records_under_its_prefix_be_read(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with AsyncExitStack() as stack:
        access = await place_of(Environment.STAGING, tmp_path, clock, stack)
        rule = await access.export(OPERATOR_PRINCIPAL, EXPORT)
        assert (rule.kind, rule.subject, rule.name) == ("export", "research", "nightly")

        def verdict(who: Principal, right: Right, level: Level, key: str) -> str:
            own = Standing(level, "staging_agent_1", "staging_team_1", "staging_swarm_1")
            return access.verdict(who, right, own, "default", key).rule

        assert verdict(RESEARCHER, Right.READ, Level.PUBLIC, "model:1") == "export"
        for who, right, level, key in (
            (RESEARCHER, Right.READ, Level.PUBLIC, "other"),
            (RESEARCHER, Right.READ, Level.SWARM, "model:1"),
            (RESEARCHER, Right.WRITE, Level.PUBLIC, "model:1"),
            (OWNER, Right.READ, Level.PUBLIC, "model:1"),
            (LIVE, Right.READ, Level.PUBLIC, "model:1"),
        ):
            assert verdict(who, right, level, key) == "isolation"
        denied = Wanted(
            subject=RESEARCHER.id, effect="deny", level="public", rights=("read",), expires_s=60
        )
        await access.add(OPERATOR_PRINCIPAL, denied)
        assert verdict(RESEARCHER, Right.READ, Level.PUBLIC, "model:1") == "explicit-deny"
        clock.advance(61)
        assert verdict(RESEARCHER, Right.READ, Level.PUBLIC, "model:1") == "export"
        clock.advance(86_400)
        assert verdict(RESEARCHER, Right.READ, Level.PUBLIC, "model:1") == "isolation"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Environment.PRODUCTION, "research"),
        (Environment.DEVELOPMENT, "research"),
        (Environment.STAGING, "production"),
        (Environment.STAGING, "staging"),
    ],
)
async def test_only_a_strict_environment_that_is_not_production_exports(
    source: Environment, target: Any, tmp_path: Path, clock: FakeClock
) -> None:
    async with AsyncExitStack() as stack:
        access = await place_of(source, tmp_path, clock, stack)
        with pytest.raises(InvalidInput):
            await access.export(
                OPERATOR_PRINCIPAL, act.AclExport(source=source.value, target=target, name="x")
            )
        assert access.list() == []


async def test_an_export_needs_the_system_role_when_it_is_made_and_after(
    tmp_path: Path, clock: FakeClock
) -> None:
    public = Standing(Level.PUBLIC, "staging_agent_1")
    asked = RESEARCHER, Right.READ, public, "default", "model:1"
    async with AsyncExitStack() as stack:
        access = await place_of(Environment.STAGING, tmp_path, clock, stack)
        await access.export(OPERATOR_PRINCIPAL, EXPORT)
        assert access.allows(*asked)
        access.operator = Role.ADMIN
        assert not access.allows(*asked)
        with pytest.raises(Denied, match="role system"):
            await access.export(OPERATOR_PRINCIPAL, EXPORT)


# --- break-glass ------------------------------------------------------------------------------

_PUT = """
INSERT INTO memory (env, namespace, key, level, owner, version, format, body, created_at,
                    updated_at)
VALUES ('development', 'default', ?, ?, ?, 1, 0, x'', 0, 0)"""


async def keep(database: Database, key: str, level: Level, owner: str = OWNER.id) -> Standing:
    await database.write(lambda tx: tx.execute(_PUT, (key, int(level), owner)) and None)
    return Standing(level, owner)


async def test_broken_glass_lets_the_operator_read_one_private_record_for_15_minutes(
    access: Access, database: Database, clock: FakeClock
) -> None:
    secret = await keep(database, "diary", Level.PRIVATE)
    asked = OPERATOR_PRINCIPAL, Right.READ, secret, "default", "diary"
    assert not access.allows(*asked)
    entry = await access.break_glass(OPERATOR_PRINCIPAL, "default", "diary", "an agent is stuck")
    assert (entry.kind, entry.subject, entry.reason) == (
        "break-glass", "operator", "an agent is stuck"
    )  # fmt: skip
    assert entry.expires_at_us - entry.created_at_us == 15 * 60 * 1_000_000
    assert access.verdict(*asked).rule is Rule.BREAK_GLASS
    assert access.breaking() == (entry,)
    said = access.explain(*asked)
    assert (said.rule, "an agent is stuck" in said.detail) == ("break-glass", True)
    assert not access.allows(OPERATOR_PRINCIPAL, Right.WRITE, secret, "default", "diary")
    assert not access.allows(OPERATOR_PRINCIPAL, Right.READ, secret, "default", "diary2")
    assert not access.allows(OPERATOR_PRINCIPAL, Right.READ, secret, "other", "diary")
    assert not access.allows(ADMIN, Right.READ, secret, "default", "diary")
    again = Standing(Level.PRIVATE, PEER.id)
    assert not access.allows(OPERATOR_PRINCIPAL, Right.READ, again, "default", "diary")
    clock.advance(15 * 60)
    assert not access.allows(*asked)
    assert access.breaking() == ()
    clock.advance(-600)
    assert not access.allows(*asked)


async def test_a_denial_wins_over_broken_glass(access: Access, database: Database) -> None:
    secret = await keep(database, "diary", Level.PRIVATE)
    await access.break_glass(OPERATOR_PRINCIPAL, "default", "diary", "looking")
    denial = Wanted(subject=OPERATOR, effect="deny", level="private", rights=("read",))
    await access.add(OWNER, denial)
    found = access.verdict(OPERATOR_PRINCIPAL, Right.READ, secret, "default", "diary")
    assert (found.allowed, found.rule) == (False, Rule.EXPLICIT_DENY)


async def test_breaking_the_glass_needs_the_system_role_a_reason_and_a_private_record(
    access: Access, database: Database
) -> None:
    await keep(database, "diary", Level.PRIVATE)
    await keep(database, "board", Level.TEAM)
    await keep(database, "mine", Level.PRIVATE, OPERATOR)
    for reason in ("", "  ", "ab", "x" * 501, "two\nlines"):
        with pytest.raises(InvalidInput):
            await access.break_glass(OPERATOR_PRINCIPAL, "default", "diary", reason)
    for key in ("board", "mine"):
        with pytest.raises(InvalidInput, match="not a private record"):
            await access.break_glass(OPERATOR_PRINCIPAL, "default", key, "looking")
    with pytest.raises(NotFound):
        await access.break_glass(OPERATOR_PRINCIPAL, "default", "nothing", "looking")
    for who in (ADMIN, OWNER):
        with pytest.raises(Denied, match="role system"):
            await access.break_glass(who, "default", "diary", "looking")
    access.operator = Role.ADMIN
    with pytest.raises(Denied, match="the role system; operator is admin"):
        await access.break_glass(OPERATOR_PRINCIPAL, "default", "diary", "looking")
    assert access.breaking() == ()


async def test_the_glass_is_broken_only_after_its_audit_row_is_committed(
    database: Database, clock: FakeClock
) -> None:
    """Whoever is told finds the row in the file; before that nothing could be read."""
    secret = await keep(database, "diary", Level.PRIVATE)
    asked = OPERATOR_PRINCIPAL, Right.READ, secret, "default", "diary"
    seen: list[tuple[str, str]] = []
    access = Access(
        Environment.DEVELOPMENT, ISOLATION, database, clock,
        told=lambda entry, owner: seen.append((entry.reason, owner)),
    )  # fmt: skip
    breaking = asyncio.ensure_future(
        access.break_glass(OPERATOR_PRINCIPAL, "default", "diary", "an agent is stuck")
    )
    allowed_before = []
    while not breaking.done():
        rows = await database.read(audited)
        allowed_before.append((access.allows(*asked), bool(rows)))
    assert (True, False) not in allowed_before
    assert seen == [("an agent is stuck", OWNER.id)]
    [(actor, detail)] = await database.read(audited)
    assert actor == OPERATOR
    assert "diary" in detail
    assert "an agent is stuck" in detail


async def test_glass_that_cannot_be_audited_stays_whole(
    access: Access, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await keep(database, "diary", Level.PRIVATE)

    def full(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "audit", full)
        with pytest.raises(StorageError):
            await access.break_glass(OPERATOR_PRINCIPAL, "default", "diary", "looking")
    assert not access.allows(OPERATOR_PRINCIPAL, Right.READ, secret, "default", "diary")


def audited(reader: Reader) -> list[tuple[str, str]]:
    found = reader.execute("SELECT actor, detail FROM audit WHERE action = 'acl.breakglass'")
    return found.fetchall()


# --- time -------------------------------------------------------------------------------------


async def test_what_is_granted_while_the_clock_is_back_lasts_as_long_as_was_said(
    access: Access, clock: FakeClock
) -> None:
    await access.add(OPERATOR_PRINCIPAL, Wanted(**READING, expires_s=60))
    clock.advance(600)
    assert not may_read(access)
    clock.advance(-600)
    made = await access.add(OPERATOR_PRINCIPAL, Wanted(**READING, expires_s=60))
    assert may_read(access)
    assert made.created_at_us == clock.now_us + 600_000_000
    clock.advance(661)
    assert not may_read(access)


async def test_entries_that_ended_are_forgotten(
    access: Access, database: Database, clock: FakeClock
) -> None:
    for _ in range(5):
        await access.add(OPERATOR_PRINCIPAL, Wanted(**READING, expires_s=60))
        clock.advance(100 * 86_400)
    assert access.list() == []
    assert len(access._grants[OTHER.id]) == 1
    rows = await database.read(
        lambda reader: reader.execute("SELECT count(*) FROM grant_entry").fetchone()
    )
    assert rows == (1,)


async def test_until_when_a_look_holds_is_the_next_end_or_the_next_minute(
    access: Access, clock: FakeClock
) -> None:
    assert access.until_us(OTHER) == 0
    made = await access.add(OPERATOR_PRINCIPAL, Wanted(**READING))
    assert access.until_us(OTHER) == made.expires_at_us
    await access.add(OPERATOR_PRINCIPAL, Wanted(**READING, days=("mon",)))
    minute_us = 60_000_000
    assert access.until_us(OTHER) == (clock.now_us // minute_us + 1) * minute_us
    assert access.until_us(PEER) == 0
