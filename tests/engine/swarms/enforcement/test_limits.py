"""Limits of one process, read back from the kernel."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmdeck.engine.model import MIB
from swarmdeck.engine.swarms.enforcement.limits import (
    LEAST_DATA_BYTES,
    choose_before_engine,
    data_bytes,
    limit_data,
)

TAKER = """
import sys
sys.stdin.readline()
try:
    held = bytearray(int(sys.argv[1]) << 20)
except MemoryError:
    print("refused")
else:
    print("taken")
"""


@pytest.fixture
def taker() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", TAKER, "200"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        yield process
        process.kill()


def test_data_over_the_share_is_refused_by_the_kernel(taker: subprocess.Popen[str]) -> None:
    assert limit_data(taker.pid, 150 * MIB)
    assert taker.communicate("\n", timeout=30)[0] == "refused\n"


def test_a_share_that_grew_lifts_the_limit_again(taker: subprocess.Popen[str]) -> None:
    limit_data(taker.pid, 150 * MIB)
    assert limit_data(taker.pid, 400 * MIB)
    assert resource.prlimit(taker.pid, resource.RLIMIT_DATA)[0] == 400 * MIB
    assert taker.communicate("\n", timeout=30)[0] == "taken\n"


def test_the_hard_limit_stays_so_that_growing_takes_no_privilege(
    taker: subprocess.Popen[str],
) -> None:
    before = resource.prlimit(taker.pid, resource.RLIMIT_DATA)[1]
    limit_data(taker.pid, 150 * MIB)
    assert resource.prlimit(taker.pid, resource.RLIMIT_DATA)[1] == before


def test_a_hard_limit_below_the_share_is_kept(taker: subprocess.Popen[str]) -> None:
    resource.prlimit(taker.pid, resource.RLIMIT_DATA, (100 * MIB, 100 * MIB))
    assert limit_data(taker.pid, 150 * MIB)
    assert resource.prlimit(taker.pid, resource.RLIMIT_DATA) == (100 * MIB, 100 * MIB)


def test_a_small_swarm_may_still_start_an_interpreter() -> None:
    assert data_bytes(16 * MIB) == LEAST_DATA_BYTES
    assert data_bytes(LEAST_DATA_BYTES + 1) == LEAST_DATA_BYTES + 1


def test_a_process_that_is_gone_is_not_limited() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(timeout=30)
    assert not limit_data(ended.pid, 150 * MIB)
    choose_before_engine(ended.pid, 5)


def test_the_kernel_is_told_to_end_the_least_important_first(taker: subprocess.Popen[str]) -> None:
    chosen = Path(f"/proc/{taker.pid}/oom_score_adj")
    for priority, expected in ((1, 200), (5, 1000), (9, 1000)):
        choose_before_engine(taker.pid, priority)
        assert int(chosen.read_text()) == expected
