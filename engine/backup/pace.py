"""Long work on a thread beside the engine: others get their turn, and there is an end."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import Conflict

Progress = Callable[[float, str], object]


class Pace:
    """`over` is set from outside to end the work. SQLite's own work runs without the interpreter's
    lock and is only ended; loops of ours hand the lock over often, for else every call of the
    engine would wait for them as long as the interpreter lets it."""

    def __init__(self) -> None:
        self.over = False

    def __call__(self) -> bool:
        """Whether to end. The form SQLite asks for."""
        return self.over

    def rest(self) -> None:
        """Let others have the interpreter. Call it every few rows. Raises Conflict when nobody
        waits for the outcome any more."""
        time.sleep(0)
        if self.over:
            raise Conflict("nobody waits for it any more")
