"""Which kind of thing is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..model import Environment, Principal, environment_of
from ..views import ExplanationView
from .access import explain_grant
from .draft import unknown
from .event import explain_event
from .message import explain_message
from .places import explain_environment, explain_whole
from .schedule import explain_schedule
from .swarms import explain_agent, explain_swarm

if TYPE_CHECKING:
    from ..handlers import Services


async def explain(services: Services, principal: Principal, subject: str) -> ExplanationView:
    """Why a message, schedule, event, swarm, agent, grant or environment is as it is. `engine` and
    `host` are what alerts about no environment are about. Raises NotFound, also for an agent about
    what is not its own."""
    if subject in set(Environment):
        return explain_environment(services, principal, services.places[subject])
    if subject in {"engine", "host"}:
        return explain_whole(services, principal, subject)
    try:
        place = services.places[environment_of(subject)]
    except InvalidInput as error:
        raise unknown(subject) from error
    match subject.split("_")[1:2]:
        case ["msg"]:
            view = await explain_message(services, principal, place, subject)
        case ["schedule"]:
            view = await explain_schedule(principal, place, subject)
        case ["event"]:
            view = await explain_event(principal, place, subject)
        case ["swarm"]:
            view = explain_swarm(services, principal, place, subject)
        case ["agent"]:
            view = explain_agent(services, principal, place, subject)
        case ["grant"]:
            view = explain_grant(services, principal, place, subject)
        case _:
            raise unknown(subject)
    return view
