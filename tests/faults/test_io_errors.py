"""A disk that refuses: each write, sync and truncate of a script, once and until it is well again.

Whatever is refused, the caller is told with an error of ours, reading goes on, nothing that was
acknowledged is lost, and writing goes on in the same process once the disk is well.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import open_engine
from swarmdeck.engine.actions import AlertList
from swarmdeck.engine.engine import Engine
from swarmdeck.engine.errors import StorageError, SwarmDeckError
from swarmdeck.engine.settings import load_settings

pytestmark = pytest.mark.cc

SCRIPT = Path(__file__).with_name("script.py")
OPERATIONS = ("write", "sync", "truncate")
CASE_S = 30
FORMS = ("full", "normal")


@pytest.fixture
def run_cases(memory_disk: Path, watched: Callable[..., Any]) -> Callable[..., Any]:
    """Run the script once a case; the outcomes. One process runs them all."""

    def run(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        eye = watched(memory_disk)
        command = [sys.executable, str(SCRIPT), str(memory_disk)]
        done = subprocess.run(
            command,
            input="\n".join(map(json.dumps, cases)),
            env=eye.environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=CASE_S * len(cases),
            check=False,
        )
        assert eye.control.seen > 100, "the library was not in effect"
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(outcomes) == len(cases), cases[len(outcomes)]
        return outcomes

    return run


@pytest.fixture
def calls(run_cases: Callable[..., Any]) -> Callable[..., dict[str, int]]:
    """How many calls of each kind the script makes when nothing is refused."""

    def count(durability: str, *, opening: bool = False) -> dict[str, int]:
        asked = {"nth": 1 << 30, "durability": durability, "opening": opening}
        never = [asked | {"operation": operation} for operation in OPERATIONS]
        outcomes = run_cases(never)
        assert [outcome["wrong"] for outcome in outcomes] == [[], [], []]
        assert [outcome["refused"] for outcome in outcomes] == [[], [], []]
        return {o["case"]["operation"]: o["calls"] for o in outcomes}

    return count


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_whatever_call_is_refused_nothing_acknowledged_is_lost(
    durability: str,
    run_cases: Callable[..., Any],
    calls: Callable[..., dict[str, int]],
    chance: random.Random,
    tier: Callable[[int, int], int],
) -> None:
    cases = [
        {"operation": operation, "nth": nth, "error": error, "ever": ever, "durability": durability}
        for operation, count in calls(durability).items()
        for nth in range(1, count + 1)
        for error in (errno.EIO, errno.ENOSPC)
        for ever in (False, True)
    ]
    chosen = chance.sample(cases, min(len(cases), tier(20, len(cases))))
    outcomes = run_cases(chosen)
    wrong = [(outcome["case"], outcome["wrong"][:3]) for outcome in outcomes if outcome["wrong"]]
    hit = sum(outcome["hit"] for outcome in outcomes)
    refused = sum(len(outcome["refused"]) for outcome in outcomes)
    print(  # noqa: T201 - the figures of the full tier
        f"{durability}: {len(chosen)} of {len(cases)} cases, {hit} met their fault, "
        f"{refused} operations refused, {len(wrong)} wrong"
    )
    assert wrong == []
    assert hit >= len(outcomes) * 0.7  # how many there are follows the timed checkpoints
    assert refused


def test_an_opening_that_is_refused_says_so_and_the_next_one_works(
    run_cases: Callable[..., Any],
    calls: Callable[..., dict[str, int]],
    chance: random.Random,
    tier: Callable[[int, int], int],
) -> None:
    cases = [
        {"operation": operation, "nth": nth, "error": error, "ever": ever, "opening": True}
        for operation, count in calls("full", opening=True).items()
        for nth in range(1, count + 1)
        for error in (errno.EIO, errno.ENOSPC)
        for ever in (False, True)
    ]
    first = [case for case in cases if case["nth"] == 1 and not case["ever"]]
    outcomes = run_cases([*first, *chance.sample(cases, tier(6, 300))])
    assert [(o["case"], o["wrong"][:3]) for o in outcomes if o["wrong"]] == []
    assert any(outcome["refused"] for outcome in outcomes)


def test_a_failure_that_is_swallowed_is_noticed(run_cases: Callable[..., Any]) -> None:
    """The planted bug that the test above is there to catch."""
    plants = ["failure swallowed"]
    cases = [{"operation": "sync", "nth": nth, "plants": plants} for nth in range(10, 28)]
    assert any(outcome["wrong"] for outcome in run_cases(cases))


# --- a disk that is really full -----------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, which only root can have."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own needs root and mount")
    try:
        yield place
    finally:
        subprocess.run([str(shutil.which("umount")), "-l", str(place)], check=True)


async def test_a_full_disk_lets_records_go_and_recovers_without_a_restart(
    small_disk: Path, chance: random.Random, tier: Callable[[int, int], int]
) -> None:
    data, filler = small_disk / "data", small_disk / "filler"
    told = {"store.reserve_bytes": 64 << 20, "durability.development": chance.choice(FORMS)}
    async with open_engine(data, settings=load_settings(None, os.environ, told)) as engine:
        memory = engine.memory("development")
        for turn in range(tier(2, 50)):
            assert (data / "reserve").stat().st_blocks * 512 >= (8 << 20) // 16
            stored = [f"{turn}-{n}" for n in range(20)]
            for key in stored:
                await memory.set(key, os.urandom(1_000).hex())
            _fill(filler)
            refused = await _until_refused(memory, turn)
            assert refused.exit_code == 7
            assert "free some disk space" in refused.hint
            assert not (data / "reserve").exists()
            assert await memory.has(stored[-1])
            assert len((await memory.keys(prefix=f"{turn}-"))[0]) >= len(stored)
            assert [await memory.delete(key) for key in stored[:15]] == [True] * 15
            assert turn or await _alerted(engine)
            filler.unlink()
            await memory.set(f"{turn}-again", turn)
            assert (data / "reserve").exists()
            for key in (await memory.keys(limit=1_000))[0]:
                await memory.delete(key)
    async with open_engine(data, transient=True) as engine:
        assert not await engine.memory("development").has("0-0")


def _fill(filler: Path) -> None:
    """Take all the disk has left."""
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def _until_refused(memory: Any, turn: int) -> SwarmDeckError:
    for number in range(10_000):
        try:
            await memory.set(f"{turn}-more{number}", os.urandom(10_000).hex())
        except SwarmDeckError as error:
            return error
    pytest.fail("the disk does not become full")


async def _alerted(engine: Engine) -> bool:
    """Whether an alert says so, once the engine has looked twice."""
    async with asyncio.timeout(10):
        while "disk" not in {alert.rule for alert in await engine.run(AlertList())}:
            await asyncio.sleep(0.1)
    return True


async def test_without_a_reserve_a_full_disk_lets_nothing_go(small_disk: Path) -> None:
    """What the test above would see of a reserve that does nothing."""
    data = small_disk / "data"
    told = {"store.reserve_bytes": 0}
    async with open_engine(data, settings=load_settings(None, os.environ, told)) as engine:
        memory = engine.memory("development")
        stored = [f"0-{n}" for n in range(20)]
        for key in stored:
            await memory.set(key, os.urandom(1_000).hex())
        _fill(small_disk / "filler")
        await _until_refused(memory, 0)
        deleting = [memory.delete(key) for key in stored]
        outcomes = await asyncio.gather(*deleting, return_exceptions=True)
        assert any(isinstance(outcome, StorageError) for outcome in outcomes)
        (small_disk / "filler").unlink()
        assert await memory.delete(stored[-1]) in (True, False)
