"""Which kind of thing is asked about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from ..environment import Place
from ..errors import InvalidInput
from ..model import Environment, Principal, environment_of
from ..views import ExplanationView
from .access import explain_grant
from .artifact import explain_artifact
from .consensus import explain_conflict, explain_proposal
from .draft import unknown
from .event import explain_event
from .message import explain_message
from .places import explain_environment, explain_whole
from .schedule import explain_schedule
from .swarms import explain_agent, explain_swarm
from .task import explain_task

if TYPE_CHECKING:
    from ..handlers import Services


async def explain(services: Services, principal: Principal, subject: str) -> ExplanationView:
    """Why a message, schedule, task, event, artifact, proposal, conflict, swarm, agent, grant
    or environment is as it is. `engine` and `host` are what alerts about no environment are about.
    Raises NotFound, also for an agent about what is not its own."""
    if subject in set(Environment):
        return explain_environment(services, principal, services.places[subject])
    if subject in {"engine", "host"}:
        return explain_whole(services, principal, subject)
    try:
        place = services.places[environment_of(subject)]
    except InvalidInput as error:
        raise unknown(subject) from error
    kind = subject.split("_")[1:2]
    if kind and kind[0] in _OF_ROWS:
        return await _OF_ROWS[kind[0]](principal, place, subject)
    match kind:
        case ["msg"]:
            view = await explain_message(services, principal, place, subject)
        case ["swarm"]:
            view = explain_swarm(services, principal, place, subject)
        case ["agent"]:
            view = explain_agent(services, principal, place, subject)
        case ["grant"]:
            view = explain_grant(services, principal, place, subject)
        case _:
            raise unknown(subject)
    return view


_OF_ROWS: Final[Mapping[str, Callable[[Principal, Place, str], Awaitable[ExplanationView]]]] = {
    "schedule": explain_schedule,
    "task": explain_task,
    "event": explain_event,
    "artifact": explain_artifact,
    "consensus": explain_proposal,
    "conflict": explain_conflict,
}
"""What is explained from its row alone, by the noun in its id."""
