"""SwarmDeck's engine: storage and coordination for swarms of agents.

Names are loaded when they are first used, so that a command that needs little starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .batch import Batch, Outcome
    from .engine import Engine, connect, open_engine
    from .errors import SwarmDeckError
    from .handles import Draft, Memory, Message, Queue, Write

__all__ = [
    "Batch",
    "Draft",
    "Engine",
    "Memory",
    "Message",
    "Outcome",
    "Queue",
    "SwarmDeckError",
    "Write",
    "connect",
    "open_engine",
]

_HOMES = {
    "Batch": ".batch",
    "Draft": ".handles",
    "Engine": ".engine",
    "Memory": ".handles",
    "Message": ".handles",
    "Outcome": ".batch",
    "Queue": ".handles",
    "SwarmDeckError": ".errors",
    "Write": ".handles",
    "connect": ".engine",
    "open_engine": ".engine",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
