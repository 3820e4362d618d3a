"""Power loss: of every state a disk can be left in, each is opened and read.

The program under test is a real engine with a hundred callers; what it did to its files was written
down, and the states are rebuilt from that.
"""

from __future__ import annotations

import bisect
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.cc

CALLERS = 100
WINDOW_S = 0.3
TIMED = {"durability": "normal", "checkpoint_s": WINDOW_S, "pause_s": 0.1}
BOUND_S = 2 * WINDOW_S + 0.8  # a checkpoint on its way, and a machine that does other things


class Tally(NamedTuple):
    """Of `states`: how many were damaged, how many lacked an acknowledged write; the worst loss in
    writes and in seconds; and the first few things that were wrong."""

    states: int
    corrupt: int
    lossy: int
    worst: int
    worst_s: float
    examples: list[str]


@pytest.fixture
def record(
    watched: Callable[..., Any], child: Callable[..., Any], oplog: ModuleType
) -> Callable[..., Any]:
    """Run the callers, and give the history of their disk."""

    def run(data: Path, environment: str = "production", **options: Any) -> Any:
        eye = watched(data).logging()
        with child(data, environment, env=eye.environment, say=False, **options) as running:
            running.said()
            assert running.process.returncode == 0
        assert eye.control.seen > 100, "the library was not in effect"
        history = oplog.History(oplog.read(eye.log))
        assert len(history.acks) >= CALLERS
        return history

    return run


@pytest.fixture
def replay(oplog: ModuleType, looks: ModuleType, chance: random.Random) -> Callable[..., Any]:
    """Open many states of a history. `data` is where the files were, and will be again. `late`: as
    the disk was left in the last tenth of it only."""

    async def run(
        history: Any, data: Path, states: int, environment: str = "production", late: bool = False
    ) -> Tally:
        end = len(history.records)
        first = max(history.acks[0].index, end * 9 // 10 if late else 0)
        everything = [ack.what["key"] for ack in history.acks if "key" in ack.what]
        marks = [ack.index for ack in history.acks]
        corrupt = lossy = worst = 0
        worst_s, examples = 0.0, []
        for _ in range(states):
            cut = chance.randrange(first, end + 1)
            mode = chance.choice(oplog.MODES)
            seed = chance.randrange(1 << 32)
            _lay(data, history.state(cut, mode, random.Random(seed)))
            found = await looks.look(data, environment, everything)
            done = [ack.what for ack in history.acks[: bisect.bisect_left(marks, cut)]]
            missing = looks.lost(found, done)
            if found.wrong or missing:
                what = found.wrong[:2] or [f"lost {len(missing)}, first {missing[0]}"]
                examples.append(f"cut {cut} of {end}, {mode}, {seed}: {what}")
            corrupt += bool(found.wrong)
            lossy += bool(missing)
            worst = max(worst, len(missing))
            if missing:
                worst_s = max(worst_s, done[-1]["at"] - missing[0]["at"])
        return Tally(states, corrupt, lossy, worst, worst_s, examples[:5])

    return run


def _lay(data: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(data, ignore_errors=True)
    for path, content in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(path).write_bytes(content)


async def test_full_loses_nothing(
    memory_disk: Path, record: Any, replay: Any, tier: Callable[[int, int], int]
) -> None:
    history = record(memory_disk / "data", writes=tier(6, 25), autocheckpoint_pages=100)
    tally = await replay(history, memory_disk / "data", tier(60, 2_000))
    print(tally)  # noqa: T201 - the figure of the full tier
    assert (tally.corrupt, tally.lossy) == (0, 0), tally


async def test_normal_loses_no_more_than_it_says(
    memory_disk: Path, record: Any, replay: Any, tier: Callable[[int, int], int]
) -> None:
    history = record(memory_disk / "data", "development", writes=30, **TIMED)
    tally = await replay(history, memory_disk / "data", tier(30, 2_000), "development")
    print(tally)  # noqa: T201 - the figure of the full tier
    assert tally.corrupt == 0, tally
    assert tally.lossy > 0, "normal is no more than a crash of the process: the test sees nothing"
    assert tally.worst_s <= BOUND_S, tally


async def test_without_its_timed_checkpoint_normal_loses_more(
    memory_disk: Path, record: Any, replay: Any
) -> None:
    """The planted bug that the test above is there to catch."""
    wanted = {"plants": ["never flushed"], "autocheckpoint_pages": 1_000_000, **TIMED}
    history = record(memory_disk / "data", "development", writes=30, **wanted)
    tally = await replay(history, memory_disk / "data", 15, "development", late=True)
    assert tally.corrupt == 0, tally
    assert tally.worst_s > BOUND_S, tally


async def test_without_syncs_states_are_damaged_or_lack_writes(
    memory_disk: Path, record: Any, replay: Any, tier: Callable[[int, int], int]
) -> None:
    """The planted bug that the tests above are there to catch."""
    history = record(
        memory_disk / "data", writes=6, autocheckpoint_pages=100, plants=["never synced"]
    )
    tally = await replay(history, memory_disk / "data", tier(20, 200))
    print(tally)  # noqa: T201
    assert max(tally.corrupt, tally.lossy) >= tally.states / 10, tally


async def test_an_answer_before_the_commit_is_noticed(
    memory_disk: Path, record: Any, replay: Any, tier: Callable[[int, int], int]
) -> None:
    """Another planted bug."""
    history = record(memory_disk / "data", writes=6, plants=["acknowledged early"])
    tally = await replay(history, memory_disk / "data", tier(20, 200))
    assert tally.lossy >= 1, tally


# --- a sync that fails, and then power loss ---------------------------------------------------


@pytest.mark.parametrize("only", ["production.db-wal", "production.db"])
async def test_what_a_failed_sync_dropped_is_written_again(
    memory_disk: Path, only: str, failing_sync: Any, replay: Any, tier: Callable[[int, int], int]
) -> None:
    history = failing_sync(only, plants=[])
    tally = await replay(history, memory_disk / "data", tier(20, 500))
    print(tally)  # noqa: T201
    assert (tally.corrupt, tally.lossy) == (0, 0), tally


async def test_a_sync_that_is_merely_retried_loses_what_it_dropped(
    memory_disk: Path, failing_sync: Any, replay: Any, tier: Callable[[int, int], int]
) -> None:
    """The planted bug that the test above is there to catch."""
    history = failing_sync("development.db-wal", "development", plants=["sync retried"])
    tally = await replay(history, memory_disk / "data", tier(30, 300), "development")
    assert tally.corrupt + tally.lossy >= 1, tally


@pytest.fixture
def failing_sync(
    memory_disk: Path,
    watched: Callable[..., Any],
    child: Callable[..., Any],
    oplog: ModuleType,
    chance: random.Random,
) -> Callable[..., Any]:
    def run(only: str, environment: str = "production", **options: Any) -> Any:
        data = memory_disk / "data"
        eye = watched(data).logging()
        refuse = ("sync", chance.randint(2, 4), 5, False, only)
        command: dict[str, Any] = {
            "refuse": refuse,
            "writes": 12,
            "pause_s": 0.02,
            "autocheckpoint_pages": 100,
            "checkpoint_s": 0.1,
        }
        if environment != "production":
            command["durability"] = "normal"
        with child(data, environment, env=eye.environment, say=False, **command, **options) as it:
            it.said()
            assert it.process.returncode == 0
        assert eye.control.seen > 100, "the library was not in effect"
        records = oplog.read(eye.log)
        assert eye.control.refused == 1, "no sync has failed"
        return oplog.History(records)

    return run


def test_the_library_refuses_what_it_is_told(tmp_path: Path, watched: Callable[..., Any]) -> None:
    eye = watched(tmp_path / "d")
    eye.control.refuse("write", 2, 28)
    script = f"""
import os
fd = os.open({str(tmp_path / "d" / "f")!r}, os.O_RDWR | os.O_CREAT)
for n in range(4):
    try: print(os.pwrite(fd, b"x", n), end=" ")
    except OSError as error: print(error.errno, end=" ")
"""
    command = [shutil.which("python3") or "python3", "-c", script]
    done = subprocess.run(command, env=eye.environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "28", "1", "1"]
    assert (eye.control.seen, eye.control.counted, eye.control.refused) == (4, 4, 1)
