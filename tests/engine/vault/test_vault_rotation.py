"""Keys are replaced while work goes on, and a kill at any moment costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.errors import Damaged
from swarmdeck.engine.memory.records import Entry
from swarmdeck.engine.memory.staging import SELECT_KEYS
from swarmdeck.engine.model import Level
from swarmdeck.engine.vault import Ring, derive, record, ring

DAYS_US = 86_400_000_000
LEVELS = ("private", "team", "swarm", "public")
BARE = """
INSERT INTO memory (env, namespace, key, format, body, level, owner, team, swarm, version,
                    created_at, updated_at, expires_at)
VALUES ('development', 'default', ?, 0, ?, ?, 'dev_agent_owner', 'dev_team_1', 'dev_swarm_1', 1,
        1, 1, NULL)"""


async def fill(site: Any, count: int) -> None:
    writes = [
        asyncio.ensure_future(site.put(f"k{number}", {"n": number}, LEVELS[number % 4]))
        for number in range(count)
    ]
    await asyncio.gather(*writes)


async def rotate(site: Any) -> None:
    await site.vault._rotation(site.name).run("operator", lambda _: None, duty=1.0)


async def check(site: Any, count: int) -> None:
    for number in range(count):
        assert await site.get(f"k{number}") == {"n": number}


async def test_every_record_moves_and_the_old_keys_are_destroyed(site: Any) -> None:
    await fill(site, 350)
    before = await site.rows("SELECT key, version, updated_at, body FROM memory ORDER BY key")
    said: list[float] = []
    view = await site.vault.rotate(
        "development", actor="operator", progress=lambda part, _: said.append(part)
    )
    after = await site.rows("SELECT key, version, updated_at, body FROM memory ORDER BY key")
    assert [row[:3] for row in after] == [row[:3] for row in before]
    assert not {row[3] for row in before if row[3][:1] == b"\x01"} & {row[3] for row in after}
    assert await site.keys() == {"active": 3, "destroyed": 3}
    assert await site.rows("SELECT DISTINCT key_id > 3 FROM memory") == [(1,)]
    assert await site.rows("SELECT count(*) FROM data_key WHERE id <= 3 AND wrapped IS NULL") == [
        (3,)
    ]
    await check(site, 350)
    assert said
    assert said == sorted(said)
    assert said[-1] == 1.0
    [found] = view.environments
    assert [key.state for key in found.keys] == ["destroyed"] * 3 + ["active"] * 3
    assert found.rotating is None


async def test_writers_use_the_new_key_at_once(site: Any) -> None:
    await fill(site, 300)
    rotating = asyncio.ensure_future(rotate(site))
    for number in range(300, 600):
        await site.put(f"k{number}", {"n": number}, LEVELS[number % 4])
        if number % 3 == 0:
            await site.put(f"k{number - 300}", {"n": number - 300})
    await rotating
    await check(site, 600)
    assert (await site.keys())["active"] == 3
    assert await site.rows(
        "SELECT count(*) FROM memory WHERE key_id IN"
        " (SELECT id FROM data_key WHERE state != 'active')"
    ) == [(0,)]


async def test_keys_are_replaced_when_they_are_old(site: Any, clock: Any) -> None:
    await fill(site, 50)
    await site.vault.tick()
    clock.advance(89 * 86_400)
    await site.vault.tick()
    assert await site.keys() == {"active": 3}
    clock.advance(2 * 86_400)
    for _ in range(10):
        await site.vault.tick()
    assert await site.keys() == {"active": 3, "destroyed": 3}
    await check(site, 50)
    shown = site.vault.view("development").environments[0].keys[-1]
    assert shown.rotate_at_us == shown.created_at_us + 90 * DAYS_US


async def test_a_rotation_goes_on_after_a_restart(opening: Any) -> None:
    async with opening() as site:
        await fill(site, 400)
        rotation = site.vault._rotation("development")
        await rotation._replace(("private", "team", "rest"), "operator")
        await rotation._step()
        assert await site.keys() == {"active": 3, "retiring": 3}
    async with opening() as site:
        await check(site, 400)
        for _ in range(20):
            await site.vault.tick()
        assert await site.keys() == {"active": 3, "destroyed": 3}
        await check(site, 400)


async def test_a_key_with_a_damaged_record_stays(site: Any) -> None:
    await fill(site, 40)
    await site.change("UPDATE memory SET owner = 'dev_agent_x' WHERE key = 'k3'")
    await rotate(site)
    assert await site.keys() == {"active": 3, "retiring": 1, "destroyed": 2}
    with pytest.raises(Damaged):
        await site.get("k3")
    await site.store.delete(site.operator, "default", "k3")
    await rotate(site)
    assert await site.keys() == {"active": 3, "destroyed": 6}


async def test_kills_cost_nothing(
    opening: Any, tmp_path: Path, times: Callable[[int, int], int]
) -> None:
    count = 600
    async with opening() as site:
        await fill(site, count)
    chance = random.Random(3)
    for _ in range(times(5, 50)):
        with _running(tmp_path, "rotate") as child:
            await asyncio.sleep(chance.uniform(0.0, 0.4))  # when it is killed
            child.kill()
        async with opening() as site:
            await check(site, count)
    async with opening() as site:
        await rotate(site)
        found = await site.keys()
        assert set(found) == {"active", "destroyed"}
        assert found["active"] == 3
        await check(site, count)
        assert await site.rows("PRAGMA integrity_check") == [("ok",)]


# --- records of before there were keys -----------------------------------------------------------


async def bare(site: Any, count: int) -> None:
    """Records as an older release has left them."""
    site.vault.begin_again(site.name)
    rows = [(f"k{n}", b'{"n":%d}' % n, n % 4 + 1) for n in range(count)]
    await site.database.write(lambda tx: tx.executemany(BARE, rows))
    await site.store.open()


async def test_old_records_are_read_and_then_protected(site: Any) -> None:
    await bare(site, 250)
    await check(site, 250)
    assert await site.keys() == {}
    for _ in range(10):
        await site.vault.tick()
    assert site.vault.is_protected("development")
    assert await site.rows("SELECT count(*) FROM memory WHERE key_id IS NULL") == [(0,)]
    assert await site.rows("SELECT DISTINCT format, mac IS NULL FROM memory ORDER BY 1") == [
        (0, 0), (record.SEALED, 1),
    ]  # fmt: skip
    await check(site, 250)
    await site.change("UPDATE memory SET key_id = NULL, mac = NULL WHERE key = 'k3'")
    with pytest.raises(Damaged):
        await site.get("k3")


async def test_protecting_old_records_survives_kills(
    opening: Any, tmp_path: Path, times: Callable[[int, int], int]
) -> None:
    count = 2000
    async with opening() as site:
        await bare(site, count)
    chance = random.Random(4)
    for _ in range(times(4, 30)):
        with _running(tmp_path, "protect") as child:
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            child.kill()
        async with opening() as site:
            for number in range(0, count, 97):
                assert await site.get(f"k{number}") == {"n": number}
    async with opening() as site:
        while not site.vault.is_protected("development"):
            await site.vault.tick()
        await check(site, count)


async def test_an_environment_is_protected_when_it_closes(opening: Any) -> None:
    async with opening() as site:
        site.vault.begin_again("development")
        await site.put("k", 1, "public")
        assert not site.vault.is_protected("development")
    async with opening() as site:
        assert site.vault.is_protected("development")


async def test_an_environment_whose_keys_are_gone_says_so(opening: Any) -> None:
    async with opening() as site:
        await site.put("k", 1, "public")
    async with opening() as site:
        await site.change("DELETE FROM data_key")
    async with opening() as site:
        with pytest.raises(Damaged):
            await site.get("k")
        with pytest.raises(Exception, match="keys of development are missing") as caught:
            await site.put("l", 1)
        assert "restore" in caught.value.hint  # type: ignore[attr-defined]


async def test_a_file_of_before_the_first_key_can_be_put_back(opening: Any) -> None:
    async with opening() as site:
        await site.put("k", 1, "public")
    async with opening() as site:
        await site.change("DELETE FROM data_key")
        await site.change("DELETE FROM memory")
        site.vault.begin_again("development")
    async with opening() as site:
        await site.put("k", 2, "public")
        assert await site.get("k") == 2
    async with opening() as site:
        assert site.vault.is_protected("development")


# --- counted uses --------------------------------------------------------------------------------


def entry(number: int) -> Entry:
    return Entry(0, b"%d" % number, Level.PRIVATE, "dev_agent_owner", None, None, 1, 1, 1)


async def test_no_nonce_repeats_over_restarts(
    opening: Any, times: Callable[[int, int], int]
) -> None:
    wanted, each = times(100_000, 10_000_000), 20_000
    seen: set[bytes] = set()
    drawn = 0
    while drawn < wanted:
        async with opening() as site:
            for start in range(0, each, 500):
                changes = {("n", str(n)): entry(n) for n in range(start, start + 500)}
                sealed = await site.database.write(
                    lambda tx, changes=changes: site.ring.protect_all(tx, changes)
                )
                seen.update(row[5][1:13] for row in sealed)
            drawn += each
            [uses] = await site.rows("SELECT sum(uses) FROM data_key WHERE class = 'private'")
            assert uses[0] >= drawn
    assert len(seen) == drawn


async def test_uses_are_never_counted_too_low(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when the transaction that wrote them ahead was rolled back."""
    monkeypatch.setattr(ring, "RESERVE", 10)
    await site.put("k", 1)
    sealed = 1
    for number in range(40):
        changes = {("n", str(n)): entry(n) for n in range(3)}

        def change(tx: Any, changes: Any = changes, number: int = number) -> None:
            site.ring.protect_all(tx, changes)
            if number % 2:
                raise Damaged("rolled back")

        with contextlib.suppress(Damaged):
            await site.database.write(change)
        sealed += 3
        await site.put("k", number)
        sealed += 1
        [(uses,)] = await site.rows("SELECT uses FROM data_key WHERE class = 'private'")
        assert uses >= sealed


async def test_a_key_made_in_a_transaction_that_failed_is_never_used(site: Any) -> None:
    def fail(tx: Any) -> None:
        site.ring.protect_all(tx, {("n", "1"): entry(1)})
        raise Damaged("rolled back")

    for _ in range(3):
        with pytest.raises(Damaged):
            await site.database.write(fail)
    await site.put("k", 1)
    assert await site.keys() == {"active": 3}
    site.ring.learn(await site.rows(SELECT_KEYS, "development"))
    assert await site.get("k") == 1


async def test_a_key_is_replaced_when_its_uses_are_up(opening: Any) -> None:
    async with opening() as site:
        await site.put("k", 1)
        first = (await site.row("k"))[3]
        left = 2 * ring.RESERVE
        await site.change("UPDATE data_key SET uses = ? WHERE id = ?", ring.BUDGET - left, first)
    async with opening() as site:
        used = 0
        while (await site.row("k"))[3] == first:
            changes = {("n", str(n)): entry(n) for n in range(400)}
            await site.database.write(lambda tx, c=changes: site.ring.protect_all(tx, c))
            await site.put("k", 1)
            used += 401
            assert used <= left + 401
        [(uses,)] = await site.rows("SELECT uses FROM data_key WHERE id = ?", first)
        assert uses <= ring.BUDGET == 2**31
        assert await site.keys() == {"active": 3, "retiring": 1}
        for _ in range(5):
            await site.vault.tick()
        assert await site.keys() == {"active": 3, "destroyed": 1}
        assert await site.get("k") == 1


async def test_a_nonce_from_the_version_would_be_noticed(
    opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = record.seal

    def from_version(cipher: Any, _: bytes, body: bytes, bound: bytes) -> bytes:
        return sound(cipher, bound[7:15].rjust(derive.NONCE_BYTES, b"\0"), body, bound)

    monkeypatch.setattr(record, "seal", from_version)
    with pytest.raises(AssertionError):
        await test_no_nonce_repeats_over_restarts(opening, lambda _, __: 20_000)


class _running:  # noqa: N801 - a context
    """A child that has begun, ended at the end."""

    def __init__(self, directory: Path, step: str) -> None:
        script = Path(__file__).with_name("rotating.py")
        self._child = subprocess.Popen(
            [sys.executable, str(script), str(directory), step], stdout=subprocess.PIPE
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == b"ready\n"
        return self._child

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()


def test_a_ring_needs_no_vault_to_say_it_is_sealed() -> None:
    class Keeper:
        def environment_key(self, environment: str, *, make: bool) -> bytes | None:
            raise AssertionError((environment, make))

        def renew_environment_key(self, environment: str) -> None:
            raise AssertionError(environment)

        def is_protected(self, environment: str) -> bool:
            raise AssertionError(environment)

    from swarmdeck.engine.model import Environment

    made = Ring(Environment.TESTING, Keeper(), strict=False, compress_above=None)
    made.reason = "for a test"
    assert made.state == "sealed"
