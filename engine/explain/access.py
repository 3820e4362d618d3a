"""What a grant or denial comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import actions
from ..acl import Gate, gate, spoken
from ..environment import Place
from ..model import OPERATOR, Principal, Role, environment_of
from ..views import ExplanationView, GrantView
from .draft import Draft, require_concern, span, unknown

if TYPE_CHECKING:
    from ..handlers import Services


def explain_grant(
    services: Services, principal: Principal, place: Place, ident: str
) -> ExplanationView:
    """Raises NotFound for one that is not in force, also for an agent that it is not about and
    that has not made it."""
    entries = place.access.list()
    entry = next((each for each in entries if each.id == ident), None)
    if entry is None:
        raise unknown(ident)
    require_concern(principal, ident, entry.subject, entry.granted_by)
    draft = Draft(ident, "grant", entry.environment, entry.effect)
    left_s = (entry.expires_at_us - place.database.clock.wall_us()) / 1_000_000
    draft.adds("expires", f"it ends in {span(left_s)}; {entry.granted_by} made it")
    if entry.reason:
        draft.adds("reason", entry.reason)
    if when := spoken(entry.hours, entry.days, entry.zone):
        draft.adds("conditions", f"it counts only {when}")
    others = [each for each in entries if each.id != ident and _overlap(each, entry)]
    if entry.effect == "allow":
        _outweighed(draft, entry, others)
        if entry.kind == "entry":
            _without_effect(draft, services, entry)
    else:
        for other in (each for each in others if each.effect == "allow"):
            draft.adds("outweighs", f"it outweighs {_what(other)} of {other.id}")
    _granter(draft, services, place, entry)
    draft.remedy(actions.AclRevoke(id=ident))
    words = "allows" if entry.effect == "allow" else "denies"
    idle = ", but has no effect" if draft.is_blocked else ""
    return draft.view(f"it {words} {entry.subject} {_what(entry)}{idle}")


def _what(entry: GrantView) -> str:
    rights = ", ".join(entry.actions)
    many = "" if entry.kind == "break-glass" else "*"
    return f"to {rights} {entry.level} records {entry.namespace}/{entry.key_prefix}{many}"


def _granter(draft: Draft, services: Services, place: Place, entry: GrantView) -> None:
    """What an entry of an agent, or of an operator with less than the system role, rests on."""
    granter = entry.granted_by
    if granter == OPERATOR:
        role = place.access.operator
        if role is not Role.SYSTEM:
            draft.adds("granter", f"it counts where {role} may grant, and for what it holds itself")
    elif granter not in place.registry.agents:
        if entry.effect == "allow":
            draft.blocks("granter", f"{granter}, who made it, is not registered any more")
        else:
            draft.adds("granter", f"of what {granter} owned: it is not registered any more")
    else:
        held = "may grant" if entry.effect == "deny" else "may grant and holds these rights itself"
        draft.adds("granter", f"it counts over records where {granter} {held}")


def _overlap(one: GrantView, other: GrantView) -> bool:
    """Whether two entries speak about the same records and rights of the same subject."""
    return (
        one.subject == other.subject
        and (one.level, one.namespace) == (other.level, other.namespace)
        and not set(one.actions).isdisjoint(other.actions)
        and (
            one.key_prefix.startswith(other.key_prefix)
            or other.key_prefix.startswith(one.key_prefix)
        )
    )


def _outweighed(draft: Draft, entry: GrantView, others: list[GrantView]) -> None:
    for other in (each for each in others if each.effect == "deny"):
        whole = entry.key_prefix.startswith(other.key_prefix)
        all_rights = set(entry.actions) <= set(other.actions)
        if whole and all_rights:
            draft.blocks("explicit-deny", f"{other.id} denies all of it, and a denial wins")
        else:
            draft.adds("explicit-deny", f"{other.id} denies {_what(other)}, and a denial wins")
        draft.remedy(actions.AclRevoke(id=other.id))


def _without_effect(draft: Draft, services: Services, entry: GrantView) -> None:
    """Where the table lets no grant count."""
    if entry.level == "private":
        draft.adds("default", f"of private records only those of {entry.granted_by} are opened")
        if "read" not in entry.actions:
            draft.blocks("default", "a grant opens private records for reading only")
    if entry.subject == OPERATOR:
        return
    home = environment_of(entry.subject)
    site = services.places[home]
    if entry.subject not in site.registry.agents:
        draft.blocks("subject", f"{entry.subject} is not registered any more")
    isolation = services.settings.isolation
    passage = gate(isolation[home], isolation[entry.environment], same=home == entry.environment)
    if passage is Gate.NOTHING:
        draft.blocks("isolation", f"{home} reaches nothing of {entry.environment}")
    elif passage is Gate.PUBLIC:
        if "read" not in entry.actions or entry.level == "private":
            draft.blocks("isolation", f"{home} only reads in {entry.environment}, nothing private")
        elif len(entry.actions) > 1:
            draft.adds("isolation", f"of it only reading counts: {home} is another environment")
