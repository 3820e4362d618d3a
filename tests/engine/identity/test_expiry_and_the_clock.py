"""What is stored with an end: gone at once when it is over, and not before, whatever the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import NotFound
from swarmdeck.engine.memory import operations
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Right
from swarmdeck.engine.settings import load_settings

DAY_S = 86_400.0
WHERE = "development"
Opener = Callable[[], AbstractAsyncContextManager[Core]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def opened(tmp_path: Path, clock: FakeClock) -> Opener:
    @asynccontextmanager
    async def opener() -> AsyncIterator[Core]:
        async with open_core(
            tmp_path / "data",
            settings=load_settings(None, {}, {}),
            transient=True,
            headless=True,
            clock=clock,
        ) as core:
            yield core

    return opener


async def run(core: Core, action: act.Action) -> Any:
    return await core.dispatch(action, OPERATOR_PRINCIPAL)


async def stored(core: Core) -> dict[str, Any]:
    """Everything with an end, made now: it ends in an hour."""
    agents = [await core.engine.agents.register(WHERE, name=f"a{n}") for n in range(2)]
    memory = core.engine.memory(agents[0])
    await memory.set("lasts", 1, level="public")
    await memory.set("ends", 2, level="swarm", ttl_s=3600)
    grant = await core.engine.acl.grant(agents[1], level="swarm", actions=["read"], expires_s=3600)
    queue = core.engine.queue(WHERE)
    await queue.send("late", {}, delay_s=3600)
    await queue.send("ends", {}, expires_s=3600)
    return {"owner": agents[0], "reader": agents[1], "grant": grant}


async def look(core: Core, made: dict[str, Any]) -> dict[str, Any]:
    """What counts now, after everything that happens by itself has happened."""
    place = core.places[WHERE]
    await core.ticker.sweep(due=True)
    await place.queue.tick()
    counts = place.queue.counts()
    return {
        "record": await core.engine.memory(made["owner"]).get("ends"),
        "granted": await core.engine.memory(made["reader"]).get("ends"),
        "grants": len(core.places[WHERE].access.list()),
        "lasts": await core.engine.memory(made["owner"]).get("lasts"),
        "rows": place.memory.records,
        "delayed": counts.delayed,
        "expired": counts.expired,
    }


ALIVE = {
    "record": 2, "granted": 2, "grants": 1, "lasts": 1, "rows": 2, "delayed": 1, "expired": 0,
}  # fmt: skip


# --- jumps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarts", [0, 1, 2])
@pytest.mark.parametrize("jump_s", [400 * DAY_S, -400 * DAY_S, 7200, -7200])
async def test_a_jump_deletes_nothing_and_ends_nothing(
    opened: Opener, clock: FakeClock, jump_s: float, restarts: int
) -> None:
    """R14. Planted: with the plain clock in the core the record is gone after the first look."""
    async with opened() as core:
        made = await stored(core)
        clock.jump(jump_s)
        assert await look(core, made) == ALIVE
        assert "jumped" in core.overview().clock
    for _ in range(restarts):
        async with opened() as core:
            assert await look(core, made) == ALIVE
            assert "jumped" in core.overview().clock
            clock.advance(60)


@pytest.mark.parametrize("jump_s", [400 * DAY_S, -400 * DAY_S])
@pytest.mark.parametrize("restart", [False, True])
async def test_what_has_ended_does_not_come_back(
    opened: Opener, clock: FakeClock, jump_s: float, restart: bool
) -> None:
    """Whether the jump is held off or accepted."""
    async with opened() as core:
        made = await stored(core)
        clock.advance(3601)
        over = await look(core, made)
        clock.jump(jump_s)
        held = await look(core, made)
        assert held == over
        assert (held["record"], held["granted"], held["grants"]) == (None, None, 0)
        if not restart:
            await run(core, act.ClockConfirm())
            after = await look(core, made)
            assert (after["record"], after["granted"], after["grants"]) == (None, None, 0)
            assert after["lasts"] == 1
    async with opened() as core:
        if restart:
            assert (await look(core, made))["record"] is None
            await run(core, act.ClockConfirm())
        assert core.overview().clock == ""
        after = await look(core, made)
        assert (after["record"], after["granted"], after["grants"]) == (None, None, 0)


async def test_a_clock_set_back_between_engines_revives_nothing(
    opened: Opener, clock: FakeClock
) -> None:
    """Also where no record of the time is left but the rows of the audit trail."""
    async with opened() as core:
        made = await stored(core)
        clock.advance(3601)
        assert (await look(core, made))["granted"] is None
        data = core.data
    (data / "run" / "clock").unlink()
    clock.jump(-2 * 3600)
    async with opened() as core:
        found = await look(core, made)
        assert (found["record"], found["granted"], found["grants"]) == (None, None, 0)


async def test_expiry_by_the_time_that_passes_goes_on_while_the_clock_is_held(
    opened: Opener, clock: FakeClock
) -> None:
    async with opened() as core:
        made = await stored(core)
        clock.jump(400 * DAY_S)
        clock.advance(3601)
        found = await look(core, made)
        assert (found["record"], found["granted"], found["delayed"]) == (None, None, 0)
        assert found["rows"] == 2  # hidden, not deleted, until somebody has looked at the clock


async def test_a_confirmed_jump_forward_deletes_what_is_over_by_it(
    opened: Opener, clock: FakeClock
) -> None:
    async with opened() as core:
        made = await stored(core)
        clock.jump(400 * DAY_S)
        assert await look(core, made) == ALIVE
        done = await run(core, act.ClockConfirm())
        assert "forward" in done.detail
        found = await look(core, made)
        assert (found["record"], found["rows"], found["expired"]) == (None, 1, 1)
        assert core.overview().at_us == clock.wall_us()
        for environment in (WHERE, None):
            rows = await run(core, act.AuditList(environment=environment, contains="clock.confirm"))
            assert rows
            assert rows[0].actor == "operator"


async def test_what_ended_while_the_clock_was_held_back_does_not_begin_anew(
    opened: Opener, clock: FakeClock
) -> None:
    """Nothing had swept it: the confirmation does, before the clock goes back."""
    async with opened() as core:
        made = await stored(core)
        clock.jump(-400 * DAY_S)
        core.overview()
        clock.advance(3601)
        await run(core, act.ClockConfirm())
        found = await look(core, made)
        assert (found["record"], found["granted"], found["grants"]) == (None, None, 0)
        assert (found["rows"], found["delayed"], found["expired"]) == (1, 0, 1)


async def test_after_a_confirmed_jump_back_new_grants_count(
    opened: Opener, clock: FakeClock
) -> None:
    async with opened() as core:
        made = await stored(core)
        clock.jump(-400 * DAY_S)
        core.overview()
        await run(core, act.ClockConfirm())
        await core.engine.memory(made["owner"]).set("new", 3, level="swarm", ttl_s=60)
        await core.engine.acl.grant(made["reader"], level="swarm", actions=["read"], expires_s=60)
        assert await core.engine.memory(made["reader"]).get("new") == 3
        clock.advance(61)
        assert await core.engine.memory(made["reader"]).get("new") is None
    async with opened() as core:
        assert core.overview().clock == ""


async def test_a_clock_that_did_not_jump_needs_no_confirmation(opened: Opener) -> None:
    async with opened() as core:
        done = await run(core, act.ClockConfirm())
        assert done.changed == 0
        assert "not jumped" in done.detail


async def test_a_held_clock_is_a_critical_alert_until_it_is_confirmed(
    opened: Opener, clock: FakeClock
) -> None:
    async with opened() as core:
        clock.jump(400 * DAY_S)
        core.time.tick()
        alerts = [each for each in core.alerts.list(None, firing=True) if each.rule == "clock-jump"]
        assert [each.severity for each in alerts] == ["critical"]
        assert alerts[0].hint == "swarmdeck clock confirm"
        assert "400 d forward" in alerts[0].detail
        events = core.journal.list(None, "jumped", 10)
        assert [each.severity for each in events] == ["critical"]
        await run(core, act.ClockConfirm())
        for _ in range(6):
            core.alerts.evaluate()
        assert not [e for e in core.alerts.list(None, firing=True) if e.rule == "clock-jump"]


# --- expired is gone at once --------------------------------------------------------------------


async def test_an_expired_record_is_nowhere_to_be_seen(opened: Opener, clock: FakeClock) -> None:
    async with opened() as core:
        agent = await core.engine.agents.register(WHERE, name="a")
        memory = core.engine.memory(agent)
        for key in ("one", "two", "three", "four"):
            await memory.set(key, 1, level="public", ttl_s=10)
        clock.advance(10)
        place = core.places[WHERE]
        principal = core.resolve(agent.id)
        assert await memory.get("one") is None
        assert not await memory.has("one")
        assert await memory.mget(["one", "two"]) == {}
        assert await memory.keys() == ([], None)
        assert await run(core, act.MemoryList(environment=WHERE)) == []
        assert (await run(core, act.AclMatrix(environment=WHERE))).rows == ()
        with pytest.raises(NotFound):
            await run(core, act.AclWho(environment=WHERE, key="one"))
        explained = await run(
            core, act.AclExplain(subject=agent.id, right="read", environment=WHERE, key="one")
        )
        assert not explained.allowed
        with pytest.raises(NotFound):
            await place.memory.set_level(principal, "default", "one", "private")
        assert not await memory.delete("one")
        assert await memory.incr("two") == 1  # begins anew
        assert place.memory.records >= 3  # nothing was swept: it was hidden


async def test_a_version_is_never_two_values(opened: Opener, clock: FakeClock) -> None:
    async with opened() as core:
        memory = core.engine.memory(WHERE)
        first = await memory.set("key", 1, ttl_s=10)
        clock.advance(11)
        assert await memory.set("key", 2, if_version=0) > first


# --- sweeping -----------------------------------------------------------------------------------


async def plan_of(core: Core, statement: str, parameters: tuple[object, ...]) -> str:
    def query(reader: Any) -> str:
        rows = reader.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
        return " ".join(str(row[3]) for row in rows)

    return await core.places[WHERE].database.read(query)


async def test_the_plan_of_a_sweep_is_pinned(opened: Opener) -> None:
    async with opened() as core:
        expired = await plan_of(core, operations._EXPIRED, (WHERE, 1, 100))
        following = await plan_of(core, operations.NEXT_EXPIRY, (WHERE,))
        assert (
            "SEARCH memory USING INDEX memory_expiry (env=? AND expires_at>? AND expires_at<?)"
            in expired
        )
        assert "USING COVERING INDEX memory_expiry" in following
        assert "SCAN memory" not in expired
        assert "TEMP B-TREE" not in expired


async def test_sweeping_much_holds_no_caller_long(opened: Opener, clock: FakeClock) -> None:
    """A write waits for one batch of a sweep at most, and a batch is short."""
    async with opened() as core:
        memory = core.engine.memory(WHERE)
        for start in range(0, 20_000, 5000):
            items = {f"k{number}": number for number in range(start, start + 5000)}
            await memory.mset(items, ttl_s=1)
        clock.advance(2)
        place = core.places[WHERE]
        sweeping = asyncio.ensure_future(place.memory.sweep())
        waits = []
        while not sweeping.done():
            begun = time.process_time()  # of the writer's thread too, and of no other process
            await memory.set("mine", 1)
            waits.append(time.process_time() - begun)
        assert await sweeping <= 20_000  # the engine's own sweep may have taken its part
        await core.ticker.sweep(due=False)
        assert place.memory.records == 1
        assert len(waits) > 50  # writes came between
        assert sorted(waits)[len(waits) // 2] < 0.020


async def test_a_sweep_that_ran_out_of_time_goes_on_later(opened: Opener, clock: FakeClock) -> None:
    async with opened() as core:
        memory = core.engine.memory(WHERE)
        await memory.mset({f"k{number}": 1 for number in range(250)}, ttl_s=1)
        clock.advance(2)
        store = core.places[WHERE].memory
        assert await store.sweep(0) == 0
        assert store.is_behind
        await core.ticker.sweep(due=False)
        assert store.records == 0
        assert not store.is_behind


async def test_the_denials_of_a_jump_do_not_break_what_lasts(
    opened: Opener, clock: FakeClock
) -> None:
    async with opened() as core:
        made = await stored(core)
        for jump_s in (400 * DAY_S, -800 * DAY_S, 400 * DAY_S):  # there, back and home
            clock.jump(jump_s)
            assert await look(core, made) == ALIVE
        assert core.overview().clock == ""
        reader = core.resolve(made["reader"].id)
        entry = await core.places[WHERE].memory.peek("default", "ends")
        assert entry is not None
        assert core.places[WHERE].access.allows(reader, Right.READ, entry, "default", "ends")
