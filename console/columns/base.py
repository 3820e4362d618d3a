"""What columns of all tables are made of: words, counts, sizes, states, ages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...engine.model import PREFIXES
from ...widgets import Column, mark_of, state_text
from .. import wording
from ..wording import DASH

Cell = Callable[[Any], str]

ID_CELLS: Final = 23
"""The longest id that the engine makes: `research_swarm_` and eight characters."""


class Moment:
    """The time of the last pull; every table of the console reads it."""

    __slots__ = ("us",)

    def __init__(self, us: int = 0) -> None:
        self.us = us


NONE: Final = (DASH, "muted")


def place_style(name: str) -> str:
    """The style of an environment's name."""
    return name if name in PREFIXES else "muted"


def _plain(value: object) -> str:
    return DASH if value is None or value == "" else str(value)


def _of(name: str) -> Cell:
    """The field itself; a dash for nothing."""
    return lambda view: _plain(getattr(view, name))


def _size(name: str) -> Cell:
    return lambda view: wording.size(getattr(view, name))


def _number(name: str) -> Cell:
    return lambda view: f"{getattr(view, name):,}" if getattr(view, name) else DASH


def text(name: str, field: str = "", width: int = 10, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of words."""
    return Column(name, _of(field or name), width=width, **more)


def number(name: str, field: str = "", width: int = 8, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of counts, to the right; sorted by value."""
    field = field or name
    return Column(
        name, _number(field), width=width, align="right", sort=lambda v: getattr(v, field), **more
    )


def amount(name: str, field: str = "", width: int = 8, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of sizes, to the right; sorted by bytes."""
    field = field or name
    return Column(
        name, _size(field), width=width, align="right", sort=lambda v: getattr(v, field), **more
    )


def state(width: int = 11, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of states: symbol, word and colour."""
    return Column(
        "state",
        lambda view: state_text(view.state),
        width=width,
        style=lambda view: mark_of(view.state).style,
        sort=lambda view: view.state,
        **more,
    )


def where(name: str = "environment", field: str = "", **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of environments, each in its own style."""
    field = field or name
    return Column(
        name, _of(field), width=11, style=lambda view: place_style(getattr(view, field)), **more
    )


def age(name: str, field: str, moment: Moment, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of ages; newest first when sorted upwards."""
    return Column(
        name,
        lambda view: wording.ago(moment.us, getattr(view, field)),
        width=8,
        align="right",
        sort=lambda view: -(getattr(view, field) or 0),
        **more,
    )


def expiry(moment: Moment, **more: Any) -> Column[Any]:  # noqa: ANN401
    return Column(
        "expires",
        lambda view: wording.left(moment.us, view.expires_at_us),
        width=8,
        align="right",
        **more,
    )


STATUSES: Final = {"verified": "good", "ok": "good", "unverified": "warning", "warning": "warning",
                   "failed": "bad"}  # fmt: skip


def status(**more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of what a check has found."""
    return Column(
        "status",
        lambda view: state_text(view.status),
        width=12,
        style=lambda view: STATUSES.get(view.status, "text"),
        **more,
    )
