"""Statements that took longer than a threshold: how often, how long, by which plan.

A statement is timed where it runs, which costs two looks at a clock. Only its text is kept, never
a value: all values are bound. The plan is asked for aside, once for each text.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..clock import Clock
from ..views import StatementView
from . import driver

KEPT_STATEMENTS: Final = 100
KEPT_TIMES: Final = 256  # of each: what its p99 is taken of
_PLANNED: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
_TEXT_LIMIT: Final = 2_000
_LIST: Final = re.compile(r"\?(?:, ?\?){3,}")  # as long as what was asked for

_GROUPS: Final = re.compile(r"(\([^()]*\))(?:, \1)+")  # as many as there were rows

log = logging.getLogger(__name__)


class _Statement:
    """One text, and its slow runs."""

    __slots__ = ("count", "last_us", "max_ms", "plan", "times_ms")

    def __init__(self) -> None:
        self.count = 0
        self.max_ms = 0.0
        self.last_us = 0
        self.plan = ""
        self.times_ms: deque[float] = deque(maxlen=KEPT_TIMES)


class Slow:
    """The slow statements of one database, the least recent forgotten first; told to the log unless
    `quiet`. `note` is called on
    the thread that ran one, the rest on the loop. `found(sql, parameters)` is told of a text that
    is new, with the number of its parameters, on that thread: to ask for its plan."""

    def __init__(
        self,
        env: str,
        clock: Clock,
        threshold_ms: float,
    ) -> None:
        self.threshold_s = threshold_ms / 1000
        self.quiet = False
        self.found: Callable[[str, int], object] = lambda _, __: None
        self._env = env
        self._clock = clock
        self._statements: OrderedDict[str, _Statement] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, sql: str, elapsed_s: float, parameters: int) -> None:
        """A statement took so long."""
        text = statement_text(sql)
        elapsed_ms = elapsed_s * 1000
        if not self.quiet:
            log.warning("%s: a statement took %.0f ms: %s", self._env, elapsed_ms, text)
        with self._lock:
            statement = self._statements.get(text)
            is_new = statement is None
            if statement is None:
                statement = self._statements[text] = _Statement()
            statement.count += 1
            statement.max_ms = max(statement.max_ms, elapsed_ms)
            statement.last_us = self._clock.wall_us()
            statement.times_ms.append(elapsed_ms)
            self._statements.move_to_end(text)
            if len(self._statements) > KEPT_STATEMENTS:
                self._statements.popitem(last=False)
        if is_new:
            self.found(sql, parameters)

    def explained(self, sql: str, plan: str) -> None:
        """Keep the plan of a statement, if it is still known."""
        statement = self._statements.get(statement_text(sql))
        if statement is not None:
            statement.plan = plan

    def views(self) -> list[StatementView]:
        """All of them, the one that cost most in all first."""
        with self._lock:
            found = [_view(self._env, text, kept) for text, kept in self._statements.items()]
        return sorted(found, key=lambda view: -view.count * view.p99_ms)


async def plan_of(path: Path, sql: str, parameters: int) -> str:
    """The plan of a statement, a step a line, asked for on a connection of its own; empty for one
    that has none. Raises StorageError, driver.Error."""
    if not sql.lstrip().upper().startswith(_PLANNED):
        return ""
    connection = await driver.connect(path, read_only=True)
    try:
        return await connection.run(_plan, sql, parameters)
    finally:
        await connection.close()


def _plan(raw: driver.Raw, sql: str, parameters: int) -> str:
    rows = raw.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * parameters).fetchall()
    depth = {0: -1}
    lines = []
    for ident, parent, _, text in rows:
        depth[ident] = depth.get(parent, -1) + 1
        lines.append("  " * depth[ident] + str(text))
    return "\n".join(lines)


def statement_text(sql: str) -> str:
    """One line, without what only says how many were asked for."""
    one_line = _GROUPS.sub(r"\1", " ".join(sql.split()))
    return _LIST.sub("?, …", one_line)[:_TEXT_LIMIT]


def _view(env: str, text: str, kept: _Statement) -> StatementView:
    times = sorted(kept.times_ms)
    return StatementView(
        environment=env,
        statement=text,
        count=kept.count,
        p99_ms=times[min(len(times) - 1, int(len(times) * 0.99))],
        max_ms=kept.max_ms,
        plan=kept.plan,
        last_at_us=kept.last_us,
    )
