"""Everything as a tree: environments, their swarms, the agents in each, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec
from textual.widget import Widget

from ...engine import views
from ...widgets import Column, LineWidget, VirtualTable, line, mark_of, state_text
from ...widgets.format import count
from .. import columns, wording
from ..bridge import Pull
from ..columns import ID_CELLS, Moment
from ..places import Place
from ..wording import DASH
from .frame import INNER, DeckScreen

_OPEN, _SHUT, _LEAF = "▾ ", "▸ ", "  "
_LOOSE: Final = "agents without a swarm"
_BARE: Final = (
    line(("   No swarm runs yet, and no agent has registered.", "muted")),
    line(("   c  starts a swarm,  D  runs the demo: real agents over real files", "muted")),
)


Subject: TypeAlias = views.EnvironmentView | views.SwarmView | views.AgentView | None


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the tree. `view` is what it stands for, None for a group of agents."""

    key: str
    depth: int
    name: str
    view: Subject
    environment: str
    leaf: bool
    opened: bool
    agents: int
    held: int
    used_bytes: int


def grow(overview: views.Overview, shut: frozenset[str]) -> list[Node]:
    """The tree from top to bottom without what is below a node in `shut`."""
    return [node for each in overview.environments for node in _environment(overview, each, shut)]


def _environment(
    overview: views.Overview, environment: views.EnvironmentView, shut: frozenset[str]
) -> Iterator[Node]:
    name = environment.name
    swarms = [swarm for swarm in overview.swarms if swarm.environment == name]
    agents = [agent for agent in overview.agents if agent.environment == name]
    loose = [agent for agent in agents if agent.swarm is None]
    key = f"environment {name}"
    yield _branch(key, 0, name, environment, name, agents, shut, leaf=not (swarms or agents))
    if key in shut:
        return
    for swarm in swarms:
        members = [agent for agent in agents if agent.swarm == swarm.id]
        yield from _group(swarm.id, swarm.name or swarm.id, swarm, name, members, shut)
    if loose:
        yield from _group(f"loose {name}", _LOOSE, None, name, loose, shut)


def _group(
    key: str, title: str, view: Subject, environment: str, members: Sequence[views.AgentView],
    shut: frozenset[str],
) -> Iterator[Node]:  # fmt: skip
    """A swarm with its agents, or the agents that have none."""
    yield _branch(key, 1, title, view, environment, members, shut, leaf=not members)
    if key in shut:
        return
    for agent in members:
        yield _branch(agent.id, 2, agent.name, agent, environment, [agent], shut, leaf=True)


def _branch(
    key: str, depth: int, name: str, view: Subject, environment: str,
    agents: Sequence[views.AgentView], shut: frozenset[str], *, leaf: bool,
) -> Node:  # fmt: skip
    return Node(
        key=key, depth=depth, name=name, view=view, environment=environment, leaf=leaf,
        opened=key not in shut, agents=len(agents), held=sum(agent.leased for agent in agents),
        used_bytes=sum(agent.used_bytes for agent in agents),
    )  # fmt: skip


def _label(node: Node) -> str:
    mark = _LEAF if node.leaf else _OPEN if node.opened else _SHUT
    return "  " * node.depth + mark + node.name


def _state(node: Node) -> str:
    """The state of a swarm or an agent; what waits in an environment."""
    if isinstance(node.view, views.EnvironmentView):
        queue = node.view.queue
        if node.view.state != "open":
            return state_text(node.view.state)
        return f"{count(queue.ready)} ready" if queue.ready else DASH
    return DASH if node.view is None else state_text(node.view.state)


def _state_style(node: Node) -> str:
    if isinstance(node.view, views.EnvironmentView) and node.view.state == "open":
        return "muted"
    if node.view is None:
        return "muted"
    return mark_of(node.view.state).style


def _why(node: Node) -> str:
    return getattr(node.view, "reason", "") or ""


def _columns() -> tuple[Column[Node], ...]:
    return (
        Column("name", _label, width=34, grow=1, style=_name_style),
        Column("state", _state, width=13, style=_state_style),
        Column("agents", lambda n: "" if n.depth == 2 else count(n.agents), width=6,
               align="right"),
        Column("held", lambda n: count(n.held) if n.held else DASH, width=6, align="right"),
        Column("used", lambda n: wording.size(n.used_bytes), width=8, align="right"),
        Column("id", lambda n: getattr(n.view, "id", ""), width=ID_CELLS, priority=1,
               style="muted"),
        Column("why", _why, width=20, priority=2, grow=1, style="muted"),
    )  # fmt: skip


def _name_style(node: Node) -> str:
    return columns.place_style(node.environment) if node.depth == 0 else "text"


class TreeScreen(DeckScreen):
    """The tree. Left shuts a branch, or goes to the one above; right opens it; enter shows what
    the line stands for."""

    DEFAULT_CSS = """
    TreeScreen #hint { height: 3; display: none; }
    """

    def __init__(self, crumb: str, moment: Moment) -> None:
        super().__init__(crumb, moment, ("tree", "rows", "motion", INNER))
        self._table: VirtualTable[Node] = VirtualTable(
            _columns(), lambda node: node.key, title="Tree", frame="rule", empty="reading …",
            id="tree",
        )  # fmt: skip
        self._hint = LineWidget(id="hint")
        self._shut: frozenset[str] = frozenset()
        self._grown: Sequence[Node] = ()
        self._seen: views.Overview | None = None

    def body(self) -> Iterable[Widget]:
        yield self._table
        yield self._hint

    @property
    def row(self) -> object:
        node = self._table.cursor_row
        return node.view if node is not None else None

    def show(self, pull: Pull) -> None:
        if pull.overview is not None:
            self._seen = pull.overview
            self._grow()

    def _grow(self) -> None:
        if self._seen is not None:
            self._grown = grow(self._seen, self._shut)
            self._table.empty = "No environment is open."
            self._table.show(self._grown)
            bare = not (self._seen.swarms or self._seen.agents)
            self._hint.display = bare
            self._hint.set_lines(_BARE if bare else ())

    def fold(self, way: str) -> None:
        """Shut the branch under the cursor, or one level up (`shut`); open it (`open`)."""
        node = self._table.cursor_row
        if node is None:
            return
        if way == "open":
            self._shut -= {node.key}
        elif node.opened and not node.leaf:
            self._shut |= {node.key}
        else:
            self._table.select(self._above(node))
        self._grow()

    def _above(self, node: Node) -> str:
        """The branch a line hangs on; itself at the top."""
        at = self._grown.index(node)
        found = (each.key for each in reversed(self._grown[:at]) if each.depth < node.depth)
        return next(found, node.key)

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        view = message.row.view
        if isinstance(view, views.EnvironmentView):
            self.post_message(self.Opened(Place("queue", view.name)))
        elif isinstance(view, views.SwarmView):
            self.post_message(self.Opened(Place("swarm", view.id)))
        elif isinstance(view, views.AgentView):
            self.post_message(self.Opened(Place("agent", view.id)))
        else:
            self.post_message(self.Opened(Place("agents", message.row.environment)))
