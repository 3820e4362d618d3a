"""Making tasks and directing them: what they are, whose they are, and that they are given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ..errors import Conflict, Denied, InvalidInput, NotFound
from ..model import Level, Principal, parse_level, printable
from ..store.database import Transaction
from ..views import TaskView
from . import rows, steps, task
from .rows import Draft, Moved, Texts
from .service import TOPIC
from .task import Task

if TYPE_CHECKING:
    from .service import Tasks

MOST: Final = 100_000  # tasks of one environment that are not completed
CASCADE_ROWS: Final = 100  # tasks one transaction cancels: callers wait behind it


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A task as somebody asks for it. `needs` are ids of tasks, or names of what else has to be
    there, all of them hard."""

    title: str
    type: str = "task"
    priority: int = 5
    level: str | int | None = None
    agent: str | None = None
    team: str | None = None
    swarm: str | None = None
    parent: str | None = None
    needs: Sequence[str] = ()
    confidence: float | None = None
    estimated_hours: float | None = None
    deadline_s: float | None = None
    max_attempts: int = 1
    requirements: object = None
    deliverables: object = None


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a task; None stays as it is."""

    title: str | None = None
    type: str | None = None
    priority: int | None = None
    level: str | int | None = None
    confidence: float | None = None
    estimated_hours: float | None = None
    actual_hours: float | None = None
    deadline_s: float | None = None
    max_attempts: int | None = None
    requirements: object = None
    deliverables: object = None


class Planning:
    """Calls of those who say what is to be done. They belong to the engine's loop."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def create(self, principal: Principal, wanted: Wanted) -> TaskView:
        """Store a task with what it needs. Raises InvalidInput, Denied, NotFound for a team, agent
        or task that is not there, Conflict beyond MOST, Sealed."""
        graph = await self._tasks.graph()
        if graph.unfinished >= MOST:
            raise Conflict(f"{MOST:,} tasks are not completed", hint="complete or cancel some")
        draft = await self._draft(principal, wanted)
        links = await self._tasks.links.wanted(principal, wanted.needs)

        def change(tx: Transaction) -> Moved:
            made = rows.insert(tx, draft, self._tasks.ring)
            edges = [
                rows.insert_edge(tx, made.ident, each, principal.id, self._tasks.ring)
                for each in links
            ]
            tx.audit(
                principal.id, "task.create", self._tasks.names.task(made.ident), detail=made.title
            )
            return Moved(made, tuple(edges))

        moved = await self._tasks.database.write(change, topic=TOPIC, then=self._tasks.moved)
        return await self._tasks.show(principal, self._tasks.names.task(moved.task.ident))

    async def _draft(self, principal: Principal, wanted: Wanted) -> Draft:
        self._tasks.rights.require_home(principal, "makes")
        standing = self._standing(principal, wanted)
        parent = (
            None
            if wanted.parent is None
            else (await self._tasks.find(principal, wanted.parent)).ident
        )
        return Draft(
            title=task.title(wanted.title),
            type=task.type_name(wanted.type),
            priority=wanted.priority,
            level=int(standing[0]),
            owner=principal.id,
            team=standing[1],
            swarm=standing[2],
            agent=self._agent(wanted.agent),
            parent=parent,
            confidence=task.within(wanted.confidence, 0, 1, "confidence"),
            estimated_hours=task.within(wanted.estimated_hours, 0, task.MAX_HOURS, "hours"),
            deadline_us=self._deadline(wanted.deadline_s),
            max_attempts=wanted.max_attempts,
            texts=Texts(
                task.json_text(wanted.requirements, "requirements"),
                task.json_text(wanted.deliverables, "deliverables"),
            ),
        )

    def _standing(
        self, principal: Principal, wanted: Wanted
    ) -> tuple[Level, str | None, str | None]:
        """Level, team and swarm. What is said for nobody in particular: the operator's tasks are
        for everybody, an agent's for its team."""
        if wanted.team is not None and wanted.team not in self._tasks.registry.teams:
            raise NotFound(f"no team {printable(wanted.team)}", hint="see swarmdeck team list")
        if wanted.swarm is not None and wanted.swarm not in self._tasks.registry.swarms:
            raise NotFound(f"no swarm {printable(wanted.swarm)}", hint="see swarmdeck swarm list")
        if wanted.swarm not in {None, principal.swarm} and not principal.is_operator:
            raise Denied(f"{principal.id} is not in swarm {wanted.swarm}")
        level = Level.TEAM
        if wanted.level is not None:
            level = parse_level(wanted.level)
        elif principal.is_operator and wanted.team is None:
            level = Level.PUBLIC if wanted.swarm is None else Level.SWARM
        made = self._tasks.rights.rows.stand(principal, level, wanted.team)
        return made.level, made.team, wanted.swarm or made.swarm

    def _agent(self, ident: str | None) -> str | None:
        if ident is None or ident in self._tasks.registry.agents:
            return ident
        raise NotFound(f"no agent {printable(ident)}", hint="see swarmdeck agent list")

    def _deadline(self, deadline_s: float | None) -> int | None:
        found = task.within(deadline_s, 0, task.MAX_DEADLINE_S, "deadline")
        return None if found is None else self._tasks.clock.wall_us() + int(found * 1_000_000)

    async def update(self, principal: Principal, ident: str, wanted: Update) -> TaskView:
        """Change what is given. Raises InvalidInput, also when nothing is, Denied for a level that
        `principal` may not write at, Sealed."""
        fields = _given(wanted)
        if not fields:
            raise InvalidInput(
                "nothing says what to change", hint="see swarmdeck task update --help"
            )
        texts = Texts(
            task.json_text(fields.pop("requirements", None), "requirements"),
            task.json_text(fields.pop("deliverables", None), "deliverables"),
        )
        plain = self._checked(fields)

        def step(old: Task, shown: str, _: int) -> Task:
            if "level" in plain:
                self._require_level(principal, old, plain["level"], shown)
            return msgspec.structs.replace(old, **plain)

        named = ", ".join(_given(wanted))
        return await self._tasks.change(principal, ident, "update", step, detail=named, texts=texts)

    def _checked(self, fields: dict[str, object]) -> dict[str, object]:
        checks: dict[str, Callable[..., object]] = {
            "title": task.title,
            "type": task.type_name,
            "level": parse_level,
            "confidence": lambda value: task.within(value, 0, 1, "confidence"),
            "estimated_hours": lambda value: task.within(value, 0, task.MAX_HOURS, "hours"),
            "actual_hours": lambda value: task.within(value, 0, task.MAX_HOURS, "hours"),
            "deadline_s": self._deadline,
        }
        found = {name: checks.get(name, _same)(value) for name, value in fields.items()}
        if "deadline_s" in found:
            found["deadline_us"] = found.pop("deadline_s")
        return found

    def _require_level(self, principal: Principal, old: Task, level: object, shown: str) -> None:
        """Raises Denied: a level is the owner's and the operator's to change."""
        assert isinstance(level, Level)
        if principal.is_operator and level is not Level.PRIVATE:
            return
        if principal.id != old.owner or level is Level.SYSTEM:
            raise Denied(
                f"the level of {shown} is not {principal.id}'s to change",
                hint="its owner or the operator may, the operator not to private",
            )

    async def assign(self, principal: Principal, ident: str, agent: str | None) -> TaskView:
        """Make a task one agent's, or nobody's in particular. Raises NotFound for an unknown agent,
        Conflict for a task that has ended."""
        known = self._agent(agent)
        return await self._tasks.change(
            principal, ident, "assign",
            lambda old, shown, _: steps.assigned(old, shown, known), detail=agent or "nobody",
        )  # fmt: skip

    async def retry(self, principal: Principal, ident: str) -> TaskView:
        """Make a failed or cancelled task pending again, with fresh attempts; what it blocked
        waits for it again. Raises Conflict for any other."""
        return await self._tasks.change(
            principal, ident, "retry", lambda old, shown, _: steps.retried(old, shown)
        )

    async def cancel(
        self,
        principal: Principal,
        ident: str,
        reason: str = "",
        *,
        cascade: bool = False,
        progress: Callable[[float, str], None] = lambda _, __: None,
    ) -> list[TaskView]:
        """Give a task up; what needs it is blocked, or with `cascade` given up too, as are its
        parts, so far as they have not ended and `principal` directs them. Raises Conflict for one
        that has ended."""
        why = task.reason(reason)
        first = await self._tasks.change(
            principal, ident, "cancel",
            lambda old, shown, now_us: steps.cancelled(old, shown, why, now_us), detail=why,
        )  # fmt: skip
        if not cascade:
            return [first]
        root = self._tasks.names.task_number(ident)
        following = await self._tasks.aside.read(lambda reader: rows.following(reader, root))
        found = [first]
        for at in range(0, len(following), CASCADE_ROWS):
            progress(at / len(following), f"{len(found):,} cancelled")
            step = following[at : at + CASCADE_ROWS]
            found += await self._cancel_all(principal, step, f"{ident} was cancelled")
        return found

    async def _cancel_all(
        self, principal: Principal, idents: Sequence[int], why: str
    ) -> list[TaskView]:
        def change(tx: Transaction) -> list[Moved]:
            found = []
            for ident in idents:
                old, shown = rows.find(tx, ident), self._tasks.names.task(ident)
                if old is None or old.has_ended or not self._may_cancel(principal, old):
                    continue
                tx.audit(principal.id, "task.cancel", shown, detail=why)
                new = steps.cancelled(old, shown, why, tx.now_us)
                found.append(rows.update(tx, old, new))
            return found

        moved = await self._tasks.database.write(change, topic=TOPIC, then=self._tasks.moved_all)
        return [self._tasks.view(each.task) for each in moved]

    def _may_cancel(self, principal: Principal, old: Task) -> bool:
        return self._tasks.rights.sees(principal, old) and self._tasks.rights.directs(
            principal, old
        )


def _same(value: object) -> object:
    return value


def _given(wanted: Update) -> dict[str, object]:
    fields = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not None}
