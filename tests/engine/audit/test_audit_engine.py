"""The audit trail as an engine keeps it: all files, alerts, restores, commands."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Environment

Opened = Callable[[], AbstractAsyncContextManager[Core]]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    @asynccontextmanager
    async def opening() -> AsyncIterator[Core]:
        async with open_core(
            tmp_path / "data", settings=None, transient=True, headless=True, clock=None
        ) as core:
            yield core

    return opening


async def asked(core: Core, action: Any) -> Any:
    return await core.dispatch(action, OPERATOR_PRINCIPAL)


def copies(tmp_path: Path) -> list[str]:
    return sorted(path.stem for path in (tmp_path / "state").rglob("*.jsonl"))


def database(tmp_path: Path, name: str = "development") -> Path:
    return tmp_path / "data" / "instances" / name / f"{name}.db"


async def test_every_file_that_was_written_is_signed_when_an_engine_closes(
    opened: Opened, tmp_path: Path
) -> None:
    async with opened() as core:
        await core.engine.memory("development").set("k", 1)
        await core.engine.memory("production").set("k", 1)
        use = core.ledger.use()[0]
        await core.budgets.change(use.name, 1 << 30, 2 << 30, actor="operator")
    assert copies(tmp_path) == ["coordination", "development", "production"]
    async with opened() as core:
        found = await asked(core, actions.AuditVerify())
        assert [view.environment for view in found] == [*Environment, "coordination"]
        assert {view.status for view in found} == {"ok"}
        one = await asked(core, actions.AuditVerify(environment="production"))
        assert [(view.rows, view.checkpoints, view.outside) for view in one] == [(1, 1, 1)]


async def test_a_file_put_back_by_hand_is_an_alert_and_one_restored_is_none(
    opened: Opened, tmp_path: Path
) -> None:
    path = database(tmp_path)
    async with opened() as core:
        memory = core.engine.memory("development")
        await memory.set("k", 1)
        backup = await asked(core, actions.BackupCreate(environment="development"))
        await memory.set("k", 2)
    shutil.copy(path, tmp_path / "old.db")
    async with opened() as core:
        await core.engine.memory("development").set("k", 3)
        assert core.auditor.alarms == {}
    shutil.copy(tmp_path / "old.db", path)
    async with opened() as core:
        alerts = core.alerts.list(None, firing=True)
        assert [(a.rule, a.severity, a.environment) for a in alerts] == [
            ("audit-rolled-back", "critical", "development")
        ]
        assert alerts[0].hint == "swarmdeck audit verify development"
        restore = actions.BackupRestore(environment="development", name=backup.name)
        await asked(core, restore)
        assert core.auditor.alarms == {}
        assert await core.engine.memory("development").get("k") == 1
    async with opened() as core:
        assert core.auditor.alarms == {}
        view = (await asked(core, actions.AuditVerify(environment="development")))[0]
        assert view.status == "ok", view.detail


async def test_a_command_that_only_asks_loads_no_cryptography(
    opened: Opened, tmp_path: Path
) -> None:
    async with opened() as core:
        await core.engine.memory("development").set("k", 1)
    source = """
import sys
from swarmdeck.engine.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code
assert not {"cryptography", "lz4"} & set(sys.modules)
"""
    before = [path.read_bytes() for path in sorted((tmp_path / "state").rglob("*.jsonl"))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, "--data", str(tmp_path / "data"), "status", "--json",
        env=os.environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["environments"]
    assert before == [path.read_bytes() for path in sorted((tmp_path / "state").rglob("*.jsonl"))]


async def test_a_trail_is_listed_by_risk_and_exported(opened: Opened, tmp_path: Path) -> None:
    async with opened() as core:
        await core.engine.memory("production").set("k", 1)
        await core.engine.memory("production").delete("k")
        rows = await asked(core, actions.AuditList(environment="production", risk="high"))
        assert [(row.action, row.risk) for row in rows] == [("memory.delete", "high")]
        out = tmp_path / "out.jsonl"
        await asked(core, actions.AuditExport(environment="production", file=str(out)))
        await asked(core, actions.AuditExport(environment="coordination", file=f"{out}.2"))
    assert [json.loads(line).get("action") for line in out.read_text().splitlines()] == [
        "memory.set",
        "memory.delete",
        None,
    ]
