"""What is tried against a vault: by whoever writes its files, and by calls at a bad moment."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmdeck.engine import actions, open_engine
from swarmdeck.engine.errors import Corrupt, Damaged, Sealed, Unavailable
from swarmdeck.engine.memory.records import Entry
from swarmdeck.engine.memory.staging import Put
from swarmdeck.engine.memory.store import Write
from swarmdeck.engine.model import Level
from swarmdeck.engine.vault import vaultfile

PLANT = """
INSERT INTO memory (env, namespace, key, format, key_id, body, mac, level, owner, team, swarm,
                    version, created_at, updated_at, expires_at)
VALUES ('development', 'default', 'planted', 0, NULL, X'31', NULL, 1, 'dev_agent_owner', NULL, NULL,
        1, 1, 1, NULL)"""


@pytest.fixture(autouse=True)
def _places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


# --- calls at a bad moment ---------------------------------------------------------------------


async def test_what_is_written_while_all_is_shredded_can_be_read_ever_after(
    opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening() as site:
        await site.put("old", 1)
        rebuild = site.database.rebuild

        async def slow() -> None:  # writers come while the file is rebuilt
            await site.put("new", 2)
            await rebuild()

        monkeypatch.setattr(site.database, "rebuild", slow)
        racing = [asyncio.ensure_future(site.put(f"k{n}", n)) for n in range(20)]
        shredding = asyncio.ensure_future(site.vault.shred("development", "all", actor="operator"))
        racing += [asyncio.ensure_future(site.put(f"l{n}", n)) for n in range(20)]
        await shredding
        await asyncio.gather(*racing, return_exceptions=True)
        kept = {row[0] for row in await site.rows("SELECT key FROM memory")}
        assert {"new", "l19"} <= kept
        assert "old" not in kept
    async with opening() as site:
        for key in kept:
            assert await site.get(key) is not None


async def test_shredding_all_takes_the_key_of_the_environment_though_nobody_writes(
    opening: Any,
) -> None:
    async with opening() as site:
        await site.put("k", 1)
        before = site.vault.environment_key("development", make=False)
        await site.vault.shred("development", "team", actor="operator")
        assert site.vault.environment_key("development", make=False) == before
        await site.vault.shred("development", "all", actor="operator")
        assert site.vault.environment_key("development", make=False) != before


async def test_a_change_beside_a_shredding_makes_no_key_that_is_lost(site: Any) -> None:
    """In the very transaction that destroys all keys none is made: it could be rolled back."""
    rotation = site.vault._rotation("development")
    await site.put("k", 1)

    def both(tx: Any) -> None:
        rotation._shred(tx, ("private", "team", "rest"), "operator")
        site.ring.prepare(tx)

    with pytest.raises(Unavailable, match="destroyed"):
        await site.database.write(both)
    await site.put("l", 2)
    assert (await site.get("k"), await site.get("l")) == (1, 2)


async def test_a_read_under_way_brings_nothing_back_that_was_shredded(
    opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening(cache_bytes=1 << 20) as site:
        await site.put("k", "secret")
        site.store.cache.close()
        site.store.cache.reopen()
        read, go_on = threading.Event(), threading.Event()
        open_ = site.ring.open

        def late(row: Any) -> Entry:
            entry: Entry = open_(row)
            read.set()
            go_on.wait(10)
            return entry

        monkeypatch.setattr(site.ring, "open", late)
        reading = asyncio.ensure_future(site.get("k"))
        await asyncio.to_thread(read.wait, 10)
        monkeypatch.setattr(site.ring, "open", open_)
        rotation = site.vault._rotation("development")
        await site.database.write(lambda tx: rotation._shred(tx, ("private",), "operator"))
        site.store.cache.close()  # as `reload` does, which waits for the reader
        site.store.cache.reopen()
        go_on.set()
        await reading
        assert site.store.cache.size_bytes == 0
        assert await site.get("k") is None


# --- messages under keys that are gone ------------------------------------------------------------


async def test_messages_under_a_shredded_key_are_dead_letters_and_in_no_file(
    tmp_path: Path,
) -> None:
    async with open_engine(tmp_path / "data") as engine:
        queue = engine.queue("development")
        await queue.send("digest", "planted-body-1")
        await queue.send("digest", "planted-body-2")
        [taken] = await queue.claim()
        await queue.ack(taken, result="planted-result")
        await _do(engine, "vault.shred", environment="development", kind="rest")
        files = list((tmp_path / "data/instances/development").iterdir())
        assert not [f.name for f in files if b"planted" in f.read_bytes()]
        assert await queue.claim() == []
        counts = await _do(engine, "queue.count", environment="development")
        assert (counts.dead, counts.done, counts.ready) == (1, 1, 0)
        later = await queue.send("digest", "after")
        assert [m.id for m in await queue.claim()] == [later]


async def test_what_was_shredded_keeps_nobody_from_a_backup_or_a_check(tmp_path: Path) -> None:
    async with open_engine(tmp_path / "data") as engine:
        await engine.queue("production").send("digest", 1)
        await _do(engine, "vault.shred", environment="production", kind="all")
        made = await _do(engine, "backup.create", environment="production")
        assert made.status == "verified"
        [checked] = await _do(engine, "db.check", environment="production", full=True)
        assert checked.status == "ok"


async def test_no_backup_carries_the_key_that_shredding_takes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_engine(data) as engine:
        await engine.memory("development").set("k", "v")
        made = await _do(engine, "backup.create", environment="development")
        file = vaultfile.load(data / "keys")
        assert file is not None
        wrapped = file.environments["development"].wrapped
        for part in (data / "backups" / "development").iterdir():
            body = part.read_bytes()
            assert wrapped not in body
            assert base64.b64encode(wrapped) not in body
        await _do(engine, "vault.shred", environment="development", kind="all")
        with pytest.raises(Corrupt, match="seal"):
            await _do(engine, "backup.restore", environment="development", name=made.name)


# --- whoever writes the files ---------------------------------------------------------------------


async def test_a_new_directory_never_takes_a_row_without_a_check(opening: Any) -> None:
    """From its first moment: no old copy of vault.json says otherwise."""
    async with opening() as site:
        await site.change(PLANT)
        with pytest.raises(Damaged):
            await site.get("planted")
        with pytest.raises(Corrupt, match="missing"):
            await site.put("k", 1)


async def test_no_early_copy_of_the_file_turns_checks_off(opening: Any, tmp_path: Path) -> None:
    path = tmp_path / "keys" / vaultfile.NAME
    async with opening() as site:
        early = path.read_bytes()
        await site.put("k", 1)
        first = path.read_bytes()
    for copy in (early, first):
        path.write_bytes(copy)
        async with opening() as site:
            await site.change(PLANT.replace("INSERT", "INSERT OR REPLACE"))
            with pytest.raises(Damaged):
                await site.get("planted")


@pytest.mark.parametrize("how", ["removed", "emptied"])
async def test_another_vault_takes_no_row_without_a_check_beside_keys_it_cannot_open(
    opening: Any, tmp_path: Path, how: str
) -> None:
    (tmp_path / "instances" / "development").mkdir(parents=True)
    (tmp_path / "instances" / "development" / "development.db").touch()  # as of an older release
    async with opening() as site:
        await site.put("k", 1)
        await site.change(PLANT)
    path = tmp_path / "keys" / vaultfile.NAME
    if how == "removed":
        path.unlink()
    else:
        found = vaultfile.load(path.parent)
        assert found is not None
        bare = msgspec.structs.replace(found, check="", environments={}, audit=None)
        vaultfile.save(path.parent, bare.signed(None))
    async with opening() as site:
        assert not site.vault.is_protected("development")
        for key in ("planted", "k"):
            with pytest.raises(Sealed, match="not the one its records were sealed with"):
                await site.get(key)
        with pytest.raises(Sealed):
            await site.put("l", 1)


async def test_a_restore_turns_checks_off_only_for_what_needs_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_engine(data) as engine:
        await engine.memory("development").set("k", 1)
        made = await _do(engine, "backup.create", environment="development")
        await _do(engine, "backup.restore", environment="development", name=made.name)
        known = json.loads((data / "keys" / vaultfile.NAME).read_bytes())
        assert known["environments"]["development"]["protected"]
        assert await engine.memory("development").get("k") == 1


# --- what is said ------------------------------------------------------------------------------


def test_what_holds_a_value_does_not_show_it() -> None:
    entry = Entry(0, b"planted", Level.PRIVATE, "dev_agent_1", None, None, 1, 1, 1)
    put = Put("default", "k", 0, b"planted", None, 0)
    write = Write("default", "k", 0, b"planted")
    assert "planted" not in f"{entry!r}{put!r}{write!r}"


async def _do(engine: Any, noun: str, **fields: Any) -> Any:
    return await engine.run(msgspec.convert({"do": noun, **fields}, actions.named(noun).type))
