"""What is asked of a memory system as a whole: statistics, copies, upkeep."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmdeck.engine import open_engine
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.model import Environment


async def test_statistics_count_records_and_what_reads_find_in_memory() -> None:
    async with open_engine(":memory:") as engine:
        agent = await engine.agents.register("testing", name="A")
        memory = engine.memory(agent)
        await memory.set("a", "x" * 100, level="team")
        await memory.set("b", 1, namespace="app", ttl_s=60)
        for _ in range(4):
            await memory.get("a")
            await memory.keys()
        (found,) = await engine.system.stats("testing")
        assert (found.records, found.namespaces, found.expiring) == (2, 2, 1)
        assert (found.private, found.team, found.public) == (1, 1, 0)
        assert 100 < found.value_bytes < 300
        assert (found.reads, found.found) == (5, 1.0)  # one of them a list
        assert (found.answers, found.answered) == (1, 0.75)
        assert found.cache_bytes > 100
        assert found.held_bytes > 0
        everywhere = await engine.system.stats()
        assert [each.environment for each in everywhere] == list(Environment)
        assert everywhere[0].found is None


async def test_a_copy_upkeep_and_measurements(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as engine:
        await engine.memory("testing").set("a", 1)
        copy = await engine.system.backup("testing")
        assert (copy.records, copy.status) == (1, "verified")
        (done,) = await engine.system.optimize("testing")
        assert done.status == "ok"
        (database,) = await engine.system.databases("testing")
        assert database.records == 1
        assert isinstance(await engine.system.metrics("testing"), list)
        with pytest.raises(InvalidInput, match="no benchmark"):
            await engine.system.benchmarks(["nothing"])
