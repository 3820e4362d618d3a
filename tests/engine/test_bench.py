"""Benchmarks run in a process of their own, on scratch data, and their results are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine import open_engine
from swarmdeck.engine.bench.measure import percentile
from swarmdeck.engine.bench.names import NAMES
from swarmdeck.engine.errors import InvalidInput


async def test_every_workload_runs_and_is_kept(tmp_path: Path) -> None:
    steps: list[str] = []
    async with open_engine(tmp_path) as engine:
        found = await engine.run(
            act.BenchRun(seconds=0.1, concurrency=4), lambda _, text: steps.append(text)
        )
        assert [view.name for view in found] == list(NAMES)
        assert all(view.operations > 0 and view.ops_s > 0 for view in found)
        assert steps == list(NAMES)
        assert (await engine.views.overview()).benchmarks == tuple(found)
        assert [env.records for env in (await engine.views.overview()).environments] == [0] * 5
    async with open_engine(tmp_path) as engine:
        assert await engine.run(act.BenchShow()) == found


async def test_an_unknown_workload_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as engine:
        with pytest.raises(InvalidInput, match="no benchmark nonsense"):
            await engine.run(act.BenchRun(names=("nonsense",)))


@pytest.mark.redis
async def test_ours_is_put_beside_every_peer(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as engine:
        found: list[Any] = await engine.run(act.BenchCompare(rounds=1, seconds=0.1, growth=1_000))
    assert [(view.name, view.peer) for view in found] == [
        ("set", "raw"),
        ("set", "tuned"),
        ("set", "naive"),
        ("socket set", "redis"),
        ("socket get", "redis"),
        ("claim growth", "1,000 queued"),
    ]
    assert all(view.ratio > 0 for view in found)


def test_percentiles_of_few_and_none() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 0.99) == 3
