"""What a graph of tasks should say, worked out from scratch each time it is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swarmdeck.engine.model import Level
from swarmdeck.engine.tasks.task import Edge, Task

ENDED = ("completed", "failed", "cancelled")


def task(ident: int, status: str = "pending", **fields: Any) -> Task:
    """A task with everything that a test does not speak of."""
    known: dict[str, Any] = dict.fromkeys(Task.__struct_fields__)
    known |= {
        "ident": ident, "title": f"task {ident}", "type": "task", "status": status, "priority": 5,
        "level": Level.PUBLIC, "owner": "operator", "progress": 0.0, "attempt": 0,
        "max_attempts": 1, "reason": "", "blockers": (), "version": 1, "created_us": 1,
        "updated_us": 1,
    }  # fmt: skip
    return Task(**(known | fields))


def edge(ident: int, of: int, needs: int | None, kind: str = "hard", **fields: Any) -> Edge:
    known: dict[str, Any] = dict.fromkeys(Edge.__struct_fields__)
    known |= {
        "ident": ident, "task": of, "needs": needs, "resource": "" if needs else "file",
        "kind": kind, "condition": "status = completed" if kind == "conditional" else "",
        "resolved_by": "", "created_by": "operator", "created_us": 1,
    }  # fmt: skip
    return Edge(**(known | fields))


class Naive:
    """All tasks and dependencies there ever were."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.edges: dict[int, Edge] = {}

    def held(self, edge: Edge) -> str:
        status = "" if edge.needs is None else self.tasks[edge.needs].status
        if edge.resolved_us is not None or edge.kind == "optional":
            return "met"
        if edge.needs is None or (status not in ENDED):
            return "waiting"
        if edge.kind == "soft":
            return "met"
        if edge.kind == "conditional":
            return "met" if edge.met else "broken"
        return "met" if status == "completed" else "broken"

    def of(self, ident: int) -> Iterable[Edge]:
        return (each for each in self.edges.values() if each.task == ident)

    def ready(self) -> list[int]:
        free = [
            each
            for each in self.tasks.values()
            if each.status == "pending"
            and all(self.held(edge) == "met" for edge in self.of(each.ident))
        ]
        free.sort(key=lambda each: (-each.priority, each.deadline_us or 1 << 62, each.ident))
        return [each.ident for each in free]

    def broken(self) -> set[int]:
        """Of those that are not completed."""
        return {
            each.task
            for each in self.edges.values()
            if self.held(each) == "broken" and self.tasks[each.task].status != "completed"
        }

    def reaches(self, start: int, end: int) -> bool:
        """Whether a way over dependencies leads from one task to another."""
        seen, left = {start}, [start]
        while left:
            at = left.pop()
            if at == end:
                return True
            for each in self.of(at):
                if each.needs is not None and each.needs not in seen:
                    seen.add(each.needs)
                    left.append(each.needs)
        return False

    def kept(self) -> set[int]:
        """Those a graph has to know: not completed, or before one that is not."""
        open_ = [each.ident for each in self.tasks.values() if each.status != "completed"]
        return {one for one in self.tasks if any(self.reaches(one, each) for each in open_)}
