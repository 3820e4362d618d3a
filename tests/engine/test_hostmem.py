"""Host readings: real processes are measured, only real limits are shown."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from swarmdeck.engine.hostmem import (
    UNLIMITED,
    Enforcement,
    HostMemory,
    HostReading,
    Limits,
    LinuxProbe,
)
from swarmdeck.engine.model import MIB

ME = os.getpid()
READING = HostReading(total_bytes=8, available_bytes=4, cpu_percent=50.0, load_1m=1.0)

# A process with a child; both hold 20 MiB that were written to, so that they are resident. They
# end when their input does, so that a failing test leaves none behind.
FAMILY = """
import subprocess, sys
held = b"x" * (20 << 20)
if sys.argv[1] == "parent":
    child = subprocess.Popen([sys.executable, "-c", sys.argv[2], "child", ""])
    child.wait()
else:
    print("ready", flush=True)
    sys.stdin.read()
"""


class FakeProbe:
    """A host whose processes are a table."""

    def __init__(self) -> None:
        self.tree: dict[int, list[int]] = {}
        self.held: dict[int, int] = {}
        self.limited: dict[int, Limits] = {ME: Limits()}

    def host(self) -> HostReading:
        return READING

    def rss(self, pid: int) -> int | None:
        return self.held.get(pid)

    def children(self, pid: int) -> list[int]:
        return list(self.tree.get(pid, []))

    def limits(self, pid: int) -> Limits | None:
        return self.limited.get(pid)

    def pss(self, pid: int) -> int | None:
        return self.held.get(pid)

    def newest(self) -> int | None:
        return None

    def stalled(self) -> float | None:
        return None

    def session(self, pid: int) -> int | None:
        return None

    def all(self) -> Iterable[int]:
        return list(self.held)


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY, "parent", FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process:  # closes its input and waits for it
        assert process.stdout.readline() == b"ready\n"
        yield process


# --- real readings --------------------------------------------------------------------------


def test_the_host_is_read() -> None:
    host = HostMemory()
    first = host.latest
    assert 0 < first.available_bytes <= first.total_bytes
    assert first.load_1m >= 0
    assert host.sample() is host.latest
    assert 0 <= host.latest.cpu_percent <= 100


def host_files(proc: Path, *, available_kib: int, stat: str) -> Path:
    proc.mkdir(exist_ok=True)
    (proc / "meminfo").write_text(
        f"MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable: {available_kib} kB\n"
    )
    (proc / "stat").write_text(f"cpu  {stat}\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    return proc


def test_the_host_is_read_from_the_kernel_as_psutil_reads_it(tmp_path: Path) -> None:
    proc = host_files(tmp_path / "proc", available_kib=400, stat="10 0 5 80 5 0 0 0 7 7")
    probe = LinuxProbe(proc)
    first = probe.host()
    assert (first.total_bytes, first.available_bytes) == (1000 << 10, 400 << 10)
    assert first.cpu_percent == 0.0
    # 12 busy ticks, one of them stolen, of 48; waiting for the disk is idle.
    host_files(proc, available_kib=400, stat="15 2 6 110 11 1 2 1 9 9")
    assert probe.host().cpu_percent == 25.0
    assert probe.host().cpu_percent == 0.0, "no time has passed"


@pytest.mark.parametrize("available_kib", [0, 2000])
def test_a_kernel_that_tells_no_sense_is_left_to_psutil(tmp_path: Path, available_kib: int) -> None:
    proc = host_files(tmp_path / "proc", available_kib=available_kib, stat="1 1 1 1 1 1 1 1")
    found = LinuxProbe(proc).host()
    assert found.total_bytes == psutil.virtual_memory().total
    assert 0 < found.available_bytes <= found.total_bytes


def test_a_host_without_proc_is_left_to_psutil(tmp_path: Path) -> None:
    found = LinuxProbe(tmp_path / "none").host()
    assert found.total_bytes == psutil.virtual_memory().total
    assert 0 <= found.cpu_percent <= 100


def test_a_process_is_measured_with_its_children(family: subprocess.Popen[bytes]) -> None:
    host = HostMemory()
    held = host.measure([family.pid])[family.pid]
    assert 50 * MIB < held < 400 * MIB  # twice 20 MiB and two interpreters
    assert LinuxProbe().children(family.pid)


def test_shared_pages_count_by_parts(family: subprocess.Popen[bytes]) -> None:
    probe = LinuxProbe()
    rss, pss = probe.rss(family.pid), probe.pss(family.pid)
    assert rss is not None
    assert pss is not None
    assert 20 * MIB < pss < rss


def test_a_new_process_changes_the_newest_number() -> None:
    probe = LinuxProbe()
    before = probe.newest()
    subprocess.run([sys.executable, "-c", ""], check=True)
    assert probe.newest() != before


def test_a_process_is_known_by_its_session_and_a_thread_is_none() -> None:
    probe = LinuxProbe()
    assert probe.session(ME) in {os.getsid(0), ME}
    assert ME in list(probe.all())
    with ThreadPoolExecutor(1) as other:
        thread = other.submit(threading.get_native_id).result(30)
        assert probe.session(thread) is None


def test_how_long_work_waits_for_memory_is_read_where_the_kernel_tells(tmp_path: Path) -> None:
    probe = LinuxProbe(tmp_path)
    assert probe.stalled() is None
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "memory").write_text(
        "some avg10=9.00 avg60=0.19 avg300=0.79 total=5\nfull avg10=1.25 avg60=0.16 total=1\n"
    )
    assert probe.stalled() == 1.25


def test_a_process_that_has_ended_is_left_out() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(timeout=30)
    host = HostMemory()
    assert host.measure([ended.pid]) == {}
    assert LinuxProbe().children(ended.pid) == []
    assert LinuxProbe().pss(ended.pid) is None
    assert LinuxProbe().session(ended.pid) is None
    assert LinuxProbe().limits(ended.pid) is None


def test_measuring_74_agents_takes_a_small_part_of_a_second() -> None:
    host = HostMemory()
    before = time.process_time()
    host.measure([ME] * 74)
    host.sample()
    assert time.process_time() - before < 0.2


# --- trees ----------------------------------------------------------------------------------


def test_descendants_of_any_depth_count_once() -> None:
    probe = FakeProbe()
    probe.held = {1: 10, 2: 20, 3: 30, 4: 40}
    probe.tree = {1: [2, 3], 3: [4], 4: [1, 3]}  # a pid reused in the middle makes a loop
    host = HostMemory(probe)
    assert host.measure([1, 5]) == {1: 100}


def test_a_child_that_ends_while_it_is_read_counts_nothing() -> None:
    probe = FakeProbe()
    probe.held = {1: 10}
    probe.tree = {1: [2]}
    assert HostMemory(probe).measure([1]) == {1: 10}


# --- enforcement ----------------------------------------------------------------------------


def level(*limits: Limits, own: Limits = Limits(), guarded: bool = False) -> Enforcement:  # noqa: B008
    probe = FakeProbe()
    probe.limited = {ME: own} | dict(enumerate(limits, start=1_000_000))
    host = HostMemory(probe, guarded=guarded)
    host.measure(list(probe.limited.keys() - {ME}))
    return host.sample().enforcement


def test_nothing_limited_is_advisory() -> None:
    assert level() is Enforcement.ADVISORY
    assert level(Limits()) is Enforcement.ADVISORY
    assert HostMemory(FakeProbe()).latest.enforcement is Enforcement.ADVISORY


def test_a_group_of_its_own_is_kernel_only_when_every_agent_has_one() -> None:
    assert level(Limits(cgroup_bytes=5), Limits(cgroup_bytes=6)) is Enforcement.KERNEL
    assert level(Limits(cgroup_bytes=5), Limits()) is Enforcement.ADVISORY


def test_a_limit_shared_with_the_engine_is_nobodys_budget() -> None:
    container = Limits(cgroup_bytes=100, data_bytes=100)
    assert level(container, own=container, guarded=True) is Enforcement.ADVISORY
    assert level(Limits(cgroup_bytes=50), own=container) is Enforcement.KERNEL


def test_a_data_limit_counts_only_beside_a_guard() -> None:
    limited = Limits(data_bytes=5)
    assert level(limited) is Enforcement.ADVISORY
    assert level(limited, guarded=True) is Enforcement.GUARDED
    assert level(limited, Limits(), guarded=True) is Enforcement.ADVISORY


def test_real_processes_without_limits_are_advisory(family: subprocess.Popen[bytes]) -> None:
    host = HostMemory()
    host.measure([family.pid])
    assert host.sample().enforcement is Enforcement.ADVISORY


def test_a_real_data_limit_is_read() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    with child:
        child.stdout.readline()
        resource.prlimit(child.pid, resource.RLIMIT_DATA, (512 * MIB, 512 * MIB))
        limits = LinuxProbe().limits(child.pid)
        assert limits is not None
        assert limits.data_bytes == 512 * MIB
        host = HostMemory(guarded=True)
        host.measure([child.pid])
        assert host.sample().enforcement is Enforcement.GUARDED
        child.communicate(b"\n", timeout=30)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A cgroup v2 tree in which this process sits in swarms/dev/agent."""
    (tmp_path / "proc" / str(ME)).mkdir(parents=True)
    (tmp_path / "proc" / str(ME) / "cgroup").write_text("4:memory:/x\n0::/swarms/dev/agent\n")
    (tmp_path / "cgroup" / "swarms" / "dev" / "agent").mkdir(parents=True)
    (tmp_path / "cgroup" / "cgroup.controllers").write_text("cpu memory\n")
    return tmp_path


def cgroup_bytes(tree: Path) -> int:
    limits = LinuxProbe(tree / "proc", tree / "cgroup").limits(ME)
    assert limits is not None
    return limits.cgroup_bytes


def test_the_least_limit_on_the_way_to_the_root_is_the_one_in_force(tree: Path) -> None:
    assert cgroup_bytes(tree) == UNLIMITED
    swarms = tree / "cgroup" / "swarms"
    (swarms / "dev" / "agent" / "memory.max").write_text("max\n")
    assert cgroup_bytes(tree) == UNLIMITED
    (swarms / "dev" / "memory.max").write_text("3000\n")
    (swarms / "memory.max").write_text("2000\n")
    assert cgroup_bytes(tree) == 2000
    (swarms / "dev" / "agent" / "memory.max").write_text("1000\n")
    assert cgroup_bytes(tree) == 1000


def test_a_hybrid_layout_is_read_below_unified(tree: Path) -> None:
    hybrid = tree / "hybrid"
    hybrid.mkdir()
    (tree / "cgroup").rename(hybrid / "unified")
    (hybrid / "unified" / "swarms" / "memory.max").write_text("7\n")
    limits = LinuxProbe(tree / "proc", hybrid).limits(ME)
    assert limits is not None
    assert limits.cgroup_bytes == 7
