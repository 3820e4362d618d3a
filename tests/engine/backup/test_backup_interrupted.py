"""An engine that ends in the middle of a restore is finished by the next one."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import SwarmDeckError
from swarmdeck.engine.store.swap import Reason, Swap

DEV = "development"


def opening(data: Path, *, brief: bool = False) -> AbstractAsyncContextManager[Core]:
    return open_core(data, settings=None, transient=True, headless=False, clock=None, brief=brief)


async def a_backup(core: Core) -> str:
    await core.engine.memory(DEV).set("k", "old")
    name: str = (await core.engine.run(act.BackupCreate(environment=DEV))).name
    await core.engine.memory(DEV).set("k", "new")
    return name


def note(core: Core, name: str) -> Reason:
    """What a restore leaves while it is not finished."""
    made = core.backups._signed(core.backups._shelf(DEV), DEV, name)
    return core.backups._reason(made, "operator", "replaced-then", bare=False)


@pytest.mark.parametrize("brief", [False, True])
async def test_what_follows_is_done_by_the_next_engine(tmp_path: Path, *, brief: bool) -> None:
    data = tmp_path / "data"
    async with opening(data) as core:
        name = await a_backup(core)
        keys = {key.id for key in core.vault.ring(DEV).view(0).keys}
        reason = note(core, name)
    swap = Swap(data / "instances" / DEV / f"{DEV}.db")
    file = swap.begin()
    os.write(file, (data / "backups" / DEV / f"{name}.db").read_bytes())
    os.close(file)
    swap.commit(reason)  # and here it was killed
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


# --- a file put back by somebody who pretends ---------------------------------------------------


def put_back(data: Path, copy: bytes, reason: Reason) -> None:
    swap = Swap(data / "instances" / DEV / f"{DEV}.db")
    file = swap.begin()
    os.write(file, copy)
    os.close(file)
    swap.commit(reason)


async def test_a_note_that_nobody_signed_excuses_no_old_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with opening(data) as core:
        name = await a_backup(core)
        other = msgspec.structs.replace(note(core, name), sequence=1, hash=bytes(32))
    copy = (data / "backups" / DEV / f"{name}.db").read_bytes()
    for number, forged in enumerate((Reason(name, "operator", "replaced-1"), other)):
        put_back(data, copy, msgspec.structs.replace(forged, kept=f"replaced-{number}"))
        async with opening(data) as core:
            assert "rolled back" in core.auditor.alarms[DEV]
            rows = await core.engine.run(act.AuditList(environment=DEV, contains="restore"))
            assert not [row for row in rows if row.action == "backup.restore"]


async def test_a_note_of_then_excuses_no_second_rollback(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with opening(data) as core:
        name = await a_backup(core)
        reason = note(core, name)
    copy = (data / "backups" / DEV / f"{name}.db").read_bytes()
    put_back(data, copy, reason)
    async with opening(data) as core:
        assert core.auditor.alarms == {}
        await core.engine.memory(DEV).set("k", "newer")
    for left in (data / "instances" / DEV / "replaced-then").iterdir():
        left.unlink()
    (data / "instances" / DEV / "replaced-then").rmdir()
    put_back(data, copy, reason)
    async with opening(data) as core:
        assert "rolled back" in core.auditor.alarms[DEV]


async def test_a_note_that_is_no_note_stops_one_environment(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with opening(data) as core:
        await a_backup(core)
    folder = data / "instances" / DEV
    (folder / f"{DEV}.restore").write_bytes(b'{"backup":"a","actor":"b","kept":"../../c"}')
    (folder / f"{DEV}.db.part").write_bytes(b"")
    async with opening(data) as core:
        assert await core.engine.memory("testing").get("k") is None
        with pytest.raises(SwarmDeckError):
            await core.engine.memory(DEV).get("k")
