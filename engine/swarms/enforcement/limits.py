"""Limits the kernel keeps for one process: how much data, and who goes first when memory ends."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

LEAST_DATA_BYTES: Final = 64 << 20
CHOSEN_FIRST: Final = 200  # added to how likely the kernel ends an agent, for each priority
CHOSEN_MOST: Final = 1000

_PROC: Final = Path("/proc")


def data_bytes(share_bytes: int) -> int:
    """The RLIMIT_DATA of a process in a swarm with this share. It counts what is reserved, such as
    the stacks of threads, not what is held: below LEAST_DATA_BYTES an interpreter would not even
    start to say what is wrong."""
    return max(share_bytes, LEAST_DATA_BYTES)


def limit_data(pid: int, share_bytes: int) -> bool:
    """Limit what one process may reserve, and all it starts from now on. Whether it was done: not
    for a process that is gone, or that another user runs.

    The soft limit alone: to raise a hard one again, when the swarm grows, takes a privilege. A
    process can lift it, and meets the guard then.
    """
    try:
        _, most = resource.prlimit(pid, resource.RLIMIT_DATA)
        wanted = data_bytes(share_bytes)
        soft = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.prlimit(pid, resource.RLIMIT_DATA, (soft, most))
    except (OSError, ValueError):  # gone, another user's, or it lowered its hard limit just now
        return False
    return True


def choose_before_engine(pid: int, priority: int) -> None:
    """Let the kernel, when the host is out of memory, end this process before the engine, and
    those of less important environments first. `priority` is 1 for the most important."""
    with suppress(OSError):
        chosen = min(CHOSEN_MOST, CHOSEN_FIRST * priority)
        (_PROC / str(pid) / "oom_score_adj").write_text(str(chosen))
