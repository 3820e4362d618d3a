"""Who may hold how much of the host's memory: a pure ledger, without I/O or clock.

It keeps one fact, the size of each swarm in the order the swarms came. What an environment has
borrowed, from whom, and what is free follow from the sizes and the plan, so no loan can be
forgotten or paid back twice.

    capacity   what swarms share: the bases of all environments and the buffer
    own        within an environment's base; always granted
    borrowed   above the base, up to the maximum; granted only while there is free memory, lent by
               the buffer first and then by idle environments, the least important first

When a request within a base meets lent memory, loans are taken back: from the least important
borrower first, inside it from the newest swarm first. A swarm keeps at least MIN_SWARM_BYTES.
That floor always counts as own, which is why an environment holds at most as many swarms as have
floors within its base: then taking back all it borrowed never has to go below a floor.

The capacity never changes. A budget can: what a base gains the buffer loses, so that all bases
and the buffer still add up to the capacity. That keeps every loan lendable: what some hold above
their bases is never more than what the buffer and idle bases have, however the bases are cut.

Use it from one thread (the engine's loop): every call is one step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from .errors import Conflict, InvalidInput, NotFound, OverBudget
from .model import MIB, MIN_SWARM_BYTES, Environment, format_size, parse_environment, printable
from .settings import EnvironmentPlan, HostPlan, PerEnvironment

BUFFER: Final = "buffer"
NOMINAL_SHARE: Final = 0.95
_NAMED_HOLDERS: Final = 5


class Loan(msgspec.Struct, frozen=True):
    """Memory a swarm holds above its environment's base. `lender` is `buffer` or an environment."""

    lender: str
    bytes: int


class Reclaim(msgspec.Struct, frozen=True):
    """A swarm that shrank to `bytes` because `taken_bytes` of its loan were taken back."""

    swarm: str
    environment: Environment
    bytes: int
    taken_bytes: int


class Grant(msgspec.Struct, frozen=True):
    """What a swarm holds after a call, and which others shrank for it."""

    swarm: str
    environment: Environment
    bytes: int
    borrowed_bytes: int
    lenders: tuple[Loan, ...]
    reclaims: tuple[Reclaim, ...] = ()


class Holding(msgspec.Struct, frozen=True):
    """One swarm in the ledger."""

    swarm: str
    environment: Environment
    bytes: int
    borrowed_bytes: int
    lenders: tuple[Loan, ...]


class EnvironmentUse(msgspec.Struct, frozen=True):
    """One environment in the ledger, its swarms oldest first. `available_bytes` is the most that
    one more request could be granted now."""

    name: Environment
    priority: int
    base_bytes: int
    max_bytes: int
    allocated_bytes: int
    borrowed_bytes: int
    lent_bytes: int
    available_bytes: int
    holders: tuple[Holding, ...]


class Ledger:
    """The budget ledger of one host. Give it the plan scaled to that host."""

    def __init__(self, plan: HostPlan) -> None:
        self.plan = plan
        # What swarms share: all bases and the buffer.
        bases = sum(row.base_bytes for _, row in plan.environments.items())
        self.capacity_bytes = bases + plan.buffer_bytes
        self._held: dict[Environment, dict[str, int]] = {name: {} for name in Environment}
        # Least important first: the order in which environments lend and give back.
        by_priority = sorted(plan.environments.items(), key=lambda row: row[1].priority)
        self._humblest_first = tuple(name for name, _ in reversed(by_priority))

    # --- changes ---

    def grant(self, swarm: str, environment: str, size_bytes: int) -> Grant:
        """Give a new swarm its memory. Raises OverBudget, Conflict when the swarm is in the
        ledger, InvalidInput below MIN_SWARM_BYTES. A refusal changes nothing."""
        name = parse_environment(environment)
        if any(swarm in held for held in self._held.values()):
            raise Conflict(f"swarm {swarm} already holds memory", hint="resize it instead")
        swarms, room = len(self._held[name]), self._base(name) // MIN_SWARM_BYTES
        if swarms >= room:
            raise OverBudget(
                f"{name} has room for {room} swarms of {format_size(MIN_SWARM_BYTES)} within its "
                f"base of {format_size(self._base(name))}, and has {swarms}",
                hint="terminate one of its swarms first",
            )
        return self._place(swarm, name, size_bytes)

    def resize(self, swarm: str, size_bytes: int) -> Grant:
        """Change what a swarm holds; it keeps its place in the order. Shrinking is always granted.
        What was taken back does not return by itself: grow the swarm again. Raises OverBudget,
        NotFound, InvalidInput below MIN_SWARM_BYTES. A refusal changes nothing."""
        return self._place(swarm, self._home(swarm), size_bytes)

    def release(self, swarm: str) -> int:
        """Take a swarm out and return the bytes it held. Raises NotFound."""
        return self._held[self._home(swarm)].pop(swarm)

    def check_agents(self, environment: str, live: int, wanted: int) -> None:
        """Raises OverBudget when `wanted` more agents beside `live` ones pass the limit."""
        name = parse_environment(environment)
        limit = self.plan.environments[name].agents
        if wanted > 0 and live + wanted > limit:
            raise OverBudget(
                f"{name} may have {limit} agents: it has {live}, and {wanted} more are asked",
                hint=f"at most {max(0, limit - live)} can start now",
            )

    # --- budgets ---

    def admit(self, environment: str, base_bytes: int, max_bytes: int) -> HostPlan:
        """The plan with another budget for one environment. Changes nothing. Raises OverBudget
        when it does not fit the plan or what is held now."""
        name = parse_environment(environment)
        budget = msgspec.structs.replace(
            self.plan.environments[name], base_bytes=base_bytes, max_bytes=max_bytes
        )
        plan = plan_with(self.plan, {name: budget})
        floors_bytes = MIN_SWARM_BYTES * len(self._held[name])
        if base_bytes < floors_bytes:
            raise OverBudget(
                f"{name} has {len(self._held[name])} swarms, whose floors of "
                f"{format_size(MIN_SWARM_BYTES)} are {format_size(floors_bytes)} in all: its base "
                f"cannot be {format_size(base_bytes)}",
                hint="terminate one of its swarms first",
            )
        if max_bytes < self._allocated(name):
            raise OverBudget(
                f"{name} holds {format_size(self._allocated(name))}: its maximum cannot be "
                f"{format_size(max_bytes)}",
                hint=f"shrink one of its swarms first; held by {self._holders(name)}",
            )
        return plan

    def rebudget(self, environment: str, base_bytes: int, max_bytes: int) -> None:
        """Put another budget in force; what swarms hold stays theirs, only what of it is borrowed
        changes. Raises as `admit` does. A refusal changes nothing."""
        self.plan = self.admit(environment, base_bytes, max_bytes)

    def under(self, plan: HostPlan) -> Ledger:
        """What is held now, seen under a plan that `admit` has given: for looking only."""
        seen = copy.copy(self)
        seen.plan = plan
        return seen

    # --- views ---

    @property
    def allocated_bytes(self) -> int:
        return sum(self._allocated(name) for name in Environment)

    @property
    def free_bytes(self) -> int:
        return self.capacity_bytes - self.allocated_bytes

    @property
    def buffer_lent_bytes(self) -> int:
        """How much of the buffer is lent out."""
        return self._lent().get(BUFFER, 0)

    def use(self) -> tuple[EnvironmentUse, ...]:
        """All environments, in order of definition."""
        loans, lent = self._loans(), self._lent()
        return tuple(self._use_of(name, loans, lent) for name in Environment)

    def holding(self, swarm: str) -> Holding:
        """What one swarm holds. Raises NotFound."""
        name = self._home(swarm)
        return self._holding(swarm, name, self._loans())

    def borrowers(self) -> tuple[Holding, ...]:
        """The swarms that hold borrowed memory, in the order in which they would give it back."""
        loans = self._loans()
        return tuple(
            self._holding(swarm, name, loans) for swarm, name, held in self._borrowers() if held > 0
        )

    def _use_of(
        self, name: Environment, loans: dict[str, tuple[Loan, ...]], lent: dict[str, int]
    ) -> EnvironmentUse:
        plan = self.plan.environments[name]
        return EnvironmentUse(
            name=name,
            priority=plan.priority,
            base_bytes=plan.base_bytes,
            max_bytes=plan.max_bytes,
            allocated_bytes=self._allocated(name),
            borrowed_bytes=sum(self._borrowed(name).values()),
            lent_bytes=lent.get(name, 0),
            available_bytes=self._available(name),
            holders=tuple(self._holding(swarm, name, loans) for swarm in self._held[name]),
        )

    def _holding(
        self, swarm: str, name: Environment, loans: dict[str, tuple[Loan, ...]]
    ) -> Holding:
        lenders = loans.get(swarm, ())
        return Holding(
            swarm, name, self._held[name][swarm], sum(loan.bytes for loan in lenders), lenders
        )

    # --- decisions ---

    def _place(self, swarm: str, name: Environment, size_bytes: int) -> Grant:
        if size_bytes < MIN_SWARM_BYTES:
            raise InvalidInput(
                f"{format_size(size_bytes)} is too little for a swarm",
                hint=f"at least {format_size(MIN_SWARM_BYTES)}",
            )
        more_bytes = size_bytes - self._held[name].get(swarm, 0)
        reclaims = self._admit(name, more_bytes)
        for reclaim in reclaims:
            self._held[reclaim.environment][reclaim.swarm] = reclaim.bytes
        self._held[name][swarm] = size_bytes
        now = self.holding(swarm)
        return Grant(swarm, name, now.bytes, now.borrowed_bytes, now.lenders, reclaims)

    def _admit(self, name: Environment, more_bytes: int) -> tuple[Reclaim, ...]:
        """What has to be taken back so that `name` can hold so much more. Raises OverBudget."""
        if more_bytes <= 0:
            return ()
        wanted_bytes = self._allocated(name) + more_bytes
        if wanted_bytes > self.plan.environments[name].max_bytes:
            raise self._above_maximum(name, more_bytes)
        short_bytes = more_bytes - self.free_bytes
        if short_bytes <= 0:
            return ()
        if wanted_bytes > self._base(name):
            raise self._nothing_to_borrow(name, more_bytes)
        return self._take_back(short_bytes)

    def _take_back(self, short_bytes: int) -> tuple[Reclaim, ...]:
        """Shrink borrowers by `short_bytes` in all. The borrower cannot be the one who asks: it
        is within its base, so it has borrowed nothing."""
        reclaims = []
        for swarm, name, borrowed_bytes in self._borrowers():
            taken_bytes = min(short_bytes, borrowed_bytes)
            if taken_bytes > 0:
                left_bytes = self._held[name][swarm] - taken_bytes
                reclaims.append(Reclaim(swarm, name, left_bytes, taken_bytes))
                short_bytes -= taken_bytes
        # capacity = bases + buffer, so what one misses within its base, others hold above theirs.
        assert short_bytes == 0, "a request within a base met no loan to take back"
        return tuple(reclaims)

    def _borrowers(self) -> Iterator[tuple[str, Environment, int]]:
        """Swarms and their borrowed bytes in the order in which they give back."""
        for name in self._humblest_first:
            borrowed = self._borrowed(name)
            for swarm in reversed(borrowed):
                yield swarm, name, borrowed[swarm]

    # --- what follows from the sizes ---

    def _home(self, swarm: str) -> Environment:
        for name, held in self._held.items():
            if swarm in held:
                return name
        raise NotFound(
            f"no swarm {printable(swarm)} in the ledger", hint="see swarmdeck swarm list"
        )

    def _base(self, name: Environment) -> int:
        return self.plan.environments[name].base_bytes

    def _allocated(self, name: Environment) -> int:
        return sum(self._held[name].values())

    def _idle(self, name: Environment) -> int:
        """What of its base an environment does not hold itself."""
        return max(0, self._base(name) - self._allocated(name))

    def _available(self, name: Environment) -> int:
        room_bytes = self.plan.environments[name].max_bytes - self._allocated(name)
        return min(room_bytes, max(self._idle(name), self.free_bytes))

    def _borrowed(self, name: Environment) -> dict[str, int]:
        """Borrowed bytes of each swarm, oldest first. The base covers every swarm's floor, then
        the rest of the older swarms before that of the newer ones."""
        held = self._held[name]
        base_left = self._base(name) - MIN_SWARM_BYTES * len(held)
        borrowed = {}
        for swarm, size_bytes in held.items():
            above_floor = size_bytes - MIN_SWARM_BYTES
            own_bytes = min(above_floor, base_left)
            base_left -= own_bytes
            borrowed[swarm] = above_floor - own_bytes
        return borrowed

    def _loans(self) -> dict[str, tuple[Loan, ...]]:
        """Who lends to each swarm that borrowed. Memory has no marks, so this is an attribution:
        important borrowers, and among a borrower's swarms the older, draw on the buffer first."""
        pool = [(BUFFER, self.plan.buffer_bytes)]
        pool += [(name, self._idle(name)) for name in self._humblest_first]
        pool.reverse()  # the next lender is last
        loans: dict[str, tuple[Loan, ...]] = {}
        for swarm, _, borrowed_bytes in reversed(list(self._borrowers())):
            loans[swarm] = tuple(_draw(pool, borrowed_bytes))
        return loans

    def _lent(self) -> dict[str, int]:
        lent: dict[str, int] = {}
        for loans in self._loans().values():
            for loan in loans:
                lent[loan.lender] = lent.get(loan.lender, 0) + loan.bytes
        return lent

    # --- refusals ---

    def _above_maximum(self, name: Environment, more_bytes: int) -> OverBudget:
        held, limit = self._allocated(name), self.plan.environments[name].max_bytes
        return OverBudget(
            f"{name} may hold at most {format_size(limit)}: it holds {format_size(held)}, and "
            f"{format_size(more_bytes)} more is asked",
            hint=f"{self._most(name)}; held by {self._holders(name)}",
        )

    def _nothing_to_borrow(self, name: Environment, more_bytes: int) -> OverBudget:
        above = more_bytes - self._idle(name)
        who = [self._holders(other) for other in Environment if self._held[other]]
        return OverBudget(
            f"{name} asks for {format_size(more_bytes)}, {format_size(above)} of it above its base "
            f"of {format_size(self._base(name))}, and only {format_size(self.free_bytes)} is free "
            "on this host",
            hint=f"{self._most(name)}; held by {'; '.join(who)}",
        )

    def _most(self, name: Environment) -> str:
        return f"at most {format_size(self._available(name))} can be granted now"

    def _holders(self, name: Environment) -> str:
        """`testing 9 GB (test_swarm_a 8 GB, test_swarm_b 1 GB)`, the largest swarms first."""
        held = sorted(self._held[name].items(), key=lambda row: -row[1])
        swarms = [f"{swarm} {format_size(size)}" for swarm, size in held[:_NAMED_HOLDERS]]
        if len(held) > _NAMED_HOLDERS:
            swarms.append(f"{len(held) - _NAMED_HOLDERS} more")
        return f"{name} {format_size(self._allocated(name))} ({', '.join(swarms) or 'no swarm'})"


def _draw(pool: list[tuple[str, int]], wanted_bytes: int) -> Iterator[Loan]:
    """Take `wanted_bytes` from the lenders at the end of `pool`, leaving what they still have."""
    while wanted_bytes > 0:
        assert pool, "more is borrowed than there is to lend"
        lender, has_bytes = pool.pop()
        drawn_bytes = min(wanted_bytes, has_bytes)
        if drawn_bytes < has_bytes:
            pool.append((lender, has_bytes - drawn_bytes))
        wanted_bytes -= drawn_bytes
        if drawn_bytes > 0:
            yield Loan(lender, drawn_bytes)


def plan_with(plan: HostPlan, budgets: Mapping[Environment, EnvironmentPlan]) -> HostPlan:
    """The plan with other budgets for some environments; the buffer takes the difference of the
    bases. Raises OverBudget when they do not fit."""
    for name, budget in budgets.items():
        check_budget(plan, name, budget)
    current = {str(name): row for name, row in plan.environments.items()}
    more_bytes = sum(
        budget.base_bytes - current[name].base_bytes for name, budget in budgets.items()
    )
    if more_bytes > plan.buffer_bytes:
        raise OverBudget(
            f"the base of {' and '.join(budgets)} would take {format_size(more_bytes)} out of the "
            f"buffer, which has {format_size(plan.buffer_bytes)}",
            hint=f"{format_size(more_bytes - plan.buffer_bytes)} less, or lower another base first",
        )
    changed = current | {str(name): budget for name, budget in budgets.items()}
    return msgspec.structs.replace(
        plan,
        buffer_bytes=plan.buffer_bytes - more_bytes,
        environments=PerEnvironment(**changed),
    )


def check_budget(plan: HostPlan, name: Environment, budget: EnvironmentPlan) -> None:
    """Raise OverBudget for a budget that no plan of this size could hold."""
    base_bytes, max_bytes = budget.base_bytes, budget.max_bytes
    if max_bytes < base_bytes:
        raise OverBudget(
            f"{name} could hold at most {format_size(max_bytes)}, less than its base of "
            f"{format_size(base_bytes)}",
            hint="the maximum is at least the base",
        )
    if max_bytes > plan.swarms_bytes:
        raise OverBudget(
            f"{name} cannot hold {format_size(max_bytes)}: the plan of this host has "
            f"{format_size(plan.swarms_bytes)} for all swarms",
            hint=f"a maximum of at most {format_size(plan.swarms_bytes)}",
        )


class ScaledPlan(msgspec.Struct, frozen=True):
    """A plan laid over a host. `scale` is 1.0 where the plan fits as written."""

    plan: HostPlan
    scale: float
    text: str


def scale_plan(plan: HostPlan, host_total_bytes: int) -> ScaledPlan:
    """The plan for a host of so much memory.

    On a host smaller than the plan's, every size is scaled by the ratio of the memories and
    rounded down to MiB; agent limits and priorities stay. Firmware and kernel keep a few percent
    of what is installed, so a host that shows at least NOMINAL_SHARE of the planned total counts
    as that size; the plan's own reserve covers the difference.
    """
    title = f"plan for {format_size(plan.total_bytes)}"
    if host_total_bytes >= plan.total_bytes * NOMINAL_SHARE:
        return ScaledPlan(plan, 1.0, title)

    def scaled(size_bytes: int) -> int:
        return size_bytes * host_total_bytes // plan.total_bytes // MIB * MIB

    environments = {
        str(name): EnvironmentPlan(
            base_bytes=scaled(row.base_bytes),
            max_bytes=scaled(row.max_bytes),
            priority=row.priority,
            agents=row.agents,
        )
        for name, row in plan.environments.items()
    }
    smaller = HostPlan(
        total_bytes=scaled(plan.total_bytes),
        swarms_bytes=scaled(plan.swarms_bytes),
        coordination_bytes=scaled(plan.coordination_bytes),
        monitoring_bytes=scaled(plan.monitoring_bytes),
        buffer_bytes=scaled(plan.buffer_bytes),
        environments=PerEnvironment(**environments),
    )
    percent = max(1, host_total_bytes * 100 // plan.total_bytes)
    return ScaledPlan(smaller, host_total_bytes / plan.total_bytes, f"{title} at {percent} %")
