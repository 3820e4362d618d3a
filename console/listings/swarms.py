"""Swarms, their agents, and what an agent holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ...engine import actions, views
from ...widgets import Line, line, state_span
from ...widgets.format import count, size
from .. import columns, wording
from ..columns import Moment
from ..places import Place
from .base import Listing, Scope, ident, within


def _swarms(overview: views.Overview, scope: Scope) -> Sequence[views.SwarmView]:
    return [swarm for swarm in overview.swarms if within(scope, swarm.environment)]


def _agents(overview: views.Overview, scope: Scope) -> Sequence[views.AgentView]:
    return [agent for agent in overview.agents if within(scope, agent.environment)]


def _members(overview: views.Overview, scope: Scope) -> Sequence[views.AgentView]:
    return [agent for agent in overview.agents if agent.swarm == scope.subject]


def _about_swarm(overview: views.Overview, scope: Scope, moment: Moment) -> Sequence[Line]:
    swarm = next((each for each in overview.swarms if each.id == scope.subject), None)
    if swarm is None:
        return (line(("  This swarm has ended; its agents and their leases are gone.", "muted")),)
    borrowed = f", {size(swarm.borrowed_bytes)} of it borrowed" if swarm.borrowed_bytes else ""
    killed = f", {count(swarm.breaches)} killed" if swarm.breaches else ""
    quota = f"   {swarm.cpu_percent} % of a core" if swarm.cpu_percent else ""
    why = f"gave way: {swarm.gave_way}" if swarm.gave_way else swarm.reason
    return (
        line("  ", state_span(swarm.state), f"  {swarm.name or swarm.id}  ",
             (swarm.environment, columns.place_style(swarm.environment)),
             (f"  {swarm.id}  up {wording.ago(moment.us, swarm.created_at_us)}", "muted")),
        line(("  agents  ", "muted"), f"{swarm.agents_ready} ready of {swarm.agents_wanted}",
             (killed, "warning"),
             ("   memory  ", "muted"),
             f"{size(swarm.used_bytes)} used of {size(swarm.memory_bytes)}{borrowed}",
             ("   restarts  ", "muted"), count(swarm.restarts)),
        line(("  command  ", "muted"), " ".join(swarm.command) or "the bundled worker",
             (quota, "muted"), (f"   {why}", "warning")),
        line(("  directory  ", "muted"), swarm.directory or "its own",
             ("   ready within  ", "muted"),
             f"{swarm.warm_up_s:g} s" if swarm.warm_up_s else "any time",
             ("   variables  ", "muted"), ", ".join(swarm.variables) or wording.DASH),
    )  # fmt: skip


def _about_agent(overview: views.Overview, scope: Scope, moment: Moment) -> Sequence[Line]:
    agent = next((each for each in overview.agents if each.id == scope.subject), None)
    if agent is None:
        return (line(("  This agent is gone; its leases are free, its records stay.", "muted")),)
    process = f"process {agent.pid}" if agent.pid else "no process of ours"
    return (
        line("  ", state_span(agent.state), f"  {agent.name}  ",
             (agent.environment, columns.place_style(agent.environment)),
             (f"  {agent.type}  {agent.id}  up {wording.ago(moment.us, agent.created_at_us)}",
              "muted")),
        line(("  ", "muted"), process, ("   memory  ", "muted"), size(agent.used_bytes),
             ("   done  ", "muted"), count(agent.done), ("   holds  ", "muted"),
             count(agent.leased), ("   restarts  ", "muted"), count(agent.restarts)),
        line(("  swarm  ", "muted"), agent.swarm or wording.DASH, ("   teams  ", "muted"),
             ", ".join(agent.teams) or wording.DASH, ("   can  ", "muted"),
             ", ".join(agent.capabilities) or wording.DASH,
             ("   ready for  ", "muted"), wording.ago(moment.us, agent.ready_at_us)),
        line(("  why  ", "muted"), (agent.reason, "warning") if agent.reason else wording.DASH),
    )  # fmt: skip


SWARMS: Final = Listing(
    title="Swarms",
    columns=columns.swarms,
    key=ident,
    empty="No swarm runs yet.\nD  runs the demo: real agents over real files\n"
    "c  starts one, as does  :swarm create development --agents 4 --memory 512MB",
    groups=("swarms", "rows", "table", "motion"),
    rows=_swarms,
    opens=lambda swarm: Place("swarm", swarm.id),
)
AGENTS: Final = Listing(
    title="Agents",
    columns=columns.agents,
    key=ident,
    empty="No agents.\n\nc  starts a swarm of them; or type  :agent register development NAME",
    groups=("agents", "rows", "table", "motion"),
    rows=_agents,
    opens=lambda agent: Place("agent", agent.id),
)
SWARM: Final = replace(
    AGENTS,
    title="Agents of the swarm",
    empty="No agent has joined.\n\nesc  then  s  scales the swarm; others join with\n"
    ":agent register ENVIRONMENT NAME --swarm ID",
    rows=_members,
    about=_about_swarm,
    about_height=5,
    by_environment=False,
)
AGENT: Final = Listing(
    title="Messages it holds",
    columns=columns.messages,
    key=ident,
    empty="It holds no message now.\n\nl  shows what it has written,  m  the messages it sent,\n"
    "R  the records it can read,  A  everything as it sees it",
    groups=("agent", "queue", "rows", "table", "motion"),
    query=lambda scope: actions.QueueList(holder=scope.subject),
    opens=lambda message: Place("message", message.id),
    about=_about_agent,
    about_height=5,
    by_environment=False,
)
