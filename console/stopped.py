"""Whether queues run, and how full they are, in a few words for the head of a screen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..engine import views

_MODES: Final = {"paused": "PAUSED", "draining": "DRAINING"}


def open_in(environment: views.EnvironmentView) -> int:
    """Messages that its limit counts."""
    queue = environment.queue
    return queue.ready + queue.delayed + queue.leased


def banner(environments: Sequence[views.EnvironmentView]) -> str:
    """Which of these queues are stopped; empty when all of them run."""
    found = {
        word: [each.name for each in environments if each.queue_mode == mode]
        for mode, word in _MODES.items()
    }
    return "  ".join(f"{word} {', '.join(names)}" for word, names in found.items() if names)


def fullness(environments: Sequence[views.EnvironmentView]) -> str:
    """How many messages the fullest of them holds and may hold, and why it is stopped if there is
    only this one; empty for none."""
    limited = [each for each in environments if each.queue_limit]
    if not limited:
        return ""
    fullest = max(limited, key=lambda each: open_in(each) / each.queue_limit)
    words = f"{open_in(fullest):,} of {fullest.queue_limit:,} open"
    if len(environments) > 1:
        return f"fullest {fullest.name}, {words}"
    return f"{words} · {fullest.queue_reason}" if fullest.queue_reason else words
