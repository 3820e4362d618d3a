"""Calls on one environment as one actor: what the handles of tables that hold no records share."""

from __future__ import annotations

from typing import Any, Protocol

from .actions import Action


class Asked(Protocol):
    """Who is asked: an engine, or the client of an agent, which asks as that agent."""

    async def run(self, action: Action, /) -> Any: ...  # noqa: ANN401 - the action's result


class Acting:
    """Asks for actions in `environment` as `actor`, an agent's id or None for the operator."""

    def __init__(self, engine: Asked, environment: str, actor: str | None) -> None:
        self._engine = engine
        self._environment = environment
        self._actor = actor

    async def _ask(self, kind: type[Action], /, **fields: Any) -> Any:  # noqa: ANN401
        """The answer to an action, its environment and actor filled in where it has them. Raises
        what the action does, InvalidInput for fields that do not fit."""
        known = kind.__struct_fields__
        for name, value in (("environment", self._environment), ("actor", self._actor)):
            if name in known and name not in fields:
                fields[name] = value
        return await self._engine.run(kind(**fields))
