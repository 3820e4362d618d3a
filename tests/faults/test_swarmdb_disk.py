"""SwarmDB on a disk that refuses, and after a loss of power."""

from __future__ import annotations

import bisect
import errno
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from swarmdeck.engine.swarmdb import SwarmDB

pytestmark = pytest.mark.cc

SCRIPT = Path(__file__).with_name("swarmdb_disk.py")
LIMIT_S = 300.0


@pytest.fixture
def run_cases(memory_disk: Path, watched: Callable[..., Any]) -> Callable[..., Any]:
    """Run cases in one process; what became of each, and how it was watched."""

    def run(cases: list[dict[str, Any]], *, logging: bool = False) -> tuple[list[Any], Any]:
        eye = watched(memory_disk)
        if logging:
            eye.logging()
        done = subprocess.run(
            [sys.executable, SCRIPT, memory_disk],
            input="\n".join(map(json.dumps, cases)),
            env=eye.environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        assert eye.control.seen > 20, "the library was not in effect"
        return [json.loads(line) for line in done.stdout.splitlines()], eye

    return run


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_whatever_call_of_the_disk_is_refused_nothing_acknowledged_is_lost(
    durability: str,
    run_cases: Callable[..., Any],
    chance: random.Random,
    tier: Callable[[int, int], int],
) -> None:
    cases = [
        {"durability": durability, "refuse": [operation, nth, error, ever, ""], "threads": threads}
        for operation, most in (("write", 150), ("sync", 25))
        for nth in range(1, most)
        for error in (errno.EIO, errno.ENOSPC)
        for ever in (False, True)
        for threads in (1, 4)
    ]
    outcomes, _ = run_cases(chance.sample(cases, tier(10, len(cases))))
    wrong = [(each["case"], each["wrong"][:3]) for each in outcomes if each["wrong"]]
    met = sum(bool(each["refused"]) for each in outcomes)
    print(f"{durability}: {len(outcomes)} cases, {met} with a write refused")  # noqa: T201
    assert wrong == []
    assert met


# --- a loss of power --------------------------------------------------------------------------


@pytest.fixture
def losses(
    memory_disk: Path, run_cases: Callable[..., Any], oplog: ModuleType, chance: random.Random
) -> Callable[..., Any]:
    """Run a case, and look at as many of the states that a loss of power may have left; how many
    were damaged, and how many lacked an acknowledged write."""

    def run(case: dict[str, Any], states: int) -> tuple[int, int]:
        shutil.rmtree(memory_disk / "data0", ignore_errors=True)  # the state looked at last
        _, eye = run_cases([case | {"look": False}], logging=True)
        if "refuse" in case:
            assert eye.control.refused, "nothing was refused"
        history = oplog.History(oplog.read(eye.log))
        marks = [ack.index for ack in history.acks]
        copying = [  # half of the time while the log is copied into the file
            number + 1
            for number, record in enumerate(history.records)
            if number > marks[0] and record.kind == "W" and record.path.endswith("swarm.db")
        ]
        damaged = lossy = 0
        for turn in range(states):
            cut = chance.randrange(marks[0] + 1, len(history.records) + 1)
            cut = chance.choice(copying) if turn % 2 else cut
            mode = chance.choice(oplog.MODES)
            shutil.rmtree(memory_disk / "data0", ignore_errors=True)
            for path, content in history.state(cut, mode, chance).items():
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_bytes(content)
            done = [ack.what["key"] for ack in history.acks[: bisect.bisect_left(marks, cut)]]
            whole, lost = _look(memory_disk / "data0" / "swarm.db", done)
            damaged += not whole
            lossy += lost
        return damaged, lossy

    return run


def _look(path: Path, acknowledged: list[str]) -> tuple[bool, bool]:
    """Whether a file is whole, and whether it lacks something."""
    try:
        with SwarmDB(path) as db:
            stored = {each["event_id"] for each in db.get_events(limit=None)}
            whole = db._get_connection().execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    except Exception:  # noqa: BLE001 - whatever a damaged file leads to
        return False, True
    return whole, not stored.issuperset(acknowledged)


def test_full_durability_outlives_a_loss_of_power(
    losses: Callable[..., Any], tier: Callable[[int, int], int]
) -> None:
    case = {"durability": "full", "writes": 30, "threads": 4}
    assert losses(case, tier(30, 2_000)) == (0, 0)


def test_normal_durability_may_lose_writes_and_is_never_damaged(
    losses: Callable[..., Any], tier: Callable[[int, int], int]
) -> None:
    damaged, lossy = losses({"durability": "normal", "writes": 60}, tier(30, 2_000))
    assert damaged == 0
    assert lossy, "normal is no more than a crash of the process: the test sees nothing"


@pytest.mark.parametrize("durability", ["full", "normal"])
@pytest.mark.parametrize("only", ["swarm.db-wal", "swarm.db"])
def test_what_a_failed_sync_dropped_is_written_again(
    durability: str,
    only: str,
    losses: Callable[..., Any],
    chance: random.Random,
    tier: Callable[[int, int], int],
) -> None:
    # The first sync of the log that is not of a commit is that before the log is copied.
    nth = 1 if durability == "normal" else chance.randint(1, 3)
    refuse = ["sync", nth, errno.EIO, False, only]
    case = {"durability": durability, "refuse": refuse, "writes": 90}
    damaged, lossy = losses(case, tier(30, 1_000))
    assert damaged == 0
    assert durability == "normal" or lossy == 0


def test_a_sync_that_is_merely_repeated_leaves_damage(losses: Callable[..., Any]) -> None:
    """The planted bug that the test above is there to catch."""
    refuse = ["sync", 1, errno.EIO, False, "swarm.db-wal"]
    case = {"durability": "normal", "refuse": refuse, "writes": 90, "plants": ["never mended"]}
    assert any(losses(case, 60)[0] for _ in range(10))
