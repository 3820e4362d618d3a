"""The audit trail: what was changed, read and refused, narrowed by risk."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ...engine.errors import InvalidInput
from ..columns import Moment
from ..listings import LISTINGS, Scope
from .listing import ListScreen

RISKS: Final = ("all", "medium", "high", "critical")
"""What the trail may be narrowed to, in the order of the key."""


class AuditScreen(ListScreen):
    """The trail, newest first; risk and refusals are looked for by the engine in all of it."""

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["audit"], scope)

    def choose_risk(self, name: str) -> None:
        """Show only what has this risk and above: by name, `all`, or `next`. Raises
        InvalidInput."""
        if name in {"", "next"}:
            at = RISKS.index(self.scope.risk or "all")
            name = RISKS[(at + 1) % len(RISKS)]
        if name not in {*RISKS, "low"}:
            known = ", ".join(("all", "low", *RISKS[1:]))
            raise InvalidInput(f"unknown risk {name!r}", hint=f"one of {known}")
        self._narrow(replace(self.scope, risk="" if name in {"all", "low"} else name))

    def toggle_refused(self) -> None:
        """Show only what was refused, or all again."""
        self._narrow(replace(self.scope, refused=not self.scope.refused))
