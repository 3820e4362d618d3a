"""Commands kept from session to session."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from swarmdeck.console.history import MOST_LINES, History, harmless


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "swarmdeck" / "history"


def keep(file: Path | None, *lines: str) -> None:
    history = History(file)
    for line in lines:
        history.add(line)
    history.save()


def test_lines_come_back_in_the_next_session(file: Path) -> None:
    keep(file, "queue", "agents @dev")
    keep(file, "theme x")
    assert History(file).lines == ["queue", "agents @dev", "theme x"]


def test_only_the_owner_can_read_them(file: Path) -> None:
    keep(file, "queue")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["history"]


def test_two_consoles_at_once_keep_the_lines_of_both(file: Path) -> None:
    first, second = History(file), History(file)
    first.add("queue")
    second.add("agents")
    first.save()
    second.save()
    assert History(file).lines == ["queue", "agents"]


def test_the_file_is_bounded_and_says_nothing_twice(file: Path) -> None:
    keep(file, *(f"line {number // 2}" for number in range(MOST_LINES * 4)))
    lines = History(file).lines
    assert len(lines) == MOST_LINES
    assert lines[-1] == f"line {MOST_LINES * 2 - 1}"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("memory set development k secret", "memory set"),
        ("memory set development k 'secret", "memory set"),
        ("form memory set development k secret", "form memory set"),
        ("queue send development digest {}", "queue send"),
        ("queue /secret", "queue /secret"),
        ("swarm create testing --agents 1 --memory 1GB --env A=secret", "swarm create"),
        ("swarm create testing --agents 1 --memory 1GB --env=A=secret", "swarm create"),
        ("swarm create testing --agents 1", "swarm create testing --agents 1"),
        ("agents", "agents"),
    ],
)
def test_content_is_not_kept(line: str, kept: str) -> None:
    assert harmless(line) == kept


def test_a_file_that_cannot_be_read_or_written_is_no_reason_to_fail(
    file: Path, tmp_path: Path
) -> None:
    file.mkdir(parents=True)
    keep(file, "queue")
    keep(None, "queue")
    file.rmdir()
    file.write_bytes(b"good\n\xff\x1b[2J\nagain\n")
    assert History(file).lines == ["good", "again"]
    assert History(tmp_path / "none").lines == []
