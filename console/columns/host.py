"""Environments and who holds their memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...engine import views
from ...widgets import Column, mark_of
from .. import wording
from ..wording import DASH
from .base import ID_CELLS, Moment, age, amount, number, place_style, state, text
from .swarms import swarm_ready


def environments(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("environment", _home, width=12, style=_home_style),
        state(width=13, priority=3),
        amount("plan", "base_bytes"),
        amount("at most", "max_bytes", priority=4),
        amount("allocated", "allocated_bytes", width=9),
        amount("used", "used_bytes"),
        amount("borrowed", "borrowed_bytes"),
        Column("from", lambda e: lenders(e.lenders), width=26, priority=2, style="muted"),
        amount("lent", "lent_bytes", priority=1),
        amount("one more", "available_bytes", priority=3),
        Column("full in", _full_in, width=8, align="right", style=_full_style, priority=1),
        Column("agents", _agents_of_limit, width=7, align="right", priority=4),
        number("records", width=9, priority=5),
        text("isolation", width=9, priority=6),
        text("durability", priority=7),
        text("a crash loses", "loss_window", width=24, priority=8),
    )


def _home(environment: views.EnvironmentView) -> str:
    """Its name, with the mark of its state while that is not as usual."""
    unusual = environment.state != "open"
    return f"{mark_of(environment.state).symbol if unusual else ''}{environment.name}"


def _home_style(environment: views.EnvironmentView) -> str:
    unusual = environment.state != "open"
    return mark_of(environment.state).style if unusual else place_style(environment.name)


def lenders(loans: Sequence[views.LoanView]) -> str:
    """From whom how much, or a dash: `buffer 2 GB, staging 1 GB`."""
    return ", ".join(f"{loan.lender} {wording.size(loan.bytes)}" for loan in loans) or DASH


def _full_in(environment: views.EnvironmentView) -> str:
    return wording.soon(environment.full_in_s)


def _full_style(environment: views.EnvironmentView) -> str:
    """Alarming within the hour: until then it can be seen to in time."""
    full_in_s = environment.full_in_s
    if full_in_s is None:
        return "muted"
    return "bad" if full_in_s < 600 else "warning" if full_in_s < 3_600 else "text"


def borrowers(moment: Moment) -> tuple[Column[Any], ...]:
    """The swarms of an environment as holders of its memory."""
    return (
        text("id", width=ID_CELLS),
        text("name", width=16, priority=2, grow=1),
        state(),
        amount("memory", "memory_bytes"),
        amount("used", "used_bytes"),
        amount("borrowed", "borrowed_bytes"),
        Column("killed", _killed, width=6, align="right", style=_killed_style, priority=1),
        Column("from", lambda s: lenders(s.lenders), width=26, priority=1, style="muted"),
        Column("agents", swarm_ready, width=6, align="right", priority=3),
        age("age", "created_at_us", moment, priority=4),
    )


def _killed(swarm: views.SwarmView) -> str:
    """How many of its agents were, for what they held."""
    return f"{swarm.breaches:,}" if swarm.breaches else DASH


def _killed_style(swarm: views.SwarmView) -> str:
    return "warning" if swarm.breaches else "muted"


def _agents_of_limit(environment: views.EnvironmentView) -> str:
    return f"{environment.agents}/{environment.agent_limit}"
