"""A vault in use: sealed and open, another key, keys destroyed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from swarmdeck.engine import open_engine
from swarmdeck.engine.errors import Conflict, Damaged, InvalidInput, Sealed
from swarmdeck.engine.memory.browse import Browse
from swarmdeck.engine.model import Level
from swarmdeck.engine.vault import Vault, record, sources

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "MEMORY_KIB", 64)
    monkeypatch.setattr(sources, "PASSES", 1)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


# --- what is sealed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "sealed"),
    [("production", (1, 2, 3, 4)), ("staging", (1, 2, 3, 4)), ("development", (1, 2)),
     ("testing", (1, 2)), ("research", (1, 2))],
)  # fmt: skip
async def test_what_is_sealed_depends_on_level_and_isolation(
    opening: Any, environment: str, sealed: tuple[int, ...], tmp_path: Path
) -> None:
    async with opening(environment) as site:
        for level in (Level.PRIVATE, Level.TEAM, Level.SWARM, Level.PUBLIC):
            name = level.name.lower()
            await site.put(name, f"planted-{name}", name, who=site.operator)
            row = await site.row(name)
            assert bool(row[2] & record.SEALED) == (level in sealed)
            assert (row[5] is None) == (level in sealed)
            assert (b"planted" in row[4]) == (level not in sealed)
        await site.database.rebuild()
        written = (tmp_path / f"{environment}.db").read_bytes()
        for level in Level:
            found = f"planted-{level.name.lower()}".encode() in written
            assert found == (level not in sealed and level is not Level.SYSTEM)


async def test_values_above_the_threshold_are_compressed_where_it_helps(opening: Any) -> None:
    chance = bytes((number * 7919 + number**3) % 256 for number in range(4000))
    async with opening(store__compression_threshold_bytes=1000) as site:
        for level in ("private", "public"):
            await site.put("small", "a" * 998, level)
            await site.put("large", "a" * 999, level)
            await site.put("random", chance, level)
            sizes = {key: len((await site.row(key))[4]) for key in ("small", "large", "random")}
            packed = {key for key in sizes if (await site.row(key))[2] & record.LZ4}
            assert packed <= {"large", "random"}
            assert "large" in packed
            assert sizes["large"] < 80
            assert sizes["random"] <= len(chance) + record.OVERHEAD_BYTES
            assert await site.get("large") == "a" * 999
            assert await site.get("random") == chance
    async with opening(store__compression=False) as site:
        await site.put("large", "a" * 5000)
        assert not (await site.row("large"))[2] & record.LZ4


async def test_the_time_of_a_write_is_known_before_it_is_sealed(site: Any, clock: Any) -> None:
    await site.put("k", 1)
    clock.advance(-3600)
    await site.put("k", 2)
    first = (await site.row("k"))[12]
    await site.put("k", 3)
    assert (await site.row("k"))[12] == first + 1
    assert await site.get("k") == 3


# --- sealing and unsealing -----------------------------------------------------------------------


async def test_nothing_stays_readable_once_it_is_sealed(opening: Any) -> None:
    async with opening(cache_bytes=1 << 20) as site:
        await site.put("k", {"a": 1})
        assert await site.get("k") == {"a": 1}
        view = await site.vault.seal(actor="operator")
        assert (view.state, view.reason) == ("sealed", "it was sealed by the operator")
        assert site.store.cache.size_bytes == 0
        assert site.store.cache.get(("default", "k")) is None
        assert site.vault._root is None
        assert site.ring._ciphers == {}
        calls = [
            lambda: site.get("k"), lambda: site.get("missing"), lambda: site.put("k", 2),
            lambda: site.put("new", 2), lambda: site.store.incr(site.owner, "default", "n", 1),
            lambda: site.store.delete(site.owner, "default", "k"),
            lambda: site.store.mget(site.owner, "default", ["k"]),
            lambda: site.store.keys(site.owner, "default", "", 10, None),
            lambda: site.store.mset(site.owner, "default", [("k", 0, b"1")]),
            lambda: site.store.set_level(site.owner, "default", "k", "team"),
            lambda: site.store.show(site.owner, "default", "k"),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(
                Sealed, match=r"development is sealed|the vault is sealed"
            ) as caught:
                await call()
            assert caught.value.hint == "swarmdeck vault unseal"
        [seen] = await site.store.browse(site.owner, Browse("default"))
        assert (seen.key, seen.value) == ("k", None)
        assert (await site.store.peek("default", "k")).body == b""
        await site.vault.unseal(None, actor="operator")
        assert await site.get("k") == {"a": 1}


async def test_what_was_sealed_stays_sealed_over_a_restart(opening: Any) -> None:
    async with opening() as site:
        await site.put("k", 1)
        await site.vault.seal(actor="operator")
    async with opening() as site:
        assert site.vault.glance().state == "sealed"
        with pytest.raises(Sealed):
            await site.get("k")
        await site.vault.unseal(None, actor="operator")
        assert await site.get("k") == 1
    async with opening() as site:
        assert await site.get("k") == 1


async def test_writers_at_that_moment_end_whole_or_are_refused(opening: Any) -> None:
    async with opening(cache_bytes=1 << 20) as site:
        writing = [asyncio.ensure_future(site.put(f"k{n}", n)) for n in range(300)]
        await asyncio.sleep(0)
        await site.vault.seal(actor="operator")
        writing += [asyncio.ensure_future(site.put(f"l{n}", n)) for n in range(100)]
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        assert all(type(outcome) in {int, Sealed} for outcome in outcomes)
        assert all(type(outcome) is Sealed for outcome in outcomes[300:])
        assert site.store.cache.size_bytes == 0
        await site.vault.unseal(None, actor="operator")
        for number, outcome in enumerate(outcomes[:300]):
            assert await site.get(f"k{number}") == (number if outcome == 1 else None)


async def test_readers_at_that_moment_fill_nothing(opening: Any) -> None:
    async with opening(cache_bytes=1 << 20) as site:
        for number in range(50):
            await site.put(f"k{number}", number)
        site.store.cache.close()
        site.store.cache.reopen()
        reading = [asyncio.ensure_future(site.get(f"k{n}")) for n in range(50)]
        await asyncio.sleep(0)
        await site.vault.seal(actor="operator")
        found = await asyncio.gather(*reading, return_exceptions=True)
        assert all(type(each) in {int, Sealed} for each in found)
        assert site.store.cache.size_bytes == 0


async def test_status_and_overview_know(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as engine:
        before = await engine.views.overview()
        assert before.vault.state == "open"
        assert {each.state for each in before.environments} == {"open"}
    from swarmdeck.engine.actions import VaultSeal, VaultStatus, VaultUnseal

    async with open_engine(tmp_path) as engine:
        await engine.memory("development").set("k", 1)
        await (await engine.dispatch(VaultSeal()))
        after = await engine.views.overview()
        assert after.vault.state == "sealed"
        assert {each.state for each in after.environments} == {"sealed"}
        assert all("sealed by the operator" in each.reason for each in after.environments)
        with pytest.raises(Sealed):
            await engine.memory("development").get("k")
        await (await engine.dispatch(VaultUnseal()))
        assert await engine.memory("development").get("k") == 1
        shown = await (await engine.dispatch(VaultStatus(environment="development")))
        assert [key.kind for key in shown.environments[0].keys] == ["private", "team", "rest"]


# --- another key ---------------------------------------------------------------------------------


async def test_another_key_keeps_records_and_signatures(opening: Any) -> None:
    async with opening() as site:
        await site.put("k", 1)
        signed, public = site.vault.sign(b"m"), site.vault.public_key
        Ed25519PublicKey.from_public_bytes(public).verify(signed, b"m")
        path = sources.usual_file(site.vault.id)
        old = path.read_bytes()
        await site.vault.rekey("file", actor="operator")
        assert path.read_bytes() != old
        assert not path.with_name(f"{path.name}.new").exists()
    async with opening() as site:
        assert await site.get("k") == 1
        assert site.vault.sign(b"m") == signed
        await site.vault.rekey("passphrase", PASSPHRASE, actor="operator")
        assert await site.get("k") == 1
        assert not path.exists()
    async with opening() as site:
        with pytest.raises(Sealed):
            await site.get("k")
        await site.vault.unseal(PASSPHRASE, actor="operator")
        assert await site.get("k") == 1
        with pytest.raises(InvalidInput):
            await site.vault.rekey("passphrase", "short", actor="operator")
        await site.vault.rekey("file", actor="operator")
    async with opening() as site:
        assert await site.get("k") == 1
        path.write_bytes(old)
    async with opening() as site:
        with pytest.raises(Sealed, match="not the key"):
            await site.get("k")


async def test_a_change_of_keys_that_was_cut_off_is_whole(
    opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before vault.json was replaced the old key holds, after it the new one."""
    async with opening() as site:
        await site.put("k", 1)
        path = sources.usual_file(site.vault.id)
        beside = path.with_name(f"{path.name}.new")
        sources.make_file(beside, bytes(32))
    async with opening() as site:
        assert await site.get("k") == 1
        assert not beside.exists()

        def crash(self: Path, target: Path) -> None:
            if self.name.endswith(".new"):
                raise KeyboardInterrupt
            original(self, target)

        original = Path.replace
        monkeypatch.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            await site.vault.rekey("file", actor="operator")
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(path.parents[2]))
        assert beside.exists()
    async with opening() as site:
        assert await site.get("k") == 1
        assert not beside.exists()


async def test_a_keyring_key_is_not_replaced_under_a_crash(
    opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "into_keyring", lambda *_: None)
    async with opening() as site:
        await site.vault.rekey("keyring", actor="operator")
        with pytest.raises(Conflict, match="already"):
            await site.vault.rekey("keyring", actor="operator")


# --- destroyed keys ------------------------------------------------------------------------------


async def test_shredding_leaves_nothing_of_one_class(opening: Any, tmp_path: Path) -> None:
    async with opening(cache_bytes=1 << 20) as site:
        for level in ("private", "team", "public"):
            for number in range(20):
                await site.put(f"{level}{number}", f"planted-{level}", level)
        kept = await site.row("private0")
        done = await site.vault.shred("development", "private", actor="operator")
        assert done.changed == 20
        assert site.store.records == 40
        assert await site.get("private0") is None
        assert await site.get("team0") == "planted-team"
        with pytest.raises(Damaged):
            site.ring.open(kept)
        await site.put("private0", "new")
        assert await site.get("private0") == "new"
        done = await site.vault.shred("development", "rest", actor="operator")
        assert done.changed == 20
        log = tmp_path / "development.db-wal"
        for file in (tmp_path / "development.db", log):
            assert not file.exists() or b"planted-public" not in file.read_bytes()
        assert (await site.keys())["destroyed"] == 2
        actions = await site.rows("SELECT detail FROM audit WHERE action = 'vault.shred'")
        assert actions == [("private: 20 records",), ("rest: 20 records",)]


async def test_shredding_all_makes_old_copies_unreadable(opening: Any) -> None:
    async with opening() as site:
        await site.put("k", 1)
        await site.put("p", 1, "public")
        keys = await site.rows("SELECT id, class, state, wrapped, uses, created_at FROM data_key")
        rows = [await site.row("k"), await site.row("p")]
        for row in rows:
            site.ring.beside(keys).open(row)
        await site.vault.shred("development", "all", actor="operator")
        for row in rows:
            with pytest.raises(Damaged):
                site.ring.beside(keys).open(row)
        assert await site.rows("SELECT count(*) FROM memory") == [(0,)]
        assert await site.rows("SELECT count(*) FROM data_key WHERE wrapped IS NOT NULL") == [(0,)]
        await site.put("k", 2)
    async with opening() as site:
        assert await site.get("k") == 2
        with pytest.raises(InvalidInput):
            await site.vault.shred("development", "other", actor="operator")


# --- what it costs -------------------------------------------------------------------------------


def test_opening_loads_no_cryptography(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from swarmdeck.engine.clock import SystemClock\n"
        "from swarmdeck.engine.settings import load_settings\n"
        "from swarmdeck.engine.vault import Vault\n"
        "import swarmdeck.engine.core\n"
        "for _ in range(2):\n"
        "    Vault.open(pathlib.Path(sys.argv[1]), load_settings(None, {}, {}), SystemClock())\n"
        "print([n for n in ('cryptography', 'lz4', 'keyring') if n in sys.modules])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True, timeout=60
    )
    assert found.stdout.strip() == b"[]"


async def test_nothing_of_a_key_is_said(opening: Any, tmp_path: Path) -> None:
    async with opening() as site:
        await site.put("k", "planted-canary")
        key = sources.usual_file(site.vault.id).read_bytes()
        await site.vault.seal(actor="operator")
        await site.vault.unseal(None, actor="operator")
        texts = [repr(vars(site.vault.view())) if hasattr(site.vault.view(), "__dict__") else
                 repr(site.vault.view()), repr(site.vault), repr(site.ring)]  # fmt: skip
        texts += [str(row) for row in await site.rows("SELECT * FROM audit")]
        assert isinstance(site.vault, Vault)
        for text in texts:
            assert key.hex() not in text
            assert "planted-canary" not in text
