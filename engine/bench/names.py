"""The workloads by name, apart from the code that runs them in another process."""

from __future__ import annotations

from typing import Final

from ..errors import InvalidInput

CLAIM_BATCH: Final = 16

NAMES: Final = {
    "memory.set": "NORMAL, decision and audit row",
    "memory.get": "20,000 keys, decoded",
    "queue.send": "small body, NORMAL",
    "queue.claim": f"claim {CLAIM_BATCH}, ack each, NORMAL",
    "queue.end_to_end": "from send to ack, a message in flight a caller, NORMAL",
    "access.decide": "uncached decision, no entry in force, mean of 1,000",
    "socket.set": "memory.set from another process over the socket",
    "socket.get": "memory.get from another process over the socket",
}


def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """The workloads to run, in order; none means all. Raises InvalidInput for an unknown one."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InvalidInput(f"no benchmark {', '.join(unknown)}", hint=f"one of {', '.join(NAMES)}")
    return tuple(dict.fromkeys(names)) or tuple(NAMES)
