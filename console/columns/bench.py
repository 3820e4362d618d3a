"""Benchmarks."""

from __future__ import annotations

from typing import Any, Final

from ...engine import views
from ...widgets import Column
from ...widgets.format import micros, rate
from ..wording import DASH
from .base import NONE, Moment, age, number, text

VERDICTS: Final = {
    "better": ("▲ better", "good"),
    "same": ("= same", "text"),
    "worse": ("▼ worse", "bad"),
}
"""How a verdict is written: a symbol and a word, and its style."""


def benchmarks(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("workload", "name", width=24),
        Column("rate", lambda b: rate(b.ops_s), width=8, align="right", sort=lambda b: b.ops_s),
        Column("median", lambda b: micros(b.p50_us), width=8, align="right"),
        Column("99 %", lambda b: micros(b.p99_us), width=8, align="right"),
        Column("verdict", _verdict, width=8, style=lambda b: VERDICTS.get(b.verdict, NONE)[1]),
        Column("ratio", _ratio, width=6, align="right", sort=lambda b: b.ratio or 0.0),
        text("against", "baseline", width=12, priority=3),
        Column("values", _wrapping, width=9, priority=4),
        number("callers", "concurrency", width=7, priority=2),
        number("calls", "operations", width=9, priority=1),
        age("age", "at_us", moment, priority=2),
    )


def _verdict(bench: views.BenchView) -> str:
    return VERDICTS.get(bench.verdict, NONE)[0]


def _ratio(bench: views.BenchView) -> str:
    return DASH if bench.ratio is None else f"{bench.ratio:.2f}"


def _wrapping(bench: views.BenchView) -> str:
    """What was done to each value besides storing it."""
    parts = (("sealed", bench.encryption), ("packed", bench.compression))
    return " ".join(word for word, done in parts if done) or "plain"
