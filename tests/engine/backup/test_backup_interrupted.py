"""An engine that ends in the middle of a restore is finished by the next one."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.store.swap import Reason, Swap

DEV = "development"


def opening(data: Path, *, brief: bool = False) -> AbstractAsyncContextManager[Core]:
    return open_core(data, settings=None, transient=True, headless=False, clock=None, brief=brief)


async def a_backup(core: Core) -> str:
    await core.engine.memory(DEV).set("k", "old")
    name: str = (await core.engine.run(act.BackupCreate(environment=DEV))).name
    await core.engine.memory(DEV).set("k", "new")
    return name


@pytest.mark.parametrize("brief", [False, True])
async def test_what_follows_is_done_by_the_next_engine(tmp_path: Path, *, brief: bool) -> None:
    data = tmp_path / "data"
    async with opening(data) as core:
        name = await a_backup(core)
        keys = {key.id for key in core.vault.ring(DEV).view(0).keys}
    swap = Swap(data / "instances" / DEV / f"{DEV}.db")
    file = swap.begin()
    os.write(file, (data / "backups" / DEV / f"{name}.db").read_bytes())
    os.close(file)
    swap.commit(Reason(name, "operator", "replaced-then"))  # and here it was killed
    async with opening(data, brief=brief) as core:
        assert await core.engine.memory(DEV).get("k") == "old"
        ring = core.vault.ring(DEV).view(0)
        assert {key.id for key in ring.keys if key.state == "active"}.isdisjoint(keys)
        rows = await core.engine.run(act.AuditList(environment=DEV, contains="backup.restore"))
        assert rows[0].action == "backup.restore"
        assert core.auditor.alarms == {}
        [chain] = await core.engine.run(act.AuditVerify(environment=DEV))
        assert chain.status == "ok"
    assert not list((data / "instances" / DEV).glob("*.restore"))
    async with opening(data) as core:
        rows = await core.engine.run(act.AuditList(environment=DEV, contains="backup.restore"))
        assert len([row for row in rows if row.action == "backup.restore"]) == 1


async def test_a_copy_without_its_reason_changes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with opening(data) as core:
        name = await a_backup(core)
    swap = Swap(data / "instances" / DEV / f"{DEV}.db")
    file = swap.begin()
    os.write(file, (data / "backups" / DEV / f"{name}.db").read_bytes()[:5000])
    os.close(file)
    async with opening(data) as core:
        assert await core.engine.memory(DEV).get("k") == "new"
    assert not list((data / "instances" / DEV).glob("*.part"))
