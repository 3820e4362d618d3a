"""One handler for each action of the control plane: `handle(context, action) -> result`.

A handler asks the service that owns the matter and shapes its answer as a view; it decides
nothing itself. The modules are those of `actions`; a test compares the table with its registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

from ..actions import ACTIONS, Action
from ..actions.registry import home
from ..dispatch import Context, Handler
from ..journal import concerned
from .services import Part, Services

__all__ = ["ON_REFUSED", "Handlers", "Services"]

# What is there to look at an environment that cannot be used, and to repair it.
ON_REFUSED: Final = frozenset({
    "explain", "alert.list", "journal.list", "memory.admit", "memory.budget", "db.check", "logs",
    "backup.create", "backup.list", "backup.verify", "backup.restore", "backup.delete",
    "vault.status", "vault.rotate", "vault.shred", "audit.verify", "audit.export", "bench.run",
    "metrics.list", "metrics.show",
    "health.list", "health.check", "recovery.list", "recovery.set", "recovery.reset", "alert.ack",
})  # fmt: skip

_PARTS: Final[Mapping[str, tuple[str, str]]] = {
    "engine": ("engine", "EngineHandlers"),
    "swarms": ("swarms", "SwarmHandlers"),
    "memory": ("memory", "MemoryHandlers"),
    "queue": ("queue", "QueueHandlers"),
    "tasks": ("tasks", "TaskHandlers"),
    "events": ("events", "EventHandlers"),
    "artifacts": ("artifacts", "ArtifactHandlers"),
    "consensus": ("consensus", "ConsensusHandlers"),
    "access": ("access", "AccessHandlers"),
    "vault": ("vault", "VaultHandlers"),
    "backup": ("vault", "VaultHandlers"),
    "health": ("health", "HealthHandlers"),
    "metrics": ("metrics", "MetricsHandlers"),
    "measures": ("measures", "MeasureHandlers"),
    "bench": ("bench", "BenchHandlers"),
}
"""By the module of the action: the module of its handler, loaded when one is asked for the first
time, and the class in it."""


class Handlers(Part, Mapping[type[Action], Handler]):
    """The handlers of an engine, by action type."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._parts: dict[str, Part] = {}
        self._made: dict[type[Action], Handler] = {}

    def __getitem__(self, kind: type[Action]) -> Handler:
        made = self._made.get(kind)
        if made is None:
            made = self._made[kind] = self._make(kind)
        return made

    def __iter__(self) -> Iterator[type[Action]]:
        return (spec.type for spec in ACTIONS.values())

    def __len__(self) -> int:
        return len(ACTIONS)

    def _make(self, kind: type[Action]) -> Handler:
        name = str(kind.__struct_config__.tag)
        handler: Handler = getattr(self._part(home(kind)), name.replace(".", "_"))
        return handler if name in ON_REFUSED else partial(self._handle, handler)

    def _part(self, module: str) -> Part:
        if module not in self._parts:
            where, called = _PARTS[module]
            made: type[Part] = getattr(import_module(f".{where}", __package__), called)
            self._parts[module] = made(self._services)
        return self._parts[module]

    async def _handle(self, handler: Handler, context: Context, action: Action) -> Any:  # noqa: ANN401
        """Refuse what concerns an environment that cannot be used now."""
        environment = concerned(action)[0]
        if environment:
            self._place(environment)
        return await handler(context, action)
