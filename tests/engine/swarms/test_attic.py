"""Output of agents that are gone goes with their swarm, or when it is old."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.swarms import attic
from swarmdeck.engine.swarms.attic import AGAIN_S, EVERY_S, FIRST_S, KEPT_S, Attic


async def at_once(work: Callable[[], int]) -> int:
    return work()


def write(path: Path, at_us: int, age_s: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("said")
    at_s = at_us / 1_000_000 - age_s
    os.utime(path, (at_s, at_s))
    return path


async def test_old_output_goes_but_for_that_of_agents_that_run(tmp_path: Path) -> None:
    clock = FakeClock()
    folder, now_us = tmp_path / "development", clock.wall_us()
    old = write(folder / "dev_agent_1.log", now_us, KEPT_S)
    older = write(folder / "dev_agent_1.log.1", now_us, KEPT_S)
    young = write(folder / "dev_agent_2.log", now_us, KEPT_S - 2 * FIRST_S)
    runs = write(folder / "dev_agent_3.log", now_us, 2 * KEPT_S)
    other = write(folder / "notes.txt", now_us, 2 * KEPT_S)
    engine = write(tmp_path / "engine.log", now_us, 2 * KEPT_S)
    found = Attic(tmp_path, clock, at_once)
    await found.tick(["dev_agent_3"])
    assert old.exists(), "not as soon as an engine opens"
    clock.advance(FIRST_S)
    await found.tick(["dev_agent_3"])
    assert not old.exists()
    assert not older.exists()
    assert all(each.exists() for each in (young, runs, other, engine))
    clock.advance(EVERY_S)
    await found.tick([])
    assert not young.exists()
    assert not runs.exists()


async def test_a_pass_is_bounded_and_the_next_comes_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attic, "MOST", 2)
    clock = FakeClock()
    for number in range(3):
        write(tmp_path / "testing" / f"test_agent_{number}.log", clock.wall_us(), KEPT_S)
    found = Attic(tmp_path, clock, at_once)
    for left, wait_s in ((1, FIRST_S), (0, AGAIN_S)):
        clock.advance(wait_s)
        await found.tick([])
        assert len(list((tmp_path / "testing").iterdir())) == left


async def test_output_goes_with_its_swarm(tmp_path: Path) -> None:
    clock = FakeClock()
    folder = tmp_path / "research"
    for name in ("a_1.log", "a_1.log.1", "a_1.log.2", "a_12.log"):
        write(folder / name, clock.wall_us(), 0)
    await Attic(tmp_path, clock, at_once).drop("research", ["a_1", "never_wrote"])
    assert [each.name for each in folder.iterdir()] == ["a_12.log"]
