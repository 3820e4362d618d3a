"""What part of the tasks somebody looks at, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..acl.sight import Where, joined
from ..errors import InvalidInput
from ..store.contains import containing
from ..store.database import Reader
from ..views import TaskView
from .task import COLUMNS, Task, task_of

if TYPE_CHECKING:
    from ..actions import TaskList

UNENDED: Final = "unended"

_UNENDED: Final = "status IN ('pending', 'in_progress', 'blocked')"
_AMONG: Final = "id IN (SELECT value FROM json_each(?))"
_STATUSES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    UNENDED: (_UNENDED, ()),
    "all": ("1", ()),
    "overdue": (f"deadline_at <= ? AND {_UNENDED}", ("now",)),
    "ready": (_AMONG, ("ready",)),
    "waiting": (f"status = 'pending' AND NOT {_AMONG} AND NOT {_AMONG}", ("broken", "ready")),
    "blocked": (f"status = 'blocked' OR (status = 'pending' AND {_AMONG})", ("broken",)),
    "pending": (f"status = 'pending' AND NOT {_AMONG}", ("broken",)),
}
"""By a status as it is shown: the condition, and what its parameters are. Any other is one of the
file."""
_ORDERS: Final = {
    "urgency": ("priority DESC", "ifnull(deadline_at, 9e18)", "id"),
    "deadline": ("ifnull(deadline_at, 9e18)", "priority DESC", "id"),
    "age": ("id",),
    "ended": ("ended_at DESC", "id DESC"),
    "progress": ("progress DESC", "id"),
    "title": ("title", "id"),
}
_TEXTS: Final = ("title", "type", "owner", "ifnull(agent, '')", "reason", "blockers")

_ENDED: Final = ("completed", "failed", "cancelled")
_NEVER_US: Final = 1 << 63
_KEYS: Final[dict[str, Callable[[TaskView], Any]]] = {
    "urgency": lambda each: (-each.priority, each.deadline_at_us or _NEVER_US),
    "deadline": lambda each: (each.deadline_at_us or _NEVER_US, -each.priority),
    "age": lambda each: each.created_at_us,
    "ended": lambda each: -(each.ended_at_us or 0),
    "progress": lambda each: -each.progress,
    "title": lambda each: each.title,
}

_to_json = msgspec.json.Encoder().encode


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks, None is any. `status` is one of a task, or ready, waiting, overdue, unended
    (pending, in_progress and blocked) or all; `contains` a text in title, type, owner, agent,
    reason or blockers, in any case."""

    status: str = UNENDED
    agent: str | None = None
    team: str | None = None
    type: str | None = None
    parent: int | None = None
    contains: str = ""
    order: str = "urgency"
    descending: bool = False


class Known(msgspec.Struct, frozen=True):
    """What the file does not know: which are ready, and which wait for what has failed."""

    ready: Iterable[int]
    broken: Iterable[int]
    now_us: int


def in_order(asked: TaskList) -> Callable[[TaskView], Any]:
    """What the tasks of several environments are merged by. Names go by their spelling, whatever
    the file takes for the same."""
    return _KEYS["ended" if asked.order == "urgency" and asked.status in _ENDED else asked.order]


def page(
    wanted: Wish,
    known: Known,
    sight: Where,
    sees: Callable[[Task], bool],
    offset: int,
    limit: int,
) -> Callable[[Reader], list[Task]]:
    """The tasks of a page. `sight` passes over what may not be seen, `sees` looks at what is
    left. Raises InvalidInput for an order there is not."""
    where, parameters = joined([*_conditions(wanted, known), sight])
    statement = f"SELECT {COLUMNS} FROM task WHERE env = ? AND {where} ORDER BY {_order(wanted)}"  # noqa: S608 - ours

    def query(reader: Reader) -> list[Task]:
        found: list[Task] = []
        left = offset
        for row in reader.execute(statement, (reader.env, *parameters)):
            task = task_of(row)
            if not sees(task):
                continue
            left -= 1
            if left < 0:
                found.append(task)
            if len(found) == limit:
                break
        return found

    return query


def _order(wanted: Wish) -> str:
    name = wanted.order
    if name == "urgency" and wanted.status in _ENDED:
        name = "ended"
    if name not in _ORDERS:
        raise InvalidInput(f"tasks have no order {name}", hint=", ".join(_ORDERS))
    return ", ".join(_turned(part) if wanted.descending else part for part in _ORDERS[name])


def _turned(part: str) -> str:
    return part.removesuffix(" DESC") if part.endswith(" DESC") else f"{part} DESC"


def _conditions(wanted: Wish, known: Known) -> list[Where]:
    parts = [_status(wanted.status, known)]
    named = ((name, getattr(wanted, name)) for name in ("agent", "team", "type", "parent"))
    parts += [(f"{name} = ?", (value,)) for name, value in named if value is not None]
    if wanted.contains:
        parts.append(containing(wanted.contains, _TEXTS))
    return parts


def _status(status: str, known: Known) -> Where:
    """A status as it is shown. Those that wait for what has failed are pending in the file."""
    where, asked = _STATUSES.get(status, ("status = ?", ()))
    if not asked:
        return where, (status,) if "?" in where else ()
    told = {"ready": known.ready, "broken": known.broken}
    found = [known.now_us if name == "now" else _listed(told[name]) for name in asked]
    return where, tuple(found)


def _listed(idents: Iterable[int]) -> str:
    return _to_json(list(idents)).decode()
