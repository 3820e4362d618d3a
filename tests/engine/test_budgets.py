"""Budgets that change while the engine runs, and how long memory lasts."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine import connect, open_engine, views
from swarmdeck.engine.budgets import laid_over
from swarmdeck.engine.clock import FakeClock, SystemClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.environment import database_path, store_options
from swarmdeck.engine.errors import InvalidInput, OverBudget, StorageError
from swarmdeck.engine.forecast import Forecast
from swarmdeck.engine.hostmem import HostMemory, HostReading, LinuxProbe
from swarmdeck.engine.model import GIB, MIB, OPERATOR, Environment
from swarmdeck.engine.settings import HostPlan, Settings, load_settings
from swarmdeck.engine.store.database import Database, open_database

GB = GIB
PLAN: HostPlan = load_settings(None, {}, {}).host


class Host(LinuxProbe):
    """A host of a size that a test chooses."""

    total_bytes = 96 * GB

    def host(self) -> HostReading:
        real = super().host()
        return msgspec.structs.replace(
            real, total_bytes=self.total_bytes, available_bytes=self.total_bytes
        )


@pytest.fixture(autouse=True)
def sized(monkeypatch: pytest.MonkeyPatch) -> type[Host]:
    """Engines of a test see a host of 96 GB, or what it sets."""
    monkeypatch.setattr(Host, "total_bytes", 96 * GB)
    monkeypatch.setattr("swarmdeck.engine.core.HostMemory", lambda: HostMemory(Host()))
    return Host


def opened(path: Path, settings: Settings | None = None) -> AsyncIterator[Core]:
    return open_core(path, settings=settings, transient=True, headless=True, clock=None)


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with opened(tmp_path / "data") as found:
        yield found


def budget(core: Core, name: str) -> tuple[int, int]:
    """Base and maximum as the overview shows them."""
    row = next(row for row in core.overview().environments if row.name == name)
    return row.base_bytes, row.max_bytes


async def held(core: Core, environment: str, *sizes_gb: float) -> list[views.SwarmView]:
    """Swarms without agents that hold memory."""
    return [
        await core.swarms.create(environment, agents=0, memory_bytes=int(size * GB))
        for size in sizes_gb
    ]


# --- asking ---------------------------------------------------------------------------------


async def test_an_admission_tells_what_a_budget_would_change(core: Core) -> None:
    (swarm,) = await held(core, "production", 14)
    view = core.budgets.admit("production", 13 * GB, 16 * GB)
    assert view.accepted
    assert (view.base_before_bytes, view.base_after_bytes) == (12 * GB, 13 * GB)
    assert (view.buffer_before_bytes, view.buffer_after_bytes) == (8 * GB, 7 * GB)
    assert (view.borrowed_before_bytes, view.borrowed_after_bytes) == (2 * GB, GB)
    assert view.holders == (
        views.HolderView(
            swarm=swarm.id, environment="production", bytes=14 * GB, borrowed_bytes=GB,
            lenders=(views.LoanView(lender="buffer", bytes=GB),),
        ),
    )  # fmt: skip
    assert budget(core, "production") == (12 * GB, 16 * GB)


async def test_a_refused_one_says_why_and_who_holds_the_memory(core: Core) -> None:
    first, second = await held(core, "testing", 9, 1)
    view = core.budgets.admit("testing", 8 * GB, 9 * GB)
    assert not view.accepted
    assert view.reason == "testing holds 10 GB: its maximum cannot be 9 GB"
    assert view.hint.endswith(f"held by testing 10 GB ({first.id} 9 GB, {second.id} 1 GB)")
    assert [holder.swarm for holder in view.holders] == [first.id, second.id]
    (borrower,) = await held(core, "production", 15)
    view = core.budgets.admit("staging", 15 * GB, 15 * GB)
    assert view.reason == ("the base of staging would take 9 GB out of the buffer, which has 8 GB")
    assert [(h.swarm, h.borrowed_bytes) for h in view.holders] == [
        (second.id, GB - 16 * MIB), (first.id, GB + 16 * MIB), (borrower.id, 3 * GB),
    ]  # fmt: skip


async def test_sizes_are_whole_mebibytes(core: Core) -> None:
    view = core.budgets.admit("testing", 8 * GB + 12_345, 12 * GB + MIB - 1)
    assert (view.base_after_bytes, view.max_after_bytes) == (8 * GB, 12 * GB)


async def test_an_unknown_environment_is_bad_input(core: Core) -> None:
    with pytest.raises(InvalidInput, match="unknown environment"):
        core.budgets.admit("live", GB, GB)


# --- changing -------------------------------------------------------------------------------


async def test_a_change_is_in_force_shown_told_and_audited(core: Core) -> None:
    events = core.bus.subscribe()
    view = await core.engine.run(
        act.MemoryBudget(environment="testing", base_bytes=10 * GB, max_bytes=12 * GB)
    )
    assert view == msgspec.structs.replace(view, accepted=True, buffer_after_bytes=6 * GB)
    assert budget(core, "testing") == (10 * GB, 12 * GB)
    assert core.overview().host.buffer_bytes == 6 * GB
    assert any(getattr(event, "topic", "") == "engine" for event in await events.take())
    (told,) = [event for event in core.journal.list(None, "", 9) if event.kind == "budget"]
    assert told.text == ("base 8 GB to 10 GB, max 12 GB to 12 GB, buffer 8 GB to 6 GB, by operator")
    [shown] = await core.engine.run(act.AuditList(contains="budget"))
    assert (shown.environment, shown.action, shown.object) == (
        "coordination", "memory.budget", "testing",
    )  # fmt: skip
    rows = await audit(core)
    assert rows == [(OPERATOR, "memory.budget", "testing", told.text.removesuffix(", by operator"))]


async def audit(core: Core) -> list[tuple[str, ...]]:
    database = core.budgets._database
    statement = """SELECT actor, action, object, detail FROM audit
        WHERE env = ? AND action = 'memory.budget'"""
    return await database.read(lambda reader: reader.execute(statement, (reader.env,)).fetchall())


async def test_a_change_that_does_not_fit_changes_nothing(core: Core) -> None:
    await held(core, "testing", 10)
    before = core.ledger.plan
    with pytest.raises(OverBudget) as caught:
        await core.engine.run(
            act.MemoryBudget(environment="testing", base_bytes=8 * GB, max_bytes=9 * GB)
        )
    assert caught.value.message == core.budgets.admit("testing", 8 * GB, 9 * GB).reason
    assert caught.value.hint
    assert core.ledger.plan is before
    assert await audit(core) == []


async def test_a_disk_that_refuses_leaves_the_old_budget(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        # While the disk is asked the new budget counts already.
        assert budget(core, "testing") == (9 * GB, 12 * GB)
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", refuse)
        with pytest.raises(StorageError):
            await core.budgets.change("testing", 9 * GB, 12 * GB, OPERATOR)
    assert budget(core, "testing") == (8 * GB, 12 * GB)


# --- opening again --------------------------------------------------------------------------


async def test_a_changed_budget_outlives_the_engine_and_follows_the_host(
    tmp_path: Path, sized: type[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as core:
        await core.budgets.change("testing", 10 * GB, 14 * GB, OPERATOR)
        await core.budgets.change("staging", 5 * GB, 10 * GB, OPERATOR)
    monkeypatch.setattr(sized, "total_bytes", 24 * GB)
    async with opened(tmp_path) as core:
        assert budget(core, "testing") == (10 * GB // 4, 14 * GB // 4)
        assert budget(core, "staging") == (5 * GB // 4, 10 * GB // 4)
        assert core.ledger.plan.buffer_bytes == 7 * GB // 4
        assert core.budgets.ignored == {}


@pytest.mark.parametrize("total", [GB, 3 * GB + 12_345, 7 * GB + 1, 23 * GB, 91 * GB, 96 * GB])
async def test_a_budget_is_the_same_size_after_opening_again(
    tmp_path: Path, sized: type[Host], monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    monkeypatch.setattr(sized, "total_bytes", total)
    async with opened(tmp_path) as core:
        wanted = {}
        for number, name in enumerate(Environment):
            base, most = budget(core, name)
            view = await core.budgets.change(name, base - number * MIB, most + MIB, OPERATOR)
            wanted[name] = (view.base_after_bytes, view.max_after_bytes)
    async with opened(tmp_path) as core:
        assert {name: budget(core, name) for name in Environment} == wanted
        assert core.budgets.ignored == {}


async def test_going_back_to_the_plan_leaves_nothing_stored(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        await core.budgets.change("testing", 10 * GB, 14 * GB, OPERATOR)
        await core.budgets.change("testing", 8 * GB, 12 * GB, OPERATOR)
    smaller = load_settings(None, {}, {"host.environments.testing.base_bytes": 7 * GB})
    async with opened(tmp_path, smaller) as core:
        assert budget(core, "testing") == (7 * GB, 12 * GB)


async def test_a_stored_budget_that_no_longer_fits_is_left_out_with_an_alert(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as core:
        await core.budgets.change("testing", 12 * GB, 14 * GB, OPERATOR)
        await core.budgets.change("production", 14 * GB, 16 * GB, OPERATOR)
    tight = load_settings(None, {}, {"host.buffer_bytes": 3 * GB})
    async with opened(tmp_path, tight) as core:
        assert budget(core, "production") == (14 * GB, 16 * GB)
        assert budget(core, "testing") == (8 * GB, 12 * GB)
        assert list(core.budgets.ignored) == ["testing"]
        (alert,) = core.alerts.list("testing", firing=True)
        assert (alert.rule, alert.subject) == ("budget-ignored", "testing")
        assert "would take 6 GB out of the buffer, which has 3 GB" in alert.detail
        await core.budgets.change("testing", 9 * GB, 12 * GB, OPERATOR)
        assert core.budgets.ignored == {}


def test_of_budgets_that_do_not_fit_together_the_least_important_goes() -> None:
    stored = {
        name: msgspec.structs.replace(row, base_bytes=row.base_bytes + 3 * GB, max_bytes=20 * GB)
        for name, row in PLAN.environments.items()
    }
    plan, ignored = laid_over(PLAN, stored)
    assert list(ignored) == ["staging", "research", "testing"]
    assert plan.buffer_bytes == 2 * GB
    wrong = {Environment.TESTING: msgspec.structs.replace(stored["testing"], max_bytes=GB)}
    plan, ignored = laid_over(PLAN, wrong)
    assert (plan, list(ignored)) == (PLAN, ["testing"])


async def test_a_stored_budget_of_an_unknown_environment_fails_no_opening(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        statement = "INSERT INTO budget VALUES ('moon', 1, 2, 3, 'me')"
        await core.budgets._database.write(lambda tx: tx.execute(statement) and None)
    async with opened(tmp_path) as core:
        assert core.budgets.ignored == {"moon": "there is no such environment"}


async def test_a_file_of_the_release_before_is_migrated(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    settings = load_settings(None, {}, {})
    path = database_path(tmp_path, "coordination")
    async with open_database(
        path, "coordination", options=store_options(settings, "coordination"),
        clock=SystemClock(), series="coordination",
    ) as database:  # fmt: skip
        assert await database.schema_version() == 5
        later = ["ALTER TABLE audit DROP COLUMN hash", "PRAGMA user_version = 1"]
        tables = (
            "budget", "audit_anchor", "audit_checkpoint", "session",
            "recovery", "breaker", "alert", "measured", "measurement",
        )  # fmt: skip
        for statement in (*(f"DROP TABLE {name}" for name in tables), *later):
            await database._writer.run(lambda raw, said=statement: raw.execute(said))
    async with opened(tmp_path) as core:
        await core.budgets.change("testing", 9 * GB, 12 * GB, OPERATOR)
        assert budget(core, "testing") == (9 * GB, 12 * GB)


# --- lenders --------------------------------------------------------------------------------


async def test_the_overview_says_from_whom_memory_is_borrowed(core: Core) -> None:
    await held(core, "production", 16)
    (swarm,) = await held(core, "development", 14)
    await held(core, "testing", 10, 1)
    overview = core.overview()
    shown = {row.name: row for row in overview.environments}
    assert shown["production"].lenders == (views.LoanView(lender="buffer", bytes=4 * GB),)
    assert shown["testing"].lenders == (views.LoanView(lender="staging", bytes=3 * GB),)
    assert shown["staging"].available_bytes == 10 * GB
    assert [
        loan.bytes for row in overview.swarms if row.id == swarm.id for loan in row.lenders
    ] == [4 * GB]


# --- how long memory lasts ------------------------------------------------------------------


class Measured:
    """A forecast that is told a figure a second."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.forecast = Forecast(self.clock)

    def feed(self, *used: float, crowd: object = "same") -> None:
        for each in used:
            self.clock.advance(1)
            self.forecast.note("testing", int(each), crowd)  # type: ignore[arg-type]

    def full_in_s(self, allocated: float = GB) -> float | None:
        return self.forecast.full_in_s("testing", int(allocated))


def test_a_straight_line_reaches_the_allocation_when_it_says() -> None:
    seen = Measured()
    seen.feed(*(100 * MIB + second * MIB for second in range(60)))
    found = seen.full_in_s(1124 * MIB)
    assert found is not None
    assert math.isclose(found, 1124 - 159, rel_tol=1e-6)
    assert seen.full_in_s(159 * MIB) == 0
    assert seen.full_in_s(0) is None


def test_less_than_half_a_minute_says_nothing() -> None:
    seen = Measured()
    seen.feed(*(second * MIB for second in range(30)))
    assert seen.full_in_s() is None
    seen.feed(30 * MIB)
    assert seen.full_in_s() is not None


def test_what_stays_or_shrinks_is_never_full() -> None:
    seen = Measured()
    seen.feed(*[500 * MIB] * 100)
    assert seen.full_in_s() is None
    seen.feed(*((500 - second) * MIB for second in range(100)))
    assert seen.full_in_s() is None


@pytest.mark.parametrize("seed", range(40))
def test_noise_is_no_growth(seed: int) -> None:
    chance = random.Random(seed)
    seen = Measured()
    for _ in range(300):
        seen.feed(500 * MIB + chance.gauss(0, 20 * MIB))
        assert seen.full_in_s() is None


@pytest.mark.parametrize("seed", range(20))
def test_growth_is_seen_through_noise(seed: int) -> None:
    chance = random.Random(seed)
    seen = Measured()
    seen.feed(*(200 * MIB + s * MIB + chance.gauss(0, 20 * MIB) for s in range(300)))
    found = seen.full_in_s(1000 * MIB)
    assert found is not None
    assert math.isclose(found, 500, rel_tol=0.25)


def test_only_the_last_minutes_count() -> None:
    seen = Measured()
    seen.feed(*(second * MIB for second in range(300)), *[300 * MIB] * 300)
    assert seen.full_in_s() is None


def test_other_processes_begin_another_line() -> None:
    seen = Measured()
    seen.feed(*(second * MIB for second in range(60)))
    seen.feed(*[700 * MIB] * 60, crowd="more")
    assert seen.full_in_s() is None


def test_it_keeps_few_samples() -> None:
    seen = Measured()
    seen.feed(*range(1000))
    assert len(seen.forecast._samples["testing"]) <= 62


async def test_over_the_socket_a_budget_is_asked_changed_and_refused(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as owner, connect(tmp_path) as engine:
        asked = act.MemoryAdmit(environment="testing", base_bytes=9 * GB, max_bytes=12 * GB)
        assert (await engine.run(asked)).accepted
        wanted = act.MemoryBudget(environment="testing", base_bytes=9 * GB, max_bytes=12 * GB)
        assert (await engine.run(wanted)).buffer_after_bytes == 7 * GB
        (row,) = [e for e in (await owner.views.overview()).environments if e.name == "testing"]
        assert row.base_bytes == 9 * GB
        with pytest.raises(OverBudget, match="would take 10 GB out of the buffer"):
            await engine.run(
                act.MemoryBudget(environment="staging", base_bytes=16 * GB, max_bytes=16 * GB)
            )
        kinds = [event.kind for event in await engine.run(act.JournalList())]
        assert kinds == ["refusal", "budget", "engine"]
