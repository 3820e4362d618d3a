"""A backup is made while its environment is used, verified whole, and put back."""

from __future__ import annotations

import asyncio
import json
import stat
from typing import TYPE_CHECKING

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.errors import Conflict, NotFound, Sealed, Unavailable
from swarmdeck.engine.store.database import Reader
from swarmdeck.engine.views import BackupView

if TYPE_CHECKING:
    from .conftest import Held

DEV = "development"


async def made(held: Held) -> BackupView:
    found: BackupView = await held.engine.run(act.BackupCreate(environment=DEV))
    return found


async def verified(held: Held, name: str) -> BackupView:
    found: BackupView = await held.engine.run(act.BackupVerify(environment=DEV, name=name))
    return found


async def restored(held: Held, name: str) -> BackupView:
    found: BackupView = await held.engine.run(act.BackupRestore(environment=DEV, name=name))
    return found


async def audit_of(held: Held, action: str) -> list[str]:
    rows = await held.engine.run(act.AuditList(environment=DEV, contains=action, limit=10))
    return [row.detail for row in rows if row.action == action]


# --- making ---------------------------------------------------------------------------------


async def test_a_backup_is_verified_and_closed_to_others(held: Held) -> None:
    view = await made(held)
    assert (view.status, view.records, view.messages) == ("verified", 40, 1)
    assert view.audit_rows >= 41
    assert view.elapsed_s > 0
    for file in held.files(view.name):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert view.size_bytes == held.files(view.name)[0].stat().st_size
    assert len(list(held.files(view.name)[0].parent.iterdir())) == 2
    assert view.name in (await audit_of(held, "backup.create"))[0]


async def test_backups_are_listed_newest_first_and_deleted(held: Held) -> None:
    first, second = await made(held), await made(held)
    found = await held.engine.run(act.BackupList())
    assert {view.name for view in found} == {first.name, second.name}
    assert found[0].created_at_us > found[1].created_at_us
    assert {view.status for view in found} == {"verified"}
    await held.engine.run(act.BackupDelete(environment=DEV, name=first.name))
    assert [v.name for v in await held.engine.run(act.BackupList(environment=DEV))] == [second.name]
    assert not any(file.exists() for file in held.files(first.name))
    with pytest.raises(NotFound):
        await held.engine.run(act.BackupDelete(environment=DEV, name=first.name))


async def test_a_copy_is_of_one_moment_while_callers_write(held: Held) -> None:
    """Pairs are always written together: no copy may hold half of one."""
    memory = held.engine.memory(DEV)
    over = asyncio.Event()

    async def write(pair: int) -> int:
        number = 0
        while not over.is_set():
            number += 1
            await memory.mset({f"left{pair}": number, f"right{pair}": number})
        return number

    writers = [asyncio.create_task(write(pair)) for pair in range(10)]
    views = [await made(held) for _ in range(3)]
    over.set()
    assert min(await asyncio.gather(*writers)) > 1
    for view in views:
        await restored(held, view.name)
        for pair in range(10):
            left, right = await memory.get(f"left{pair}"), await memory.get(f"right{pair}")
            assert left == right


async def test_what_was_deleted_is_not_in_a_copy(held: Held) -> None:
    memory = held.engine.memory(DEV)
    await memory.set("gone", "canary-" + "c" * 500, level="public")
    await memory.delete("gone")
    view = await made(held)
    assert b"canary-ccc" not in held.files(view.name)[0].read_bytes()


async def test_a_cancelled_backup_leaves_nothing(held: Held) -> None:
    receipt = await held.engine.dispatch(act.BackupCreate(environment=DEV))
    receipt.cancel()
    with pytest.raises(Conflict):
        await receipt
    folder = held.data / "backups" / DEV
    assert not folder.exists() or list(folder.iterdir()) == []


# --- looking --------------------------------------------------------------------------------


async def test_a_backup_is_unverified_until_this_engine_has_looked(held: Held) -> None:
    view = await made(held)
    copy, _ = held.files(view.name)
    copy.touch()
    assert (await held.engine.run(act.BackupList()))[0].status == "unverified"
    assert (await verified(held, view.name)).status == "verified"
    assert (await held.engine.run(act.BackupList()))[0].status == "verified"


async def test_a_sealed_vault_makes_and_restores_nothing(held: Held) -> None:
    view = await made(held)
    await held.engine.run(act.VaultSeal())
    for action in (
        act.BackupCreate(environment=DEV),
        act.BackupRestore(environment=DEV, name=view.name),
    ):
        with pytest.raises(Sealed):
            await held.engine.run(action)
    found = await verified(held, view.name)
    assert (found.status, "sealed" in found.detail) == ("unverified", True)
    await held.engine.run(act.VaultUnseal())
    assert (await verified(held, view.name)).status == "verified"


async def test_a_missing_backup_is_not_found(held: Held) -> None:
    for action in (act.BackupVerify, act.BackupRestore, act.BackupDelete):
        with pytest.raises(NotFound):
            await held.engine.run(action(environment=DEV, name="20200101t000000z-abcd"))


async def test_a_manifest_says_what_is_needed_to_open_the_copy(held: Held) -> None:
    view = await made(held)
    said = json.loads(held.files(view.name)[1].read_text())["manifest"]
    assert said["vault"] == held.core.vault.id
    assert said["environment_key"]
    assert said["key_ids"] == [1, 2, 3]
    assert said["audit_sequence"] >= 41


# --- putting back ---------------------------------------------------------------------------


async def test_a_restored_environment_is_as_it_was_and_goes_on(held: Held) -> None:
    view = await made(held)
    memory, queue = held.engine.memory(DEV), held.engine.queue(DEV)
    await held.fill("new")
    await memory.set("later", 1)
    [message] = await queue.claim(limit=1)
    await queue.ack(message)

    found = await restored(held, view.name)

    assert found.elapsed_s > 0
    assert await memory.get("k1") == "old 1"
    assert await memory.get("later") is None
    assert (await held.engine.views.overview()).environments[1].records == 40
    [again] = await queue.claim(limit=1)
    await queue.ack(again)
    await memory.set("k1", "written on")
    assert await memory.get("k1") == "written on"


async def test_other_environments_do_not_notice(held: Held) -> None:
    view = await made(held)
    memory, over = held.engine.memory("testing"), asyncio.Event()

    async def write() -> int:
        number = 0
        while not over.is_set():
            number += 1
            await memory.set("k", number)
        return number

    writing = asyncio.create_task(write())
    await restored(held, view.name)
    over.set()
    assert await writing == await memory.get("k")


async def test_who_waits_for_a_message_is_answered_and_may_ask_again(held: Held) -> None:
    view = await made(held)
    queue = held.engine.queue(DEV)
    await queue.claim(limit=1)
    waiting = asyncio.create_task(queue.claim(wait_s=60))
    await asyncio.sleep(0)
    await restored(held, view.name)
    assert await waiting == []
    assert len(await queue.claim(limit=1)) == 1


async def test_calls_meanwhile_are_told_to_try_again(held: Held) -> None:
    view = await made(held)
    memory = held.engine.memory(DEV)
    refusals: list[Unavailable] = []
    restoring = asyncio.create_task(restored(held, view.name))
    while not restoring.done():
        try:
            await memory.get("k1")
        except Unavailable as error:
            refusals.append(error)
        await asyncio.sleep(0)
    await restoring
    assert refusals
    assert all(error.retryable and "restored" in error.message for error in refusals)


async def test_a_restore_is_in_the_trail_and_is_no_rollback(held: Held) -> None:
    view = await made(held)
    await held.fill("new")
    await held.core.auditor.close()  # signs what was written since
    await restored(held, view.name)
    [detail] = await audit_of(held, "backup.restore")
    assert view.name in detail
    [chain] = await held.engine.run(act.AuditVerify(environment=DEV))
    assert chain.status == "ok"
    assert held.core.auditor.alarms == {}


async def test_new_keys_seal_after_a_restore(held: Held) -> None:
    view = await made(held)
    before = held.core.vault.ring(DEV).view(0).keys
    await restored(held, view.name)
    after = held.core.vault.ring(DEV).view(0).keys
    active = {key.id for key in after if key.state == "active"}
    assert len(active) == 3
    assert active.isdisjoint(key.id for key in before)


async def test_the_old_file_is_kept(held: Held) -> None:
    view = await made(held)
    await held.fill("new")
    await restored(held, view.name)
    place = held.data / "instances" / DEV
    [kept] = place.glob("replaced-*")
    assert [file.name for file in kept.iterdir()] == [f"{DEV}.db"]
    left = {f"{DEV}.db", f"{DEV}.db-wal", f"{DEV}.db-shm", kept.name}
    assert {each.name for each in place.iterdir()} == left


async def test_a_swarm_that_runs_keeps_its_environment(held: Held) -> None:
    view = await made(held)
    swarm = await held.core.swarms.create(DEV, agents=0, memory_bytes=16 << 20)
    with pytest.raises(Conflict, match=swarm.id) as caught:
        await restored(held, view.name)
    assert caught.value.hint == f"swarmdeck swarm terminate {swarm.id}"
    assert await held.engine.memory(DEV).get("k1") == "old 1"


async def test_swarms_of_the_copy_are_over(held: Held) -> None:
    """Nobody asked for the processes of then to be started now."""
    swarm = await held.core.swarms.create(DEV, agents=0, memory_bytes=16 << 20)
    view = await made(held)
    await held.core.swarms.terminate(swarm.id)
    await restored(held, view.name)
    assert held.core.swarms.view(swarm.id).state == "terminated"
    assert held.core.ledger.allocated_bytes == 0


async def test_a_restored_copy_can_be_restored_again(held: Held) -> None:
    view = await made(held)
    for mark in ("one", "two"):
        await held.fill(mark)
        await restored(held, view.name)
        assert await held.engine.memory(DEV).get("k2") == "old 2"
    again = await made(held)
    assert again.status == "verified"
    assert again.audit_rows > view.audit_rows


async def test_a_long_read_of_a_backup_is_counted(held: Held) -> None:
    """A reader keeps the log from being used anew, so that it is seen."""
    database = held.core.places[DEV].database
    with database.pins.reading("a backup"):
        [row] = await held.engine.run(act.DatabaseStats(environment=DEV))
        assert row.pinned_readers >= 1
    assert database.pins.pinned.readers == 0


async def test_the_copy_has_what_the_file_has(held: Held) -> None:
    view = await made(held)
    assert view.messages == held.core.places[DEV].queue.counts().ready

    def tables(reader: Reader) -> list[str]:
        return [
            r[0] for r in reader.execute("SELECT name FROM sqlite_schema ORDER BY 1").fetchall()
        ]

    before = await held.core.places[DEV].database.read(tables)
    await restored(held, view.name)
    assert await held.core.places[DEV].database.read(tables) == before
