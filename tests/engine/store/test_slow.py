"""Statements over the threshold are kept with their plan, and never a value."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.store import slow
from swarmdeck.engine.store.aside import Aside
from swarmdeck.engine.store.database import Database, Reader, StoreOptions, open_database
from swarmdeck.engine.store.slow import Slow, statement_text

SLOW: Final = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
SELECT count(*) FROM n WHERE i <> ?"""
INSERT: Final = """
INSERT INTO audit_anchor (env, sequence, hash) SELECT ? || ?, 1, ? || ?"""
CANARY: Final = 987_654_321


def counting(reader: Reader) -> object:
    return reader.execute(SLOW, (400_000, CANARY)).fetchone()


@asynccontextmanager
async def opened(path: Path, threshold_ms: float) -> AsyncIterator[Database]:
    options = StoreOptions(slow_statement_ms=threshold_ms)
    async with open_database(path, "development", options=options, clock=FakeClock()) as database:
        yield database


async def plans(database: Database) -> None:
    """Wait until the plans that were asked for are there."""
    await asyncio.sleep(0)
    while database._explaining:
        await asyncio.gather(*database._explaining)


async def test_a_slow_read_is_kept_with_count_times_and_plan(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with opened(tmp_path / "d.db", 5) as database:
        for _ in range(3):
            await database.read(counting)
        await Aside(database).read(counting)
        await plans(database)
    [view] = [view for view in database.slow.views() if "RECURSIVE" in view.statement]
    assert view.count == 4
    assert 5 < view.p99_ms <= view.max_ms
    assert "SCAN n" in view.plan
    assert "\n" not in view.statement
    assert str(CANARY) not in caplog.text + str(view)
    assert caplog.text.count("RECURSIVE") == 4


async def test_a_slow_write_is_kept(tmp_path: Path) -> None:
    rows = [("development", number, b"x" * 200, b"") for number in range(60_000)]
    async with opened(tmp_path / "d.db", 5) as database:
        await database.write(lambda tx: tx.executemany(INSERT, rows))
        await plans(database)
    assert statement_text(INSERT) in {view.statement for view in database.slow.views()}


async def test_what_is_quick_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "d.db", 10_000) as database:
        await database.read(counting)
    assert database.slow.views() == []


async def test_one_command_does_not_write_into_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_database(
        tmp_path / "d.db",
        "development",
        options=StoreOptions(slow_statement_ms=1),
        clock=FakeClock(),
        brief=True,
    ) as database:
        await database.read(counting)
        assert database.slow.views()
    assert caplog.text == ""


def test_the_number_kept_is_bounded_and_the_least_recent_goes() -> None:
    found = Slow("development", FakeClock(), 1)
    for number in range(slow.KEPT_STATEMENTS + 10):
        found.note("SELECT 0 /* often */", 0.1, 0)
        found.note(f"SELECT {number}", 0.1, 0)
    views = {view.statement: view for view in found.views()}
    assert len(views) == slow.KEPT_STATEMENTS
    assert "SELECT 0 /* often */" in views
    assert "SELECT 1" not in views
    assert views["SELECT 0 /* often */"].count == slow.KEPT_STATEMENTS + 10


def test_the_p99_is_that_of_the_slow_runs() -> None:
    found = Slow("development", FakeClock(), 1)
    for ms in range(100, 200):
        found.note("SELECT 1", ms / 1000, 0)
    [view] = found.views()
    assert (view.count, view.max_ms) == (100, 199)
    assert 197 < view.p99_ms <= 199


def test_lists_of_any_length_are_one_statement() -> None:
    assert statement_text("SELECT 1\n  WHERE a IN (?, ?, ?, ?, ?)") == statement_text(
        "SELECT 1 WHERE a IN (?, ?, ?, ?)"
    )


@pytest.mark.parametrize("row", ["(?, ?)", "(?, ?, ?, ?, 0, ?)"])
def test_rows_of_any_number_are_one_statement(row: str) -> None:
    texts = {
        statement_text(f"INSERT INTO t\nVALUES {', '.join([row] * count)} ON CONFLICT DO NOTHING")
        for count in (1, 2, 64)
    }
    assert len(texts) == 1
