"""Measurements grow old: put together, deleted, and the file stays small."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.environment import store_options
from swarmdeck.engine.metrics import table, thinning
from swarmdeck.engine.metrics.series import Reading, decoded, encoded
from swarmdeck.engine.metrics.table import Taken
from swarmdeck.engine.metrics.windows import DAY_S, HOUR_S, MINUTES_S
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.store.database import Database, Transaction, open_database

START_S: Final = 1_700_000_400 // HOUR_S * HOUR_S
KEPT_S: Final = 30 * DAY_S
NAMES: Final = ("used_bytes", "cpu_percent", "leased", "done")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    options = store_options(load_settings(None, {}, {}), "development")
    async with open_database(
        tmp_path / "coordination.db", "coordination", options=options, clock=FakeClock(),
        series="coordination",
    ) as opened:  # fmt: skip
        yield opened


async def measure(
    database: Database, at_s: int, *readings: Sequence[Reading], step: int = 30
) -> None:
    taken = [Taken(f"s{n}", NAMES[: len(each)], encoded(each)) for n, each in enumerate(readings)]
    await database.write(lambda tx: table.write(tx, step, at_s, taken, {}))


async def thin(
    database: Database, until_s: int, progress: thinning.Progress | None = None
) -> thinning.Progress:
    """All pieces that are due."""
    progress = progress or thinning.Progress()
    while progress.busy:
        progress = await one_piece(database, until_s, progress)
    return progress


async def one_piece(
    database: Database, until_s: int, progress: thinning.Progress
) -> thinning.Progress:
    return await database.write(lambda tx: thinning.piece(tx, progress, until_s, until_s, KEPT_S))


async def rows(database: Database, step_s: int) -> dict[int, list[Reading]]:
    sql = "SELECT at_s, readings FROM measurement WHERE step_s = ? AND measured = 1 ORDER BY at_s"
    found = await database.read(lambda reader: reader.execute(sql, (step_s,)).fetchall())
    return {at_s: decoded(readings) for at_s, readings in found}


async def test_a_step_is_put_together_once_it_is_over(database: Database) -> None:
    for n, value in enumerate((10, 20, 60, 30)):
        await measure(database, START_S + 30 * n, [value])
    await thin(database, START_S + MINUTES_S - 30)
    assert await rows(database, MINUTES_S) == {}
    await thin(database, START_S + MINUTES_S)
    assert await rows(database, MINUTES_S) == {START_S: [(30, 10, 60, 4)]}


async def test_a_reading_that_is_missing_counts_for_nothing(database: Database) -> None:
    for n, value in enumerate((None, 20, None, 40)):
        await measure(database, START_S + 30 * n, [value, None])
    await thin(database, START_S + MINUTES_S)
    assert await rows(database, MINUTES_S) == {START_S: [(30, 20, 40, 2), None]}


async def test_an_hour_weighs_its_parts_by_how_much_was_measured(database: Database) -> None:
    for n in range(10):
        await measure(database, START_S + 30 * n, [10])
    await measure(database, START_S + MINUTES_S, [120])
    await thin(database, START_S + HOUR_S)
    assert await rows(database, HOUR_S) == {START_S: [(20, 10, 120, 11)]}


async def test_time_in_which_nothing_was_measured_stays_empty(database: Database) -> None:
    await measure(database, START_S, [1])
    later_s = START_S + 5 * HOUR_S
    await measure(database, later_s, [2])
    await thin(database, later_s + HOUR_S)
    assert list(await rows(database, HOUR_S)) == [START_S, later_s]


async def test_an_engine_that_comes_back_puts_together_what_the_last_one_left(
    database: Database,
) -> None:
    await measure(database, START_S, [1])
    await measure(database, START_S + 30, [3])
    await thin(database, START_S + 60)  # and here it ended
    await thin(database, START_S + 2 * HOUR_S)  # with nothing known
    assert (await rows(database, HOUR_S))[START_S] == [(2, 1, 3, 2)]


async def test_a_piece_that_is_rolled_back_is_done_again(database: Database) -> None:
    await measure(database, START_S, [1])
    progress = thinning.Progress()

    def fails(tx: Transaction) -> None:
        thinning.piece(tx, progress, START_S + HOUR_S, START_S + HOUR_S, KEPT_S)
        raise OSError("the disk")

    with pytest.raises(Exception, match="disk"):
        await database.write(fails)
    assert await rows(database, MINUTES_S) == {}
    await thin(database, START_S + HOUR_S, progress)
    assert list(await rows(database, MINUTES_S)) == [START_S]


async def test_steps_of_another_length_are_put_together_too(database: Database) -> None:
    """After the setting was changed: both count by how much was measured."""
    await measure(database, START_S, [10], step=60)
    await measure(database, START_S + 60, [40], step=30)
    await thin(database, START_S + MINUTES_S)
    assert await rows(database, MINUTES_S) == {START_S: [(25, 10, 40, 2)]}


async def test_nothing_is_deleted_before_it_is_in_a_longer_step(database: Database) -> None:
    """However old it is: the engine was away, and the rest of its step has not been measured."""
    await measure(database, START_S, [1])
    two_days_s = START_S + 2 * DAY_S
    progress = await database.write(
        lambda tx: thinning.piece(tx, thinning.Progress(), START_S + 30, two_days_s, KEPT_S)
    )
    assert list(await rows(database, 30)) == [START_S]
    await thin(database, two_days_s, progress)
    assert await rows(database, 30) == {}
    assert list(await rows(database, MINUTES_S)) == [START_S]


async def test_what_is_older_than_is_set_is_forgotten_with_its_name(database: Database) -> None:
    await measure(database, START_S, [1])
    await thin(database, START_S + KEPT_S)
    assert list(await rows(database, HOUR_S)) == [START_S]
    assert await names(database) == 1
    await thin(database, START_S + KEPT_S + 3 * HOUR_S)
    assert await rows(database, HOUR_S) == {}
    assert await names(database) == 0


async def names(database: Database) -> int:
    sql = "SELECT count(*) FROM measured"
    return int((await database.read(lambda reader: reader.execute(sql).fetchone()))[0])


async def test_a_clock_set_back_takes_the_future_away(database: Database) -> None:
    for n in range(4):
        await measure(database, START_S + 30 * n, [n])
    await database.write(lambda tx: thinning.went_back(tx, START_S + 40))
    assert list(await rows(database, 30)) == [START_S, START_S + 30]


async def test_a_piece_deletes_no_more_than_a_writer_can_bear(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "DELETED_ROWS", 6)
    for n in range(10):
        await measure(database, START_S + 30 * n, *([n] for _ in range(3)))
    late_s = START_S + 3 * DAY_S
    progress = thinning.Progress({MINUTES_S: late_s, HOUR_S: late_s})
    left = []
    while progress.busy:
        progress = await one_piece(database, late_s, progress)
        left.append(len(await rows(database, 30)))
    assert left[:6] == [8, 6, 4, 2, 0, 0]


DAYS, AGENTS, PLACES = (31, 84, 9) if os.environ.get("STRESS") else (8, 1, 1)
"""84 stand for 74 agents and 10 swarms, 9 for environments, host, engine, queue and store."""

BYTES_A_NUMBER: Final = 150_000
"""Of the file, for each number measured, where none is small or whole: 77 MB for all of them."""


async def test_a_file_holds_a_day_a_week_and_a_month_and_no_more(database: Database) -> None:
    names = {f"dev_agent_{n:08d}": NAMES for n in range(AGENTS)}
    names |= {f"place{n}": tuple(f"m{m}" for m in range(20)) for n in range(PLACES)}
    end_s = START_S + DAYS * DAY_S
    await fill(database, names, end_s)
    found = {step_s: len(await rows(database, step_s)) for step_s in (30, MINUTES_S, HOUR_S)}
    assert found == {30: 2_880, MINUTES_S: 7 * 288, HOUR_S: min(DAYS, 30) * 24}
    await database.checkpoint()
    numbers = AGENTS * len(NAMES) + PLACES * 20
    assert database.path.stat().st_size < numbers * BYTES_A_NUMBER


async def fill(database: Database, names: dict[str, tuple[str, ...]], end_s: int) -> None:
    """Measure from the start to the end, two hours in a transaction, and thin."""
    chance = random.Random(5)
    pool = {
        size: [encoded([round(chance.random() * 10**n, 1) for n in range(size)]) for _ in range(97)]
        for size in {len(each) for each in names.values()}
    }
    ids: dict[tuple[str, table.Names], int] = {}
    progress = thinning.Progress()

    def while_(tx: Transaction, began_s: int, until_s: int) -> None:
        nonlocal ids, progress
        for at_s in range(began_s, until_s, 30):
            taken = [Taken(s, n, pool[len(n)][at_s // 30 % 97]) for s, n in names.items()]
            ids = table.write(tx, 30, at_s, taken, ids)
        progress = thinning.Progress(progress.done, progress.forgotten_s)
        while progress.busy:
            progress = thinning.piece(tx, progress, until_s, until_s, KEPT_S)

    for began_s in range(START_S, end_s, 2 * HOUR_S):
        await database.write(partial(while_, began_s=began_s, until_s=began_s + 2 * HOUR_S))
