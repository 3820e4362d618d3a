"""Why an environment, the engine or the host is as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .. import actions
from ..budgets import holder_view
from ..environment import Place
from ..errors import SwarmDeckError
from ..ledger import EnvironmentUse
from ..model import MIN_SWARM_BYTES, Principal, format_size
from ..views import EnvironmentView, ExplanationView
from .draft import Draft, count, loans, span, unknown

if TYPE_CHECKING:
    from ..handlers import Services


def explain_environment(services: Services, principal: Principal, place: Place) -> ExplanationView:
    """Raises NotFound for an agent: whose memory is whose is for the operator."""
    name = place.environment.value
    if not principal.is_operator:
        raise unknown(name)
    shown = next(row for row in services.overview().environments if row.name == name)
    use = services.budgets.use(name)
    draft = Draft(name, "environment", name, shown.state)
    if place.refusal is not None:
        return _unusable(draft, place, place.refusal)
    verdict = _room(draft, services, shown, use)
    _refused(draft, services, name)
    _plan(draft, services, shown)
    _holders(draft, use)
    _firing(draft, services, name)
    return draft.view(verdict)


def _unusable(draft: Draft, place: Place, refusal: SwarmDeckError) -> ExplanationView:
    """Why nothing can be asked of it, and what to do."""
    name = place.environment.value
    draft.blocks(place.state, refusal.message)
    if place.state == "restoring":
        return draft.view(f"{name} is being restored: it is back in a moment")
    draft.adds("untouched", f"{place.database.path.name} is left as it was found, nothing reads it")
    draft.adds("others", "the other environments work; swarms of this one are not started")
    where = cast("actions.Environment", name)
    draft.remedy(actions.BackupList(environment=where))
    draft.remedy(actions.BackupRestore(environment=where, name="NAME"))
    draft.remedy(actions.Doctor())
    return draft.view(f"{name} is quarantined: restore it from a verified backup")


def _room(draft: Draft, services: Services, shown: EnvironmentView, use: EnvironmentUse) -> str:
    """How much one more swarm could get, and what keeps it from more."""
    more = use.available_bytes
    floors = use.base_bytes // MIN_SWARM_BYTES
    slots = max(0, shown.agent_limit - shown.agents)
    if len(use.holders) >= floors:
        draft.blocks(
            "swarms",
            f"its base of {format_size(use.base_bytes)} has room for {floors} swarms of "
            f"{format_size(MIN_SWARM_BYTES)}, and it has {len(use.holders)}",
        )
        more = 0
    if not slots:
        draft.blocks("agents", f"all {count(shown.agent_limit, 'agent')} it may have run")
    if more < MIN_SWARM_BYTES or more < use.max_bytes - use.allocated_bytes:
        _short(draft, services, use)
    elif more:
        draft.adds(
            "maximum", f"its maximum of {format_size(use.max_bytes)} allows no more than that"
        )
    draft.remedy(actions.MemoryPlan())
    if more < MIN_SWARM_BYTES:
        draft.remedy(actions.SwarmList(environment=use.name.value))
        return "no more memory can be granted in it"
    return f"one more swarm could have up to {format_size(more)} and {count(slots, 'agent')}"


def _short(draft: Draft, services: Services, use: EnvironmentUse) -> None:
    """Why it gets less than its maximum would allow."""
    name = use.name.value
    if use.allocated_bytes >= use.max_bytes:
        draft.blocks("maximum", f"it holds all of its maximum of {format_size(use.max_bytes)}")
        most = use.max_bytes + max(MIN_SWARM_BYTES, use.max_bytes // 8)
        draft.remedy(
            actions.MemoryAdmit(
                environment=use.name.value, base_bytes=use.base_bytes, max_bytes=most
            )
        )
        return
    free = services.budgets.free_bytes
    draft.blocks(
        "free",
        f"only {format_size(free)} is free on this host, and what it holds above its base of "
        f"{format_size(use.base_bytes)} has to be free",
    )
    for holder in services.budgets.borrowers():
        if holder.environment != name:
            draft.adds(
                "borrower",
                f"{holder.swarm} of {holder.environment} has borrowed {loans(holder.lenders)}",
            )
            draft.remedy(actions.Explain(subject=holder.swarm))


def _refused(draft: Draft, services: Services, name: str) -> None:
    """The last time a swarm was refused here, and the last budget."""
    for action in ("swarm.create", "swarm.scale", "memory.budget"):
        event = services.journal.last_refusal(name, action)
        if event is not None:
            clock = services.places[name].database.clock
            ago = span((clock.wall_us() - event.at_us) / 1_000_000)
            draft.adds("refused", f"{ago} ago: {event.text}")
    why = services.budgets.ignored.get(name)
    if why is not None:
        draft.blocks("budget-ignored", f"its stored budget is not in force: {why}")


def _plan(draft: Draft, services: Services, shown: EnvironmentView) -> None:
    base, most, held, used = map(
        format_size,
        (shown.base_bytes, shown.max_bytes, shown.allocated_bytes, shown.used_bytes),
    )
    draft.adds(
        "plan", f"plan {base}, at most {most}; allocated {held}; used {used} by its processes"
    )
    draft.adds("agents", f"{shown.agents} of at most {count(shown.agent_limit, 'agent')} run")
    if shown.full_in_s is not None:
        draft.adds("growth", f"at this rate its use reaches what is allocated in "
                   f"{span(shown.full_in_s)}")  # fmt: skip
    if shown.borrowed_bytes:
        draft.adds(
            "borrowed", f"{format_size(shown.borrowed_bytes)} is borrowed: {loans(shown.lenders)}"
        )
    if shown.lent_bytes:
        draft.adds("lent", f"{format_size(shown.lent_bytes)} of its base is lent to others")


def _holders(draft: Draft, use: EnvironmentUse) -> None:
    for holder in sorted(map(holder_view, use.holders), key=lambda each: -each.bytes):
        borrowed = f", borrowed {loans(holder.lenders)}" if holder.lenders else ""
        draft.adds("holder", f"{holder.swarm} holds {format_size(holder.bytes)}{borrowed}")


def _firing(draft: Draft, services: Services, name: str) -> None:
    for alert in services.alerts.list(name, firing=True):
        draft.adds("alert", f"{alert.rule}: {alert.subject}: {alert.detail}")
        if alert.subject != name:
            draft.remedy(actions.Explain(subject=alert.subject))


def explain_whole(services: Services, principal: Principal, subject: str) -> ExplanationView:
    """The `engine` or the `host`, as far as alerts tell. Raises NotFound for an agent."""
    if not principal.is_operator:
        raise unknown(subject)
    draft = Draft(subject, subject, "", "open")
    found = [alert for alert in services.alerts.list(None, firing=True) if alert.subject == subject]
    for alert in found:
        draft.blocks(alert.rule, alert.detail)
    draft.remedy(actions.MemoryPlan() if subject == "host" else actions.DatabaseStats())
    draft.remedy(actions.AlertList())
    return draft.view(f"it has {count(len(found), 'alert')}" if found else "all is well")
