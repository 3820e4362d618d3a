"""Connections and the threads that serve them."""

from __future__ import annotations

import asyncio
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.errors import StorageError
from swarmdeck.engine.store import driver


def _fail(_: Any) -> None:
    raise KeyError("mine")


async def test_calls_are_answered_in_order_and_an_error_is_its_callers_alone(
    tmp_path: Path,
) -> None:
    connection = await driver.connect(tmp_path / "a.db")
    asked = [connection.run(lambda _, n=n: n) for n in range(3)]
    found = await asyncio.gather(*asked, connection.run(_fail), return_exceptions=True)
    assert found[:3] == [0, 1, 2]
    assert isinstance(found[3], KeyError)
    assert await connection.run(lambda raw: raw.execute("SELECT 7").fetchone()) == (7,)
    await connection.close()


async def test_closing_finishes_what_was_asked_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    connection = await driver.connect(tmp_path / "a.db")
    goes_on = threading.Event()
    first = asyncio.create_task(connection.run(lambda _: goes_on.wait(10)))
    second = asyncio.create_task(connection.run(lambda raw: raw.execute("SELECT 7").fetchone()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    goes_on.set()
    await closing
    assert (await first, await second) == (True, (7,))
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
    await connection.close()
    with pytest.raises(ValueError, match="closed"):
        await connection.run(lambda _: None)


class Value:
    """Something that can be seen to go."""


async def test_what_was_asked_and_answered_does_not_stay_on_the_thread(tmp_path: Path) -> None:
    connection = await driver.connect(tmp_path / "a.db")
    value = Value()
    gone = weakref.ref(value)
    assert await connection.run(lambda _, given: given, value) is value
    del value
    async with asyncio.timeout(10):
        while gone() is not None:
            await asyncio.sleep(0.01)
    await connection.close()


async def test_a_caller_that_went_away_holds_nobody_up(tmp_path: Path) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    connection = await driver.connect(tmp_path / "a.db")
    goes_on = threading.Event()
    leaving = asyncio.create_task(connection.run(lambda _: goes_on.wait(10)))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    assert await connection.run(lambda _: 7) == 7
    await connection.close()
    assert told == []


def test_a_loop_that_ends_first_leaves_a_connection_that_closes(tmp_path: Path) -> None:
    """Ending a loop cancels its tasks, also the one that serves, before everything is closed."""

    async def scene() -> tuple[Any, ...]:
        connection = await driver.connect(tmp_path / "a.db")
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        found = await connection.run(lambda raw: raw.execute("SELECT 7").fetchone())
        await connection.close()
        return tuple(found or ())

    assert asyncio.run(scene()) == (7,)


async def test_a_connection_closes_though_whoever_waits_for_it_is_cancelled(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    connection = await driver.connect(tmp_path / "a.db")
    goes_on = threading.Event()
    held = asyncio.create_task(connection.run(lambda _: goes_on.wait(10)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    goes_on.set()
    await held
    await connection.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


async def test_a_file_whose_rights_cannot_be_set_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> None:
        raise PermissionError(1, "not yours")

    before = set(threading.enumerate())
    monkeypatch.setattr(driver, "_close_to_others", refused)
    with pytest.raises(StorageError, match=r"cannot open a\.db"):
        await driver.connect(tmp_path / "a.db")
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


async def test_a_connection_that_nobody_closes_ends_its_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    connection = await driver.connect(tmp_path / "a.db")
    connection.abandon()
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
    await asyncio.sleep(0)
