"""One handler for each action of the control plane: `handle(context, action) -> result`.

A handler asks the service that owns the matter and shapes its answer as a view; it decides
nothing itself. The modules are those of `actions`; a test compares the table with its registry.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from .. import actions
from ..actions import Action
from ..dispatch import Context, Handler
from ..journal import concerned
from .access import AccessHandlers
from .bench import BenchHandlers
from .engine import EngineHandlers
from .health import HealthHandlers
from .memory import MemoryHandlers
from .metrics import MetricsHandlers
from .queue import QueueHandlers
from .services import Part, Services
from .swarms import SwarmHandlers
from .vault import VaultHandlers

__all__ = ["ON_REFUSED", "Handlers", "Services"]

# What is there to look at an environment that cannot be used, and to repair it.
ON_REFUSED: Final = frozenset({
    "explain", "alert.list", "journal.list", "memory.admit", "memory.budget", "db.check", "logs",
    "backup.create", "backup.list", "backup.verify", "backup.restore", "backup.delete",
    "vault.status", "vault.rotate", "vault.shred", "audit.verify", "audit.export", "bench.run",
    "metrics.list", "metrics.show",
    "health.list", "health.check", "recovery.list", "recovery.set", "recovery.reset", "alert.ack",
})  # fmt: skip

_PARTS: Final[tuple[type[Part], ...]] = (
    EngineHandlers,
    SwarmHandlers,
    MemoryHandlers,
    QueueHandlers,
    AccessHandlers,
    VaultHandlers,
    HealthHandlers,
    MetricsHandlers,
    BenchHandlers,
)


class Handlers(Part):
    """The handlers of an engine, by action type."""

    def table(self) -> dict[type[Action], Handler]:
        parts = [part(self._services) for part in _PARTS]
        found: dict[type[Action], Handler] = {}
        for spec in actions.ACTIONS.values():
            name = spec.name.replace(".", "_")
            handler = next(getattr(part, name) for part in parts if hasattr(part, name))
            found[spec.type] = (
                handler if spec.name in ON_REFUSED else partial(self._handle, handler)
            )
        return found

    async def _handle(self, handler: Handler, context: Context, action: Action) -> Any:  # noqa: ANN401
        """Refuse what concerns an environment that cannot be used now."""
        environment = concerned(action)[0]
        if environment:
            self._place(environment)
        return await handler(context, action)
