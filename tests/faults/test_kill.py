"""Processes that end without warning, that stand still, and that are told to end, each while a
hundred callers write."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from swarmdeck.engine import open_engine
from swarmdeck.engine.errors import EngineBusy

LIMIT_S = 20.0
STOP_S = 3.0
CALLERS = 100
ENVIRONMENTS = {"full": "production", "normal": "development"}


@pytest.fixture
def kills(
    tmp_path: Path, child: Callable[..., Any], looks: ModuleType, chance: random.Random
) -> Callable[..., Any]:
    """Kill the callers `cycles` times over one data directory, and look each time; what was found
    wrong or lost, and how many writes were acknowledged in all."""

    async def run(durability: str, cycles: int, **options: Any) -> tuple[list[str], int]:
        data, environment = tmp_path / "data", ENVIRONMENTS[durability]
        acknowledged: list[dict[str, Any]] = []
        wrong: list[str] = []
        first = count = 0
        for cycle in range(cycles):
            more = {"writes": -1, "durability": durability, "first": first} | options
            with child(data, environment, **more) as running:
                running.until_ready()
                # At any place in a batch, in the first one too.
                after = cycle % 4 * CALLERS + chance.randrange(CALLERS)
                said = running.kill(after, chance.uniform(0.0, 0.01))
            count += len(said)
            acknowledged = [*acknowledged, *said][-20_000:]
            first = max((ack["number"] for ack in said), default=first) + 10
            found = await looks.look(
                data, environment, [ack["key"] for ack in acknowledged if "key" in ack]
            )
            wrong += [f"cycle {cycle}: {each}" for each in found.wrong]
            if missing := looks.lost(found, acknowledged):
                wrong.append(f"cycle {cycle}: lost {len(missing)}, first {missing[0]}")
        return wrong, count

    return run


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_a_killed_engine_has_everything_it_acknowledged(
    durability: str, kills: Callable[..., Any], tier: Callable[[int, int], int]
) -> None:
    wrong, count = await kills(durability, tier(10, 200), pause_s=0.001)
    print(f"{durability}: {count} writes were acknowledged")  # noqa: T201
    assert wrong == []
    assert count > CALLERS * tier(10, 200), "hardly anything was written"


async def test_an_answer_before_the_commit_does_not_survive_a_kill(
    kills: Callable[..., Any], tier: Callable[[int, int], int]
) -> None:
    """The planted bug that the test above is there to catch."""
    wrong, _ = await kills("full", tier(5, 20), plants=["acknowledged early"], pause_s=0.001)
    assert any("lost" in each for each in wrong)


# --- a second opener --------------------------------------------------------------------------


async def test_a_second_opener_is_refused_and_changes_nothing(
    tmp_path: Path,
    child: Callable[..., Any],
    looks: ModuleType,
    tier: Callable[[int, int], int],
) -> None:
    data = tmp_path / "data"
    with child(data, writes=1, callers=0) as holder:  # opened once and closed: a clean directory
        holder.said()
    with child(data, writes=-1, callers=1, pause_s=3600.0) as holder:
        holder.until_ready()
        _settled(data)
        before = looks.digest(data)
        for turn in range(tier(20, 100)):
            if turn == 10:
                os.kill(holder.pid, signal.SIGSTOP)  # one that stands still is still the owner
            with pytest.raises(EngineBusy) as refused:
                async with open_engine(data, transient=True):
                    pass
            assert refused.value.pid == holder.pid
        os.kill(holder.pid, signal.SIGCONT)
        assert looks.digest(data) == before
        holder.process.kill()
        holder.process.wait(LIMIT_S)
        begin = time.monotonic()
        async with open_engine(data, transient=True) as engine:
            assert await engine.memory("production").has("w0-0")
        assert time.monotonic() - begin < LIMIT_S


def _settled(data: Path) -> None:
    """Wait until the one write of the holder and what follows from it are in the files."""
    deadline = time.monotonic() + LIMIT_S
    before: dict[Path, int] = {}
    while time.monotonic() < deadline:
        time.sleep(1.5)  # longer than the timed checkpoint, which nothing announces
        now = {path: path.stat().st_mtime_ns for path in data.rglob("*.db*")}
        if now == before:
            return
        before = now
    pytest.fail("the files do not come to rest")


def test_a_second_service_is_told_whose_the_directory_is(
    tmp_path: Path, service: Callable[..., Any]
) -> None:
    with service(tmp_path / "data") as first:
        command = [sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(tmp_path / "data")]
        second = subprocess.run(
            [*command, "serve", "--json"],
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert second.returncode == 5
        assert str(first.pid) in json.loads(second.stderr)["error"]["message"]


# --- signals ----------------------------------------------------------------------------------


@pytest.fixture
def service() -> Callable[..., Any]:
    @contextmanager
    def start(data: Path) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(data)]
        with subprocess.Popen([*command, "serve", "--json"], stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                ready, _, _ = select.select([process.stdout], [], [], LIMIT_S)
                assert ready
                assert b"socket" in process.stdout.readline()
                yield process
            finally:
                process.kill()

    return start


CLIENT = """
import asyncio, json, os, sys
from swarmdeck.engine import connect
from swarmdeck.engine.errors import SwarmDeckError

async def write(memory, caller, first):
    number = first
    while True:
        key = f"w{caller}-{number}"
        await memory.set(key, number)
        os.write(1, json.dumps({"key": key, "number": number}).encode() + b"\\n")
        number += 1

async def main():
    async with connect(sys.argv[1]) as engine:
        memory = engine.memory("production")
        writing = [asyncio.create_task(write(memory, n, int(sys.argv[2]))) for n in range(100)]
        done, _ = await asyncio.wait(writing, return_when=asyncio.FIRST_EXCEPTION)
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

asyncio.run(main())
"""


@pytest.fixture
def told_to_end(service: Callable[..., Any], chance: random.Random) -> Callable[..., Any]:
    """Signal a service while a hundred callers write; what they were told, and how long it took."""

    def end(data: Path, number: signal.Signals, first: int) -> tuple[list[dict[str, Any]], float]:
        command = [sys.executable, "-c", CLIENT, str(data), str(first)]
        with (
            service(data) as process,
            subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as client,
        ):
            assert client.stdout is not None
            begun = client.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.1))
            begin = time.monotonic()
            process.send_signal(number)
            rest, _ = client.communicate(timeout=LIMIT_S)
            assert process.wait(LIMIT_S) == 0
            took_s = time.monotonic() - begin
        return [json.loads(line) for line in (begun + rest).split(b"\n")[:-1]], took_s

    return end


async def test_a_service_told_to_end_under_load_has_everything_it_acknowledged(
    tmp_path: Path,
    told_to_end: Callable[..., Any],
    looks: ModuleType,
    tier: Callable[[float, float], float],
) -> None:
    data, acknowledged, slowest_s, first = tmp_path / "data", [], 0.0, 0
    for turn in range(int(tier(3, 20))):
        number = [signal.SIGTERM, signal.SIGINT][turn % 2]
        said, took_s = told_to_end(data, number, first)
        slowest_s = max(slowest_s, took_s)
        acknowledged = [*acknowledged, *said][-20_000:]
        first = max(ack["number"] for ack in said) + 10
        found = await looks.look(data, "production", [ack["key"] for ack in acknowledged])
        assert found.wrong == []
        assert looks.lost(found, acknowledged) == []
    print(f"slowest stop {slowest_s:.2f} s")  # noqa: T201
    assert slowest_s <= tier(LIMIT_S, STOP_S)
