"""The budget ledger: what is granted, what is borrowed, what is taken back, what is refused."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterator
from typing import ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from swarmdeck.engine.errors import Conflict, InvalidInput, NotFound, OverBudget
from swarmdeck.engine.ledger import (
    BUFFER,
    Grant,
    Ledger,
    Loan,
    Reclaim,
    ScaledPlan,
    plan_with,
    scale_plan,
)
from swarmdeck.engine.model import GIB, MIB, MIN_SWARM_BYTES, Environment
from swarmdeck.engine.settings import HostPlan, load_settings

GB = GIB
PLAN: HostPlan = load_settings(None, {}, {}).host
TINY: HostPlan = scale_plan(PLAN, GIB).plan  # bases of 64 to 128 MiB: four to eight floors


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(PLAN)


def fill(ledger: Ledger, **sizes_gb: float) -> None:
    """Give environments one swarm each, named after them."""
    for name, size in sizes_gb.items():
        ledger.grant(f"{name}-1", name, int(size * GB))


def used(ledger: Ledger, name: str) -> tuple[float, float, float]:
    """Allocated, borrowed and lent GB of an environment."""
    row = next(row for row in ledger.use() if row.name == name)
    return row.allocated_bytes / GB, row.borrowed_bytes / GB, row.lent_bytes / GB


# --- granting and borrowing -----------------------------------------------------------------


def test_all_bases_fit_at_once_and_nothing_is_borrowed(ledger: Ledger) -> None:
    fill(ledger, production=12, development=10, testing=8, research=10, staging=6)
    assert ledger.allocated_bytes == 46 * GB
    assert ledger.free_bytes == 8 * GB
    assert ledger.buffer_lent_bytes == 0
    assert all(row.borrowed_bytes == row.lent_bytes == 0 for row in ledger.use())


def test_growth_above_a_base_is_borrowed_from_the_buffer_first(ledger: Ledger) -> None:
    grant = ledger.grant("p", "production", 15 * GB)
    assert (grant.bytes, grant.borrowed_bytes) == (15 * GB, 3 * GB)
    assert grant.lenders == (Loan(BUFFER, 3 * GB),)
    assert grant.reclaims == ()


def test_when_the_buffer_is_out_idle_environments_lend_the_least_important_first(
    ledger: Ledger,
) -> None:
    fill(ledger, production=16, development=14)
    grant = ledger.grant("t", "testing", 12 * GB)
    assert ledger.buffer_lent_bytes == 8 * GB
    assert grant.lenders == (Loan("staging", 4 * GB),)
    assert used(ledger, "staging") == (0, 0, 4)
    assert used(ledger, "research") == (0, 0, 0)


def test_an_environment_never_passes_its_maximum(ledger: Ledger) -> None:
    fill(ledger, staging=8)
    with pytest.raises(OverBudget) as caught:
        ledger.grant("s2", "staging", 3 * GB)
    assert (
        caught.value.message
        == "staging may hold at most 10 GB: it holds 8 GB, and 3 GB more is asked"
    )
    assert caught.value.hint == (
        "at most 2 GB can be granted now; held by staging 8 GB (staging-1 8 GB)"
    )


def test_all_five_at_their_maximum_are_refused_and_the_holders_named(ledger: Ledger) -> None:
    fill(ledger, production=16, development=14, testing=12)
    with pytest.raises(OverBudget) as caught:
        ledger.grant("r", "research", 14 * GB)
    assert caught.value.message == (
        "research asks for 14 GB, 4 GB of it above its base of 10 GB, "
        "and only 12 GB is free on this host"
    )
    assert caught.value.hint == (
        "at most 12 GB can be granted now; held by production 16 GB (production-1 16 GB); "
        "development 14 GB (development-1 14 GB); testing 12 GB (testing-1 12 GB)"
    )
    assert ledger.allocated_bytes == 42 * GB


def test_a_refusal_names_the_largest_swarms_and_counts_the_rest(ledger: Ledger) -> None:
    for number in range(1, 9):
        ledger.grant(f"s{number}", "staging", number * 256 * MIB)
    with pytest.raises(OverBudget, match="may hold at most 10 GB") as caught:
        ledger.resize("s1", 9 * GB)
    assert "(s8 2 GB, s7 1.8 GB, s6 1.5 GB, s5 1.2 GB, s4 1 GB, 3 more)" in caught.value.hint


# --- taking back ----------------------------------------------------------------------------


def test_a_request_within_a_base_takes_lent_memory_back_from_the_least_important_borrower(
    ledger: Ledger,
) -> None:
    fill(ledger, production=16, development=14, research=14)
    ledger.grant("t", "testing", 8 * GB)  # 52 of 54 held, staging's 6 lent out but for 2
    grant = ledger.grant("s", "staging", 6 * GB)
    assert grant.borrowed_bytes == 0
    assert grant.reclaims == (Reclaim("research-1", Environment.RESEARCH, 10 * GB, 4 * GB),)
    assert used(ledger, "research") == (10, 0, 0)
    assert used(ledger, "development") == (14, 4, 0)
    assert ledger.free_bytes == 0


def test_inside_a_borrower_the_newest_swarm_gives_first(ledger: Ledger) -> None:
    ledger.grant("old", "research", 9 * GB)
    ledger.grant("new", "research", 3 * GB)
    ledger.grant("newest", "research", 2 * GB)
    fill(ledger, production=16, development=14, testing=8)
    grant = ledger.grant("s", "staging", 5 * GB)
    assert [(r.swarm, r.taken_bytes) for r in grant.reclaims] == [
        ("newest", 2 * GB - MIN_SWARM_BYTES),
        ("new", GB + MIN_SWARM_BYTES),
    ]
    grant = ledger.resize("s", 6 * GB)
    assert [(r.swarm, r.taken_bytes) for r in grant.reclaims] == [("new", GB)]
    assert ledger.holding("old").bytes == 9 * GB


def test_a_swarm_that_lives_on_borrowed_memory_keeps_its_floor(ledger: Ledger) -> None:
    """Its environment's base covers the floor, so an older swarm owes those 16 MiB instead."""
    fill(ledger, staging=6)
    ledger.grant("late", "staging", 4 * GB)
    assert ledger.holding("late").borrowed_bytes == 4 * GB - MIN_SWARM_BYTES
    assert ledger.holding("staging-1").borrowed_bytes == MIN_SWARM_BYTES
    fill(ledger, production=8, development=14, testing=8, research=14)
    grant = ledger.resize("production-1", 12 * GB)
    assert [(r.swarm, r.bytes) for r in grant.reclaims] == [
        ("late", MIN_SWARM_BYTES),
        ("staging-1", 6 * GB - MIN_SWARM_BYTES),
    ]
    assert used(ledger, "staging") == (6, 0, 0)


def test_an_environment_takes_no_more_swarms_than_floors_fit_in_its_base() -> None:
    ledger = Ledger(TINY)
    for number in range(4):
        ledger.grant(f"s{number}", "staging", MIN_SWARM_BYTES)
    with pytest.raises(OverBudget, match="room for 4 swarms of 16 MB within its base of 64 MB"):
        ledger.grant("s4", "staging", MIN_SWARM_BYTES)


# --- sizes and names ------------------------------------------------------------------------


def test_release_gives_back_everything_and_loans_end_with_it(ledger: Ledger) -> None:
    fill(ledger, production=16)
    assert ledger.release("production-1") == 16 * GB
    assert ledger.free_bytes == ledger.capacity_bytes == 54 * GB
    assert ledger.buffer_lent_bytes == 0


def test_shrinking_is_always_granted_and_keeps_the_order(ledger: Ledger) -> None:
    ledger.grant("a", "testing", 10 * GB)
    ledger.grant("b", "testing", 2 * GB)
    assert ledger.resize("a", GB).bytes == GB
    testing = next(row for row in ledger.use() if row.name == "testing")
    assert [holding.swarm for holding in testing.holders] == ["a", "b"]
    assert testing.available_bytes == 9 * GB


def test_wrong_calls_are_refused_and_change_nothing(ledger: Ledger) -> None:
    fill(ledger, testing=1)
    with pytest.raises(InvalidInput, match="too little for a swarm"):
        ledger.grant("small", "testing", MIN_SWARM_BYTES - 1)
    with pytest.raises(InvalidInput, match="too little for a swarm"):
        ledger.resize("testing-1", 0)
    with pytest.raises(Conflict, match="testing-1 already holds"):
        ledger.grant("testing-1", "research", GB)
    with pytest.raises(InvalidInput, match="unknown environment 'live'"):
        ledger.grant("x", "live", GB)
    for call in (lambda: ledger.resize("no", GB), lambda: ledger.release("no")):
        with pytest.raises(NotFound, match="no swarm 'no' in the ledger"):
            call()
    assert ledger.allocated_bytes == GB


def test_agent_limits_are_checked_against_the_plan(ledger: Ledger) -> None:
    ledger.check_agents("staging", live=4, wanted=6)
    ledger.check_agents("staging", live=12, wanted=0)
    with pytest.raises(OverBudget) as caught:
        ledger.check_agents("staging", live=8, wanted=3)
    assert caught.value.message == "staging may have 10 agents: it has 8, and 3 more are asked"
    assert caught.value.hint == "at most 2 can start now"


# --- budgets --------------------------------------------------------------------------------


def test_a_larger_base_comes_out_of_the_buffer_and_a_smaller_one_goes_back(ledger: Ledger) -> None:
    ledger.rebudget("testing", 12 * GB, 14 * GB)
    assert (ledger.plan.buffer_bytes, ledger.capacity_bytes) == (4 * GB, 54 * GB)
    ledger.rebudget("research", 6 * GB, 14 * GB)
    assert ledger.plan.buffer_bytes == 8 * GB
    assert ledger.grant("t", "testing", 12 * GB).borrowed_bytes == 0
    grant = ledger.grant("r", "research", 10 * GB)
    assert grant.lenders == (Loan(BUFFER, 4 * GB),)


def test_what_was_its_own_is_borrowed_once_the_base_is_smaller(ledger: Ledger) -> None:
    fill(ledger, production=12, research=10)
    ledger.rebudget("research", 4 * GB, 14 * GB)
    assert used(ledger, "research") == (10, 6, 0)
    assert ledger.holding("research-1").lenders == (Loan(BUFFER, 6 * GB),)
    assert [holding.swarm for holding in ledger.borrowers()] == ["research-1"]


def test_a_loan_of_the_buffer_is_lent_by_the_base_that_took_it(ledger: Ledger) -> None:
    fill(ledger, production=16)
    ledger.rebudget("staging", 14 * GB, 14 * GB)
    assert ledger.plan.buffer_bytes == 0
    assert ledger.holding("production-1").lenders == (Loan("staging", 4 * GB),)
    fill(ledger, development=10, testing=8, research=10)
    grant = ledger.grant("s", "staging", 14 * GB)
    assert grant.reclaims == (
        Reclaim("production-1", Environment.PRODUCTION, 12 * GB, 4 * GB),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("base", "most", "reason"),
    [
        (15, 20, "the base of testing would take 7 GB out of the buffer, which has 4 GB"),
        (8, 7, "testing could hold at most 7 GB, less than its base of 8 GB"),
        (8, 63, "testing cannot hold 63 GB: the plan of this host has 62 GB for all swarms"),
        (4, 9, "testing holds 10 GB: its maximum cannot be 9 GB"),
        (1 / 64, 12, "testing has 2 swarms, whose floors of 16 MB are 32 MB in all"),
    ],
)
def test_a_budget_that_does_not_fit_is_refused_and_changes_nothing(
    ledger: Ledger, base: float, most: float, reason: str
) -> None:
    ledger.rebudget("production", 16 * GB, 16 * GB)
    ledger.grant("a", "testing", 9 * GB)
    ledger.grant("b", "testing", GB)
    before = (ledger.plan, ledger.use())
    with pytest.raises(OverBudget) as caught:
        ledger.rebudget("testing", int(base * GB), int(most * GB))
    assert caught.value.message.startswith(reason)
    assert (ledger.plan, ledger.use()) == before


def test_asking_for_a_budget_changes_nothing(ledger: Ledger) -> None:
    fill(ledger, production=14)
    plan = ledger.admit("production", 14 * GB, 16 * GB)
    seen = ledger.under(plan)
    assert (used(seen, "production"), used(ledger, "production")) == ((14, 0, 0), (14, 2, 0))
    assert ledger.plan is PLAN


# --- scaled plans ---------------------------------------------------------------------------


def test_a_smaller_host_scales_sizes_but_not_agent_limits() -> None:
    scaled = scale_plan(PLAN, 24 * GB)
    assert scaled.text == "plan for 96 GB at 25 %"
    assert scaled.scale == 0.25
    assert scaled.plan.swarms_bytes == 31 * GB // 2
    assert scaled.plan.environments["production"].base_bytes == 3 * GB
    assert scaled.plan.environments["production"].agents == 20
    assert scaled.plan.environments["production"].priority == 1


@pytest.mark.parametrize("total", [96 * GB, 128 * GB, int(94.2 * GB)])
def test_a_host_of_that_size_has_the_plan_as_written(total: int) -> None:
    assert scale_plan(PLAN, total) == ScaledPlan(PLAN, 1.0, "plan for 96 GB")


@pytest.mark.parametrize("total", [GB // 2, GB, 3 * GB + 12_345, 23 * GB, 91 * GB])
def test_a_scaled_plan_still_adds_up(total: int) -> None:
    plan = scale_plan(PLAN, total).plan
    parts = Ledger(plan).capacity_bytes + plan.coordination_bytes + plan.monitoring_bytes
    assert parts <= plan.swarms_bytes <= total
    assert all(row.base_bytes % MIB == 0 for _, row in plan.environments.items())


def test_a_host_too_small_for_a_floor_refuses_swarms_clearly() -> None:
    ledger = Ledger(scale_plan(PLAN, 128 * MIB).plan)
    with pytest.raises(OverBudget, match="room for 0 swarms"):
        ledger.grant("s", "staging", MIN_SWARM_BYTES)


# --- no order of calls breaks the plan ------------------------------------------------------


class LedgerMachine(RuleBasedStateMachine):
    """Calls in any order, beside a model that knows only sizes: what each swarm was granted or
    was told to shrink to."""

    ledger_type: ClassVar[type[Ledger]] = Ledger

    def __init__(self) -> None:
        super().__init__()
        self.plan = self.first = PLAN
        self.ledger = self.ledger_type(PLAN)
        self.sizes: dict[str, int] = {}
        self.homes: dict[str, Environment] = {}
        self.count = 0

    @initialize(plan=st.sampled_from([PLAN, TINY]))
    def choose(self, plan: HostPlan) -> None:
        self.plan = self.first = plan
        self.ledger = self.ledger_type(plan)

    # rules

    @rule(
        name=st.sampled_from(Environment),
        aim=st.sampled_from(["floor", "base", "free", "maximum", "part"]),
        part=st.floats(0.01, 1.2),
    )
    def grant(self, name: Environment, aim: str, part: float) -> None:
        more = self.aimed(name, aim, part)
        if more < MIN_SWARM_BYTES:
            return
        self.count += 1
        swarm = f"swarm-{self.count}"
        floors = (len(list(self.swarms_of(name))) + 1) * MIN_SWARM_BYTES
        allowed = self.allowed(name, more) and floors <= self.base(name)
        self.call(swarm, name, more, allowed, lambda: self.ledger.grant(swarm, name, more))

    @precondition(lambda self: self.sizes)
    @rule(
        data=st.data(),
        aim=st.sampled_from(["base", "free", "maximum", "part"]),
        part=st.floats(0.01, 1.2),
    )
    def grow(self, data: st.DataObject, aim: str, part: float) -> None:
        swarm = data.draw(st.sampled_from(sorted(self.sizes)))
        name = self.homes[swarm]
        more = self.aimed(name, aim, part)
        if more <= 0:
            return
        size, allowed = self.sizes[swarm] + more, self.allowed(name, more)
        self.call(swarm, name, size, allowed, lambda: self.ledger.resize(swarm, size))

    @precondition(lambda self: self.sizes)
    @rule(data=st.data(), part=st.floats(0, 1))
    def shrink(self, data: st.DataObject, part: float) -> None:
        swarm = data.draw(st.sampled_from(sorted(self.sizes)))
        size = max(MIN_SWARM_BYTES, int(self.sizes[swarm] * part))
        self.call(swarm, self.homes[swarm], size, True, lambda: self.ledger.resize(swarm, size))

    @precondition(lambda self: self.sizes)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        swarm = data.draw(st.sampled_from(sorted(self.sizes)))
        assert self.ledger.release(swarm) == self.sizes.pop(swarm)
        del self.homes[swarm]

    @rule(
        name=st.sampled_from(Environment),
        aim=st.sampled_from(["floor", "least", "held", "buffer", "plan", "part"]),
        most=st.sampled_from(["base", "held", "plan", "part"]),
        part=st.floats(0.01, 1.2),
    )
    def rebudget(self, name: Environment, aim: str, most: str, part: float) -> None:
        before = self.plan
        base, limit = self.aimed_budget(name, aim, most, part)
        more = base - self.base(name)
        floors = len(list(self.swarms_of(name))) * MIN_SWARM_BYTES
        fits = more <= before.buffer_bytes and floors <= base <= limit <= before.swarms_bytes
        try:
            self.ledger.rebudget(name, base, limit)
        except OverBudget:
            assert not (fits and limit >= self.held(name))
            assert self.ledger.plan is before
            return
        assert fits
        assert limit >= self.held(name)
        self.plan = self.ledger.plan
        assert self.plan.buffer_bytes == before.buffer_bytes - more
        budget = msgspec.structs.replace(
            before.environments[name], base_bytes=base, max_bytes=limit
        )
        others = [other for other in Environment if other is not name]
        assert self.plan.environments[name] == budget
        assert all(self.plan.environments[o] == before.environments[o] for o in others)

    # what must hold after every call

    @invariant()
    def no_limit_is_passed(self) -> None:
        kept = self.plan.coordination_bytes + self.plan.monitoring_bytes
        assert sum(self.sizes.values()) + kept <= self.plan.swarms_bytes
        for name in Environment:
            assert self.held(name) <= self.plan.environments[name].max_bytes
        assert all(size >= MIN_SWARM_BYTES for size in self.sizes.values())

    @invariant()
    def the_capacity_stays(self) -> None:
        bases = sum(self.base(name) for name in Environment)
        assert bases + self.plan.buffer_bytes == self.ledger.capacity_bytes
        assert self.plan.buffer_bytes >= 0

    @invariant()
    def the_ledger_holds_what_it_said(self) -> None:
        held = {h.swarm: h.bytes for row in self.ledger.use() for h in row.holders}
        assert held == self.sizes
        assert self.ledger.free_bytes == self.free()

    @invariant()
    def loans_balance(self) -> None:
        rows = self.ledger.use()
        for row in rows:
            above = max(0, self.held(row.name) - self.base(row.name))
            assert row.borrowed_bytes == sum(h.borrowed_bytes for h in row.holders) == above
            assert row.lent_bytes <= max(0, self.base(row.name) - self.held(row.name))
            assert all(loan.lender != row.name for h in row.holders for loan in h.lenders)
        lent = sum(row.lent_bytes for row in rows) + self.ledger.buffer_lent_bytes
        assert lent == sum(row.borrowed_bytes for row in rows)
        assert 0 <= self.ledger.buffer_lent_bytes <= self.plan.buffer_bytes

    @invariant()
    def every_base_could_be_called_in_now(self) -> None:
        for name in Environment:
            room = self.base(name) - self.held(name)
            if room >= MIN_SWARM_BYTES:
                trial = copy.copy(self.ledger)
                trial._held = {other: dict(held) for other, held in self.ledger._held.items()}
                grant = trial.grant("trial", name, room)
                assert grant.borrowed_bytes == 0
                assert trial.free_bytes >= 0
                sizes = [size for held in trial._held.values() for size in held.values()]
                assert min(sizes) >= MIN_SWARM_BYTES

    # the model

    def swarms_of(self, name: Environment) -> Iterator[str]:
        return (swarm for swarm, home in self.homes.items() if home is name)

    def held(self, name: Environment) -> int:
        return sum(self.sizes[swarm] for swarm in self.swarms_of(name))

    def base(self, name: Environment) -> int:
        return self.plan.environments[name].base_bytes

    def free(self) -> int:
        bases = sum(self.base(name) for name in Environment)
        return bases + self.plan.buffer_bytes - sum(self.sizes.values())

    def aimed(self, name: Environment, aim: str, part: float) -> int:
        """A size at or just past one of the borders, or anywhere."""
        borders = {
            "floor": MIN_SWARM_BYTES,
            "base": self.base(name) - self.held(name),
            "free": self.free(),
            "maximum": self.plan.environments[name].max_bytes - self.held(name),
            "part": int(self.base(name) * part),
        }
        return borders[aim] + (1 if part > 1.1 else 0)

    def aimed_budget(self, name: Environment, aim: str, most: str, part: float) -> tuple[int, int]:
        """A base and a maximum at or just past one of the borders, or anywhere."""
        floors = max(1, len(list(self.swarms_of(name)))) * MIN_SWARM_BYTES
        planned = self.first.environments[name]
        past = 1 if part > 1.1 else 0
        bases = {
            "floor": floors - past,
            "least": MIN_SWARM_BYTES,
            "held": self.held(name),
            "buffer": self.base(name) + self.plan.buffer_bytes + past,
            "plan": planned.base_bytes,
            "part": int(planned.base_bytes * part),
        }
        base = max(MIN_SWARM_BYTES, bases[aim])
        limits = {
            "base": base - past,
            "held": self.held(name) - past,
            "plan": planned.max_bytes,
            "part": int(self.plan.swarms_bytes * part),
        }
        return base, max(MIN_SWARM_BYTES, limits[most])

    def allowed(self, name: Environment, more: int) -> bool:
        wanted = self.held(name) + more
        if wanted > self.plan.environments[name].max_bytes:
            return False
        return wanted <= self.base(name) or more <= self.free()

    def call(
        self, swarm: str, name: Environment, size: int, allowed: bool, change: Callable[[], Grant]
    ) -> None:
        before = dict(self.sizes)
        borrowed = {row.name: row.borrowed_bytes for row in self.ledger.use()}
        try:
            grant = change()
        except OverBudget:
            assert not allowed
            return
        assert allowed
        self.homes[swarm] = name
        self.sizes[swarm] = size
        for reclaim in grant.reclaims:
            assert self.homes[reclaim.swarm] is reclaim.environment is not name
            assert before[reclaim.swarm] - reclaim.bytes == reclaim.taken_bytes > 0
            self.sizes[reclaim.swarm] = reclaim.bytes
        self.check_order(grant, borrowed)

    def check_order(self, grant: Grant, borrowed: dict[Environment, int]) -> None:
        """Nobody shrank while a less important borrower had anything left to give."""
        taken = dict.fromkeys(Environment, 0)
        for reclaim in grant.reclaims:
            taken[reclaim.environment] += reclaim.taken_bytes
        rank = {name: row.priority for name, row in self.plan.environments.items()}
        for name in Environment:
            humbler = [other for other in Environment if rank[other] > rank[name]]
            if taken[name]:
                assert all(taken[other] == borrowed[other] for other in humbler)


TIMES = int(os.environ.get("STRESS", "1"))  # `make stress` looks a hundred times longer
SEARCH = settings(
    max_examples=60 * TIMES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# A planted bug has to be found, not made small; the same search every time.
PLANTED = settings(
    SEARCH,
    max_examples=1500,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


def test_no_order_of_calls_passes_the_plan_or_breaks_a_base() -> None:
    run_state_machine_as_test(LedgerMachine, settings=SEARCH)


class ForgetsToShrink(Ledger):
    """Says that loans were taken back and leaves them where they are."""

    def _admit(self, name: Environment, more_bytes: int) -> tuple[Reclaim, ...]:
        super()._admit(name, more_bytes)
        return ()


class ForgetsReleases(Ledger):
    """Leaves a floor behind when a swarm goes."""

    def release(self, swarm: str) -> int:
        freed = self.holding(swarm).bytes
        self.resize(swarm, MIN_SWARM_BYTES)
        return freed


class LendsTheBufferTwice(Ledger):
    @property
    def free_bytes(self) -> int:
        return super().free_bytes + self.plan.buffer_bytes


class TakesFloors(Ledger):
    """Fills the base with the oldest swarms and lets the newest live wholly on loans."""

    def _borrowed(self, name: Environment) -> dict[str, int]:
        left, borrowed = self._base(name), {}
        for swarm, size in self._held[name].items():
            own = min(size, left)
            left -= own
            borrowed[swarm] = size - own
        return borrowed


class TakesFromTheImportant(Ledger):
    def __init__(self, plan: HostPlan) -> None:
        super().__init__(plan)
        self._humblest_first = self._humblest_first[::-1]


class IgnoresMaxima(Ledger):
    def _admit(self, name: Environment, more_bytes: int) -> tuple[Reclaim, ...]:
        try:
            return super()._admit(name, more_bytes)
        except OverBudget:
            if more_bytes > self.free_bytes:
                raise
            return ()


class ForgetsTheBuffer(Ledger):
    """Gives a base more and takes it from nobody."""

    def admit(self, environment: str, base_bytes: int, max_bytes: int) -> HostPlan:
        plan = super().admit(environment, base_bytes, max_bytes)
        return msgspec.structs.replace(plan, buffer_bytes=self.plan.buffer_bytes)


class LowersTheMaximumBelowWhatIsHeld(Ledger):
    def _allocated(self, name: Environment) -> int:
        asked = sys._getframe(1).f_code.co_name
        return 0 if asked == "admit" else super()._allocated(name)


class ForgetsFloors(Ledger):
    """Lets a base shrink below what its swarms must keep."""

    def admit(self, environment: str, base_bytes: int, max_bytes: int) -> HostPlan:
        name = Environment(environment)
        budget = msgspec.structs.replace(
            self.plan.environments[name], base_bytes=base_bytes, max_bytes=max_bytes
        )
        if max_bytes < self._allocated(name):
            raise OverBudget("less than is held")
        return plan_with(self.plan, {name: budget})


@pytest.mark.parametrize(
    "broken",
    [
        ForgetsTheBuffer,
        LowersTheMaximumBelowWhatIsHeld,
        ForgetsFloors,
        ForgetsToShrink,
        ForgetsReleases,
        LendsTheBufferTwice,
        TakesFloors,
        TakesFromTheImportant,
        IgnoresMaxima,
    ],
)
def test_the_machine_catches_a_ledger_that(broken: type[Ledger]) -> None:
    planted = type(f"Machine{broken.__name__}", (LedgerMachine,), {"ledger_type": broken})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(planted, settings=PLANTED)
