"""A task, a dependency, and their rows."""

from __future__ import annotations

import unicodedata
from typing import Any, Final, NoReturn

import msgspec

from .. import codec
from ..errors import Conflict, InvalidInput, NotFound
from ..model import Level, check_name, printable, shown
from ..text import safe_text

PENDING: Final = "pending"
IN_PROGRESS: Final = "in_progress"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
BLOCKED: Final = "blocked"
ENDED: Final = frozenset({COMPLETED, FAILED, CANCELLED})

HARD: Final = "hard"
SOFT: Final = "soft"
OPTIONAL: Final = "optional"
CONDITIONAL: Final = "conditional"

MAX_TEXT_BYTES: Final = 256 << 10
MAX_TITLE: Final = 200
MAX_REASON: Final = 2_000
MAX_BLOCKERS: Final = 20
MAX_RESOURCE: Final = 200
MAX_HOURS: Final = 100_000.0
MAX_DEADLINE_S: Final = 10 * 365 * 86_400.0

COLUMNS: Final = """id, title, type, status, priority, level, owner, team, swarm, agent, parent,
       progress, confidence, estimated_hours, actual_hours, deadline_at, attempt, max_attempts,
       reason, blockers, version, created_at, updated_at, started_at, ended_at"""
EDGE_COLUMNS: Final = """id, task, needs, resource, kind, condition, met, resolved_at, resolved_by,
       created_by, created_at"""


class Task(msgspec.Struct, frozen=True):
    """A row without its JSON texts. Times are microseconds since the epoch, `progress` is percent.
    What it is for waits of its dependencies is not in `status`: see `Graph`."""

    ident: int
    title: str
    type: str
    status: str
    priority: int
    level: Level
    owner: str
    team: str | None
    swarm: str | None
    agent: str | None
    parent: int | None
    progress: float
    confidence: float | None
    estimated_hours: float | None
    actual_hours: float | None
    deadline_us: int | None
    attempt: int
    max_attempts: int
    reason: str
    blockers: tuple[str, ...]
    version: int
    created_us: int
    updated_us: int
    started_us: int | None
    ended_us: int | None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class Edge(msgspec.Struct, frozen=True):
    """What a task waits for: another task, or, where `needs` is None, something else by its
    name. `met` is what a condition said; None before the task has ended."""

    ident: int
    task: int
    needs: int | None
    resource: str
    kind: str
    condition: str
    met: bool | None
    resolved_us: int | None
    resolved_by: str
    created_by: str
    created_us: int


_LEVEL: Final = Task.__struct_fields__.index("level")
_BLOCKERS: Final = Task.__struct_fields__.index("blockers")
_MET: Final = Edge.__struct_fields__.index("met")


def task_of(row: tuple[Any, ...]) -> Task:
    """A task from a row of COLUMNS."""
    values: list[Any] = list(row)
    values[_LEVEL] = Level(values[_LEVEL])
    held = values[_BLOCKERS]
    values[_BLOCKERS] = () if held == "[]" else tuple(codec.decode_json(held.encode()))
    return Task(*values)


def edge_of(row: tuple[Any, ...]) -> Edge:
    """A dependency from a row of EDGE_COLUMNS."""
    values: list[Any] = list(row)
    values[_MET] = None if values[_MET] is None else bool(values[_MET])
    return Edge(*values)


class Names:
    """Ids of tasks and dependencies of one environment as they are shown and read."""

    def __init__(self, prefix: str) -> None:
        self._task = f"{prefix}_task_"
        self._edge = f"{prefix}_dependency_"

    def task(self, ident: int) -> str:
        return f"{self._task}{ident}"

    def edge(self, ident: int) -> str:
        return f"{self._edge}{ident}"

    def task_number(self, text: str) -> int:
        """Raises NotFound for what cannot be a task of this environment."""
        return number(text, self._task) or _unknown("task", text)

    def edge_number(self, text: str) -> int:
        """Raises NotFound for what cannot be a dependency of this environment."""
        return number(text, self._edge) or _unknown("dependency", text)

    def is_task(self, text: str) -> bool:
        """Whether a text names a task and not something else that is waited for."""
        return text.startswith(self._task)


def number(text: object, prefix: str) -> int:
    """The number behind a prefix, 0 where there is none."""
    digits = text.removeprefix(prefix) if isinstance(text, str) and text.startswith(prefix) else ""
    plain = digits.isascii() and digits.isdigit() and len(digits) < 19 and digits[0] != "0"
    return int(digits) if plain else 0


def _unknown(what: str, text: object) -> NoReturn:
    raise NotFound(f"no {what} {printable(str(text))}", hint=f"see swarmdeck {what} list")


# --- arguments --------------------------------------------------------------------------------


def title(text: str) -> str:
    """A title in Unicode normal form C. Raises InvalidInput."""
    normal = unicodedata.normalize("NFC", text).strip()
    if 0 < len(normal) <= MAX_TITLE and safe_text(normal) == normal:
        return normal
    raise InvalidInput(
        f"{printable(text)} is no title",
        hint=f"1 to {MAX_TITLE} characters in one line, no control characters",
    )


def type_name(text: str) -> str:
    """Raises InvalidInput."""
    return check_name(text, "task type")


def reason(text: str, what: str = "reason") -> str:
    """Why somebody did something to a task; may be empty. Raises InvalidInput."""
    kept = text.strip()
    if len(kept) > MAX_REASON:
        raise InvalidInput(
            f"the {what} has {len(kept):,} characters", hint=f"at most {MAX_REASON:,}"
        )
    return kept.encode(errors="replace").decode()


def resource(text: str) -> str:
    """The name of something that is waited for and no task. Raises InvalidInput."""
    kept = text.strip()
    if 0 < len(kept) <= MAX_RESOURCE and kept.isprintable():
        return kept
    raise InvalidInput(
        f"{printable(text)} is nothing to wait for",
        hint=f"a task id, or a name of at most {MAX_RESOURCE} characters",
    )


def json_text(value: Any, what: str) -> bytes | None:  # noqa: ANN401 - JSON types
    """A value as it is stored, None for none. Raises InvalidInput."""
    if value is None:
        return None
    text = codec.encode_json(value)
    if len(text) > MAX_TEXT_BYTES:
        raise InvalidInput(
            f"the {what} have {len(text):,} bytes, at most {MAX_TEXT_BYTES:,} fit a task",
            hint="keep them in memory or as an artifact, and name that",
        )
    return text


def within(value: float | None, low: float, high: float, what: str) -> float | None:
    """A number within bounds, or none. Raises InvalidInput."""
    if value is None or (type(value) in (int, float) and low <= value <= high):
        return value
    raise InvalidInput(f"{what} {shown(value)} is out of range", hint=f"{low:g} to {high:g}")


def require(task: Task, name: str, *statuses: str, hint: str = "") -> None:
    """Raises Conflict unless a task is in one of these statuses."""
    if task.status not in statuses:
        raise Conflict(f"{name} is {task.status.replace('_', ' ')}", hint=hint)
