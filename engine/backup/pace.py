"""Long work on a thread beside the engine: not too much at once, and an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ..errors import Conflict

WORK_S: Final = 0.001  # before others get their turn
REST_S: Final = 0.001

Progress = Callable[[float, str], object]


class Pace:
    """Lets others work: half of the time at most is this thread's. `over` is set from outside to
    end it."""

    def __init__(self) -> None:
        self.over = False
        self._since_s = time.perf_counter()

    def __call__(self) -> bool:
        """Rest if it is time to; whether to end. The form SQLite asks for."""
        if time.perf_counter() - self._since_s > WORK_S:
            time.sleep(REST_S)
            self._since_s = time.perf_counter()
        return self.over

    def rest(self) -> None:
        """Rest if it is time to. Raises Conflict when nobody waits for the outcome any more."""
        if self():
            raise Conflict("nobody waits for it any more")
