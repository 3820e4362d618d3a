"""Working on tasks: beginning with one that is ready, saying how it goes, and ending it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..errors import Conflict, Damaged, Denied, InvalidInput
from ..model import Principal
from ..store.database import Transaction
from ..views import TaskView
from . import rows, steps, task
from .graph import Graph, Lane
from .rows import Moved, Texts
from .service import TOPIC
from .task import IN_PROGRESS, PENDING, Task

if TYPE_CHECKING:
    from .service import Tasks

MOST_TAKEN: Final = 100
ENGINE: Final = "engine"


class Working:
    """Calls of those who do what is to be done. They belong to the engine's loop."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._taking: set[int] = set()

    async def start(self, principal: Principal, ident: str) -> TaskView:
        """Begin with a task that waits for nothing; an agent that does becomes its agent. Raises
        Conflict for one that waits or that somebody else has, Denied."""
        found, graph = await self._tasks.find(principal, ident), await self._tasks.graph()
        self._require_free(principal, found, ident)
        if found.status == PENDING and not graph.is_ready(found.ident):
            names = [
                self._tasks.needed(edge)
                for edge, state in graph.edges(found.ident)
                if state != "met"
            ]
            raise Conflict(
                f"{ident} waits for {', '.join(names[:3])}{' …' if len(names) > 3 else ''}",
                hint=f"see swarmdeck task graph {ident}",
            )
        agent = None if principal.is_operator else principal.id

        def step(old: Task, shown: str, now_us: int) -> Task:
            if old.status == PENDING and old.version != found.version:
                raise Conflict(f"{shown} has just changed", hint="try again")
            return steps.started(old, shown, agent, now_us)

        return await self._tasks.change(principal, ident, "start", step, need="see")

    def _require_free(self, principal: Principal, found: Task, ident: str) -> None:
        self._tasks.rights.require_home(principal, "begins")
        if principal.is_operator or found.agent in {None, principal.id}:
            return
        raise Conflict(
            f"{ident} is {found.agent}'s", hint="swarmdeck task assign gives it to another"
        )

    async def take(
        self, principal: Principal, type_name: str | None = None, limit: int = 1
    ) -> list[TaskView]:
        """Begin, as an agent, with the most urgent ready tasks that are this agent's or nobody's;
        none when there are none. Nobody gets one that another has begun. Raises Denied for the
        operator, Sealed."""
        self._tasks.rights.require_home(principal, "takes")
        if principal.is_operator:
            raise Denied("the operator takes no tasks", hint="--as names an agent that does")
        self._tasks.ring.require()
        graph = await self._tasks.graph()
        found: list[Task] = []
        while len(found) < limit:
            wanted = self._pick(graph, principal, type_name, limit - len(found))
            if not wanted:
                break
            self._taking.update(each.ident for each in wanted)
            try:
                found += await self._begin(principal, wanted)
            finally:
                self._taking.difference_update(each.ident for each in wanted)
        handed = [await self._handed(principal, each) for each in found]
        return [view for view in handed if view is not None]

    async def _handed(self, principal: Principal, begun: Task) -> TaskView | None:
        """A task that was begun, with what it requires; one of which that is damaged has failed,
        and nobody gets it. Raises Sealed."""
        ident = self._tasks.names.task(begun.ident)
        try:
            return await self._tasks.show(principal, ident)
        except Damaged as error:
            await self.fail(principal, ident, error.message, final=True)
            return None

    def _pick(
        self, graph: Graph, principal: Principal, type_name: str | None, most: int
    ) -> list[Task]:
        def fits(lane: Lane) -> bool:
            return lane.agent in {None, principal.id} and type_name in {None, lane.type}

        found: list[Task] = []
        for ident in self._tasks.candidates(graph, principal, fits):
            each = graph.get(ident)
            if each is not None and ident not in self._taking:
                found.append(each)
            if len(found) == most:
                break
        return found

    async def _begin(self, principal: Principal, wanted: Sequence[Task]) -> list[Task]:
        """Begin with those of them that nobody has changed meanwhile."""

        def change(tx: Transaction) -> list[Moved]:
            begun = []
            for each in wanted:
                old = rows.find(tx, each.ident)
                if old is not None and old.version == each.version:
                    shown = self._tasks.names.task(old.ident)
                    new = steps.started(old, shown, principal.id, tx.now_us)
                    tx.audit(principal.id, "task.take", shown)
                    begun.append(rows.update(tx, old, new))
            return begun

        moved = await self._tasks.database.write(change, topic=TOPIC, then=self._tasks.moved_all)
        return [each.task for each in moved]

    async def progress(
        self, principal: Principal, ident: str, percent: float, confidence: float | None = None
    ) -> TaskView:
        """Say how far a task in progress is. Raises Conflict for any other, InvalidInput."""
        share = task.within(percent, 0, 100, "progress")
        sure = task.within(confidence, 0, 1, "confidence")
        return await self._tasks.change(
            principal, ident, "progress",
            lambda old, shown, _: steps.progressed(old, shown, share or 0.0, sure), need="work",
            detail=f"{percent:g} %",
        )  # fmt: skip

    async def complete(
        self,
        principal: Principal,
        ident: str,
        result: object = None,
        *,
        hours: float | None = None,
        confidence: float | None = None,
    ) -> TaskView:
        """Finish a task in progress; what waited for it alone is ready when this returns. Raises
        Conflict for any other, InvalidInput, Sealed."""
        text = task.json_text(result, "results")
        took = task.within(hours, 0, task.MAX_HOURS, "hours")
        sure = task.within(confidence, 0, 1, "confidence")
        return await self._tasks.change(
            principal, ident, "complete",
            lambda old, shown, now_us: steps.completed(old, shown, took, sure, now_us),
            need="work", texts=Texts(result=text),
        )  # fmt: skip

    async def fail(
        self, principal: Principal, ident: str, reason: str = "", *, final: bool = False
    ) -> TaskView:
        """An attempt came to nothing. While attempts are left the task is pending again, unless
        this is `final`; else it has failed, and what needs it is blocked. Raises Conflict for one
        that is not in progress."""
        why = task.reason(reason)
        return await self._tasks.change(
            principal, ident, "fail",
            lambda old, shown, now_us: steps.failed(old, shown, why, now_us, final=final),
            need="work", detail=why,
        )  # fmt: skip

    async def block(self, principal: Principal, ident: str, reason: str) -> TaskView:
        """Note something outside that holds a task. Raises Conflict for one that has ended."""
        why = task.reason(reason)
        if not why:
            raise InvalidInput("nothing says what holds it", hint="say what it waits for")
        return await self._tasks.change(
            principal, ident, "block", lambda old, shown, _: steps.blocked(old, shown, why),
            need="work", detail=why,
        )  # fmt: skip

    async def unblock(self, principal: Principal, ident: str) -> TaskView:
        """Nothing outside holds it any more. Raises Conflict for one that is not blocked so."""
        return await self._tasks.change(
            principal, ident, "unblock", lambda old, shown, _: steps.unblocked(old, shown),
            need="work",
        )  # fmt: skip

    async def release(self, agent: str) -> None:
        """An agent has ended: what it worked on is anybody's again, or has failed after
        steps.LOST_ATTEMPTS. Raises StorageError."""
        idents = await self._tasks.database.read(lambda reader: rows.working(reader, agent))
        if not idents:
            return
        await self._tasks.graph()

        def change(tx: Transaction) -> list[Moved]:
            found = []
            for ident in idents:
                old, shown = rows.find(tx, ident), self._tasks.names.task(ident)
                if old is not None and old.status == IN_PROGRESS and old.agent == agent:
                    new = steps.lost(old, shown, tx.now_us)
                    tx.audit(ENGINE, "task.release", shown, detail=new.reason)
                    found.append(rows.update(tx, old, new))
            return found

        await self._tasks.database.write(change, topic=TOPIC, then=self._tasks.moved_all)
