"""A graph of 10,000 tasks with 50,000 dependencies: what a completion costs until the ready set is
right again.

    .venv/bin/python tests/probes/task_graph.py [TASKS [DEPENDENCIES]]

Beside the CPU time of each change in memory (with reading the most urgent ready task after it),
that of working the ready set out anew, of the search for cycles, and of the whole call through the
engine with its durable write, of which it says how long callers waited. Ends with an error when the
hundredth slowest change in memory takes more than a millisecond.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any

from msgspec.structs import replace

from swarmdeck.engine import open_engine
from swarmdeck.engine.model import Level
from swarmdeck.engine.tasks.graph import Graph
from swarmdeck.engine.tasks.task import Edge, Task

BAR_MS = 1.0
CALLS = 500  # completions through the engine


def task(ident: int, chance: random.Random) -> Task:
    known: dict[str, Any] = dict.fromkeys(Task.__struct_fields__)
    known |= {
        "ident": ident, "title": f"task {ident}", "type": "task", "status": "pending",
        "priority": chance.randint(1, 10), "level": Level.PUBLIC, "owner": "operator",
        "progress": 0.0, "attempt": 0, "max_attempts": 1, "reason": "", "blockers": (),
        "version": 1, "created_us": 1, "updated_us": 1,
        "deadline_us": chance.randint(1, 10**9) if chance.random() < 0.3 else None,
    }  # fmt: skip
    return Task(**known)


def edges(tasks: int, wanted: int, chance: random.Random) -> list[tuple[int, int]]:
    """Pairs of a task and an earlier one that it needs, each once."""
    found: set[tuple[int, int]] = set()
    while len(found) < wanted:
        later = chance.randint(2, tasks)
        found.add((later, chance.randint(max(1, later - 400), later - 1)))
    return sorted(found)


def edge(ident: int, of: int, needs: int) -> Edge:
    return Edge(ident, of, needs, "", "hard", "", None, None, "", "operator", 1)


def quantiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds."""
    ordered = sorted(value * 1000 for value in values)
    return {
        "p50_ms": round(statistics.median(ordered), 4),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 4),
        "max_ms": round(ordered[-1], 4),
    }


def in_memory(count: int, wanted: int, chance: random.Random) -> dict[str, Any]:
    pairs = edges(count, wanted, chance)
    made = [task(number, chance) for number in range(1, count + 1)]
    links = [edge(number, *pair) for number, pair in enumerate(pairs, 1)]
    began = process_time()
    graph = Graph.of(made, links)
    build_s = process_time() - began
    anew: list[float] = []
    for _ in range(5):
        began = process_time()
        done = {each.ident for each in made if each.status == "completed"}
        waiting = {of for of, needs in pairs if needs not in done}
        assert len(graph.ready) == sum(each.ident not in waiting for each in made)
        anew.append(process_time() - began)
    cycles: list[float] = []
    for _ in range(1_000):
        first, second = sorted(chance.sample(range(1, count + 1), 2))
        began = thread_time()
        graph.cycle(first, second)
        cycles.append(thread_time() - began)
    steps: list[float] = []
    while (best := next(graph.take(), None)) is not None:
        now = graph.get(best)
        assert now is not None
        begun, done_ = replace(now, status="in_progress"), replace(now, status="completed")
        graph.put(begun)
        began = thread_time()
        graph.put(done_)
        next(graph.take(), None)
        steps.append(thread_time() - began)
    assert len(steps) == count
    assert len(graph) == 0
    return {
        "build_ms": round(build_s * 1000, 1),
        "completion": quantiles(steps),
        "worked_out_anew_ms": round(statistics.median(anew) * 1000, 2),
        "cycle_search": quantiles(cycles),
    }


async def through_engine(count: int, wanted: int, chance: random.Random) -> dict[str, Any]:
    """The same graph in a file, made in one go, with completions through the API."""
    with tempfile.TemporaryDirectory() as where:
        async with open_engine(Path(where) / "data", transient=True) as engine:
            core = engine._port._core  # type: ignore[attr-defined]
            place = core.places["development"]
            await fill(place.database, count, edges(count, wanted, chance))
            began = process_time()
            graph = await place.tasks.graph()
            load_s = process_time() - began
            assert len(graph) == count
            tasks = engine.tasks("development")
            calls: list[float] = []
            cpu = process_time()
            for _ in range(min(CALLS, count)):
                [best] = await tasks.ready(limit=1)
                await tasks.start(best)
                began = perf_counter()
                await tasks.complete(best, {"score": 1})
                calls.append(perf_counter() - began)
            cpu = process_time() - cpu
            return {
                "load_ms": round(load_s * 1000, 1),
                "complete_call_with_write": quantiles(calls),
                "cpu_of_ready_start_complete_ms": round(cpu * 1000 / len(calls), 2),
            }


async def fill(database: Any, count: int, pairs: list[tuple[int, int]]) -> None:
    rows = [(number, f"task {number}", number % 10 + 1) for number in range(1, count + 1)]

    def change(tx: Any) -> None:
        tx.executemany(
            "INSERT INTO task (id, env, title, type, status, priority, level, owner, created_at, "
            "updated_at) VALUES (?, 'development', ?, 'task', 'pending', ?, 4, 'operator', 1, 1)",
            rows,
        )
        tx.executemany(
            "INSERT INTO dependency (env, task, needs, kind, created_by, created_at) "
            "VALUES ('development', ?, ?, 'hard', 'operator', 1)",
            pairs,
        )

    await database.write(change)


def main(count: int, wanted: int) -> None:
    found = {"tasks": count, "dependencies": wanted}
    found |= in_memory(count, wanted, random.Random(1))
    found |= asyncio.run(through_engine(count, wanted, random.Random(1)))
    print(json.dumps(found, indent=2))
    slow = found["completion"]["p99_ms"]
    if slow > BAR_MS:
        sys.exit(f"a completion takes {slow} ms in memory, more than {BAR_MS:g}")


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    main(*(given + [10_000, 50_000][len(given) :]))
