"""Tasks and dependencies in the file: what is read, and what each change writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from .. import codec
from ..errors import NotFound
from ..store.database import Reader, Transaction
from ..vault import Ring, columns, letters
from ..vault.columns import Column
from .conditions import condition
from .task import (
    COLUMNS,
    COMPLETED,
    CONDITIONAL,
    EDGE_COLUMNS,
    Edge,
    Names,
    Task,
    edge_of,
    task_of,
)


def _listed(table: str, names: str) -> str:
    """Columns of one table among several."""
    return ", ".join(f"{table}.{name.strip()}" for name in names.split(","))


# Completed ones that still stand before one that is not are known too: see graph.py. CROSS JOIN
# keeps SQLite from looking at every dependency for each task.
_KEPT: Final = """
WITH RECURSIVE kept (id) AS (
    SELECT id FROM task WHERE env = ?1 AND status <> 'completed'
    UNION
    SELECT dependency.task FROM kept CROSS JOIN dependency
    WHERE dependency.env = ?1 AND dependency.needs = kept.id)
"""
_LOAD_TASKS: Final = (
    f"{_KEPT} SELECT {_listed('task', COLUMNS)} FROM kept CROSS JOIN task USING (id)"  # noqa: S608 - constants
)
_LOAD_EDGES: Final = f"""{_KEPT} SELECT {_listed("dependency", EDGE_COLUMNS)}
FROM kept CROSS JOIN dependency
WHERE dependency.env = ?1 AND dependency.task = kept.id ORDER BY dependency.id"""  # noqa: S608 - constants
_SIZE: Final = "SELECT count(*) FROM task WHERE env = ? AND status <> 'completed'"
_FIND: Final = f"SELECT {COLUMNS} FROM task WHERE id = ? AND env = ?"  # noqa: S608 - constants
_FIND_EDGE: Final = f"SELECT {EDGE_COLUMNS} FROM dependency WHERE id = ? AND env = ?"  # noqa: S608
_EDGES_OF: Final = f"SELECT {EDGE_COLUMNS} FROM dependency WHERE env = ? AND task = ? ORDER BY id"  # noqa: S608
_TEXTS: Final = "SELECT requirements, deliverables, result FROM task WHERE id = ? AND env = ?"
_INSERT: Final = """
INSERT INTO task (env, title, type, status, priority, level, owner, team, swarm, agent, parent,
                  progress, confidence, estimated_hours, deadline_at, max_attempts,
                  created_at, updated_at)
VALUES (?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)"""
_UPDATE: Final = """
UPDATE task SET title = ?, type = ?, status = ?, priority = ?, level = ?, team = ?, swarm = ?,
    agent = ?, progress = ?, confidence = ?, estimated_hours = ?, actual_hours = ?,
    deadline_at = ?, attempt = ?, max_attempts = ?, reason = ?, blockers = ?, version = ?,
    updated_at = ?, started_at = ?, ended_at = ?
WHERE id = ? AND env = ?"""
_INSERT_EDGE: Final = """
INSERT INTO dependency (env, task, needs, resource, kind, condition, met, created_by, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_DELETE_EDGE: Final = "DELETE FROM dependency WHERE id = ? AND env = ?"
_RESOLVE: Final = "UPDATE dependency SET resolved_at = ?, resolved_by = ? WHERE id = ? AND env = ?"
_CONDITIONS: Final = f"""
SELECT {EDGE_COLUMNS} FROM dependency
WHERE env = ? AND needs = ? AND kind = 'conditional'"""  # noqa: S608 - constants
_MET: Final = "UPDATE dependency SET met = ? WHERE id = ? AND env = ?"
_WORKING: Final = "SELECT id FROM task WHERE env = ? AND agent = ? AND status = 'in_progress'"

_BEHIND: Final = f"""
SELECT {_listed("dependency", EDGE_COLUMNS)}, {_listed("task", COLUMNS)}
FROM dependency JOIN task ON task.id = dependency.task
WHERE dependency.env = ? AND dependency.needs = ? ORDER BY dependency.id"""  # noqa: S608 - constants
_BEFORE: Final = f"""
SELECT {_listed("dependency", EDGE_COLUMNS)}, {_listed("task", COLUMNS)}
FROM dependency LEFT JOIN task ON task.id = dependency.needs
WHERE dependency.env = ? AND dependency.task = ? ORDER BY dependency.id"""  # noqa: S608 - constants
_ALL_EDGES: Final = f"""
SELECT {_listed("dependency", EDGE_COLUMNS)}, {_listed("owner", COLUMNS)},
       {_listed("needed", COLUMNS)}
FROM dependency {{}} CROSS JOIN task AS owner ON owner.id = dependency.task
LEFT JOIN task AS needed ON needed.id = dependency.needs
WHERE dependency.env = ? AND {{}}"""  # noqa: S608 - constants
_OF_TASK: Final = ("", "dependency.task = ? ORDER BY dependency.id")
_NEWEST: Final = ("NOT INDEXED", "1 ORDER BY dependency.id DESC")  # by id, so that none is sorted
_FOLLOWING: Final = """
WITH RECURSIVE following (id) AS (
    SELECT ?2
    UNION
    SELECT task.id FROM following CROSS JOIN dependency CROSS JOIN task
    WHERE dependency.env = ?1 AND dependency.needs = following.id
        AND dependency.kind = 'hard' AND dependency.resolved_at IS NULL
        AND task.id = dependency.task AND task.ended_at IS NULL
    UNION
    SELECT task.id FROM following CROSS JOIN task
    WHERE task.env = ?1 AND task.parent = following.id AND task.ended_at IS NULL)
SELECT id FROM following WHERE id <> ?2 ORDER BY id"""

ROWS_A_TASK: Final = 5  # with its dependencies
EDGE_WIDTH: Final = len(EDGE_COLUMNS.split(","))
TASK_WIDTH: Final = len(COLUMNS.split(","))
REQUIREMENTS: Final = columns.TASK_REQUIREMENTS
DELIVERABLES: Final = columns.TASK_DELIVERABLES
RESULT: Final = columns.TASK_RESULT


class Moved(NamedTuple):
    """What a transaction has changed: a task, and the dependencies whose condition it decided."""

    task: Task
    edges: tuple[Edge, ...] = ()


class Texts(NamedTuple):
    """The JSON texts of a task; None where there is none."""

    requirements: bytes | None = None
    deliverables: bytes | None = None
    result: bytes | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is to be stored, checked."""

    title: str
    type: str
    priority: int
    level: int
    owner: str
    team: str | None
    swarm: str | None
    agent: str | None
    parent: int | None
    confidence: float | None
    estimated_hours: float | None
    deadline_us: int | None
    max_attempts: int
    texts: Texts


class Link(NamedTuple):
    """A dependency that is to be stored: on the task `needs`, or on something else by name."""

    needs: int | None
    resource: str
    kind: str
    condition: str = ""


def load(reader: Reader) -> tuple[list[Task], list[Edge]]:
    """What a graph is made of."""
    tasks = [task_of(row) for row in reader.execute(_LOAD_TASKS, (reader.env,))]
    edges = [edge_of(row) for row in reader.execute(_LOAD_EDGES, (reader.env,))]
    return tasks, edges


def size(reader: Reader) -> int:
    """About how many rows `load` passes."""
    row = reader.execute(_SIZE, (reader.env,)).fetchone()
    return 0 if row is None else ROWS_A_TASK * int(row[0])


def find(tx: Transaction | Reader, ident: int) -> Task | None:
    row = tx.execute(_FIND, (ident, tx.env)).fetchone()
    return None if row is None else task_of(row)


def find_edge(tx: Transaction | Reader, ident: int) -> Edge | None:
    row = tx.execute(_FIND_EDGE, (ident, tx.env)).fetchone()
    return None if row is None else edge_of(row)


def edges_of(tx: Transaction | Reader, task: int) -> list[Edge]:
    """What a task needs, in the order it was said."""
    return [edge_of(row) for row in tx.execute(_EDGES_OF, (tx.env, task))]


def texts(task: Task, ring: Ring) -> Callable[[Reader], Texts]:
    """The JSON texts of a task. Raises Sealed, Damaged."""

    def query(reader: Reader) -> Texts:
        row = reader.execute(_TEXTS, (task.ident, reader.env)).fetchone() or (None, None, None)
        found = zip((REQUIREMENTS, DELIVERABLES, RESULT), row, strict=True)
        return Texts(*(_opened(ring, column, task, text) for column, text in found))

    return query


def working(reader: Reader, agent: str) -> list[int]:
    """The tasks an agent works on."""
    return [row[0] for row in reader.execute(_WORKING, (reader.env, agent))]


def behind(reader: Reader, ident: int) -> list[tuple[Edge, Task]]:
    """The tasks that need one, each with its dependency on it."""
    found = reader.execute(_BEHIND, (reader.env, ident))
    return [(edge_of(row[:EDGE_WIDTH]), task_of(row[EDGE_WIDTH:])) for row in found]


def before(reader: Reader, ident: int) -> list[tuple[Edge, Task | None]]:
    """What a task needs; None for what is no task."""
    found = reader.execute(_BEFORE, (reader.env, ident))
    return [(edge_of(row[:EDGE_WIDTH]), _task_or_none(row[EDGE_WIDTH:])) for row in found]


def edges(reader: Reader, task: int | None) -> Iterator[tuple[Edge, Task, Task | None]]:
    """Dependencies with their task and what it needs: of one task in the order they were made, of
    all newest first."""
    statement = _ALL_EDGES.format(*(_NEWEST if task is None else _OF_TASK))
    parameters = (reader.env,) if task is None else (reader.env, task)
    end = EDGE_WIDTH + TASK_WIDTH
    for row in reader.execute(statement, parameters):
        yield edge_of(row[:EDGE_WIDTH]), task_of(row[EDGE_WIDTH:end]), _task_or_none(row[end:])


def following(reader: Reader, root: int) -> list[int]:
    """What is given up with a task: those that have not ended and need it for certain, or are a
    part of it, and so on."""
    return [row[0] for row in reader.execute(_FOLLOWING, (reader.env, root))]


def _task_or_none(row: tuple[Any, ...]) -> Task | None:
    return None if row[0] is None else task_of(row)


def _opened(ring: Ring, column: Column, task: Task, text: bytes | None) -> bytes | None:
    """The text inside; None for one whose key was destroyed on purpose."""
    if text is None or ring.is_shredded(letters.key_of(text)):
        return None
    return letters.unprotect(ring, column.letter(task.ident, task.owner), text)


# --- writing ----------------------------------------------------------------------------------


def insert(tx: Transaction, draft: Draft, ring: Ring) -> Task:
    """Store a new task. Raises Sealed where it has a text."""
    cursor = tx.execute(_INSERT, (
        tx.env, draft.title, draft.type, draft.priority, draft.level, draft.owner, draft.team,
        draft.swarm, draft.agent, draft.parent, draft.confidence, draft.estimated_hours,
        draft.deadline_us, draft.max_attempts, tx.now_us, tx.now_us,
    ))  # fmt: skip
    made = find(tx, cursor.lastrowid or 0)
    assert made is not None
    write_texts(tx, made, ring, draft.texts)
    return made


_STORE: Final = {
    REQUIREMENTS: "UPDATE task SET requirements = ? WHERE id = ?",
    DELIVERABLES: "UPDATE task SET deliverables = ? WHERE id = ?",
    RESULT: "UPDATE task SET result = ? WHERE id = ?",
}


def write_texts(tx: Transaction, task: Task, ring: Ring, wanted: Texts) -> None:
    """Replace those that are given. Raises Sealed."""
    named = zip((REQUIREMENTS, DELIVERABLES, RESULT), wanted, strict=True)
    given = [(column, text) for column, text in named if text is not None]
    if not given:
        return
    found = letters.protect(
        ring, tx, [(column.letter(task.ident, task.owner), text) for column, text in given]
    )
    for (column, _), text in zip(given, found, strict=True):
        tx.execute(_STORE[column], (text, task.ident))


def update(tx: Transaction, old: Task, new: Task, *, result: bytes | None = None) -> Moved:
    """Store a changed task; conditions that rest on it are decided once it has ended, and open
    again once it goes on. `result` is the JSON text of a task that is completed."""
    new = msgspec.structs.replace(new, version=old.version + 1, updated_us=tx.now_us)
    tx.execute(_UPDATE, (
        new.title, new.type, new.status, new.priority, int(new.level), new.team, new.swarm,
        new.agent, new.progress, new.confidence, new.estimated_hours, new.actual_hours,
        new.deadline_us, new.attempt, new.max_attempts, new.reason,
        codec.encode_json(new.blockers).decode(), new.version, new.updated_us, new.started_us,
        new.ended_us, new.ident, tx.env,
    ))  # fmt: skip
    if old.has_ended is new.has_ended:
        return Moved(new)
    return Moved(new, tuple(_decide(tx, new, result)))


def _decide(tx: Transaction, task: Task, result: bytes | None) -> list[Edge]:
    found = [edge_of(row) for row in tx.execute(_CONDITIONS, (tx.env, task.ident)).fetchall()]
    if not found:
        return []
    known = facts(task, result) if task.has_ended else None
    decided = []
    for edge in found:
        met = None if known is None else condition(edge.condition)(known)
        tx.execute(_MET, (met, edge.ident, tx.env))
        decided.append(msgspec.structs.replace(edge, met=met))
    return decided


def facts(task: Task, result: bytes | None) -> Mapping[str, Any]:
    """What a condition can ask of a task that has ended."""
    return {
        "status": task.status,
        "progress": task.progress,
        "confidence": task.confidence,
        "attempt": task.attempt,
        "reason": task.reason,
        "result": None if result is None else codec.decode_json(result),
    }


def insert_edge(tx: Transaction, task: int, link: Link, actor: str, ring: Ring) -> Edge:
    """Store a dependency; a condition on a task that has ended is decided at once. Raises NotFound
    when what it needs was deleted, Sealed, Damaged."""
    met = None
    if link.needs is not None:
        needed = find(tx, link.needs)
        if needed is None:
            raise NotFound(f"task {link.needs} was deleted")
        if link.kind == CONDITIONAL and needed.has_ended:
            result = texts(needed, ring)(tx).result if needed.status == COMPLETED else None  # type: ignore[arg-type]  # both can execute
            met = condition(link.condition)(facts(needed, result))
    row = (
        tx.env,
        task,
        link.needs,
        link.resource,
        link.kind,
        link.condition,
        met,
        actor,
        tx.now_us,
    )
    ident = tx.execute(_INSERT_EDGE, row).lastrowid
    found = find_edge(tx, ident or 0)
    assert found is not None
    return found


def delete_edge(tx: Transaction, ident: int) -> None:
    tx.execute(_DELETE_EDGE, (ident, tx.env))


def resolve_edge(tx: Transaction, edge: Edge, actor: str) -> Edge:
    """Note that a dependency is not to be waited for any more."""
    tx.execute(_RESOLVE, (tx.now_us, actor, edge.ident, tx.env))
    return msgspec.structs.replace(edge, resolved_us=tx.now_us, resolved_by=actor)


def require_edge(edge: Edge | None, names: Names, ident: int) -> Edge:
    """Raises NotFound."""
    if edge is None:
        raise NotFound(f"no dependency {names.edge(ident)}", hint="see swarmdeck dependency list")
    return edge
