"""Batches: mixed operations with one commit, each with its own outcome, or all or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from swarmdeck.engine import Batch, Engine, connect, open_engine
from swarmdeck.engine import actions as act
from swarmdeck.engine.errors import Busy, Conflict, Denied, InvalidInput, NotFound
from swarmdeck.engine.settings import load_settings

SETTINGS = load_settings(None, {}, {"queue.depth.development": 10})


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """Over the socket, which is the longer way. The queue holds ten messages."""
    async with open_engine(tmp_path, settings=SETTINGS), connect(tmp_path) as attached:
        yield attached


def errors(batch: Batch) -> list[str]:
    return [type(each.error).__name__ if each.error else "" for each in batch.outcomes]


async def times(engine: Engine, count: int) -> set[int]:
    """When the last changes of records and messages were written: those of one commit at once."""
    found = await engine.run(act.AuditList(environment="development", limit=10_000))
    kinds = ("memory.set", "memory.delete", "memory.incr", "queue.send")
    written = [row.at_us for row in found if row.action in kinds]
    assert len(written) >= count
    return set(written[:count])


async def rows(engine: Engine) -> list[tuple[str, str, bool]]:
    found = await engine.run(act.AuditList(environment="development", limit=50))
    return [(row.action, row.object, row.allowed) for row in reversed(found)]


@pytest.mark.parametrize("way", ["in process", "over the socket"])
async def test_operations_of_all_kinds_are_stored_with_one_commit(way: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(tmp_path, settings=SETTINGS))
        if way == "over the socket":
            engine = await stack.enter_async_context(connect(tmp_path))
        await store_all_kinds(engine)


async def store_all_kinds(engine: Engine) -> None:
    memory = engine.memory("development")
    await memory.mset({"old": 1, "count": 40})
    async with memory.batch() as batch:
        assert batch.set("a", {"n": 1}, level="public") == 0
        batch.set("raw", b"\x00\xff", namespace="other", ttl_s=60)
        batch.delete("old")
        batch.incr("count", 2)
        batch.decr("below")
        batch.send("digest", {"key": "a"}, priority="high", key="once")
        assert len(batch) == 6
    assert len(await times(engine, 6)) == 1
    assert [each.value for each in batch.outcomes] == [1, 1, True, 42, -1, "dev_msg_1"]
    assert await memory.get("a") == {"n": 1}
    assert await memory.get("raw", namespace="other") == b"\x00\xff"
    assert not await memory.has("old")
    (message,) = await engine.queue("development").claim()
    assert (message.id, message.body, message.priority) == ("dev_msg_1", {"key": "a"}, 8)


async def test_each_operation_sees_those_before_it(engine: Engine) -> None:
    batch = engine.batch("development")
    batch.set("k", 1)
    batch.incr("k")
    batch.delete("k")
    batch.set("k", 7, if_version=0)
    batch.set("k", 8, if_version=1)
    assert [each.value for each in await batch.commit()] == [1, 2, True, 1, 2]
    assert await engine.memory("development").get_versioned("k") == (8, 2)
    counts = await engine.run(act.DatabaseStats(environment="development"))
    assert counts[0].records == 1


async def test_one_that_is_refused_fails_alone(engine: Engine) -> None:
    owner = await engine.agents.register("development", name="owner")
    agent = await engine.agents.register("development", name="agent")
    await engine.memory(owner).set("closed", 1, level="private")
    await engine.memory(owner).set("shown", 1, level="public")
    async with engine.memory(agent).batch() as batch:
        batch.set("mine", 1)
        batch.set("closed", 2)
        batch.set("mine", 2, if_version=9)
        batch.set("", 1)
        batch.send("digest", to="dev_agent_nobody")
        batch.delete("closed")
        batch.delete("shown")
        batch.incr("mine")
        batch.send("digest")
    assert errors(batch) == [
        "", "Denied", "Conflict", "InvalidInput", "NotFound", "", "Denied", "", "",
    ]  # fmt: skip
    assert batch.outcomes[5].value is False  # what may not be read is missing
    assert not batch.outcomes[1].ok
    assert await engine.memory(agent).get_versioned("mine") == (2, 2)
    told = [row for row in await rows(engine) if row[1] in {"default/closed", "default/shown"}]
    assert told[2:] == [
        ("memory.denied", "default/closed", False),
        ("memory.denied", "default/closed", False),
        ("memory.denied", "default/shown", False),
    ]


SPOILERS: list[tuple[Callable[[Batch], object], type[Exception]]] = [
    (lambda batch: batch.set("a", 3, if_version=7), Conflict),
    (lambda batch: batch.set("closed", 3), Denied),
    (lambda batch: batch.incr("text"), Conflict),
    (lambda batch: batch.set("x", 1, level="nowhere"), InvalidInput),
    (lambda batch: batch.send("digest", to="dev_agent_nobody"), NotFound),
]


async def test_all_or_none(engine: Engine) -> None:
    owner = await engine.agents.register("development", name="owner")
    agent = await engine.agents.register("development", name="agent")
    await engine.memory(owner).set("closed", 1, level="private")
    memory = engine.memory(agent)
    await memory.mset({"a": 1, "text": "x"})
    before = [row for row in await rows(engine) if row[0].startswith("memory")]
    for spoil, error in SPOILERS:
        batch = memory.batch(all_or_nothing=True)
        batch.set("a", 2)
        batch.send("digest")
        spoil(batch)
        batch.delete("a")
        with pytest.raises(error, match=r"operation 3 of 4: .*nothing was stored"):
            await batch.commit()
        assert len(batch) == 4
    assert await memory.mget(["a", "b", "text"]) == {"a": 1, "text": "x"}
    assert (await engine.run(act.QueueFlow(environment="development")))[0].open == 0
    told = [row for row in await rows(engine) if row[0].startswith("memory")]
    assert told == [*before, ("memory.denied", "default/closed", False)]
    batch = memory.batch(all_or_nothing=True)
    batch.set("a", 2)
    batch.send("digest")
    assert (await batch.commit())[0].value == 2


async def test_messages_that_do_not_fit_the_queue_are_busy(engine: Engine) -> None:
    async with engine.batch("development") as batch:
        for _ in range(12):
            batch.send("digest")
        batch.set("a", 1)
    assert errors(batch) == [""] * 10 + ["Busy"] * 2 + [""]
    for message in await engine.queue("development").claim(limit=9):
        await engine.queue("development").ack(message)
    whole = engine.batch("development", all_or_nothing=True)
    for _ in range(10):
        whole.send("digest")
    with pytest.raises(Busy, match="operation 10 of 10"):
        await whole.commit()
    assert len(whole) == 10
    (last,) = await engine.queue("development").claim()
    await engine.queue("development").ack(last)
    assert len(await whole.commit()) == 10  # the room it had taken was given back


async def test_a_key_sends_once(engine: Engine) -> None:
    first = await engine.queue("development").send("digest", key="once")
    async with engine.batch("development") as batch:
        batch.send("digest", key="once")
        batch.send("digest", key="other")
        batch.send("digest", key="other")
    idents = [each.value for each in batch.outcomes]
    assert idents[0] == first
    assert idents[1] == idents[2] != first
    assert (await engine.run(act.QueueFlow(environment="development")))[0].open == 2


async def test_a_batch_that_an_error_leaves_stores_nothing(engine: Engine) -> None:
    async def spoiled() -> None:
        async with engine.batch("development") as batch:
            batch.set("a", 1)
            batch.set("b", object())

    with pytest.raises(InvalidInput):
        await spoiled()
    assert not await engine.memory("development").has("a")
    assert await engine.batch("development").commit() == []


async def test_as_many_as_ten_thousand(engine: Engine) -> None:
    batch = engine.batch("development")
    for number in range(10_000):
        batch.set(f"k{number:05}", number)
    with pytest.raises(InvalidInput, match="10,000"):
        batch.set("more", 1)
    assert all(each.ok for each in await batch.commit())
    assert len(await times(engine, 9_000)) == 1
    assert len((await engine.memory("development").keys(limit=10_000))[0]) == 10_000


async def test_what_is_not_well_formed_is_refused(engine: Engine) -> None:
    call = engine._port.call
    for items in ([["set", "default"]], [["fly", "a"]], [["incr", "default", "k", True]], [[]]):
        with pytest.raises(InvalidInput, match="not well formed"):
            await call("batch.commit", "operator", "development", items, False)
    big = [["set", "default", f"k{n}", 1, bytes(9 << 20)] for n in range(2)]
    with pytest.raises(InvalidInput, match="fit one batch"):
        await call("batch.commit", "operator", "development", big, False)


async def test_values_from_outside_are_checked(tmp_path: Path) -> None:
    items = [["set", "default", "k", 0, b"{no json"], ["incr", "default", "c"]]
    async with open_engine(tmp_path / "d"), connect(tmp_path / "d") as attached:
        found = await attached._port.call("batch.commit", "operator", "development", items, False)
    assert [row[0] for row in found] == ["invalid_input", 1]
