"""What handlers work with, and what they all need of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from .. import views
from ..dispatch import Context
from ..engine import Engine
from ..environment import Place
from ..model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    Principal,
    environment_of,
    parse_environment,
)
from ..settings import Settings
from ..swarms.service import Swarms

if TYPE_CHECKING:
    from ..alerts import Alerts
    from ..audit import Auditor
    from ..backup import Backups
    from ..bench.meter import Sample
    from ..budgets import Budgets
    from ..health.service import Health
    from ..journal import Journal
    from ..metrics.service import Metrics
    from ..store.database import Database
    from ..vault import Vault
    from ..watch import Watch


class Services(Protocol):
    """What handlers work with."""

    engine: Engine
    settings: Settings
    swarms: Swarms
    alerts: Alerts
    journal: Journal
    budgets: Budgets
    coordination: Database
    vault: Vault
    auditor: Auditor
    backups: Backups

    @property
    def metrics(self) -> Metrics: ...
    @property
    def health(self) -> Health: ...
    @property
    def watch(self) -> Watch: ...
    @property
    def places(self) -> Mapping[str, Place]: ...

    def resolve(self, actor: str) -> Principal: ...
    def acting(self, actor: str) -> Principal: ...
    def overview(self) -> views.Overview: ...
    def request_stop(self, reason: str) -> None: ...
    async def reload(self, actor: str) -> list[views.SettingChangeView]: ...
    async def confirm_clock(self, principal: Principal) -> views.Done: ...
    async def issue_token(
        self, agent: str, ttl_s: float, principal: Principal
    ) -> views.TokenView: ...
    async def revoke_token(self, agent: str, principal: Principal) -> views.Done: ...
    def sampled(self, operation: str, sample: Sample) -> None: ...
    def measured(self, found: list[views.BenchView]) -> list[views.BenchView]: ...
    def benchmarks_beside(self, baseline: str | None) -> list[views.BenchView]: ...
    def keep_baseline(self, name: str, *, remove: bool) -> views.Done: ...


class Part:
    """The handlers of some nouns; each is named after its action, `memory.set` is `memory_set`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def _place(self, environment: str) -> Place:
        """Raises what the environment answers when it cannot be used."""
        place = self._services.places[parse_environment(environment)]
        if place.refusal is not None:
            raise place.refusal.again()
        return place

    def _places(self, environment: str | None) -> Iterator[Place]:
        """The one asked for, else all that can be used."""
        if environment is not None:
            return iter((self._place(environment),))
        places = self._services.places
        return (places[name] for name in Environment if places[name].refusal is None)

    def _of(self, ident: str) -> Place:
        return self._place(environment_of(ident))

    def _actor(self, context: Context, actor: str | None) -> Principal:
        if actor in {None, context.principal.id}:
            return context.principal
        if actor == OPERATOR:
            return OPERATOR_PRINCIPAL
        if context.principal.is_operator:
            return self._services.acting(actor or "")
        return self._services.resolve(actor or "")
