"""The tables one can go to, a module a noun: what each asks for, shows, opens and says when it is
empty.

Pure: the screen that shows a listing is `screens.listing`.
"""

from __future__ import annotations

from typing import Final

from .access import ACCESS, AUDIT
from .alerts import ALERTS, LOG
from .artifacts import ARTIFACTS
from .base import OPEN, STATES, Listing, Scope, narrowed
from .consensus import CONFLICTS, CONSENSUS
from .events import EVENTS
from .health import HEALTH
from .measured import BENCH, MEASURES, METRICS
from .memory import MEMORY, RECORDS, scale_words
from .queue import QUEUE, SCHEDULES
from .store import BACKUPS, DATABASES, VAULT
from .swarms import AGENT, AGENTS, SWARM, SWARMS
from .tasks import DEPENDENCIES, TASKS

__all__ = [
    "LISTINGS",
    "OPEN",
    "QUEUE",
    "RECORDS",
    "STATES",
    "SWARMS",
    "Listing",
    "Scope",
    "narrowed",
    "scale_words",
]

LISTINGS: Final[dict[str, Listing]] = {
    "swarms": SWARMS,
    "swarm": SWARM,
    "agents": AGENTS,
    "agent": AGENT,
    "queue": QUEUE,
    "schedules": SCHEDULES,
    "tasks": TASKS,
    "dependencies": DEPENDENCIES,
    "events": EVENTS,
    "consensus": CONSENSUS,
    "conflicts": CONFLICTS,
    "artifacts": ARTIFACTS,
    "memory": MEMORY,
    "records": RECORDS,
    "access": ACCESS,
    "bench": BENCH,
    "audit": AUDIT,
    "vault": VAULT,
    "backups": BACKUPS,
    "db": DATABASES,
    "log": LOG,
    "alerts": ALERTS,
    "health": HEALTH,
    "metrics": METRICS,
    "measures": MEASURES,
}
"""By the name of their place."""
