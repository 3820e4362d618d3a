"""What tasks wait for: dependencies made, taken back, waived and looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import Conflict, InvalidInput
from ..model import Principal
from ..store.database import Reader, Transaction
from ..views import DependencyView, TaskNodeView, TaskView
from . import rows, task
from .conditions import condition as parsed
from .graph import state
from .rows import Link, Moved
from .service import TOPIC
from .task import BLOCKED, COMPLETED, HARD, PENDING, Edge, Task

if TYPE_CHECKING:
    from .service import Tasks

MOST_NEEDS: Final = 1_000  # dependencies of one task
MOST_NODES: Final = 1_000  # lines of a tree
NAMED: Final = 8  # tasks of a cycle that are named


class Links:
    """Calls about dependencies. They belong to the engine's loop."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    # --- making ------------------------------------------------------------------------------

    async def wanted(self, principal: Principal, needs: Sequence[str]) -> list[Link]:
        """What a new task needs, all of it for certain. Raises NotFound, InvalidInput."""
        names = dict.fromkeys(needs)
        if len(names) > MOST_NEEDS:
            raise InvalidInput(f"a task with {len(names):,} needs", hint=f"at most {MOST_NEEDS:,}")
        return [await self._link(principal, each, HARD) for each in names]

    async def _link(self, principal: Principal, needs: str, kind: str, condition: str = "") -> Link:
        """A dependency as it is asked for. Raises NotFound, InvalidInput."""
        if (kind == task.CONDITIONAL) is not bool(condition.strip()):
            hint = '--kind conditional --condition "status = completed"'
            raise InvalidInput("a condition and the kind conditional go together", hint=hint)
        if condition:
            parsed(condition.strip())
        if self._tasks.names.is_task(needs):
            found = await self._tasks.find(principal, needs)
            return Link(found.ident, "", kind, condition.strip())
        if condition:
            raise InvalidInput("a condition asks about a task", hint="name a task that is needed")
        return Link(None, task.resource(needs), kind)

    async def depend(
        self,
        principal: Principal,
        ident: str,
        needs: str,
        kind: str = HARD,
        condition: str = "",
    ) -> DependencyView:
        """Let a task wait for another one, or for something else by its name. Raises Conflict for a
        cycle, which it names, for one that is there already, and for a task that was begun;
        InvalidInput, NotFound, Denied."""
        link = await self._link(principal, needs, kind, condition)
        async with self._tasks.linking:
            return await self._depend(principal, ident, link)

    async def _depend(self, principal: Principal, ident: str, link: Link) -> DependencyView:
        tasks, names = self._tasks, self._tasks.names
        number, graph = names.task_number(ident), await self._tasks.graph()
        self._require_no_cycle(graph.cycle(number, link.needs) if link.needs else [])

        def change(tx: Transaction) -> Moved:
            old = tasks.required(tx, principal, "direct", number, "depend")
            task.require(old, ident, PENDING, BLOCKED, hint="only what was not begun can wait")
            self._require_new(rows.edges_of(tx, number), link, ident)
            edge = rows.insert_edge(tx, number, link, principal.id, tasks.ring)
            detail = f"{link.kind} {tasks.needed(edge)}"
            tx.audit(principal.id, "task.depend", ident, detail=detail)
            return Moved(rows.update(tx, old, old).task, (edge,))

        moved = await tasks.database.write(change, topic=TOPIC, then=tasks.moved)
        return await self._view(moved.edges[0])

    def _require_no_cycle(self, way: Sequence[int]) -> None:
        if not way:
            return
        names = [self._tasks.names.task(ident) for ident in way]
        if len(names) == 1:
            raise Conflict(f"{names[0]} cannot wait for itself", hint="name another task")
        shown = [names[-1], *names]
        if len(shown) > NAMED + 1:
            left = len(shown) - NAMED
            shown = [*shown[: NAMED - 1], f"({left} more)", shown[-1]]
        raise Conflict(
            f"that would be a cycle: {' needs '.join(shown)}",
            hint="swarmdeck task undepend takes one of these dependencies back",
        )

    def _require_new(self, held: Sequence[Edge], link: Link, ident: str) -> None:
        if len(held) >= MOST_NEEDS:
            raise Conflict(f"{ident} has {len(held):,} dependencies", hint="take one of them back")
        for edge in held:
            if (edge.needs, edge.resource) == (link.needs, link.resource):
                shown = self._tasks.names.edge(edge.ident)
                raise Conflict(
                    f"{ident} has that dependency already: {shown}, {edge.kind}",
                    hint=f"swarmdeck task undepend {shown} first",
                )

    async def undepend(self, principal: Principal, ident: str) -> TaskView:
        """Take a dependency back; its task may be ready now. Raises NotFound, Denied, Conflict for
        a task that has ended."""
        tasks, names = self._tasks, self._tasks.names
        number = names.edge_number(ident)
        await tasks.graph()

        def change(tx: Transaction) -> Moved:
            edge, old = self._found(tx, principal, number, "undepend")
            rows.delete_edge(tx, number)
            detail = f"{edge.kind} {tasks.needed(edge)}"
            tx.audit(principal.id, "task.undepend", names.task(old.ident), detail=detail)
            return rows.update(tx, old, old)

        def then(moved: Moved) -> None:
            tasks.unlinked(number)
            tasks.moved(moved)

        moved = await tasks.database.write(change, topic=TOPIC, then=then)
        return tasks.view(moved.task)

    async def resolve(self, principal: Principal, ident: str) -> DependencyView:
        """Let a task wait no longer for something: it is there, or it is not needed after all.
        Raises NotFound, Denied, Conflict for one that is resolved or whose task has ended."""
        tasks = self._tasks
        number = tasks.names.edge_number(ident)
        await tasks.graph()

        def change(tx: Transaction) -> Moved:
            edge, old = self._found(tx, principal, number, "resolve")
            if edge.resolved_us is not None:
                raise Conflict(f"{ident} is resolved already")
            resolved = rows.resolve_edge(tx, edge, principal.id)
            detail = f"{tasks.names.task(old.ident)} needs {tasks.needed(edge)}"
            tx.audit(principal.id, "dependency.resolve", ident, detail=detail)
            return Moved(rows.update(tx, old, old).task, (resolved,))

        moved = await tasks.database.write(change, topic=TOPIC, then=tasks.moved)
        return await self._view(moved.edges[0])

    def _found(
        self, tx: Transaction, principal: Principal, number: int, what: str
    ) -> tuple[Edge, Task]:
        """A dependency and its task, which is `principal`'s to direct and has not ended."""
        names = self._tasks.names
        edge = rows.require_edge(rows.find_edge(tx, number), names, number)
        old = self._tasks.required(tx, principal, "direct", edge.task, what)
        task.require(old, names.task(old.ident), PENDING, BLOCKED, task.IN_PROGRESS)
        return edge, old

    # --- looking -----------------------------------------------------------------------------

    async def listed(
        self,
        principal: Principal,
        ident: str | None = None,
        wanted: str | None = None,
        limit: int = 200,
    ) -> list[DependencyView]:
        """Dependencies of the tasks that `principal` sees, newest first; of one task, in the order
        they were made. `wanted` is one of their states."""
        tasks = self._tasks
        await tasks.graph()
        number = None if ident is None else (await tasks.find(principal, ident)).ident

        def query(reader: Reader) -> list[DependencyView]:
            found: list[DependencyView] = []
            for edge, owner, needed in rows.edges(reader, number):
                if not tasks.rights.sees(principal, owner):
                    continue
                view = self._shown(edge, needed, principal)
                if wanted in {None, view.state}:
                    found.append(view)
                if len(found) == limit:
                    break
            return found

        return await tasks.aside.read(query, rows=None if number is None else MOST_NEEDS)

    async def _view(self, edge: Edge) -> DependencyView:
        def query(reader: Reader) -> Task | None:
            return None if edge.needs is None else rows.find(reader, edge.needs)

        return self._shown(edge, await self._tasks.database.read(query))

    def _shown(
        self, edge: Edge, needed: Task | None, principal: Principal | None = None
    ) -> DependencyView:
        names = self._tasks.names
        hidden = (
            principal is not None
            and needed is not None
            and not self._tasks.rights.sees(principal, needed)
        )
        now = state(edge, COMPLETED if needed is None else needed.status)
        return DependencyView(
            id=names.edge(edge.ident),
            environment=self._tasks.environment.value,
            task=names.task(edge.task),
            needs=self._tasks.needed(edge),
            kind=edge.kind,
            condition=edge.condition,
            state=now if edge.resolved_us is None else "resolved",
            status=None if needed is None else "hidden" if hidden else needed.status,
            resolved_at_us=edge.resolved_us,
            resolved_by=edge.resolved_by,
            created_by=edge.created_by,
            created_at_us=edge.created_us,
        )

    async def tree(
        self, principal: Principal, ident: str, *, behind: bool = False, limit: int = 200
    ) -> list[TaskNodeView]:
        """What a task needs, and what that needs, as a tree; with `behind` what needs it. What was
        shown once is not opened again. Raises NotFound."""
        root = await self._tasks.find(principal, ident)

        def query(reader: Reader) -> list[TaskNodeView]:
            tree = _Tree(self._tasks, principal, reader, behind=behind)
            return [node for _, node in zip(range(limit), tree.walk(root), strict=False)]

        return await self._tasks.aside.read(query, rows=10 * limit)


class _Tree:
    """A walk from one task on, depth first, on the reader's thread."""

    def __init__(self, tasks: Tasks, principal: Principal, reader: Reader, *, behind: bool) -> None:
        self._tasks = tasks
        self._principal = principal
        self._reader = reader
        self._behind = behind
        self._opened: set[int] = set()
        self._lines = 0

    def walk(self, root: Task) -> Iterator[TaskNodeView]:
        waiting: list[_Step] = [_Step(root, None, "", 0)]
        while waiting:
            step = waiting.pop()
            self._lines += 1
            found = step.task
            if found is None:
                yield _named(step, self._lines)
                continue
            again = found.ident in self._opened
            seen = self._tasks.rights.sees(self._principal, found)
            yield self._node(step, found, again=again, seen=seen)
            if seen and not again:
                self._opened.add(found.ident)
                waiting += reversed(self._onward(found, step.depth + 1))

    def _onward(self, found: Task, depth: int) -> list[_Step]:
        if self._behind:
            held = rows.behind(self._reader, found.ident)
            return [_Step(task, edge, state(edge, found.status), depth) for edge, task in held]
        return [
            _Step(task, edge, state(edge, COMPLETED if task is None else task.status), depth)
            for edge, task in rows.before(self._reader, found.ident)
        ]

    def _node(self, step: _Step, found: Task, *, again: bool, seen: bool) -> TaskNodeView:
        view, edge = self._tasks.view(found), step.edge
        return TaskNodeView(
            sequence=self._lines,
            subject=view.id,
            depth=step.depth,
            title=view.title if seen else "",
            status=view.status if seen else "hidden",
            kind="" if edge is None else edge.kind,
            condition="" if edge is None else edge.condition,
            state="resolved" if edge is not None and edge.resolved_us else step.state,
            agent=view.agent if seen else None,
            progress=view.progress if seen else 0.0,
            again=again,
        )


class _Step(NamedTuple):
    """Where a walk goes on: a task, or None for what is none, and how it was come to."""

    task: Task | None
    edge: Edge | None
    state: str
    depth: int


def _named(step: _Step, line: int) -> TaskNodeView:
    """Something that is waited for and no task."""
    edge = step.edge
    assert edge is not None
    return TaskNodeView(
        sequence=line,
        subject=edge.resource,
        depth=step.depth,
        title="",
        status="",
        kind=edge.kind,
        condition="",
        state=step.state if edge.resolved_us is None else "resolved",
        agent=None,
        progress=0.0,
        again=False,
    )
