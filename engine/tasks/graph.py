"""What is ready and what waits, kept up to date change by change. Pure: no files, no clock.

In memory are the tasks that are not completed, and of those that are, the ones that still stand
before one that is not: only through these can a way lead back to a task that waits. All others are
completed for good, and so is what they were needed for.

A change of one task looks at those that need it and at nothing else.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, NamedTuple

from ..model import Level
from .task import (
    CANCELLED,
    COMPLETED,
    CONDITIONAL,
    ENDED,
    FAILED,
    OPTIONAL,
    PENDING,
    SOFT,
    Edge,
    Task,
)

WAITS: Final = "waiting"
MET: Final = "met"
BROKEN: Final = "broken"

NEVER_US: Final = 1 << 62

Key = tuple[int, int, int]  # most urgent first: -priority, deadline, id


class Lane(NamedTuple):
    """What decides who may take a task, and what is asked of it, beside entries about it."""

    type: str
    level: Level
    owner: str
    team: str | None
    swarm: str | None
    agent: str | None


def state(edge: Edge, status: str) -> str:
    """Whether a dependency holds its task, given the status of what is needed."""
    if edge.resolved_us is not None or edge.kind == OPTIONAL:
        return MET
    if edge.needs is None:
        return WAITS  # until somebody says that it is there
    if edge.kind == SOFT:
        return MET if status in ENDED else WAITS
    if edge.kind == CONDITIONAL:
        return WAITS if edge.met is None else MET if edge.met else BROKEN
    if status == COMPLETED:
        return MET
    return BROKEN if status in (FAILED, CANCELLED) else WAITS


class _Node:
    """A task with its dependencies, by their id, and those that need it."""

    __slots__ = ("broken", "edges", "needed", "task", "waits")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.edges: dict[int, tuple[Edge, str]] = {}
        self.needed: dict[int, int] = {}  # dependency -> the task that has it
        self.waits = 0
        self.broken = 0


class Graph:
    """The tasks of one environment and what is ready among them."""

    def __init__(self) -> None:
        self._nodes: dict[int, _Node] = {}
        self._owners: dict[int, int] = {}  # dependency -> the task that has it
        self._ready: dict[Lane, list[Key]] = {}
        self._held: dict[int, tuple[Lane, Key]] = {}  # where a ready task stands
        self._deadlines: list[tuple[int, int]] = []  # of those that have not ended
        self.broken: set[int] = set()  # those that wait for something that has failed
        self.unfinished = 0

    @classmethod
    def of(cls, tasks: Iterable[Task], edges: Iterable[Edge]) -> Graph:
        made = cls()
        for task in tasks:
            made._add(task)
        for edge in edges:
            made.link(edge)
        for ident in list(made._nodes):
            made._leave(ident)
        return made

    # --- looking ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, ident: int) -> Task | None:
        """A task, if it is in memory."""
        node = self._nodes.get(ident)
        return None if node is None else node.task

    def tasks(self) -> Iterator[Task]:
        return (node.task for node in self._nodes.values())

    def edge(self, ident: int) -> Edge | None:
        owner = self._owners.get(ident)
        return None if owner is None else self._nodes[owner].edges[ident][0]

    def edges(self, ident: int) -> list[tuple[Edge, str]]:
        """What a task needs, each with its state, in the order it was said."""
        node = self._nodes.get(ident)
        return [] if node is None else list(node.edges.values())

    def dependents(self, ident: int) -> list[int]:
        """The tasks that need this one."""
        node = self._nodes.get(ident)
        return [] if node is None else list(node.needed.values())

    def waits(self, ident: int) -> int:
        """How many dependencies hold a task, those that can no longer be met among them."""
        node = self._nodes.get(ident)
        return 0 if node is None else node.waits + node.broken

    def is_ready(self, ident: int) -> bool:
        return ident in self._held

    @property
    def ready(self) -> Collection[int]:
        """Those that are ready, in no order."""
        return self._held.keys()

    def take(self, fits: Callable[[Lane], bool] = lambda _: True) -> Iterator[int]:
        """The ready tasks of the lanes that fit, most urgent first: by priority, then the nearer
        deadline, then the older. Do not change anything while you iterate."""
        lanes = [keys for lane, keys in self._ready.items() if fits(lane)]
        return (key[2] for key in (lanes[0] if len(lanes) == 1 else heapq.merge(*lanes)))

    def overdue(self, now_us: int) -> Iterator[int]:
        """Those that have not ended and should have, the latest first."""
        end = bisect_right(self._deadlines, (now_us, NEVER_US))
        return (ident for _, ident in self._deadlines[:end])

    # --- changing ---------------------------------------------------------------------------

    def put(self, task: Task) -> None:
        """A new task, or one that has changed; one that was forgotten stays so."""
        node = self._nodes.get(task.ident)
        if node is None:
            if task.status != COMPLETED:
                self._add(task)
            return
        old, node.task = node.task, task
        self._count(old, -1)
        self._count(task, 1)
        if old.status != task.status:
            for edge, owner in list(node.needed.items()):
                self._weigh(owner, edge)
        self._place(node)
        self._leave(task.ident)

    def _add(self, task: Task) -> None:
        node = self._nodes[task.ident] = _Node(task)
        self._count(task, 1)
        self._place(node)

    def remove(self, ident: int) -> None:
        """A task that is deleted, with its dependencies and those on it."""
        node = self._nodes.get(ident)
        if node is None:
            return
        for edge in list(node.edges):
            self.unlink(edge)
        for edge in list(node.needed):
            self.unlink(edge)
        if ident in self._nodes:
            self._drop(node)

    def link(self, edge: Edge) -> None:
        """A new dependency, or one that has changed. Its task must be known; what it needs may be
        completed and forgotten."""
        node = self._nodes.get(edge.task)
        if node is None:
            return  # completed meanwhile, and nothing waits for it
        known = node.edges.get(edge.ident)
        node.edges[edge.ident] = edge, MET if known is None else known[1]
        self._owners[edge.ident] = edge.task
        if edge.needs in self._nodes:
            self._nodes[edge.needs].needed[edge.ident] = edge.task
        self._weigh(edge.task, edge.ident)

    def unlink(self, ident: int) -> None:
        """A dependency that is no more."""
        owner = self._owners.pop(ident, None)
        if owner is None:
            return
        node = self._nodes[owner]
        edge, before = node.edges.pop(ident)
        self._tally(node, before, -1)
        if edge.needs in self._nodes:
            self._nodes[edge.needs].needed.pop(ident, None)
        self._place(node)
        self._leave(owner)

    def _weigh(self, owner: int, ident: int) -> None:
        """Ask a dependency anew, and move its task where that says."""
        node = self._nodes[owner]
        edge, before = node.edges[ident]
        needed = None if edge.needs is None else self._nodes.get(edge.needs)
        now = state(edge, COMPLETED if needed is None else needed.task.status)
        node.edges[ident] = edge, now
        if now != before:
            self._tally(node, before, -1)
            self._tally(node, now, 1)
            self._place(node)

    def _tally(self, node: _Node, which: str, by: int) -> None:
        if which == WAITS:
            node.waits += by
        elif which == BROKEN:
            node.broken += by
            (self.broken.add if node.broken else self.broken.discard)(node.task.ident)

    def _place(self, node: _Node) -> None:
        """Put a task among the ready ones, or take it out."""
        task = node.task
        wanted = None
        if task.status == PENDING and not node.waits and not node.broken:
            key = -task.priority, task.deadline_us or NEVER_US, task.ident
            lane = Lane(task.type, task.level, task.owner, task.team, task.swarm, task.agent)
            wanted = lane, key
        held = self._held.get(task.ident)
        if wanted == held:
            return
        if held is not None:
            del self._held[task.ident]
            keys = self._ready[held[0]]
            del keys[bisect_left(keys, held[1])]
            if not keys:
                del self._ready[held[0]]
        if wanted is not None:
            self._held[task.ident] = wanted
            insort(self._ready.setdefault(wanted[0], []), wanted[1])

    def _count(self, task: Task, by: int) -> None:
        if task.status != COMPLETED:
            self.unfinished += by
        if task.deadline_us is None or task.has_ended:
            return
        entry = task.deadline_us, task.ident
        if by > 0:
            insort(self._deadlines, entry)
        else:
            del self._deadlines[bisect_left(self._deadlines, entry)]

    def _leave(self, ident: int) -> None:
        """Forget a completed task that stands before no other, and then those behind it."""
        left = [ident]
        while left:
            node = self._nodes.get(left.pop())
            if node is None or node.task.status != COMPLETED:
                continue
            if any(edge.needs in self._nodes for edge, _ in node.edges.values()):
                continue
            left += node.needed.values()
            self._drop(node)

    def _drop(self, node: _Node) -> None:
        for edge in node.edges:
            self._owners.pop(edge, None)
        self._count(node.task, -1)
        self.broken.discard(node.task.ident)
        self._nodes.pop(node.task.ident)
        held = self._held.pop(node.task.ident, None)
        if held is not None:
            keys = self._ready[held[0]]
            del keys[bisect_left(keys, held[1])]
            if not keys:
                del self._ready[held[0]]

    # --- cycles -----------------------------------------------------------------------------

    def cycle(self, task: int, needs: int) -> list[int]:
        """The way that would lead from `needs` back to `task` if `task` needed it, both included;
        empty where there is none. Searched from both ends, so that it costs what the smaller side
        holds."""
        if task == needs:
            return [task]
        down, up = _Search(needs, self._needs), _Search(task, self.dependents)
        while down.edge and up.edge:
            search, other = (down, up) if len(down.edge) <= len(up.edge) else (up, down)
            if (met := search.step(other.seen)) is not None:
                return [*reversed(down.trail(met)), *up.trail(met)[1:]]
        return []

    def _needs(self, ident: int) -> list[int]:
        node = self._nodes.get(ident)
        edges = () if node is None else node.edges.values()
        return [edge.needs for edge, _ in edges if edge.needs in self._nodes]


class _Search:
    """One side of a search: from where each task was reached, and those not looked behind yet."""

    def __init__(self, start: int, onward: Callable[[int], Iterable[int]]) -> None:
        self.seen: dict[int, int | None] = {start: None}
        self.edge = [start]
        self._onward = onward

    def step(self, other: dict[int, int | None]) -> int | None:
        """Look behind one task; the one at which the other side is met, if any."""
        at = self.edge.pop()
        for found in self._onward(at):
            if found not in self.seen:
                self.seen[found] = at
                if found in other:
                    return found
                self.edge.append(found)
        return None

    def trail(self, at: int) -> list[int]:
        """From `at` back to the start of this side."""
        found = [at]
        while (before := self.seen[found[-1]]) is not None:
            found.append(before)
        return found
