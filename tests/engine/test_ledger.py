"""The budget ledger: what is granted, what is borrowed, what is taken back, what is refused."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import ClassVar

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
from swarmdeck.engine.ledger import BUFFER, Grant, Ledger, Loan, Reclaim, ScaledPlan, scale_plan
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
        self.plan = PLAN
        self.ledger = self.ledger_type(PLAN)
        self.sizes: dict[str, int] = {}
        self.homes: dict[str, Environment] = {}
        self.count = 0

    @initialize(plan=st.sampled_from([PLAN, TINY]))
    def choose(self, plan: HostPlan) -> None:
        self.plan, self.ledger = plan, self.ledger_type(plan)

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

    # what must hold after every call

    @invariant()
    def no_limit_is_passed(self) -> None:
        kept = self.plan.coordination_bytes + self.plan.monitoring_bytes
        assert sum(self.sizes.values()) + kept <= self.plan.swarms_bytes
        for name in Environment:
            assert self.held(name) <= self.plan.environments[name].max_bytes
        assert all(size >= MIN_SWARM_BYTES for size in self.sizes.values())

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
    max_examples=200,
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


@pytest.mark.parametrize(
    "broken",
    [
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
