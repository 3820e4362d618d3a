"""What is read from the kernel, and how long commits take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.engine.hostmem import LinuxProbe
from swarmdeck.engine.metrics.sensors import LinuxSensors
from swarmdeck.engine.store.commits import Commits


def process(proc: Path, pid: int, name: str, ticks: tuple[int, int, int, int], *below: int) -> None:
    folder = proc / str(pid) / "task" / str(pid)
    folder.mkdir(parents=True)
    (folder / "children").write_text(" ".join(map(str, below)))
    fields = ["S", *"0" * 10, *map(str, ticks), *"0" * 30]
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}")


@pytest.fixture
def sensors(tmp_path: Path) -> LinuxSensors:
    process(tmp_path, 10, "worker", (100, 50, 0, 0), 11)
    process(tmp_path, 11, "a) (b", (10, 20, 30, 40))
    return LinuxSensors(LinuxProbe(tmp_path), tmp_path)


def test_a_process_counts_with_its_descendants_and_the_children_it_reaped(
    sensors: LinuxSensors,
) -> None:
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert sensors.read([10], {}).cpu_s == {10: pytest.approx(250 * tick_s)}


def test_a_process_that_is_gone_is_left_out(sensors: LinuxSensors) -> None:
    assert set(sensors.read([10, 99], {}).cpu_s) == {10}


def test_a_file_counts_with_its_log(sensors: LinuxSensors, tmp_path: Path) -> None:
    (tmp_path / "d.db").write_bytes(b"1" * 100)
    (tmp_path / "d.db-wal").write_bytes(b"1" * 20)
    files = {"d": tmp_path / "d.db", "none": tmp_path / "none.db"}
    assert sensors.read([], files).file_bytes == {"d": 120, "none": 0}


def test_the_engine_itself_is_measured() -> None:
    found = LinuxSensors(LinuxProbe()).read([os.getpid()], {})
    assert found.own_rss_bytes > 1 << 20
    assert 0 < found.own_cpu_s <= found.cpu_s[os.getpid()]


@given(st.lists(st.floats(1e-6, 1_000), min_size=1, max_size=300))
def test_the_99th_of_a_hundred_commits_is_told_within_an_eighth(lengths: list[float]) -> None:
    commits = Commits()
    for length in lengths:
        commits.note(length)
    exact_ms = sorted(lengths)[-(len(lengths) // 100) - 1] * 1000
    told_ms = commits.take()
    assert told_ms is not None
    assert exact_ms * 0.999 <= told_ms <= exact_ms * 1.126 + 0.002


def test_commits_are_counted_anew_after_they_were_taken() -> None:
    commits = Commits()
    commits.note(0.5)
    assert commits.take() is not None
    assert commits.take() is None
