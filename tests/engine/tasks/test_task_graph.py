"""What is ready, kept change by change, is what working it out from scratch says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from graph_reference import Naive, edge, task
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from swarmdeck.engine.tasks.graph import BROKEN, MET, WAITS, Graph, state

KINDS = st.sampled_from(["hard", "soft", "optional", "conditional"])
STATUSES = st.sampled_from(
    ["pending", "in_progress", "completed", "failed", "cancelled", "blocked"]
)


class Growing(RuleBasedStateMachine):
    """Any history of tasks and dependencies."""

    def __init__(self) -> None:
        super().__init__()
        self.graph, self.naive = Graph(), Naive()

    def pick(self, number: int) -> int:
        return sorted(self.naive.tasks)[number % len(self.naive.tasks)]

    @rule(priority=st.integers(1, 10), deadline=st.none() | st.integers(1, 20))
    def create(self, priority: int, deadline: int | None) -> None:
        made = task(len(self.naive.tasks) + 1, priority=priority, deadline_us=deadline)
        self.naive.tasks[made.ident] = made
        self.graph.put(made)

    @precondition(lambda self: self.naive.tasks)
    @rule(number=st.integers(0), status=STATUSES, met=st.booleans(), more=st.integers(1, 10))
    def move(self, number: int, status: str, met: bool, more: int) -> None:
        old = self.naive.tasks[self.pick(number)]
        if old.status == "completed":
            return  # for good
        new = self.naive.tasks[old.ident] = replace(old, status=status, priority=more)
        self.graph.put(new)
        ended = status in ("completed", "failed", "cancelled")
        for each in list(self.naive.edges.values()):
            if each.needs == old.ident and each.kind == "conditional":
                decided = replace(each, met=met if ended else None)
                self.naive.edges[each.ident] = decided
                self.graph.link(decided)

    @precondition(lambda self: len(self.naive.tasks) > 1)
    @rule(first=st.integers(0), second=st.integers(0), kind=KINDS, met=st.booleans())
    def depend(self, first: int, second: int, kind: str, met: bool) -> None:
        one, other = self.pick(first), self.pick(second)
        if self.naive.tasks[one].status not in ("pending", "blocked"):
            return
        way = self.graph.cycle(one, other)
        assert bool(way) == self.naive.reaches(other, one)
        if way:
            self.follow(way, other, one)
            return
        ended = self.naive.tasks[other].status in ("completed", "failed", "cancelled")
        decided = met if kind == "conditional" and ended else None
        made = edge(len(self.naive.edges) * 7 + 1, one, other, kind, met=decided)
        if made.ident in self.naive.edges:
            return
        self.naive.edges[made.ident] = made
        self.graph.link(made)

    def follow(self, way: list[int], start: int, end: int) -> None:
        """The cycle that is named is one."""
        assert (way[0], way[-1]) == (start, end)
        assert len(set(way)) == len(way)
        for at, onward in pairwise(way):
            assert any(each.needs == onward for each in self.naive.of(at))

    @precondition(lambda self: self.naive.edges)
    @rule(number=st.integers(0), drop=st.booleans())
    def let_go(self, number: int, drop: bool) -> None:
        ident = sorted(self.naive.edges)[number % len(self.naive.edges)]
        old = self.naive.edges[ident]
        if self.naive.tasks[old.task].status == "completed":
            return
        if drop:
            del self.naive.edges[ident]
            self.graph.unlink(ident)
        else:
            self.naive.edges[ident] = replace(old, resolved_us=1)
            self.graph.link(self.naive.edges[ident])

    @invariant()
    def what_is_ready_is_ready(self) -> None:
        assert list(self.graph.take()) == self.naive.ready()
        assert set(self.graph.ready) == set(self.naive.ready())

    @invariant()
    def what_is_broken_is_broken(self) -> None:
        known = {ident for ident in self.graph.broken if self.graph.get(ident) is not None}
        assert {i for i in known if self.naive.tasks[i].status != "completed"} == (
            self.naive.broken()
        )

    @invariant()
    def nothing_is_in_memory_that_need_not_be(self) -> None:
        assert {each.ident for each in self.graph.tasks()} == self.naive.kept()

    @invariant()
    def what_is_late_is_late(self) -> None:
        late = [
            (each.deadline_us, each.ident)
            for each in self.naive.tasks.values()
            if each.deadline_us is not None
            and each.deadline_us <= 10
            and each.status in ("pending", "in_progress", "blocked")
        ]
        assert list(self.graph.overdue(10)) == [ident for _, ident in sorted(late)]

    @invariant()
    def read_anew_it_is_the_same(self) -> None:
        kept = self.naive.kept()
        tasks = [each for each in self.naive.tasks.values() if each.ident in kept]
        edges = [each for each in self.naive.edges.values() if each.task in kept]
        fresh = Graph.of(tasks, edges)
        assert list(fresh.take()) == list(self.graph.take())
        assert fresh.broken == self.graph.broken
        assert len(fresh) == len(self.graph)
        assert fresh.unfinished == self.graph.unfinished


TestGrowing = Growing.TestCase
TestGrowing.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    ("kind", "status", "met", "expected"),
    [
        ("hard", "pending", None, WAITS),
        ("hard", "completed", None, MET),
        ("hard", "failed", None, BROKEN),
        ("hard", "cancelled", None, BROKEN),
        ("soft", "in_progress", None, WAITS),
        ("soft", "failed", None, MET),
        ("soft", "cancelled", None, MET),
        ("optional", "pending", None, MET),
        ("optional", "failed", None, MET),
        ("conditional", "pending", None, WAITS),
        ("conditional", "failed", True, MET),
        ("conditional", "completed", False, BROKEN),
    ],
)
def test_each_kind_holds_its_task_as_it_says(
    kind: str, status: str, met: bool | None, expected: str
) -> None:
    assert state(edge(1, 2, 1, kind, met=met), status) == expected


def test_what_is_no_task_holds_until_somebody_resolves_it() -> None:
    waits = edge(1, 1, None)
    assert state(waits, "completed") == WAITS
    assert state(replace(waits, resolved_us=1), "") == MET
    assert state(edge(1, 1, None, "optional"), "") == MET


def test_completed_tasks_are_forgotten_together_with_the_last_they_stood_before() -> None:
    chain = [task(1), task(2, "completed"), task(3, "completed")]
    graph = Graph.of(chain, [edge(1, 2, 1, "optional"), edge(2, 3, 2)])
    assert len(graph) == 3
    graph.put(task(1, "completed"))
    assert len(graph) == 0
    graph.put(task(3, "completed", priority=9))
    assert len(graph) == 0


def test_a_long_cycle_is_found_from_both_ends() -> None:
    graph = Graph.of(
        (task(number) for number in range(1, 101)),
        (edge(number, number + 1, number) for number in range(1, 100)),
    )
    assert graph.cycle(1, 100) == list(range(100, 0, -1))
    assert graph.cycle(100, 1) == []
    assert graph.cycle(7, 7) == [7]
