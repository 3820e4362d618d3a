"""The last hour of everything that is measured, in memory as it is in the file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from .series import Row
from .windows import HOUR_S

KEPT_ROWS: Final = 720
"""Of one subject at most: an hour in steps of 5 s. Steps that are shorter are read from the file
sooner."""


class Recent:
    """The rows of each subject, oldest first. What began at `since_s` or later is complete."""

    def __init__(self, since_s: int = 0) -> None:
        self.since_s = since_s
        self._rows: dict[str, deque[Row]] = {}

    def went_back(self, now_s: int) -> None:
        """The clock was set back: what was measured later than now was not."""
        for rows in self._rows.values():
            while rows and rows[-1].at_s > now_s:
                rows.pop()
        self.trim(now_s)

    def add(self, subject: str, row: Row) -> None:
        """Take in a row that is newer than those before."""
        rows = self._rows.setdefault(subject, deque())
        if rows and rows[-1].at_s == row.at_s:
            rows.pop()  # measured anew
        rows.append(row)
        if len(rows) > KEPT_ROWS:
            self._lost(rows.popleft())

    def trim(self, now_s: int) -> None:
        """Let go of what is older than an hour, and of subjects of which nothing is left."""
        before_s = now_s - HOUR_S - 1
        for subject, rows in list(self._rows.items()):
            while rows and rows[0].at_s < before_s:
                self._lost(rows.popleft())
            if not rows:
                del self._rows[subject]

    def _lost(self, row: Row) -> None:
        self.since_s = max(self.since_s, row.at_s + 1)

    def rows(self, subject: str) -> Iterable[Row]:
        return self._rows.get(subject, ())

    def newest(self) -> dict[str, Row]:
        """The last row of each subject."""
        return {subject: rows[-1] for subject, rows in self._rows.items()}
