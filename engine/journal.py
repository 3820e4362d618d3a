"""What happened since the engine opened, for people: a bounded list, newest first.

Kept from the events of the bus and from operations that were refused. It is a memory, not a record:
what must be proved is in the audit trail.
"""

from __future__ import annotations

import logging
from collections import deque
from itertools import islice
from typing import Final

from .actions import Action, spec_of
from .clock import Clock
from .errors import SwarmDeckError
from .events import (
    AgentChanged,
    Enforced,
    EngineStopping,
    Event,
    GlassBroken,
    Reclaimed,
    SwarmChanged,
)
from .model import AgentState, Principal, SwarmState, environment_of, format_size
from .views import JournalView

EVENTS: Final = "swarmdeck.events"
"""The logger that is told each event. Silent, unless an engine that stays writes a log."""

LIMIT: Final = 2000
RECLAIMS: Final = 200

REFUSAL: Final = "refusal"
# Not told: input that was wrong and things that are not there, which its caller sees at once.
_TOLD: Final = {
    "over_budget": "warning",
    "denied": "warning",
    "conflict": "warning",
    "busy": "warning",
    "unavailable": "warning",
    "storage": "critical",
    "outcome_unknown": "critical",
    "corrupt": "critical",
    "defect": "critical",
}
# Of a question only these: it changes nothing, and asking about what has moved on is no event.
_TOLD_OF_QUERIES: Final = frozenset({"denied", "storage", "corrupt", "defect"})
_CALM_ENDS: Final = frozenset({"", "terminated", "engine stopped", "the engine stopped"})
_LEVELS: Final = {"warning": logging.WARNING, "critical": logging.CRITICAL}
_PLACES: Final = ("id", "swarm", "team", "subject", "agent")

log = logging.getLogger(EVENTS)
log.propagate = False  # what a command is refused is no word on its stderr
log.addHandler(logging.NullHandler())


class Journal:
    """The last events. Belongs to the engine's loop. `reclaims` are those of borrowed memory with
    the times they happened, newest last; `breaches` the agents killed for what they held."""

    def __init__(self, clock: Clock, limit: int = LIMIT) -> None:
        self.reclaims: deque[tuple[int, Reclaimed]] = deque(maxlen=RECLAIMS)
        self.breaches: deque[tuple[int, Enforced]] = deque(maxlen=RECLAIMS)
        self._clock = clock
        self._events: deque[JournalView] = deque(maxlen=limit)
        self._sequence = 0

    def note(
        self,
        kind: str,
        subject: str,
        text: str,
        *,
        environment: str = "",
        severity: str = "info",
    ) -> None:
        """Add an event. One that repeats the newest takes its place: a caller that insists must
        not push out all others."""
        self._sequence += 1
        event = JournalView(
            sequence=self._sequence,
            at_us=self._clock.wall_us(),
            environment=environment,
            kind=kind,
            subject=subject,
            severity=severity,
            text=text,
        )
        last = self._events[-1] if self._events else None
        if last is not None and (last.kind, last.subject, last.text) == (kind, subject, text):
            self._events.pop()
        else:
            log.log(_LEVELS.get(severity, logging.INFO), "%s", text, extra={"event": event})
        self._events.append(event)

    def heed(self, event: Event) -> None:
        """Take what an event of the bus says, if it is of interest."""
        if isinstance(event, AgentChanged):
            self._agent(event)
        elif isinstance(event, SwarmChanged):
            severity = "info"
            if event.state == SwarmState.TERMINATED and event.reason not in _CALM_ENDS:
                severity = "warning"
            self._told("swarm", event.id, _because(event.state, event.reason), severity)
        elif isinstance(event, Reclaimed):
            self.reclaims.append((self._clock.wall_us(), event))
            text = f"{format_size(event.bytes)} taken back for {event.for_environment}"
            self._told("reclaim", event.swarm, text, "warning")
        elif isinstance(event, Enforced):
            if event.what == "killed":
                self.breaches.append((self._clock.wall_us(), event))
            calm = event.what in {"told", "came back"}
            text = f"{event.what}: {event.text}" if event.what != "killed" else event.text
            self._told("memory", event.agent or event.swarm, text, "info" if calm else "warning")
        elif isinstance(event, GlassBroken):
            entry = event.entry
            text = f"{entry.granted_by} reads {entry.namespace}/{entry.key_prefix}: {entry.reason}"
            self._told("glass", event.owner, text, "critical")
        elif isinstance(event, EngineStopping):
            self.note("engine", "engine", _because("stopping", event.reason))

    def refused(self, action: Action, principal: Principal, error: SwarmDeckError) -> None:
        """Take that an operation of `principal` was refused or has failed."""
        severity = _TOLD.get(error.code)
        if severity is None:
            return
        spec = spec_of(action)
        if spec.query and error.code not in _TOLD_OF_QUERIES:
            return
        environment, subject = concerned(action)
        hint = f" ({error.hint})" if error.hint else ""
        self.note(
            REFUSAL,
            subject or environment or "engine",
            f"{spec.name} by {principal.id}: {error.message}{hint}",
            environment=environment,
            severity=severity,
        )

    def list(self, environment: str | None, contains: str, limit: int) -> list[JournalView]:
        """The newest `limit` events of one or all environments in which the text occurs, in any
        case."""
        wanted = contains.lower()
        found = (
            event
            for event in reversed(self._events)
            if environment in {None, event.environment}
            and (not wanted or wanted in f"{event.kind} {event.subject} {event.text}".lower())
        )
        return list(islice(found, limit))

    def last_refusal(self, environment: str, action: str) -> JournalView | None:
        """The newest refusal of an action, such as `swarm.create`, in an environment."""
        return next(
            (
                event
                for event in reversed(self._events)
                if event.kind == REFUSAL
                and event.environment == environment
                and event.text.startswith(f"{action} by ")
            ),
            None,
        )

    def _agent(self, event: AgentChanged) -> None:
        crashed = event.state == AgentState.STARTING and event.pid is None and event.reason
        severity = "warning" if crashed else "info"
        if event.state == AgentState.FAILED:
            severity = "critical"
        state = event.state if event.pid is None else f"{event.state} as process {event.pid}"
        self._told("agent", event.id, _because(state, event.reason), severity)

    def _told(self, kind: str, ident: str, text: str, severity: str) -> None:
        place = environment_of(ident).value
        self.note(kind, ident, text, environment=place, severity=severity)


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def concerned(action: Action) -> tuple[str, str]:
    """The environment and the id an action is about, as far as it names them."""
    place = getattr(action, "environment", None) or ""
    for field in _PLACES:
        ident = getattr(action, field, None)
        if not isinstance(ident, str):
            continue
        try:
            return place or environment_of(ident).value, ident
        except SwarmDeckError:
            continue
    return place, ""
