"""Rows that are too old go, and what stays can still be verified."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.audit import retention
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Unavailable

DAY_S = 86_400


async def sequences(scene: Any) -> list[int]:
    rows = await scene.database.read(
        lambda reader: reader.execute("SELECT sequence FROM audit ORDER BY sequence").fetchall()
    )
    return [row[0] for row in rows]


@pytest.fixture
async def aged(opening: Any, clock: FakeClock) -> None:
    """Ten rows a day for six days, signed each day."""
    async with opening(checkpoint_rows=1, retention_days=1_000) as scene:
        for _ in range(6):
            await scene.add(10, each=5)
            await scene.auditor.tick()
            clock.advance(DAY_S)


async def pruned(scene: Any, clock: FakeClock) -> None:
    clock.advance(60)
    await scene.auditor.tick()


@pytest.mark.usefixtures("aged")
async def test_old_rows_go_up_to_a_signed_checkpoint(opening: Any, clock: FakeClock) -> None:
    async with opening(retention_days=3.5) as scene:
        await scene.auditor.tick()
        await pruned(scene, clock)
        # The last one says that the trail was pruned.
        assert await sequences(scene) == list(range(31, 62))
        assert scene.database.chain.anchor.sequence == 30
        view = (await scene.auditor.verify(None))[0]
        assert (view.status, view.first, view.last) == ("ok", 31, 61)
    async with opening(retention_days=3.5) as scene:
        assert scene.auditor.alarms == {}
        await scene.add(5)
        assert (await scene.auditor.verify(None))[0].status == "ok"


@pytest.mark.usefixtures("aged")
async def test_the_newest_checkpoint_stays(opening: Any, clock: FakeClock) -> None:
    async with opening(retention_days=1) as scene:
        clock.advance(400 * DAY_S)
        await scene.auditor.tick()
        await pruned(scene, clock)
        assert (await sequences(scene))[0] == 51
        assert (await scene.auditor.verify(None))[0].status == "ok"


@pytest.mark.usefixtures("aged")
async def test_rows_go_in_bounded_batches(
    opening: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 4)
    async with opening(retention_days=3.5) as scene:
        await scene.auditor.tick()
        clock.advance(60)
        counts = []
        for _ in range(10):
            await scene.auditor.tick()
            counts.append(len(await sequences(scene)))
            assert (await scene.auditor.verify(None))[0].status == "ok"
        assert counts[0] == 57
        assert counts[-1] == 31
        assert max(before - after for before, after in itertools.pairwise(counts)) == 4


@pytest.mark.usefixtures("aged")
async def test_a_prune_cut_off_after_it_was_announced_is_no_alarm(
    opening: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any) -> None:
        raise Unavailable("killed here")

    async with opening(retention_days=3.5, orderly=False) as scene:
        await scene.auditor.tick()
        monkeypatch.setattr(retention, "_move", cut)
        await pruned(scene, clock)
        monkeypatch.undo()
    async with opening(retention_days=3.5) as scene:
        assert scene.auditor.alarms == {}
        assert (await scene.auditor.verify(None))[0].status == "ok"
        assert len(await sequences(scene)) == 60
        await scene.auditor.tick()
        await pruned(scene, clock)
        assert (await sequences(scene))[0] == 31


@pytest.mark.usefixtures("aged")
async def test_evidence_of_a_rollback_is_not_pruned(
    opening: Any, clock: FakeClock, tmp_path: Path
) -> None:
    path = tmp_path / "development.db"
    shutil.copy(path, tmp_path / "old.db")
    async with opening(retention_days=1_000) as scene:
        await scene.add(1)
    shutil.copy(tmp_path / "old.db", path)
    async with opening(retention_days=3.5) as scene:
        assert scene.auditor.alarms
        await scene.auditor.tick()
        await pruned(scene, clock)
        assert len(await sequences(scene)) == 60
