"""The tasks of one environment: what is in memory, what is shown, and how one is changed.

Each change is one transaction that reads the task, decides by what it reads, and writes; what is in
memory follows on the loop, in the order of the commits. What is ready is known from there alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from .. import codec
from ..acl.rows import Rows
from ..clock import Clock
from ..errors import Denied, NotFound
from ..model import Environment, Principal
from ..store.aside import LIGHT_ROWS, Aside
from ..store.database import Database, Reader, Transaction
from ..views import TaskView
from . import rows
from .graph import BROKEN, Graph, Lane
from .listing import Known, Wish, page
from .rights import Need, Rights
from .rows import Moved, Texts
from .task import BLOCKED, PENDING, Edge, Names, Task

if TYPE_CHECKING:
    from ..settings import TaskSettings
    from ..swarms.registry import Registry
    from ..vault import Ring
    from .links import Links
    from .planning import Planning
    from .retention import Retention
    from .working import Working

TOPIC: Final = "tasks"

Step: TypeAlias = Callable[[Task, str, int], Task]
NOTHING: Final = Texts()


class Tasks:
    """All methods belong to the engine's loop. Tasks are read from the file when first needed. An
    unknown task, or one that may not be seen, is NotFound everywhere. `planning` makes and directs
    tasks, `working` is for those who do them, `links` are their dependencies."""

    def __init__(
        self,
        environment: Environment,
        database: Database,
        access: Rows,
        ring: Ring,
        registry: Registry,
        clock: Clock,
        settings: TaskSettings,
    ) -> None:
        self.environment = environment
        self.names = Names(environment.prefix)
        self.rights = Rights(access, environment, self.names)
        self.database = database
        self.ring = ring
        self.linking = asyncio.Lock()  # two halves of a cycle must not be made at once
        self.registry = registry
        self.clock = clock
        self.settings = settings
        self.aside = Aside(database)
        self._graph: Graph | None = None
        self._loading = asyncio.Lock()

    @cached_property
    def planning(self) -> Planning:
        from .planning import Planning  # noqa: PLC0415 - looking needs none of it

        return Planning(self)

    @cached_property
    def working(self) -> Working:
        from .working import Working  # noqa: PLC0415 - looking needs none of it

        return Working(self)

    @cached_property
    def links(self) -> Links:
        from .links import Links  # noqa: PLC0415 - looking needs none of it

        return Links(self)

    @cached_property
    def retention(self) -> Retention:
        from .retention import Retention  # noqa: PLC0415 - an engine that stays has one

        return Retention(self, self.settings)

    # --- in memory ---------------------------------------------------------------------------

    async def graph(self) -> Graph:
        """What is in memory; read from the file by the first who asks."""
        if self._graph is None:
            async with self._loading:
                if self._graph is None:
                    # Beside those who read, and made where it is read: it may be large.
                    passed = await self.database.read(rows.size)
                    self._graph = await self.aside.read(_graph_of, rows=passed)
        return self._graph

    async def reload(self) -> None:
        """Read them again: they were changed behind this."""
        self._graph = None
        await self.graph()

    def moved(self, moved: Moved) -> None:
        """A change was committed."""
        if self._graph is not None:
            self._graph.put(moved.task)
            for edge in moved.edges:
                self._graph.link(edge)

    def unlinked(self, ident: int) -> None:
        """A dependency was deleted."""
        if self._graph is not None:
            self._graph.unlink(ident)

    def gone(self, idents: list[int]) -> None:
        """Tasks were deleted."""
        for ident in idents:
            if self._graph is not None:
                self._graph.remove(ident)

    # --- looking -----------------------------------------------------------------------------

    async def find(self, principal: Principal, ident: str) -> Task:
        """A task that `principal` may see. Raises NotFound."""
        number = self.names.task_number(ident)
        found = (await self.graph()).get(number)
        if found is None:
            found = await self.database.read(lambda reader: rows.find(reader, number))
        return self.rights.require(principal, "see", found, ident)

    async def show(self, principal: Principal, ident: str) -> TaskView:
        """One task with what it requires and has come to. Raises NotFound, Sealed, Damaged."""
        found = await self.find(principal, ident)
        texts = await self.database.read(rows.texts(found, self.ring))
        needs = await self.database.read(lambda reader: rows.edges_of(reader, found.ident))
        behind = await self.database.read(lambda reader: rows.behind(reader, found.ident))
        view = self.view(found)
        return msgspec.structs.replace(
            view,
            requirements=_decoded(texts.requirements),
            deliverables=_decoded(texts.deliverables),
            result=_decoded(texts.result),
            needs=tuple(self.needed(edge) for edge in needs),
            needed_by=tuple(self.names.task(edge.task) for edge, _ in behind),
        )

    async def listed(
        self, principal: Principal, wanted: Wish, *, offset: int = 0, limit: int = 200
    ) -> list[TaskView]:
        """Tasks that `principal` may see, without their JSON texts. Raises InvalidInput,
        Unavailable when looking takes too long."""
        graph = await self.graph()
        known = Known(graph.ready, graph.broken, self.clock.wall_us())
        sight, exact = self.rights.rows.visible(principal)
        sight = f"{sight[0]} OR agent = ?", (*sight[1], principal.id)
        unseen: Callable[[Task], bool] = lambda each: self.rights.sees(principal, each)  # noqa: E731
        query = page(wanted, known, sight, _all if exact else unseen, offset, limit)
        light = wanted.status not in _ENDED_TOO and graph.unfinished <= LIGHT_ROWS
        found = await self.aside.read(query, rows=graph.unfinished if light else None)
        return [self.view(each) for each in found]

    async def ready(self, principal: Principal, limit: int = 200) -> list[TaskView]:
        """What `principal` sees and what can be begun now, most urgent first."""
        graph = await self.graph()
        found = []
        for ident in self.candidates(graph, principal, lambda _: True):
            each = graph.get(ident)
            if each is not None:
                found.append(self.view(each))
            if len(found) == limit:
                break
        return found

    def overdue(self, most: int = 3) -> tuple[int, list[str]]:
        """How many tasks have not ended and should have, and the ids of those that are the
        latest; of what is in memory."""
        if self._graph is None:
            return 0, []
        late = list(self._graph.overdue(self.clock.wall_us()))
        return len(late), [self.names.task(ident) for ident in late[:most]]

    def view(self, found: Task) -> TaskView:
        """A task as it is shown, without its texts."""
        graph = self._graph or Graph()
        status, blockers = found.status, found.blockers
        held = status in (PENDING, BLOCKED)
        broken = self._broken(graph, found) if held else ()
        deadline_us = found.deadline_us
        return TaskView(
            id=self.names.task(found.ident),
            environment=self.environment.value,
            title=found.title,
            type=found.type,
            status=BLOCKED if broken else status,
            ready=graph.is_ready(found.ident),
            waits=graph.waits(found.ident) if held else 0,
            overdue=deadline_us is not None and not found.has_ended
            and deadline_us <= self.clock.wall_us(),
            priority=found.priority,
            level=found.level.name.lower(),
            owner=found.owner,
            team=found.team,
            swarm=found.swarm,
            agent=found.agent,
            parent=None if found.parent is None else self.names.task(found.parent),
            progress=found.progress,
            confidence=found.confidence,
            estimated_hours=found.estimated_hours,
            actual_hours=found.actual_hours,
            deadline_at_us=deadline_us,
            attempt=found.attempt,
            max_attempts=found.max_attempts,
            reason=found.reason,
            blockers=(*blockers, *broken),
            version=found.version,
            created_at_us=found.created_us,
            updated_at_us=found.updated_us,
            started_at_us=found.started_us,
            ended_at_us=found.ended_us,
        )  # fmt: skip

    def _broken(self, graph: Graph, found: Task) -> tuple[str, ...]:
        """Why dependencies hold a task that nothing will meet."""
        if found.ident not in graph.broken:
            return ()
        words = []
        for edge, state in graph.edges(found.ident):
            if state == BROKEN and edge.needs is not None:
                needed = graph.get(edge.needs)
                status = "completed" if needed is None else needed.status
                why = f", which is not {edge.condition}" if edge.condition else ""
                words.append(f"{self.names.task(edge.needs)} {_SAID[status]}{why}")
        return tuple(words)

    def needed(self, edge: Edge) -> str:
        """What a dependency is on, as it is shown."""
        return edge.resource if edge.needs is None else self.names.task(edge.needs)

    # --- changing ----------------------------------------------------------------------------

    async def change(
        self,
        principal: Principal,
        ident: str,
        what: str,
        step: Step,
        *,
        need: Need = "direct",
        detail: str = "",
        texts: Texts = NOTHING,
    ) -> TaskView:
        """Do something to a task: `step(task, id, now_us)` gives what it becomes. Raises NotFound,
        Denied, and what the step does."""
        await self.graph()
        number = self.names.task_number(ident)

        def change(tx: Transaction) -> Moved:
            old = self.required(tx, principal, need, number, what)
            new = step(old, ident, tx.now_us)
            rows.write_texts(tx, old, self.ring, texts)
            tx.audit(principal.id, f"task.{what}", ident, detail=detail)
            return rows.update(tx, old, new, result=texts.result)

        moved = await self.database.write(change, topic=TOPIC, then=self.moved)
        return self.view(moved.task)

    def required(
        self, tx: Transaction, principal: Principal, need: Need, number: int, what: str
    ) -> Task:
        """The task as it is now; a refusal is in the audit trail. Raises NotFound, Denied."""
        shown = self.names.task(number)
        try:
            return self.rights.require(principal, need, rows.find(tx, number), shown)
        except (NotFound, Denied):
            tx.audit(principal.id, f"task.{what}", shown, allowed=False)
            raise

    def moved_all(self, moved: Sequence[Moved]) -> None:
        """Changes were committed in one transaction."""
        for each in moved:
            self.moved(each)

    def candidates(
        self, graph: Graph, principal: Principal, fits: Callable[[Lane], bool]
    ) -> Iterator[int]:
        """Ready tasks that `principal` sees, in lanes that fit, most urgent first."""
        _, exact = self.rights.rows.visible(principal)
        if exact:
            yield from graph.take(lambda lane: fits(lane) and self.rights.fits(principal, lane))
            return
        for ident in graph.take(fits):
            each = graph.get(ident)
            if each is not None and self.rights.sees(principal, each):
                yield ident


_ENDED_TOO: Final = frozenset({"completed", "failed", "cancelled", "all"})
_SAID: Final = {
    "failed": "has failed",
    "cancelled": "was cancelled",
    "completed": "is completed",
}


def _graph_of(reader: Reader) -> Graph:
    return Graph.of(*rows.load(reader))


def _all(_: Task) -> bool:
    return True


def _decoded(text: bytes | None) -> object:
    return None if text is None else codec.decode_json(text)
