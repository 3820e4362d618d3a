"""SwarmDB's threads write while their process is killed: what was acknowledged is there."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmdeck.engine.swarmdb import SwarmDB

CHILD = Path(__file__).with_name("swarmdb_child.py")
LIMIT_S = 60.0


def _killed(path: Path, lines: int, *arguments: str) -> list[str]:
    """What a child acknowledged that is killed once it has acknowledged so much."""
    command = [sys.executable, CHILD, path, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    return [line.decode().strip() for line in said if line.endswith(b"\n")]


def _missing(path: Path, acknowledged: list[str]) -> list[str]:
    """What is not there of what was acknowledged, and what is wrong with the file."""
    with SwarmDB(path, retention_days=None) as db:
        stored = {each["event_id"] for each in db.get_events(limit=None)}
        whole = db._get_connection().execute("PRAGMA integrity_check").fetchone()[0]
        with db.transaction():
            db.register_agent("after", "writer")  # it can be written to
    wanted = {
        name + part
        for name in acknowledged
        for part in ("abc" if int(name.split("-")[1]) % 5 == 4 else [""])
    }
    blocks = Counter(name[:-1] for name in stored if not name[-1].isdigit())
    halves = [f"half of {name}" for name, count in blocks.items() if count != 3]
    return sorted(wanted - stored) + halves + ([] if whole == "ok" else [whole])


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_what_threads_were_told_is_stored_survives_a_kill(
    durability: str, tmp_path: Path, chance: random.Random, tier: Callable[[int, int], int]
) -> None:
    path = tmp_path / "swarm.db"
    acknowledged: list[str] = []
    for cycle in range(tier(3, 100)):
        acknowledged += _killed(path, chance.randrange(1, 600), durability, "10", str(cycle))
        assert _missing(path, acknowledged) == [], f"cycle {cycle}"
    print(f"{durability}: {len(acknowledged)} writes were acknowledged")  # noqa: T201


def test_a_commit_after_the_answer_does_not_survive_a_kill(tmp_path: Path) -> None:
    """The planted bug that the test above is there to catch."""
    path = tmp_path / "swarm.db"
    assert any(
        _missing(path, _killed(path, 33, "normal", "1", str(cycle), "late")) for cycle in range(9)
    )
