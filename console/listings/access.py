"""Who may do what, and who did or was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...engine import actions, views
from ...engine.actions import Action
from ...widgets import Line, line
from ...widgets.format import count
from .. import columns
from ..columns import Moment
from .base import Listing, Scope, ident


def _about_access(overview: views.Overview, _scope: Scope, _moment: Moment) -> Sequence[Line]:
    access = overview.access
    denied = "warning" if access.denied_calls else "text"
    return (
        line(("  agents  ", "muted"), count(access.agents), ("   teams  ", "muted"),
             count(access.teams), ("   grants  ", "muted"), count(access.grants),
             ("   denials  ", "muted"), count(access.denies), ("   denied calls  ", "muted"),
             (count(access.denied_calls), denied), ("   epoch  ", "muted"), str(access.epoch)),
    )  # fmt: skip


def _query_audit(scope: Scope) -> Action:
    risks: dict[str, Any] = {"risk": scope.risk} if scope.risk else {}
    return actions.AuditList(environment=scope.place, denied=scope.refused, **risks)


ACCESS: Final = Listing(
    title="Grants and denials in force",
    columns=columns.grants,
    key=ident,
    empty="No grant or denial is in force: levels and teams alone decide.\n\n"
    "n  grants,  N  denies,  tab  shows who may do what",
    groups=("access", "parts", "matrix", "rows", "table", "motion"),
    query=lambda scope: actions.AclList(environment=scope.place),
    about=_about_access,
    about_height=2,
)
AUDIT: Final = Listing(
    title="Audit, newest first",
    columns=columns.audit,
    key=lambda entry: f"{entry.environment}\n{entry.sequence}",
    empty="Nothing was changed yet.\n\nHere stands who changed or read what, and what was refused.",
    groups=("audit", "rows", "table", "motion"),
    query=_query_audit,
    paged=True,
    words=lambda entry: f"{entry.actor} {entry.action} {entry.object} {entry.detail}".strip(),
)
