"""Why a message is where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .. import actions
from ..environment import Place
from ..errors import NotFound
from ..model import GIB, MIN_SWARM_BYTES, MessageState, Principal
from ..store.database import Reader
from ..swarms.roster import Agent
from ..views import ExplanationView, MessageView
from .draft import Draft, count, require_concern, span, unknown

if TYPE_CHECKING:
    from ..handlers import Services

COUNTED: Final = 10_000  # beyond that it does not matter how many are before it

_COUNT_BEFORE: Final = """
SELECT count(*) FROM (
    SELECT 1 FROM message INDEXED BY message_ready_kind
    WHERE env = ? AND target = ? AND kind = ? AND state = 0
      AND (priority > ? OR (priority = ? AND id < ?))
    LIMIT ?)"""


class Takers(NamedTuple):
    """Agents that a message may go to. `free` of the `running` hold no message; `leaving` get no
    new work; `absent` are registered and neither run nor are connected."""

    running: list[Agent]
    free: int
    leaving: int
    absent: int


async def explain_message(
    services: Services, principal: Principal, place: Place, ident: str
) -> ExplanationView:
    """Raises NotFound, also for an agent that the message does not concern."""
    try:
        message = await place.queue.show(ident)
    except NotFound as error:
        raise unknown(ident) from error
    require_concern(principal, ident, message.sender, message.holder, message.to)
    draft = Draft(ident, "message", message.environment, message.state)
    if message.state == MessageState.READY:
        verdict = await _ready(draft, services, place, message)
    elif message.state == MessageState.DELAYED:
        verdict = _delayed(draft, services, message)
    elif message.state == MessageState.LEASED:
        verdict = _leased(draft, services, place, message)
    else:
        verdict = _ended(draft, services, message)
    return draft.view(verdict)


async def _ready(draft: Draft, services: Services, place: Place, message: MessageView) -> str:
    before = await place.database.read(lambda reader: _count_before(reader, message))
    takers = _takers(services, place, message)
    paused = _paused(draft, place)
    if message.expires_at_us is not None:
        left_s = (message.expires_at_us - _now_us(services, message)) / 1_000_000
        draft.adds("expires", f"it expires in {span(left_s)}")
    if before:
        many = f"{before:,}" if before < COUNTED else f"at least {COUNTED:,}"
        draft.blocks(
            "turn",
            f"{many} more urgent or older messages of kind {message.kind} are before it in its "
            "lane",
        )
    if paused:
        return "its queue is paused, and hands nothing out"
    if not takers.running:
        return _nobody(draft, services, place, message, takers)
    who = count(len(takers.running), "running agent")
    if not takers.free:
        draft.blocks("busy", f"{who} may take it, and each works on another message")
        return "it waits until an agent is free"
    draft.adds("takers", f"{who} may take it, {takers.free} of them without a message now")
    if before:
        return "it waits for its turn"
    draft.adds("kinds", f"an agent that asks only for other kinds than {message.kind} leaves it")
    return "it goes to the next agent that asks for work of its kind"


def _paused(draft: Draft, place: Place) -> bool:
    """Whether the queue hands nothing out, and what would change that."""
    state = place.queue.flow.state
    if state.mode != "paused":
        return False
    why = f": {state.reason}" if state.reason else ""
    draft.blocks("paused", f"{state.changed_by} paused the queue of {place.environment}{why}")
    draft.remedy(actions.QueueResume(environment=place.environment.value))
    return True


def _nobody(
    draft: Draft, services: Services, place: Place, message: MessageView, takers: Takers
) -> str:
    whose = f"for {message.to}" if message.to else f"of {message.environment}"
    if takers.leaving:
        draft.blocks(
            "leaving", f"agents {whose} that are ending get no new work: {takers.leaving} now"
        )
    if takers.absent:
        registered = count(takers.absent, "registered agent")
        draft.blocks("not-running", f"of {registered} {whose} none runs or is connected")
    if not (takers.leaving or takers.absent):
        draft.blocks("nobody", f"no agent {whose} may take it")
    _start_some(draft, services, place, message.to)
    draft.remedy(actions.QueueCancel(id=message.id))
    return "no running agent may take it"


def _start_some(draft: Draft, services: Services, place: Place, target: str | None) -> None:
    """The command that would bring agents that may take it."""
    swarm = place.registry.swarms.get(target or "")
    if swarm is not None and not swarm.is_over:
        draft.remedy(
            actions.SwarmScale(
                id=swarm.id, agents=max(1, swarm.agents), memory_bytes=swarm.memory_bytes
            )
        )
    elif target is None:
        room = services.budgets.use(place.environment.value).available_bytes
        if room >= MIN_SWARM_BYTES:
            draft.remedy(
                actions.SwarmCreate(
                    environment=place.environment.value,
                    agents=1,
                    memory_bytes=min(room, GIB // 4),
                )
            )


def _takers(services: Services, place: Place, message: MessageView) -> Takers:
    registry, leased_by = place.registry, place.queue.counters.leased_by
    running: list[Agent] = []
    leaving = absent = 0
    for agent in registry.select():
        targets = (agent.id, agent.swarm, *registry.principal(agent.id).teams)
        if message.to is not None and message.to not in targets:
            continue
        if not (agent.pid is not None or registry.presence.is_connected(agent.id)):
            absent += 1
        elif services.swarms.may_claim(agent.id):
            running.append(agent)
        else:
            leaving += 1
    free = sum(not leased_by[agent.id] for agent in running)
    return Takers(running, free, leaving, absent)


def _count_before(reader: Reader, message: MessageView) -> int:
    number = int(message.id.rpartition("_")[2])
    lane = (reader.env, message.to or "", message.kind)
    rank = (message.priority, message.priority, number, COUNTED)
    row = reader.execute(_COUNT_BEFORE, (*lane, *rank)).fetchone()
    return int(row[0]) if row else 0


def _delayed(draft: Draft, services: Services, message: MessageView) -> str:
    left_s = ((message.due_at_us or 0) - _now_us(services, message)) / 1_000_000
    when = f"in {span(left_s)}" if left_s > 0 else "now"
    draft.remedy(actions.QueueEdit(id=message.id, delay_s=0))
    draft.remedy(actions.QueueCancel(id=message.id))
    if message.attempt and message.error:
        draft.blocks(
            "backoff",
            f"attempt {message.attempt} of {message.max_attempts} failed: {message.error}",
        )
        return f"it is tried again {when}, because it failed"
    if message.attempt:
        draft.blocks("backoff", f"attempt {message.attempt} of {message.max_attempts} gave it back")
        return f"it is tried again {when}"
    draft.blocks("delayed", f"{message.sender} sent it for later: it is due {when}")
    return f"it is due {when}"


def _leased(draft: Draft, services: Services, place: Place, message: MessageView) -> str:
    holder = message.holder or ""
    left_s = ((message.lease_until_us or 0) - _now_us(services, message)) / 1_000_000
    draft.adds(
        "lease",
        f"attempt {message.attempt} of {message.max_attempts}; its lease ends in "
        f"{span(max(0.0, left_s))}, then it is ready again unless {holder} extends it",
    )
    if message.error:
        draft.adds("error", f"the attempt before failed: {message.error}")
    agent = place.registry.agents.get(holder)
    draft.remedy(actions.QueueCancel(id=message.id))
    if agent is None:
        draft.adds("holder", f"{holder} is not a registered agent")
        return f"{holder} works on it"
    draft.remedy(actions.Explain(subject=holder))
    view = services.swarms.agent(holder)
    if view.state == "stale":
        heard = span(view.heartbeat_age_s or 0)
        draft.blocks("stale", f"{holder} was last heard of {heard} ago")
    else:
        draft.adds("holder", f"{holder} is {view.state}")
    return f"{holder} works on it"


def _ended(draft: Draft, services: Services, message: MessageView) -> str:
    tried = f"{message.attempt} of {message.max_attempts} attempts"
    if message.state == MessageState.DONE:
        draft.adds("done", f"{message.holder} finished it with attempt {message.attempt}")
        return f"it was done by {message.holder}"
    draft.remedy(actions.QueueRetry(id=message.id))
    if message.state == MessageState.DEAD:
        draft.blocks("attempts", f"{tried} are used up")
        draft.blocks("error", message.error or "the last attempt gave no error")
        if message.holder:
            draft.adds("holder", f"the last attempt was that of {message.holder}")
        return "it failed in every attempt and is not tried again by itself"
    if message.state == MessageState.EXPIRED:
        at_us = message.expires_at_us or _now_us(services, message)
        ago = span((_now_us(services, message) - at_us) / 1_000_000)
        draft.blocks("expired", f"nobody had taken it when its time was over, {ago} ago")
        return "it expired before it was taken"
    draft.blocks("cancelled", f"it was cancelled after {tried}")
    return "it was cancelled by hand"


def _now_us(services: Services, message: MessageView) -> int:
    return services.places[message.environment].database.clock.wall_us()
