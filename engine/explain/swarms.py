"""Why a swarm or an agent is as it is."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from .. import actions
from ..acl import Gate, gate
from ..environment import Place
from ..errors import NotFound
from ..model import AgentState, Environment, Principal, SwarmState, format_size
from ..views import AgentView, ExplanationView, HealthView, SwarmView
from .draft import Draft, count, loans, require_concern, span, unknown

if TYPE_CHECKING:
    from ..handlers import Services

SHOWN: Final = 10  # of agents, messages and events each

_ENDED: Final = frozenset({AgentState.EXITED, AgentState.FAILED})
_OF_HEALTH: Final = frozenset({"probe-failed", "recovery-tried", "recovery-spent", "breaker-open"})


def explain_swarm(
    services: Services, principal: Principal, place: Place, ident: str
) -> ExplanationView:
    """Raises NotFound, also for an agent of another swarm."""
    try:
        health = services.swarms.health(ident)
    except NotFound as error:
        raise unknown(ident) from error
    require_concern(principal, ident, ident)
    swarm = health.swarm
    draft = Draft(ident, "swarm", swarm.environment, swarm.state)
    if swarm.state == SwarmState.TERMINATED:
        draft.blocks("terminated", swarm.reason or "no reason is recorded")
        draft.remedy(actions.SwarmList(environment=place.environment.value, all=True))
        return draft.view("it has ended")
    if swarm.state == SwarmState.DRAINING:
        draft.blocks("draining", "it is ending: its agents finish what they hold, and get no more")
        draft.remedy(actions.SwarmTerminate(id=ident, force=True))
    _missing(draft, health)
    _memory(draft, services, place, swarm)
    _recovered(draft, services, swarm)
    if health.ready_messages:
        waiting = count(health.ready_messages, "message")
        draft.adds("queue", f"for it or its agents there is work waiting: {waiting}")
    return draft.view(_verdict(health))


def _recovered(draft: Draft, services: Services, swarm: SwarmView) -> None:
    """What its probes have found, and what recovery came to."""
    for alert in services.alerts.list(swarm.environment, firing=True):
        if alert.subject == swarm.id and alert.rule in _OF_HEALTH:
            draft.adds(alert.rule, alert.detail)
            if alert.rule == "recovery-spent":
                draft.remedy(actions.RecoveryReset(subject=swarm.id))


def _verdict(health: HealthView) -> str:
    swarm = health.swarm
    run = f"{swarm.agents_live} of {swarm.agents_wanted} agents run"
    return f"it is {health.status}: {run}" if swarm.agents_wanted else f"it is {health.status}"


def _missing(draft: Draft, health: HealthView) -> None:
    """Why fewer agents run than are wanted, and which do badly."""
    swarm = health.swarm
    for agent in islice((each for each in health.agents if each.state in _ENDED), SHOWN):
        draft.blocks(agent.state, f"agent {agent.id} {agent.state}: {agent.reason or 'no reason'}")
        draft.remedy(actions.Logs(agent=agent.id))
    starting = [each for each in health.agents if each.state == AgentState.STARTING]
    for agent in islice(starting, SHOWN):
        if agent.pid is None:
            draft.blocks("backoff", f"agent {agent.id} is to be started again: {agent.reason}")
            draft.remedy(actions.Logs(agent=agent.id))
        else:
            draft.adds("starting", f"agent {agent.id} runs and has not said that it is ready")
    for agent in islice((each for each in health.agents if each.state == "stale"), SHOWN):
        heard = span(agent.heartbeat_age_s or 0)
        draft.blocks("stale", f"agent {agent.id} was last heard of {heard} ago")
    if swarm.state == SwarmState.RUNNING and swarm.agents_live < swarm.agents_wanted:
        known = sum(each.state != AgentState.EXTERNAL for each in health.agents)
        if known < swarm.agents_wanted:
            draft.blocks("missing", f"{swarm.agents_wanted - known} of its agents were removed")
        draft.remedy(  # scaling to what it has replaces those that have ended
            actions.SwarmScale(
                id=swarm.id, agents=swarm.agents_wanted, memory_bytes=swarm.memory_bytes
            )
        )


def _memory(draft: Draft, services: Services, place: Place, swarm: SwarmView) -> None:
    if swarm.used_bytes > swarm.memory_bytes:
        draft.blocks(
            "over-budget",
            f"its processes use {format_size(swarm.used_bytes)}, more than the "
            f"{format_size(swarm.memory_bytes)} it was granted",
        )
    if swarm.gave_way:
        draft.blocks("gave-way", f"it is stopped until there is room: {swarm.gave_way}")
        draft.remedy(actions.MemoryPlan())
    if swarm.breaches:
        draft.adds(
            "killed",
            f"{count(swarm.breaches, 'agent')} of it killed for holding more than its share "
            "since the engine opened",
        )
        _roomier(draft, services, place, swarm)
    held = f"it holds {format_size(swarm.memory_bytes)}"
    if swarm.lenders:
        draft.adds(
            "borrowed",
            f"{held}, {format_size(swarm.borrowed_bytes)} of it borrowed: "
            f"{loans(swarm.lenders)}; that is taken back when an environment needs its base",
        )
    else:
        draft.adds("memory", f"{held}, all of it within the base of {swarm.environment}")
    taken = services.journal.list(swarm.environment, swarm.id, SHOWN)
    for event in (each for each in taken if each.kind == "reclaim"):
        draft.adds("taken-back", event.text)
    _more(draft, services, place)


def _roomier(draft: Draft, services: Services, place: Place, swarm: SwarmView) -> None:
    """Twice the memory where that could be granted, else half the agents."""
    more = swarm.memory_bytes
    if more <= services.budgets.use(place.environment.value).available_bytes:
        agents, size_bytes = swarm.agents_wanted, 2 * more
    else:
        agents, size_bytes = max(1, swarm.agents_wanted // 2), more
    draft.remedy(actions.SwarmScale(id=swarm.id, agents=agents, memory_bytes=size_bytes))


def _more(draft: Draft, services: Services, place: Place) -> None:
    """How much more could be had, and from whom it would be taken back."""
    name = place.environment.value
    use = services.budgets.use(name)
    more, free = use.available_bytes, services.budgets.free_bytes
    text = f"up to {format_size(more)} more could be granted in {name}"
    if more > free:
        lent = more - free
        givers = services.budgets.borrowers()
        named = ", ".join(giver.swarm for giver in givers[:SHOWN])
        text += f", {format_size(lent)} of it taken back, first from {named}"
    draft.adds("available", text)


# --- agents -----------------------------------------------------------------------------------


def explain_agent(
    services: Services, principal: Principal, place: Place, ident: str
) -> ExplanationView:
    """Raises NotFound, also for another agent."""
    try:
        agent = services.swarms.agent(ident)
    except NotFound as error:
        raise unknown(ident) from error
    require_concern(principal, ident, ident)
    draft = Draft(ident, "agent", agent.environment, agent.state)
    verdict = _condition(draft, services, place, agent)
    _work(draft, services, place, agent)
    _access(draft, services, place, agent)
    return draft.view(verdict)


def _condition(draft: Draft, services: Services, place: Place, agent: AgentView) -> str:
    if agent.restarts:
        draft.adds("restarts", f"it was started again {count(agent.restarts, 'time')}")
    if agent.heartbeat_age_s is not None and agent.state != AgentState.STALE:
        draft.adds("heartbeat", f"it was last heard of {span(agent.heartbeat_age_s)} ago")
    if agent.state in _ENDED or (agent.state == AgentState.STARTING and agent.pid is None):
        draft.blocks(agent.state, agent.reason or "no reason is recorded")
        draft.remedy(actions.Logs(agent=agent.id))
        _replace(draft, services, agent)
        waits = agent.state == AgentState.STARTING
        return "it waits for its next start" if waits else f"its process has {agent.state}"
    if agent.state == AgentState.STALE:
        draft.blocks("stale", f"no heartbeat for {span(agent.heartbeat_age_s or 0)}")
        if agent.pid is not None:
            draft.remedy(actions.Logs(agent=agent.id))
        return "it has not been heard of for too long"
    if agent.state == AgentState.EXTERNAL:
        here = place.registry.presence.is_connected(agent.id)
        draft.adds("connected" if here else "not-connected", "it has no process of this engine")
        return "it is connected" if here else "it is registered and not connected"
    if agent.state == AgentState.STARTING:
        draft.adds("starting", "its process runs and has not said that it is ready")
        draft.remedy(actions.Logs(agent=agent.id))
        return f"it is starting as process {agent.pid}"
    return f"it runs as process {agent.pid}"


def _replace(draft: Draft, services: Services, agent: AgentView) -> None:
    if agent.swarm is None:
        return
    swarm = services.swarms.view(agent.swarm)
    if swarm.state == SwarmState.RUNNING and agent.state in _ENDED:
        draft.remedy(
            actions.SwarmScale(
                id=swarm.id, agents=swarm.agents_wanted, memory_bytes=swarm.memory_bytes
            )
        )


def _work(draft: Draft, services: Services, place: Place, agent: AgentView) -> None:
    if agent.state not in _ENDED and not services.swarms.may_claim(agent.id):
        draft.blocks("no-new-work", "it gets no new work: it, or its swarm, is ending")
    leases = place.queue.counters.leases
    held = [number for number, lease in leases.items() if lease.holder == agent.id]
    if held:
        prefix = place.environment.prefix
        named = ", ".join(f"{prefix}_msg_{number}" for number in sorted(held)[:SHOWN])
        more = f" and {len(held) - SHOWN:,} more" if len(held) > SHOWN else ""
        draft.adds("holds", f"it works on {named}{more}")
    if agent.done:
        draft.adds("done", f"it has finished {count(agent.done, 'message')}")


def _access(draft: Draft, services: Services, place: Place, agent: AgentView) -> None:
    """What it may not do beyond what levels say of everybody."""
    for name, other in services.places.items():
        for entry in other.access.list(agent.id):
            if entry.effect == "deny":
                rights = ", ".join(entry.actions)
                draft.adds(
                    "explicit-deny",
                    f"it may not {rights} {entry.level} records {entry.namespace}/"
                    f"{entry.key_prefix}* of {name}, by {entry.id}",
                )
                draft.remedy(actions.AclRevoke(id=entry.id))
    own = place.environment
    shut, public = [], []
    for environment in Environment:
        isolation = services.settings.isolation
        passage = gate(isolation[own], isolation[environment], same=environment is own)
        if passage is Gate.NOTHING:
            shut.append(environment.value)
        elif passage is Gate.PUBLIC:
            public.append(environment.value)
    if shut:
        draft.adds("isolation", f"it reaches nothing of {', '.join(shut)}")
    if public:
        draft.adds("isolation", f"it reads only what is public of {', '.join(public)}")
    draft.remedy(actions.AclMatrix(environment=own.value, subjects=(agent.id,)))
