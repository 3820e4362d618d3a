"""One table of marks for the states of agents, swarms, messages and checks.

A state is always a symbol and a word besides its colour, everywhere the same ones.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .cells import Span


class Mark(NamedTuple):
    """How a state looks: one cell, and its style words."""

    symbol: str
    style: str


STATE_MARKS: Final[dict[str, Mark]] = {
    # agents and swarms
    "ready": Mark("●", "good"),
    "running": Mark("●", "good"),
    "starting": Mark("◐", "accent"),
    "external": Mark("◇", "accent"),
    "draining": Mark("◒", "warning"),
    "stale": Mark("▲", "warning"),
    "exited": Mark("○", "muted"),
    "terminated": Mark("○", "muted"),
    "failed": Mark("✗", "bad"),
    # messages
    "delayed": Mark("◷", "muted"),
    "leased": Mark("◐", "accent"),
    "done": Mark("✓", "good"),
    "dead": Mark("✗", "bad"),
    "expired": Mark("⌛", "warning"),
    "cancelled": Mark("○", "muted"),
    "late": Mark("▲", "warning"),
    "paused": Mark("‖", "muted"),
    # proposals, conflicts
    "in_progress": Mark("◐", "accent"),
    "achieved": Mark("✓", "good"),
    "unresolved": Mark("▲", "warning"),
    "escalated": Mark("✗", "bad"),
    "resolved": Mark("✓", "good"),
    # tasks
    "waiting": Mark("◷", "muted"),
    "blocked": Mark("▲", "warning"),
    # events
    "pending": Mark("◷", "muted"),
    "processing": Mark("◐", "accent"),
    "completed": Mark("✓", "good"),
    # artifacts
    "stored": Mark("●", "text"),
    "checked": Mark("✓", "good"),
    "damaged": Mark("✗", "bad"),
    "gone": Mark("○", "muted"),
    # health, checks, environments
    "healthy": Mark("●", "good"),
    "degraded": Mark("▲", "warning"),
    "critical": Mark("✗", "bad"),
    "ok": Mark("✓", "good"),
    "warning": Mark("▲", "warning"),
    "open": Mark("●", "good"),
    "verified": Mark("✓", "good"),
    "unverified": Mark("▲", "warning"),
    "active": Mark("●", "good"),
    "retiring": Mark("◒", "warning"),
    "destroyed": Mark("○", "muted"),
    "sealed": Mark("■", "warning"),
    "quarantined": Mark("✗", "bad"),
}
_UNKNOWN: Final = Mark("?", "warning")


def mark_of(state: str) -> Mark:
    """The mark of a state; `?` for one that is not known."""
    return STATE_MARKS.get(state, _UNKNOWN)


def state_text(state: str) -> str:
    """Symbol and word, for a table's cell."""
    return f"{mark_of(state).symbol} {state}"


def state_span(state: str) -> Span:
    """Symbol and word in the state's style."""
    return state_text(state), mark_of(state).style
