"""What a completed task costs a graph of many: the set of those that are ready, after each.

What is timed is the graph in memory, in processor time of its thread; the write that goes before
it takes what any other write takes.
"""

from __future__ import annotations

import random
import time
from itertools import pairwise
from typing import Final

import msgspec

from ..model import Level
from ..tasks.graph import Graph
from ..tasks.task import COMPLETED, HARD, PENDING, Edge, Task
from .bars import Outcome

TASKS: Final = 10_000
DEPENDENCIES: Final = 50_000
HELD_MS: Final = 1.0
WAYS: Final = 200

_READY: Final = (
    "longest of all completions in ms of processor time: the graph learns that a task is completed "
    "and the next ready one is taken; 10,000 tasks, 50,000 hard dependencies; the peer is the bar"
)
_CYCLE: Final = (
    "dependencies that would close a circle, refused with the way around it; the peer: all of those"
)


def completing(rounds: int) -> list[Outcome]:
    """The longest completion of each round, and whether circles are named."""
    worst: list[tuple[float, float]] = []
    named: list[tuple[float, float]] = []
    for number in range(rounds):
        graph = _graph(random.Random(number))  # noqa: S311 - the same work in every run
        named.append((float(_named(graph, random.Random(number))), float(WAYS)))  # noqa: S311
        worst.append((_longest_ms(graph), HELD_MS))
    return [
        Outcome("task completed", "1 ms", worst, _READY, "ms", 1.0, at_most=True),
        Outcome("circle refused", "all", named, _CYCLE, "circles", 1.0),
    ]


def _graph(chance: random.Random) -> Graph:
    """Every task but the first needs up to ten of those before it."""
    tasks = [_task(number) for number in range(1, TASKS + 1)]
    edges: list[Edge] = []
    while len(edges) < DEPENDENCIES:
        task = chance.randint(2, TASKS)
        edges.append(_edge(len(edges) + 1, task, chance.randint(max(1, task - 2_000), task - 1)))
    return Graph.of(tasks, edges)


def _task(number: int) -> Task:
    return Task(
        number, f"task {number}", "work", PENDING, 1 + number % 10, Level.TEAM, "dev_agent_bench",
        "dev_team_bench", None, None, None, 0.0, None, None, None, None, 1, 3, "", (), 1, 0, 0,
        None, None,
    )  # fmt: skip


def _edge(number: int, task: int, needs: int) -> Edge:
    return Edge(number, task, needs, "", HARD, "", None, None, "", "dev_agent_bench", 0)


def _longest_ms(graph: Graph) -> float:
    """Complete them all, the most urgent ready one first. Raises RuntimeError where some stay."""
    worst_s, done = 0.0, 0
    ident = next(graph.take(), None)
    while ident is not None:
        task = graph.get(ident)
        assert task is not None
        completed = msgspec.structs.replace(task, status=COMPLETED)
        started_s = time.thread_time()
        graph.put(completed)
        ident = next(graph.take(), None)
        worst_s = max(worst_s, time.thread_time() - started_s)
        done += 1
    if done != TASKS:
        raise RuntimeError(f"{TASKS - done} tasks never became ready")
    return worst_s * 1000


def _named(graph: Graph, chance: random.Random) -> int:
    """Of WAYS dependencies that would close a circle, how many are told with the whole way."""
    told = 0
    for _ in range(WAYS):
        above = chance.randint(TASKS // 2, TASKS)
        below = above
        for _ in range(chance.randint(1, 50)):
            needs = [edge.needs for edge, _ in graph.edges(below) if edge.needs is not None]
            if not needs:
                break
            below = chance.choice(needs)
        way = graph.cycle(below, above)
        told += bool(way) and below != above and _is_way(graph, way)
        told += below == above
    return told


def _is_way(graph: Graph, way: list[int]) -> bool:
    """Whether each task of it needs the next."""
    return all(
        any(edge.needs == after for edge, _ in graph.edges(task)) for task, after in pairwise(way)
    )
