"""How a process that is ours alone is set up to run an engine."""

from __future__ import annotations

import atexit
import gc
import resource
import sys
from typing import Final

# A collection looks at all that is young, 0.7 us each, while everybody waits. At Python's 700
# objects a busy engine spends a tenth of its time on it and finds nothing: the hot path makes no
# cycles.
YOUNG_OBJECTS: Final = 5_000

# SQLite gives the interpreter up at every row; a busy loop keeps it for as long as this each time.
SWITCH_S: Final = 0.001

# Loading a program makes objects that stay, tens of thousands of them: looked at in vain.
LOADED_OBJECTS: Final = 200_000


def spare() -> None:
    """Hardly ever collect garbage: while modules are loaded, and for a command that is over
    soon."""
    gc.set_threshold(LOADED_OBJECTS, 20, 20)


def tune() -> None:
    """Collect garbage less often than Python does, and hand the interpreter over sooner. For
    engines that stay, the console and measurements; a program that only uses the engine keeps its
    own settings. What is loaded by now stays, and is never looked at."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    sys.setswitchinterval(SWITCH_S)


def leave_no_core() -> None:
    """Write no memory image when this process crashes: keys and values are in it. The limit is one
    byte: unlike none at all, Linux then starts no program that collects such images either. What
    this process starts may raise its own."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (min(1, hard) if hard >= 0 else 1, hard))


def end_without_search() -> None:
    """Let the interpreter end without looking for garbage in all that was loaded: a tenth of the
    processor time of a short command. What has to be closed is closed by then."""
    atexit.register(gc.freeze)
