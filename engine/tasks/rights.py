"""Who may see a task, who may work on it, and who may direct it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..acl.rows import Rows
from ..authority import reaches
from ..errors import Denied, NotFound
from ..model import Environment, Level, Principal, Right, Role
from .graph import Lane
from .task import Names, Task

Need: TypeAlias = Literal["see", "work", "direct"]


class Rights:
    """Decides from memory, on any thread. The level says who sees a task; its agent sees it too,
    whoever gave it the task, and works on it. Who may write a row of its level directs it, and so
    do the operator and coordinators of its environment, over what they see."""

    def __init__(self, rows: Rows, environment: Environment, names: Names) -> None:
        self.rows = rows
        self._environment = environment
        self._names = names

    def sees(self, principal: Principal, task: Task) -> bool:
        shown = self._names.task(task.ident)
        return task.agent == principal.id or self.rows.allows(principal, Right.READ, task, shown)

    def directs(self, principal: Principal, task: Task) -> bool:
        """Of a task that it sees."""
        if principal.is_operator:
            return True
        at_home = principal.environment == self._environment
        if at_home and reaches(principal.role, Role.COORDINATOR):
            return True
        return self.rows.allows(principal, Right.WRITE, task, self._names.task(task.ident))

    def require(self, principal: Principal, need: Need, task: Task | None, shown: str) -> Task:
        """The task. Raises NotFound for one that is not there or not for these eyes, Denied."""
        if task is None or not self.sees(principal, task):
            raise NotFound(f"no task {shown}", hint="see swarmdeck task list")
        if need == "see" or (need == "work" and task.agent == principal.id):
            return task
        if not self.directs(principal, task):
            who = "its agent and those who direct it" if need == "work" else "those who direct it"
            raise Denied(f"{shown} is not {principal.id}'s to change", hint=f"{who} may")
        return task

    def require_home(self, principal: Principal, what: str) -> None:
        """Raises Denied for an agent of another environment."""
        if not principal.is_operator and principal.environment != self._environment:
            raise Denied(
                f"{principal.id} {what} nothing in {self._environment}",
                hint="agents work in their own environment",
            )

    def fits(self, principal: Principal, lane: Lane) -> bool:
        """Whether tasks of a lane are for `principal` to take, entries about single ones aside."""
        if lane.agent is not None:
            return lane.agent == principal.id
        return self.rows.allows(principal, Right.READ, _Standing(lane), "")


class _Standing:
    """A lane as access decides about it."""

    __slots__ = ("level", "owner", "swarm", "team")

    def __init__(self, lane: Lane) -> None:
        self.level: Level = lane.level
        self.owner: str = lane.owner
        self.team: str | None = lane.team
        self.swarm: str | None = lane.swarm
