"""Budgets of environments: what a change would mean, and the change itself.

The ledger decides what fits. A changed budget is kept in the coordination database in bytes of the
plan as written, so that it follows the plan to a host of another size, and lies over the settings
when the engine opens again. One that does not fit then is left out and said, never a reason not to
open.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from .errors import OverBudget, SwarmDeckError
from .ledger import EnvironmentUse, Holding, Ledger, check_budget, plan_with
from .model import MIB, MIN_SWARM_BYTES, Environment, format_size, parse_environment
from .settings import EnvironmentPlan, HostPlan
from .store.database import Database, Reader, Transaction
from .views import AdmissionView, HolderView, LoanView

_SELECT: Final = "SELECT env, base_bytes, max_bytes FROM budget ORDER BY env"
_UPSERT: Final = """
INSERT INTO budget (env, base_bytes, max_bytes, changed_at, changed_by) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (env) DO UPDATE SET base_bytes = excluded.base_bytes, max_bytes = excluded.max_bytes,
    changed_at = excluded.changed_at, changed_by = excluded.changed_by"""
_DELETE: Final = "DELETE FROM budget WHERE env = ?"

ByEnvironment = dict[Environment, EnvironmentPlan]


class Budgets:
    """The budgets in force. `scale` is that of the plan the ledger was made with; `changed(view,
    actor)` is called on the loop once a change is stored. `ignored` says of each environment whose
    stored budget does not fit why that is."""

    def __init__(
        self,
        ledger: Ledger,
        database: Database,
        *,
        scale: float,
        changed: Callable[[AdmissionView, str], object],
    ) -> None:
        self.ignored: Mapping[str, str] = {}
        self._ledger = ledger
        self._database = database
        self._scale = scale
        self._changed = changed
        self._written = ledger.plan
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Put the stored budgets in force. Call once, before anything holds memory."""
        rows = await self._database.read(_load)
        if rows:
            known = set(Environment)
            stored = {
                Environment(name): self._budget(name, *map(self._actual, sizes))
                for name, *sizes in rows
                if name in known
            }
            strange = {
                row[0]: "there is no such environment" for row in rows if row[0] not in known
            }
            self._ledger.plan, ignored = laid_over(self._written, stored)
            self.ignored = {**ignored, **strange}

    def admit(self, environment: str, base_bytes: int, max_bytes: int) -> AdmissionView:
        """Whether a budget would fit, why not, and what it would change. Sizes are taken down to
        whole MiB. Changes nothing. Raises InvalidInput for an unknown environment."""
        name = parse_environment(environment)
        wanted = self._budget(name, _whole(base_bytes), _whole(max_bytes))
        try:
            plan = self._ledger.admit(name, wanted.base_bytes, wanted.max_bytes)
        except OverBudget as error:
            return self._view(name, wanted, self._ledger, error)
        return self._view(name, wanted, self._ledger.under(plan), None)

    async def change(
        self, environment: str, base_bytes: int, max_bytes: int, actor: str
    ) -> AdmissionView:
        """Put a budget in force and keep it. Raises OverBudget with the reason and hint of the
        admission, StorageError; then nothing has changed."""
        async with self._turn:
            view = self.admit(environment, base_bytes, max_bytes)
            if not view.accepted:
                raise OverBudget(view.reason, hint=view.hint)
            name = Environment(view.environment)
            before = self._ledger.plan.environments[name]
            # In force before it is stored, so that no swarm can take meanwhile what it needs.
            self._ledger.rebudget(name, view.base_after_bytes, view.max_after_bytes)
            try:
                await self._store(name, view, actor)
            except SwarmDeckError:
                # A swarm may have taken what the old budget has not: then the new one stands until
                # the engine closes.
                with suppress(OverBudget):
                    self._ledger.rebudget(name, before.base_bytes, before.max_bytes)
                raise
        return view

    async def _store(self, name: Environment, view: AdmissionView, actor: str) -> None:
        planned = self._written.environments[name]
        sizes = (view.base_after_bytes, view.max_after_bytes)
        nominal = [self._nominal(size) for size in sizes]

        def change(tx: Transaction) -> None:
            if sizes == (planned.base_bytes, planned.max_bytes):
                tx.execute(_DELETE, (name.value,))  # the settings speak for themselves again
            else:
                tx.execute(_UPSERT, (name.value, *nominal, tx.now_us, actor))
            tx.audit(actor, "memory.budget", name.value, detail=describe(view))

        def then(_: None) -> None:
            self.ignored = {env: why for env, why in self.ignored.items() if env != name}
            self._changed(view, actor)

        await self._database.write(change, then=then)

    def _budget(self, name: str, base_bytes: int, max_bytes: int) -> EnvironmentPlan:
        planned = self._written.environments[name]
        return msgspec.structs.replace(planned, base_bytes=base_bytes, max_bytes=max_bytes)

    def _nominal(self, size_bytes: int) -> int:
        """Bytes of the plan as written that `_actual` turns into exactly this size."""
        return math.ceil(size_bytes / self._scale)

    def _actual(self, nominal_bytes: int) -> int:
        return _whole(int(nominal_bytes * self._scale + 0.5))

    # --- showing ----------------------------------------------------------------------------

    def use(self, environment: str) -> EnvironmentUse:
        """What the swarms of an environment hold, and how much more one could be granted."""
        return _use(self._ledger, parse_environment(environment))

    def borrowers(self) -> tuple[HolderView, ...]:
        """The swarms that hold borrowed memory, in the order in which they would give it back."""
        return tuple(map(holder_view, self._ledger.borrowers()))

    @property
    def free_bytes(self) -> int:
        """What of the memory for swarms nobody holds."""
        return self._ledger.free_bytes

    @property
    def buffer_bytes(self) -> int:
        """What of it no environment has as its base."""
        return self._ledger.plan.buffer_bytes

    def _view(
        self,
        name: Environment,
        wanted: EnvironmentPlan,
        after: Ledger,
        refusal: OverBudget | None,
    ) -> AdmissionView:
        now = _use(self._ledger, name)
        buffer_bytes = self._ledger.plan.buffer_bytes
        more_bytes = wanted.base_bytes - now.base_bytes
        return AdmissionView(
            environment=name.value,
            accepted=refusal is None,
            base_before_bytes=now.base_bytes,
            base_after_bytes=wanted.base_bytes,
            max_before_bytes=now.max_bytes,
            max_after_bytes=wanted.max_bytes,
            buffer_before_bytes=buffer_bytes,
            buffer_after_bytes=max(0, buffer_bytes - more_bytes),
            allocated_bytes=now.allocated_bytes,
            borrowed_before_bytes=now.borrowed_bytes,
            borrowed_after_bytes=max(0, now.allocated_bytes - wanted.base_bytes),
            reason="" if refusal is None else refusal.message,
            hint="" if refusal is None else refusal.hint,
            holders=tuple(map(holder_view, _holders(now, wanted, after))),
        )


def describe(view: AdmissionView) -> str:
    """A change of a budget in one line."""
    return (
        f"base {format_size(view.base_before_bytes)} to {format_size(view.base_after_bytes)}, "
        f"max {format_size(view.max_before_bytes)} to {format_size(view.max_after_bytes)}, "
        f"buffer {format_size(view.buffer_before_bytes)} to {format_size(view.buffer_after_bytes)}"
    )


def holder_view(holding: Holding) -> HolderView:
    return HolderView(
        swarm=holding.swarm,
        environment=holding.environment.value,
        bytes=holding.bytes,
        borrowed_bytes=holding.borrowed_bytes,
        lenders=tuple(LoanView(lender=loan.lender, bytes=loan.bytes) for loan in holding.lenders),
    )


def laid_over(plan: HostPlan, stored: ByEnvironment) -> tuple[HostPlan, dict[str, str]]:
    """The plan with the stored budgets that fit, and why others do not: those of the least
    important environments are left out first."""
    fitting: ByEnvironment = {}
    ignored: dict[str, str] = {}
    for name, budget in stored.items():
        try:
            check_budget(plan, name, budget)
        except OverBudget as error:
            ignored[name] = error.message
        else:
            fitting[name] = budget
    while True:
        try:
            return plan_with(plan, fitting), ignored
        except OverBudget as error:
            grown = [n for n in fitting if fitting[n].base_bytes > plan.environments[n].base_bytes]
            humblest = max(grown, key=lambda n: plan.environments[n].priority)
            del fitting[humblest]
            ignored[humblest] = error.message


def _holders(now: EnvironmentUse, wanted: EnvironmentPlan, after: Ledger) -> tuple[Holding, ...]:
    """Its own swarms where they are in the way, else those that hold borrowed memory."""
    floors_bytes = MIN_SWARM_BYTES * len(now.holders)
    if wanted.max_bytes < now.allocated_bytes or wanted.base_bytes < floors_bytes:
        return now.holders
    return after.borrowers()


def _use(ledger: Ledger, name: Environment) -> EnvironmentUse:
    return next(use for use in ledger.use() if use.name is name)


def _whole(size_bytes: int) -> int:
    return size_bytes // MIB * MIB


def _load(reader: Reader) -> list[tuple[str, int, int]]:
    return reader.execute(_SELECT).fetchall()
