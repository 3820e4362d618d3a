"""Conflicts, for those who write Python: `engine.conflicts("development", as_=agent)`."""

from __future__ import annotations

from typing import Any

from .. import actions, views
from ..acting import Acting

Found = list[views.ConflictView]


class Conflicts(Acting):
    """Conflicts of one environment, as one actor sees them. All methods raise NotFound for one
    that is not there or may not be read, InvalidInput, Unavailable; those that change one Denied
    for who is none of the two and may not write it, Conflict where its state forbids it."""

    async def report(  # noqa: PLR0913 - the fields of a conflict
        self,
        title: str,
        one: str,
        other: str,
        *,
        body: Any = None,  # noqa: ANN401 - JSON types
        type: str = "resource",  # noqa: A002 - the field's name
        severity: str = "medium",
        strategy: str = "manual",
        auto: bool = False,
        threshold: int = 3,
        level: str | int | None = None,
        team: str | None = None,
    ) -> views.ConflictView:
        """Say that `one` and `other` are in each other's way. A second report of the same type
        counts on the first until that is resolved. `type` is resource, data, access, priority,
        dependency, version or consensus; `severity` low, medium, high or critical."""
        return await self._one(
            actions.ConflictReport, title=title, one=one, other=other, body=body, type=type,
            severity=severity, strategy=strategy, auto=auto, threshold=threshold, level=level,
            team=team,
        )  # fmt: skip

    async def list(
        self,
        *,
        state: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        severity: str | None = None,
        about: str | None = None,
        contains: str = "",
        order: str = "newest",
        offset: int = 0,
        limit: int = 200,
    ) -> Found:
        """Newest or most severe first (`order`), without body and resolution. `state` open is all
        that is not resolved."""
        found: Found = await self._ask(
            actions.ConflictList, state=state, type=type, severity=severity, about=about,
            contains=contains, order=order, offset=offset, limit=limit,
        )  # fmt: skip
        return found

    async def get(self, ident: str) -> views.ConflictView:
        """One with what is known of it and how it was resolved."""
        return await self._one(actions.ConflictShow, id=ident)

    async def begin(self, ident: str) -> views.ConflictView:
        """Work on it; nobody else can meanwhile."""
        return await self._one(actions.ConflictBegin, id=ident)

    async def attempt(self, ident: str, reason: str = "") -> views.ConflictView:
        """An attempt to resolve it has failed; as many as its threshold escalate it."""
        return await self._one(actions.ConflictAttempt, id=ident, reason=reason)

    async def resolve(self, ident: str, resolution: Any = None) -> views.ConflictView:  # noqa: ANN401
        """It is over, and how."""
        return await self._one(actions.ConflictResolve, id=ident, resolution=resolution)

    async def escalate(self, ident: str, reason: str = "") -> views.ConflictView:
        """Call for a person."""
        return await self._one(actions.ConflictEscalate, id=ident, reason=reason)

    async def reopen(self, ident: str, reason: str = "") -> views.ConflictView:
        """Begin anew."""
        return await self._one(actions.ConflictReopen, id=ident, reason=reason)

    async def _one(self, kind: type[actions.Action], **fields: Any) -> views.ConflictView:  # noqa: ANN401
        found: views.ConflictView = await self._ask(kind, **fields)
        return found
