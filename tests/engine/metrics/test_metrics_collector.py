"""When something is measured, and when it is not: a real engine on a fake clock."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Corrupt, Denied, InvalidInput, NotFound, StorageError
from swarmdeck.engine.metrics import thinning
from swarmdeck.engine.metrics.sensors import Senses
from swarmdeck.engine.metrics.service import Metrics
from swarmdeck.engine.model import Role
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.views import SeriesView

STEP_S: Final = 30
GRID_US: Final = 1_700_000_010_000_000
START_US: Final = GRID_US + 10_000_000  # a third of a step past the grid


class FakeSensors:
    """Processes that use half a processor; an engine that uses a tenth."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.gone = False

    def read(self, pids: Collection[int], files: Mapping[str, Path]) -> Senses:
        now_s = self._clock.monotonic_s()
        return Senses(
            cpu_s={} if self.gone else dict.fromkeys(pids, now_s / 2),
            own_cpu_s=now_s / 10,
            own_rss_bytes=50 << 20,
            file_bytes=dict.fromkeys(files, 1 << 20),
        )


class Bench:
    """An engine whose steps pass when the test says so."""

    def __init__(self, core: Core, clock: FakeClock) -> None:
        self.core = core
        self.clock = clock
        self.sensors = FakeSensors(clock)
        self.metrics = core.metrics = Metrics(core, self.sensors)

    async def step(self, seconds: float = STEP_S, lag_ms: float = 1.0) -> None:
        """Let time pass, and measure if that is due."""
        self.clock.advance(seconds)
        self.metrics.tick(lag_ms)
        if self.metrics._measuring is not None:
            await self.metrics._measuring

    async def values(self, subject: str, metric: str, window: str = "1h") -> list[float | None]:
        return list((await self.series(subject, metric, window)).values)

    async def series(self, subject: str, metric: str, window: str = "1h") -> SeriesView:
        [found] = await self.metrics.show(subject, [metric], window)
        return found


@asynccontextmanager
async def opened(path: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    async with open_core(
        path / "data", settings=None, transient=False, headless=True, clock=clock
    ) as core:
        bench = Bench(core, clock)
        await bench.step(0)  # what rates are reckoned from
        yield bench


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_US)


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    async with opened(tmp_path, clock) as made:
        yield made


async def test_a_step_is_measured_once_when_it_is_over(bench: Bench) -> None:
    await bench.step(STEP_S - 11)
    assert await bench.metrics.list() == []
    await bench.step(1)
    [host, *_] = await bench.metrics.list()
    assert (host.subject, host.at_us, host.step_s) == ("host", GRID_US, STEP_S)
    await bench.step(1)
    assert (await bench.series("host", "load_1m")).measured == 1


async def test_rates_are_what_grew_over_the_time_that_passed(bench: Bench) -> None:
    queue = bench.core.engine.queue("development")
    for n in range(6):
        await queue.send("digest", {"n": n})
    [message] = await queue.claim(1)
    await queue.ack(message)
    await bench.step()
    assert (await bench.values("development", "sends_per_s"))[-1] == 0.2
    assert (await bench.values("queue", "claims_per_s"))[-1] == 0.03
    assert (await bench.values("queue", "acks_per_s"))[-1] == 0.03
    assert (await bench.values("testing", "sends_per_s"))[-1] == 0
    await bench.step()
    assert (await bench.values("development", "sends_per_s"))[-2:] == [0.2, 0]
    assert (await bench.values("engine", "cpu_percent"))[-1] == 10
    assert (await bench.values("development", "oldest_s"))[-1] == 60


async def test_reads_answered_from_memory_are_counted(bench: Bench) -> None:
    memory = bench.core.engine.memory("development")
    await memory.set("note", "hello")
    for _ in range(9):
        await memory.get("note")
    await bench.step()
    assert (await bench.values("store", "cache_hit_percent"))[-1] == 100
    assert (await bench.values("development", "reads_per_s"))[-1] == 0.3
    commit_ms = (await bench.values("store", "commit_ms_p99"))[-1]
    assert commit_ms is not None
    assert commit_ms > 0


async def test_seconds_are_put_together_over_a_step(bench: Bench) -> None:
    for lag_ms in (2.0, 31.0, 4.0):
        await bench.step(1, lag_ms)
    await bench.step(STEP_S - 3, 0.5)
    assert (await bench.values("engine", "loop_lag_ms"))[-1] == 31


async def test_steps_that_were_missed_are_gaps(bench: Bench) -> None:
    await bench.step()
    await bench.step(STEP_S * 4)
    found = await bench.values("host", "load_1m")
    assert [value is not None for value in found[-6:]] == [False, True, False, False, False, True]


async def test_a_clock_that_is_not_believed_leaves_a_gap(bench: Bench) -> None:
    await bench.step()
    bench.clock.jump(40 * 86_400)
    await bench.step()
    await bench.step()
    assert bench.core.time.is_held
    assert (await bench.series("host", "load_1m", "30d")).measured == 1
    bench.clock.jump(-40 * 86_400)
    await bench.step()
    found = await bench.values("host", "load_1m")
    assert [value is not None for value in found[-4:]] == [True, False, False, True]


async def test_a_clock_set_back_and_confirmed_takes_the_future_away(bench: Bench) -> None:
    for _ in range(3):
        await bench.step()
    bench.clock.jump(-86_400)
    await bench.core.engine.run(actions.ClockConfirm())
    await bench.step()
    assert await bench.metrics.list() == []
    await bench.step()
    assert (await bench.series("host", "load_1m")).measured == 1
    assert (await bench.series("host", "load_1m", "24h")).measured == 1


async def test_what_an_engine_measured_is_there_after_it_ends(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path, clock) as first:
        for _ in range(2):
            await first.step()
    clock.advance(10 * STEP_S)
    async with opened(tmp_path, clock) as second:
        assert {row.subject for row in await second.metrics.list()} >= {"host", "production"}
        for _ in range(2):
            await second.step()
        found = await second.values("host", "load_1m")
    known = [value is not None for value in found[-14:]]
    assert known == [True, True, *[False] * 10, True, True]


async def test_the_last_hour_asks_no_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.step()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the file was asked")

    monkeypatch.setattr(bench.metrics._aside, "read", refuse)
    assert (await bench.series("host", "load_1m")).measured == 1
    assert len(await bench.metrics.list()) == 9
    with pytest.raises(AssertionError, match="asked"):
        await bench.metrics.show("host", (), "24h")


async def test_a_long_window_ends_with_what_no_longer_step_holds_yet(bench: Bench) -> None:
    for _ in range(25):  # two steps of five minutes, and parts of one before and one after
        await bench.step()
    found = await bench.series("host", "load_1m", "24h")
    assert found.step_s == 300
    assert [value is not None for value in found.values[-5:]] == [False, *[True] * 4]


async def test_what_is_in_a_longer_step_is_not_counted_again_from_memory(bench: Bench) -> None:
    for lag_ms, times in ((0.0, 3), (10.0, 20), (40.0, 5)):  # the 20 fill two steps, the 5 none
        for _ in range(times):
            await bench.step(lag_ms=lag_ms)
    found = await bench.series("engine", "loop_lag_ms", "7d")
    assert (found.step_s, found.values[-1], found.highs[-1]) == (900, 16, 40)


async def test_agents_are_measured_with_their_processors(bench: Bench) -> None:
    swarm = await bench.core.engine.swarms.create(
        "development", agents=2, memory_bytes=128 << 20, command=["sleep", "60"]
    )
    agent = bench.core.swarms.agents(swarm=swarm.id)[0]
    await bench.step()
    await bench.step()
    assert (await bench.values(agent.id, "cpu_percent"))[-2:] == [None, 50]
    assert (await bench.values(swarm.id, "cpu_percent"))[-1] == 100
    assert (await bench.values("development", "cpu_percent"))[-1] == 100
    bench.sensors.gone = True
    await bench.step()
    assert (await bench.values(agent.id, "cpu_percent"))[-1] is None


async def test_a_quarantined_environment_has_no_rates_but_a_past(bench: Bench) -> None:
    await bench.step()
    place = bench.core.places["research"]
    place.database.damaged(Corrupt("page 4 is malformed"))
    while bench.core.places["research"] is place:
        await asyncio.sleep(0)
    await bench.step()
    shown = await bench.core.engine.run(
        actions.MetricsShow(subject="research", metric=("ready", "acks_per_s"))
    )
    assert [row.values[-2:] for row in shown] == [(0, None), (0, None)]


async def test_a_disk_that_refuses_leaves_a_gap_and_is_said_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(bench.core.coordination, "write", refuse)
        for _ in range(3):
            await bench.step()
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "what was measured is not kept: the disk is full"
    ]
    await bench.step()
    found = await bench.values("host", "load_1m")
    assert [value is not None for value in found[-4:]] == [False, False, False, True]


async def test_a_file_that_cannot_be_read_at_first_is_read_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.step()
    bench.metrics = bench.core.metrics = Metrics(bench.core, bench.sensors)

    async def refuse(*_: object, **__: object) -> None:
        raise StorageError("it cannot be read")

    with monkeypatch.context() as patched:
        patched.setattr(bench.metrics._aside, "read", refuse)
        for _ in range(3):
            await bench.step()
        with pytest.raises(StorageError):
            await bench.metrics.list()
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == [
        "what was measured is not kept: it cannot be read"
    ]
    for _ in range(2):
        await bench.step()
    assert (await bench.series("host", "load_1m")).measured == 2


async def test_a_defect_in_measuring_is_said_and_the_next_step_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Senses:
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patched:
        patched.setattr(bench.sensors, "read", fail)
        bench.clock.advance(STEP_S)
        bench.metrics.tick(0)
        with pytest.raises(ZeroDivisionError):
            await bench.metrics._measuring  # type: ignore[misc]
    assert "measuring failed" in caplog.text
    await bench.step()
    assert (await bench.series("host", "load_1m")).measured == 1


async def test_thinning_goes_on_step_by_step(bench: Bench) -> None:
    for _ in range(12):
        await bench.step()
    sql = "SELECT count(*) FROM measurement WHERE step_s = 300"
    read = bench.core.coordination.read
    assert await read(lambda reader: reader.execute(sql).fetchone()) == (9,)
    assert bench.metrics._collector._progress.done[thinning.MINUTES_S] > 0


async def test_what_nobody_measured_is_not_found(bench: Bench) -> None:
    await bench.step()
    with pytest.raises(NotFound, match="nothing was ever measured of"):
        await bench.core.engine.metrics("dev_agent_nobody")
    with pytest.raises(InvalidInput) as refused:
        await bench.core.engine.metrics("host", metric="cpu_percnt")
    assert "cpu_percent" in refused.value.hint
    with pytest.raises(InvalidInput):
        await bench.core.engine.metrics("host", window="2h")


async def test_an_agent_asks_for_its_own_only(bench: Bench) -> None:
    core = bench.core
    agent = await core.engine.agents.register("development", name="one")
    monitor = await core.engine.agents.register("development", name="two")
    await core.engine.agents.update(monitor, role="monitor")
    await bench.step()
    plain, looking = (core.resolve(each.id) for each in (agent, monitor))
    assert looking.role is Role.MONITOR
    with pytest.raises(NotFound):  # allowed, but it has no process
        await core.dispatch(actions.MetricsShow(subject=agent.id), plain)
    for subject in ("host", "development", "production", monitor.id):
        with pytest.raises(Denied):
            core.dispatch(actions.MetricsShow(subject=subject), plain)
    with pytest.raises(Denied):
        core.dispatch(actions.MetricsList(), plain)
    found = await core.dispatch(actions.MetricsList(), looking)
    assert [row.subject for row in found] == ["development"]
    for subject in ("host", "production"):
        with pytest.raises(Denied):
            core.dispatch(actions.MetricsShow(subject=subject), looking)


async def test_the_pace_can_be_set_while_the_engine_runs(tmp_path: Path, clock: FakeClock) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[metrics]\ninterval_s = 60\n")
    settings = load_settings(config, os.environ, {})
    async with open_core(
        tmp_path / "data", settings=settings, transient=False, headless=True, clock=clock
    ) as core:
        metrics = core.metrics
        config.write_text("[metrics]\ninterval_s = 10\n")
        [change] = await core.reload("operator")
        assert (change.name, change.state) == ("metrics.interval_s", "in force")
        metrics.tick(0)
        clock.advance(10)
        await asyncio.wait([metrics._measuring])
        metrics.tick(0)
        await asyncio.wait([metrics._measuring])
        [host, *_] = await metrics.list()
        assert host.step_s == 10


async def test_one_command_measures_nothing(tmp_path: Path, clock: FakeClock) -> None:
    async with opened(tmp_path, clock) as bench:
        await bench.step()
    async with open_core(
        tmp_path / "data", settings=None, transient=True, headless=True, clock=clock, brief=True
    ) as core:
        assert not core.ticker._stays
        assert "metrics" not in core.__dict__
        assert {row.subject for row in await core.metrics.list()} > {"host", "queue"}
        [found] = await core.engine.metrics("host", metric="load_1m")
        assert found.measured == 1
