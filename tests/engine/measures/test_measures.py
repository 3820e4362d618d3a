"""Recording metrics of one's own, and what they came to."""

from __future__ import annotations

import math
import random
import statistics
from typing import TYPE_CHECKING, Any

import pytest

from swarmdeck.engine import connect
from swarmdeck.engine.core import open_core
from swarmdeck.engine.errors import Busy, Conflict, Denied, InvalidInput, NotFound
from swarmdeck.engine.measures import recording
from swarmdeck.engine.measures.buckets import Bucket, Sketch

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import World

HOUR = 3_600
DAY = 86_400


async def test_what_several_have_recorded_is_put_together(world: World) -> None:
    one, two = world.measures(world.one), world.measures(world.two)
    await one.count("tasks", 3, queue="a")
    await two.count("tasks", 4, queue="a")
    world.clock.advance(30)
    await two.count("tasks", queue="b")
    found = await one.query("tasks", since_s=60, step_s=10)
    assert (found.kind, found.series, found.sum, found.count) == ("counter", 3, 8, 3)
    assert [value for value in found.values if value is not None] == [7, 1]
    assert found.step_s * len(found.values) == 60
    assert (await one.query("tasks", labels={"queue": "a"})).sum == 7
    assert (await one.query("tasks", source=world.two)).sum == 5
    [row] = await one.series(labels={"queue": "b"})
    assert (row.source, row.last, row.labels, row.level) == (world.two, 1, {"queue": "b"}, "swarm")


async def test_every_aggregate_is_that_of_all_values(world: World) -> None:
    chance = random.Random(5)
    values = [chance.lognormvariate(0, 2) - 1 for _ in range(2_000)]
    one = world.measures(world.one)
    for start in range(0, 2_000, 500):
        await one.record_many(
            {"name": "size", "value": value, "kind": "histogram", "unit": "kB"}
            for value in values[start : start + 500]
        )
        world.clock.advance(7)
    found = await one.query("size", aggregate="max")
    ranked = sorted(values)
    assert found.count == 2_000
    assert found.sum == pytest.approx(math.fsum(values))
    assert (found.min, found.max, found.last) == (ranked[0], ranked[-1], values[-1])
    assert found.avg == pytest.approx(statistics.fmean(values))
    for share, said in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        exact = ranked[int(share * 1_999)]
        assert said == pytest.approx(exact, rel=0.0101)
    assert max(value for value in found.values if value is not None) == ranked[-1]


async def test_nothing_is_lost_when_samples_grow_old(world: World) -> None:
    one, chance = world.measures(world.one), random.Random(3)
    values = []
    for _ in range(150):
        value = chance.uniform(-5, 50)
        values.append(value)
        await one.record("size", value, kind="histogram")
        world.clock.advance(chance.choice([0.3, 20, 400]))

    async def told() -> dict[str, Any]:
        found = await one.query("size", since_s=20 * DAY)
        names = ("count", "min", "max", "last", "p50", "p95", "p99")
        return {name: getattr(found, name) for name in names} | {"sum": found.sum}

    before = await told()
    assert before["count"] == 150
    lengths = {step_s for step_s, _ in await world.rows()}
    for wait_s in (1.5 * HOUR, 2 * DAY, 3 * DAY):
        world.clock.advance(wait_s)
        while await world.service.sweep(10):
            pass
        lengths |= {step_s for step_s, _ in await world.rows()}
        after = await told()
        assert after.pop("sum") == pytest.approx(math.fsum(values))
        assert after == {name: value for name, value in before.items() if name != "sum"}
    assert lengths == {1, 60, 3_600}
    assert {step_s for step_s, _ in await world.rows()} == {3_600}


async def test_old_samples_and_silent_series_are_deleted(world: World) -> None:
    one = world.measures(world.one)
    await one.record("short", 1, keep_days=1)
    await one.record("long", 1)
    world.clock.advance(2 * DAY)
    await world.service.sweep(10)
    assert [row.name for row in await one.series()] == ["long"]
    assert [count for _, count in await world.rows()] == [1]
    await one.record("long", 2, keep_days=3_000)
    world.clock.advance(40 * DAY)
    await world.service.sweep(10)
    [row] = await one.series()
    assert (row.name, row.keep_days) == ("long", 3_000)
    assert (await one.query("long", since_s=60 * DAY)).sum == 3


async def test_a_series_stays_what_it_is(world: World) -> None:
    one = world.measures(world.one)
    await one.record("depth", 3, unit="files")
    for more in ({"kind": "counter"}, {"unit": "dirs"}, {"level": "private"}):
        with pytest.raises(Conflict):
            await one.record("depth", 1, **more)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="only grows"):
        await one.count("tasks", -1)
    with pytest.raises(NotFound):
        await one.query("tasks")
    with pytest.raises(Conflict, match="kind of depth"):
        await one.count("depth", disk="a")
    await one.record("depth", 1, labels={"disk": "a"})
    assert {row.unit for row in await one.series()} == {"files"}
    assert await one.delete("depth", labels={"disk": "a"}) == 1
    await one.record("depth", 5)
    found = await one.query("depth")
    assert (found.last, found.avg, found.unit, found.p50) == (5, 4, "files", None)


async def test_values_of_one_call_are_all_recorded_or_none(world: World) -> None:
    one = world.measures(world.one)
    await one.record("depth", 3)
    with pytest.raises(Conflict):
        await one.record_many([{"name": "new"}, {"name": "depth", "kind": "timer"}])
    assert [row.name for row in await one.series()] == ["depth"]
    assert (await one.query("depth")).count == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": math.nan}, {"value": "7"}, {"value": True}, {"name": "No Name"}, {"name": 7},
        {"kind": "meter"}, {"unit": "u" * 17}, {"labels": {"a": ""}}, {"labels": {"a": 1}},
        {"labels": {f"l{n}": "x" for n in range(9)}}, {"keep_days": 0}, {"level": "all"},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_value_is_refused(world: World, wrong: dict[str, Any]) -> None:
    one = world.measures(world.one)
    with pytest.raises(InvalidInput):
        await one.record_many([{"name": "depth", "value": 1} | wrong])
    assert await one.series() == []


async def test_there_is_an_end_to_series(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world.measures(world.one)
    monkeypatch.setattr(recording, "MOST_OF_A_NAME", 5)
    monkeypatch.setattr(recording, "MOST_SERIES", 7)
    for n in range(5):
        await one.count("tasks", task=f"{n}")
    with pytest.raises(Busy, match="5 series of tasks"):
        await one.count("tasks", task="5")
    await one.count("tasks", task="4")
    with pytest.raises(Busy, match="7 series in"):
        await one.record_many([{"name": f"other{n}"} for n in range(3)])
    assert len(await one.series()) == 5


async def test_who_may_not_read_a_series_does_not_see_it(world: World) -> None:
    await world.measures(world.one).record("mine", 1)
    await world.measures(world.one).record("ours", 1, level="public")
    assert [row.name for row in await world.measures(world.alone).series()] == ["ours"]
    assert [row.name for row in await world.measures(world.two).series()] == ["mine", "ours"]
    for ask in (world.measures(world.alone).query, world.measures(world.alone).delete):
        with pytest.raises(NotFound):
            await ask("mine")
    await world.core.engine.acl.grant(world.alone, resource="metric", level="swarm")
    await world.measures(world.one).record("secret", 1, level="private")
    assert (await world.measures(world.alone).query("mine")).sum == 1
    assert len(await world.measures(world.alone).series()) == 2
    with pytest.raises(Denied):
        await world.measures(world.one).record("theirs", 1, level="system")


async def test_deleting_takes_all_that_was_recorded_by_who_may(world: World) -> None:
    one = world.measures(world.one)
    for n in range(3):
        await one.record("depth", n, labels={"n": str(n % 2)})
        world.clock.advance(1)
    await world.measures(world.two).record("depth", 9)
    with pytest.raises(NotFound):
        await one.delete("depth", source=world.two)
    assert await one.delete("depth", labels={"n": "0"}) == 1
    assert (await one.query("depth")).sum == 10
    assert await world.measures().delete("depth") == 2
    assert await world.rows() == []
    await one.record("depth", 1, kind="counter")
    assert (await one.query("depth")).kind == "counter"


async def test_series_of_several_kinds_are_not_added_up(world: World) -> None:
    await world.measures(world.one).record("depth", 1)
    await world.measures(world.two).count("depth")
    with pytest.raises(Conflict, match="counter, gauge"):
        await world.measures(world.one).query("depth")
    assert (await world.measures(world.one).query("depth", source=world.two)).kind == "counter"
    with pytest.raises(InvalidInput, match="has no p95"):
        await world.measures(world.one).query("depth", source=world.one, aggregate="p95")


def test_a_sketch_is_bounded_and_keeps_what_is_large() -> None:
    sketch = Sketch()
    for power in range(-1_000, 1_000):
        sketch.add(1.02**power)
    kept = Sketch.of(sketch.stored())
    assert len(kept.above) == 512
    assert sum(kept.above.values()) == 2_000
    assert kept.percentile(0.99) == pytest.approx(1.02**979, rel=0.01)


def test_percentiles_are_within_what_was_recorded() -> None:
    bucket = Bucket(spread=True)
    for value in (7.0, 7.0, 7.0):
        bucket.add(value)
    assert [bucket.value(name) for name in ("p50", "p99")] == [7.0, 7.0]
    empty = Bucket(spread=True)
    assert empty.value("p50") is empty.value("avg") is None


async def test_agents_record_over_the_socket(tmp_path: Path) -> None:
    async with open_core(
        tmp_path / "d", settings=None, transient=False, headless=True, clock=None
    ) as core:
        agent = await core.engine.agents.register("development", name="a")
        token = await core.issue_token(agent.id, 60, core.resolve("operator"))
        async with connect(tmp_path / "d", agent=agent.id, token=token.token) as there:
            mine = there.measures("development", as_=agent.id)
            await mine.count("tasks", 2, queue="a")
            assert (await mine.query("tasks")).sum == 2
            with pytest.raises(InvalidInput):
                await mine.record("tasks", "2")  # type: ignore[arg-type]
            with pytest.raises(Denied):
                await there.measures("testing", as_=agent.id).query("tasks")
