"""The eleven variables people know from elsewhere do what they say, and are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import Engine, connect, open_engine
from swarmdeck.engine import actions as act
from swarmdeck.engine.bench import launch
from swarmdeck.engine.cli.main import main
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.metrics.service import Metrics
from swarmdeck.engine.settings import Settings, load_settings
from swarmdeck.engine.views import BenchView

KEY = "0123456789abcdef" * 4


def settings(**env: str) -> Settings:
    return load_settings(None, env, {})


async def shown(engine: Engine) -> dict[str, Any]:
    found = await engine.run(act.ConfigShow())
    return {each.name: (each.value, each.source) for each in found}


async def test_each_is_shown_with_its_source() -> None:
    wanted = settings(
        SQLITE_DB_PATH="./here", SQLITE_ENCRYPTION_KEY=KEY, SQLITE_COMPRESSION_THRESHOLD="2048",
        SWARM_ID="dev_swarm_1", AGENT_ID="dev_agent_1", ENABLE_PERFORMANCE_MONITORING="false",
        BENCHMARK_OUTPUT_DIR="./reports",
        REDIS_HOST="nowhere", REDIS_PORT="6400", REDIS_PASSWORD="p", REDIS_DB="3",
    )  # fmt: skip
    found = {each.name: (each.value, each.source) for each in wanted.shown()}
    assert {name: value for name, (value, source) in found.items() if "environment" in source} == {
        "engine.data_dir": "./here",
        "store.encryption_key": "(set)",
        "store.compression_threshold_bytes": 2048,
        "identity.swarm_id": "dev_swarm_1",
        "identity.agent_id": "dev_agent_1",
        "metrics.enabled": False,
        "bench.output_dir": "./reports",
        "redis.host": "nowhere",
        "redis.port": 6400,
        "redis.password": "(set)",
        "redis.db": 3,
    }
    assert found["metrics.enabled"][1] == "ENABLE_PERFORMANCE_MONITORING in the environment"


async def test_the_path_of_the_store_is_the_data_directory(tmp_path: Path) -> None:
    wanted = settings(SQLITE_DB_PATH=str(tmp_path / "swarm-memory.db"))
    async with open_engine(wanted.data_dir, settings=wanted) as engine:
        await engine.memory("testing").set("k", 1)
    assert (tmp_path / "swarm-memory.db/instances/testing/testing.db").exists()
    inside = settings(SQLITE_DB_PATH=":memory:")
    async with open_engine(inside.data_dir.absolute(), settings=inside) as engine:
        assert str(engine.data) == ":memory:"


async def test_the_size_above_which_values_are_compressed(tmp_path: Path) -> None:
    sizes = []
    for threshold in ("100", "100000"):
        wanted = settings(SQLITE_COMPRESSION_THRESHOLD=threshold)
        async with open_engine(tmp_path / threshold, settings=wanted) as engine:
            await engine.memory("testing").set("k", "words " * 1000)
            (record,) = await engine.run(act.MemoryList(environment="testing"))
            sizes.append(record.size_bytes)
    assert sizes[0] * 10 < sizes[1]


async def test_a_key_given_by_value(tmp_path: Path) -> None:
    async with open_engine(tmp_path, settings=settings(SQLITE_ENCRYPTION_KEY=KEY)) as engine:
        await engine.memory("testing").set("k", "secret")
        found = await engine.run(act.VaultStatus())
        assert (found.source, found.place) == ("variable", "SQLITE_ENCRYPTION_KEY")
        assert KEY not in str(await shown(engine))
    async with open_engine(tmp_path, settings=settings(SQLITE_ENCRYPTION_KEY=KEY)) as engine:
        assert await engine.memory("testing").get("k") == "secret"


async def test_a_process_is_the_agent_it_was_told_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine(tmp_path) as engine:
        swarm = await engine.swarms.create("testing", agents=0, memory_bytes=1 << 30)
        agent = await engine.agents.register("testing", name="A", swarm=swarm.id)
        await engine.memory(agent).set("mine", 1)
        with pytest.raises(InvalidInput, match="this process is no agent"):
            engine.memory()
        monkeypatch.setenv("AGENT_ID", agent.id)
        monkeypatch.setenv("SWARM_ID", swarm.id)
        async with connect(tmp_path) as attached:
            assert await attached.memory().get("mine") == 1
            other = await attached.agents.register("testing", name="B")
            away = await attached.agents.register("research", name="C")
    assert (other.swarm, away.swarm) == (swarm.id, None)


def test_commands_ask_as_the_agent_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> Any:
        code = main(["--data", str(tmp_path), "--json", *words])
        said = capfd.readouterr()
        return json.loads(said.out) if code == 0 else (code, said.err)

    agent = run("agent", "register", "testing", "A")["id"]
    monkeypatch.setenv("AGENT_ID", agent)
    run("memory", "set", "testing", "k", "1")
    assert run("memory", "get", "testing", "k")["owner"] == agent
    assert run("memory", "get", "testing", "k", "--as", "operator")[0] == 3
    monkeypatch.setenv("AGENT_ID", "sqlite-system")
    code, said = run("memory", "get", "testing", "k")
    assert (code, "AGENT_ID is" in said) == (2, True)


def test_commands_keep_nothing_in_memory(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SQLITE_DB_PATH", ":memory:")
    for words in (["status"], ["serve"], ["doctor"], ["--data", ":memory:", "init"]):
        assert main(words) == 2
        assert "in memory ends with its process" in capfd.readouterr().err


async def test_monitoring_can_be_turned_off() -> None:
    for enabled, measured in (("true", True), ("0", False)):
        wanted = settings(ENABLE_PERFORMANCE_MONITORING=enabled)
        async with open_engine(":memory:", settings=wanted) as engine:
            service = engine._port._core.metrics  # type: ignore[attr-defined]
            assert isinstance(service, Metrics)
            service.tick(0.0)
            assert (service._measuring is not None) is measured


async def test_benchmarks_leave_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = BenchView(
        name="memory.get", workload="w", ops_s=1.0, p50_us=1.0, p99_us=1.0, concurrency=1,
        operations=1, at_us=1,
    )  # fmt: skip

    async def measure(*_: object) -> list[BenchView]:
        return [found]

    monkeypatch.setattr(launch, "measure", measure)
    wanted = settings(BENCHMARK_OUTPUT_DIR=str(tmp_path / "reports"))
    async with open_engine(":memory:", settings=wanted) as engine:
        await engine.run(act.BenchRun(names=("memory.get",)))
    (report,) = (tmp_path / "reports").iterdir()
    assert json.loads(report.read_text())[0]["name"] == "memory.get"


async def test_redis_is_where_the_variables_say() -> None:
    wanted = settings(REDIS_HOST="127.0.0.1", REDIS_PORT="1", REDIS_DB="2", REDIS_PASSWORD="p")
    redis = wanted.redis
    assert (redis.host, redis.port, redis.db) == ("127.0.0.1", 1, 2)
    async with open_engine(":memory:", settings=wanted) as engine:
        overview = await engine.views.overview()
    assert overview.engine.bus != "local"  # it is looked for, and not there
