"""Budgets of the environments, and their records."""

from __future__ import annotations

from typing import Final

from ...engine import actions, views
from ...engine.actions import Action
from ...engine.model import Environment, environment_of
from .. import columns
from ..notices import why_no_records
from ..places import Place
from .base import Listing, Scope


def scale_words(host: views.HostView) -> str:
    """How the plan was cut to a smaller host; nothing on one that is large enough."""
    return f"plan for 96 GB at {host.scale * 100:.0f} %" if host.scale < 1 else ""


def _query_records(scope: Scope) -> Action:
    """The records of an environment, or those an agent can read in its own."""
    if scope.subject in set(Environment):
        return actions.MemoryList(environment=Environment(scope.subject).value)
    home = environment_of(scope.subject)
    return actions.MemoryList(environment=home.value, actor=scope.subject)


def _home(scope: Scope) -> str:
    """The environment the records are of."""
    if scope.subject in set(Environment):
        return scope.subject
    return str(environment_of(scope.subject)) if scope.subject else ""


def _total_records(overview: views.Overview, scope: Scope) -> int | None:
    """All records of an environment; of those an agent can read nobody keeps count."""
    records = {str(each.name): each.records for each in overview.environments}
    return records.get(scope.subject)


MEMORY: Final = Listing(
    title="Budgets",
    columns=columns.environments,
    key=lambda environment: str(environment.name),
    empty="No environment is open.",
    groups=("memory", "parts", "rows", "table", "motion"),
    rows=lambda overview, _scope: overview.environments,
    opens=lambda environment: Place("records", environment.name),
    by_environment=False,
)
RECORDS: Final = Listing(
    title="Records",
    columns=columns.records,
    key=lambda record: f"{record.namespace}\n{record.key}",
    empty="No record can be read here.\n\nn  stores one; or type  "
    ":memory set development KEY VALUE",
    groups=("records", "rows", "table", "motion"),
    query=_query_records,
    opens=lambda record: Place("record", row=record),
    by_environment=False,
    paged=True,
    total=_total_records,
    hindered=lambda overview, scope: why_no_records(overview, _home(scope)),
)
