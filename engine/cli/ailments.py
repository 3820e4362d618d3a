"""Health and recovery as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .. import views
from ..text import safe_text
from .output import Cell, Shown, cell, heading, table

_NOTHING: Final = "-"
_FINDINGS: Final = ("subject", "probe", "status", "since_at_us", "policy", "tries", "detail")
_RECOVERIES: Final = ("subject", "policy", "state", "tries", "next_at_us", "outcome")
_SAID: Final = ("standby", "address", "changed_by")


def findings(rows: Sequence[views.FindingView], shown: Shown) -> str:
    """A line for each probe: what it found, since when, what is done about it."""
    return _sheet(_FINDINGS, rows, shown)


def recoveries(rows: Sequence[views.RecoveryView], shown: Shown) -> str:
    """A line for each subject; standby, address and who chose only where any has one."""
    more = [name for name in _SAID if any(getattr(row, name) for row in rows)]
    return _sheet((*_RECOVERIES, *more), rows, shown)


def _sheet(names: Sequence[str], rows: Sequence[Any], shown: Shown) -> str:
    lines: list[list[Cell]] = [
        [
            (_tries(row), False) if name == "tries" else cell(row, name, shown.now_us)
            for name in names
        ]
        for row in rows
    ]
    return table([heading(name) for name in names], lines, shown.width)


def _tries(row: views.FindingView | views.RecoveryView) -> str:
    """Recoveries that were tried, of how many."""
    return safe_text(f"{row.attempts} of {row.attempts_max}") if row.attempts else _NOTHING
