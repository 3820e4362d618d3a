"""A page of records is what reading, deciding and sorting all of them would give."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.acl import Access, Wanted
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.memory import MemoryStore, lookup, outline
from swarmdeck.engine.memory.browse import Browse, sight
from swarmdeck.engine.model import (
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Level,
    Principal,
    Role,
)
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.store import aside
from swarmdeck.engine.store.database import Database, StoreOptions, open_database
from swarmdeck.engine.vault import Vault
from swarmdeck.engine.views import RecordView

ISOLATION = dict.fromkeys(Environment, Isolation.MODERATE) | {
    Environment.PRODUCTION: Isolation.STRICT
}
TEAMS = ("dev_team_1", "dev_team_2")
AGENTS = [
    Principal("dev_agent_1", Role.AGENT, "development", "dev_swarm_1", TEAMS[:1]),
    Principal("dev_agent_2", Role.AGENT, "development", "dev_swarm_1", TEAMS),
    Principal("dev_agent_3", Role.ADMIN, "development", "dev_swarm_2"),
    Principal("dev_agent_4", Role.AGENT, "development"),
]
STRANGERS = [
    Principal("test_agent_1", Role.AGENT, "testing"),
    Principal("prod_agent_1", Role.AGENT, "production"),
]
EVERYONE = [OPERATOR_PRINCIPAL, *AGENTS, *STRANGERS]
ORDERS = ["key", "size", "changed", "version", "level", "owner", "expires"]


class Town:
    """A store full of records of everybody at all levels."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database = database
        self.clock = clock
        self.access = Access(Environment.DEVELOPMENT, ISOLATION, database, clock)
        ring = Vault.open(database.path.parent, load_settings(None, {}, {}), clock).ring(
            "development"
        )
        self.store = MemoryStore(database, self.access, clock, ring=ring, cache_bytes=4_000)
        self.chance = random.Random(7)

    async def open(self) -> None:
        await self.access.open()
        await self.store.open()

    async def fill(self, count: int = 90) -> None:
        for number in range(count):
            self.clock.advance(1)
            await self.put(
                f"Key:{number:03}", ttl_s=self.chance.choice([None, None, 500.0 + number])
            )

    async def put(self, key: str, **options: Any) -> None:
        """Somebody writes a record at a level that is open to it."""
        who = self.chance.choice([OPERATOR_PRINCIPAL, *AGENTS])
        levels = [Level.SYSTEM] if who.is_operator else list(Level)[:4]
        body = b'"' + b"x" * self.chance.randrange(9) + b'"'
        namespace, level = self.chance.choice("ab"), int(self.chance.choice(levels))
        await self.store.set(who, namespace, key, 0, body, level, **options)

    async def grant(self, effect: str, subject: str, level: str, **options: Any) -> None:
        namespace, prefix = options.pop("namespace", "a"), options.pop("prefix", "")
        wanted = Wanted(
            subject=subject, effect=effect, level=level, rights=("read",), namespace=namespace,
            key_prefix=prefix, **options,
        )  # fmt: skip
        await self.access.add(OPERATOR_PRINCIPAL, wanted)

    async def expected(self, who: Principal, wanted: Browse) -> list[tuple[str, str]]:
        """Told again: everything is read, decided and sorted."""
        rows = await self.database.read(
            lambda reader: reader.execute(
                "SELECT namespace, key, level, owner, team, swarm,"
                " length(body) - (format >> 5 & 1) * 29, updated_at,"
                " version, expires_at FROM memory WHERE expires_at IS NULL OR expires_at > ?",
                (self.clock.wall_us(),),
            ).fetchall()
        )
        seen = sight(self.access, who).sees
        found = [row for row in rows if seen((row[0], row[1], 0, 0, *row[2:6]))]
        found = [row for row in found if self._wanted(row, wanted)]
        found.sort(key=lambda row: (*_rank(row, wanted.order), row[0], row[1]))
        if wanted.descending:
            found.reverse()
        return [row[:2] for row in found[wanted.offset : wanted.offset + wanted.limit]]

    @staticmethod
    def _wanted(row: Any, wanted: Browse) -> bool:
        texts = (*row[:2], row[3], row[4] or "", Level(row[2]).name)
        return (
            wanted.namespace in {None, row[0]}
            and row[1].startswith(wanted.prefix)
            and any(wanted.contains.lower() in text.lower() for text in texts)
        )

    async def page(self, who: Principal, wanted: Browse) -> list[tuple[str, str]]:
        views = await self.store.browse(who, wanted)
        assert all(view.value is None for view in views)
        return [(view.namespace, view.key) for view in views]

    async def compare(self, who: Principal, wanted: Browse) -> None:
        found = await self.page(who, wanted)
        assert found == await self.expected(who, wanted), (who.id, wanted)


def _rank(row: Any, order: str) -> tuple[Any, ...]:
    return {
        "key": (),
        "size": (row[6],),
        "changed": (row[7],),
        "version": (row[8],),
        "level": (row[2],),
        "owner": (row[3],),
        "expires": (row[9] is None, row[9] or 0),
    }[order]


@pytest.fixture(params=["light", "outlined"])
async def town(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    """Looked at as a small store is, and as a large one is, with blocks of a few records."""
    if request.param == "outlined":
        monkeypatch.setattr(lookup, "LIGHT_ROWS", -1)
        monkeypatch.setattr(aside, "LIGHT_ROWS", -1)
        monkeypatch.setattr(outline, "BLOCK", 4)
        monkeypatch.setattr(outline, "STEP", 10)
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        opened = open_database(
            tmp_path / "d.db", "development", options=StoreOptions(), clock=clock
        )
        made = Town(await stack.enter_async_context(opened), clock)
        await made.open()
        yield made


async def test_a_page_is_a_part_of_what_may_be_read_in_order(town: Town) -> None:
    await town.fill()
    for who in EVERYONE:
        for order in ORDERS:
            for descending in (False, True):
                for offset in (0, 5, 31, 88, 200):
                    wanted = Browse(None, "", "", order, descending, offset, 7)
                    await town.compare(who, wanted)


@pytest.mark.parametrize(
    "part",
    [
        {"namespace": "a"},
        {"namespace": "nothing"},
        {"prefix": "Key:04"},
        {"namespace": "b", "prefix": "Key:0"},
        {"contains": "KEY:03"},
        {"contains": "AGENT_2"},
        {"contains": "team_1"},
        {"contains": "publi"},
        {"contains": "größe"},
        {"contains": "%"},
        {"contains": "') OR 1 --"},
    ],
    ids=str,
)
async def test_filters_apply_before_the_page_is_cut(town: Town, part: dict[str, Any]) -> None:
    await town.fill(60)
    await town.store.set(AGENTS[0], "a", "die Größe", 0, b"1", 4)
    for who in (OPERATOR_PRINCIPAL, AGENTS[1], STRANGERS[0]):
        for order in ("key", "changed"):
            for offset in (0, 3, 9):
                wanted = Browse(**{"namespace": None, **part}, order=order, offset=offset, limit=5)
                await town.compare(who, wanted)


async def test_grants_and_denials_change_what_is_counted(town: Town) -> None:
    await town.fill()
    agent = AGENTS[3]
    for change in (
        ("allow", "swarm", {}),
        ("allow", "team", {"prefix": "Key:0", "namespace": "b", "expires_s": 50.0}),
        ("deny", "public", {"prefix": "Key:0"}),
    ):
        before = await town.page(agent, Browse(None, limit=1_000))
        effect, level, options = change
        await town.grant(effect, agent.id, level, **options)
        for offset in (0, 6, 20):
            await town.compare(agent, Browse(None, offset=offset, limit=6))
        assert await town.page(agent, Browse(None, limit=1_000)) != before
    town.clock.advance(60)  # the second ends
    for offset in (0, 6, 20):
        await town.compare(agent, Browse(None, offset=offset, limit=6))


async def look_everywhere(town: Town) -> None:
    for who in (OPERATOR_PRINCIPAL, AGENTS[0]):
        for descending in (False, True):
            for offset in (0, 9, 30, 60):
                wanted = Browse(None, descending=descending, offset=offset, limit=8)
                await town.compare(who, wanted)


async def change_everything(town: Town) -> None:
    """Records come, go, expire, come back and change their level, and pages stay right."""
    await town.fill()
    await look_everywhere(town)
    for number in range(0, 80, 7):
        await town.put(f"Key:{number:03}b")
    await look_everywhere(town)
    for view in await town.store.browse(AGENTS[1], Browse(None, limit=1_000)):
        if view.owner == AGENTS[1].id and int(view.key[4:7]) % 3 == 0:
            await town.store.set_level(AGENTS[1], view.namespace, view.key, "public")
    await look_everywhere(town)
    await town.store.clear(AGENTS[0], None, "Key:05")
    await look_everywhere(town)
    town.clock.advance(520)
    await town.store.sweep()
    await look_everywhere(town)
    for number in range(0, 80, 5):
        await town.store.set(AGENTS[1], "a", f"Key:{number:03}+", 0, b"1", "team", 1.0)
    await look_everywhere(town)
    town.clock.advance(2)  # they have expired, and are written anew before they are swept
    for number in range(0, 80, 5):
        await town.store.set(AGENTS[0], "a", f"Key:{number:03}+", 0, b"1", "private")
    await look_everywhere(town)


async def test_pages_stay_right_while_records_change(town: Town) -> None:
    await change_everything(town)


@pytest.mark.parametrize("town", ["outlined"], indirect=True)
async def test_an_outline_that_is_not_told_of_changes_is_found_out(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outline.Outlines, "touch", lambda *_: None)
    with pytest.raises(AssertionError):
        await change_everything(town)


@pytest.mark.parametrize("town", ["outlined"], indirect=True)
async def test_what_changes_while_somebody_counts_is_counted_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.fill()
    read = aside.Aside.read
    left = iter(range(40))

    async def slow(self: aside.Aside, *arguments: Any, **options: Any) -> Any:
        """A record comes after each snapshot, before its answer is there."""
        answer = await read(self, *arguments, **options)
        if (number := next(left, None)) is not None:
            await town.store.set(AGENTS[0], "a", f"Key:0{number:02}+", 0, b"1", 4)
        return answer

    monkeypatch.setattr(aside.Aside, "read", slow)
    await asyncio.gather(
        *(town.page(OPERATOR_PRINCIPAL, Browse(None, offset=offset)) for offset in (20, 40, 60))
    )
    monkeypatch.setattr(aside.Aside, "read", read)
    await look_everywhere(town)


@pytest.mark.parametrize("town", ["outlined"], indirect=True)
async def test_a_page_far_down_is_read_from_its_block_on(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was passed once is not passed again."""
    await town.fill()
    await town.page(OPERATOR_PRINCIPAL, Browse(None, descending=True, limit=1))
    queries: list[Browse] = []
    made = outline.query

    def noted(wanted: Browse, *rest: Any) -> Any:
        queries.append(wanted)
        return made(wanted, *rest)

    monkeypatch.setattr(outline, "query", noted)
    monkeypatch.setattr(outline, "_counted", None)  # nothing is counted again
    for offset in (0, 13, 29, 47):
        await town.compare(OPERATOR_PRINCIPAL, Browse(None, offset=offset, limit=3))
    assert max(query.offset for query in queries) < 4


async def test_a_page_shows_what_a_record_is_but_not_its_value(town: Town) -> None:
    await town.store.set(AGENTS[0], "a", "k", 0, b'"secret"', "team", 60.0)
    [view] = await town.store.browse(AGENTS[0], Browse("a"))
    assert view == RecordView(
        key="k", namespace="a", environment="development", level="team", owner="dev_agent_1",
        team="dev_team_1", version=1, size_bytes=8, updated_at_us=town.clock.wall_us(),
        expires_at_us=town.clock.wall_us() + 60_000_000,
    )  # fmt: skip


async def test_an_unknown_order_is_refused(town: Town) -> None:
    await town.store.set(AGENTS[0], "a", "k", 0, b"1")
    with pytest.raises(InvalidInput, match="no order body"):
        await town.store.browse(AGENTS[0], Browse("a", order="body"))


async def test_only_the_lists_looked_at_last_are_remembered(town: Town) -> None:
    await town.fill(20)
    for number in range(outline.MOST_OUTLINES + 5):
        await town.page(OPERATOR_PRINCIPAL, Browse(None, f"Key:{number:03}"))
    assert len(town.store._outlines._kept) <= outline.MOST_OUTLINES
