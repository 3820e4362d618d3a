"""Whoever changes a file behind the engine's back is refused: never is a value read that was not
written there."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pysqlite3 import dbapi2

from swarmdeck.engine import codec
from swarmdeck.engine.errors import Corrupt, Damaged, Denied, NotFound, SwarmDeckError
from swarmdeck.engine.memory.staging import SELECT_KEYS, read_row
from swarmdeck.engine.vault import Ring, record

# In the order of the row: namespace, key, format, key id, body, check, level, owner, team, swarm,
# version, created, updated, expires.
NAMES = ("namespace", "key", "format", "key_id", "body", "mac", "level", "owner", "team", "swarm",
         "version", "created_at", "updated_at", "expires_at")  # fmt: skip
LEVELS = ("private", "team", "swarm", "public")


def changed(row: tuple[Any, ...], **values: Any) -> tuple[Any, ...]:
    found = dict(zip(NAMES, row, strict=True)) | values
    return tuple(found[name] for name in NAMES)


async def test_every_byte_of_a_row_counts(site: Any) -> None:
    await site.put("small", {"n": 1}, "private", ttl_s=60.0)
    await site.put("open", {"n": 2}, "public")
    await site.put("large", {"text": "compressible " * 200}, "team")
    await site.put("wide", {"text": "compressible " * 200}, "swarm")
    for key in ("small", "open", "large", "wide"):
        row = await site.row(key)
        site.ring.open(row)
        for name in ("body", "mac"):
            found = dict(zip(NAMES, row, strict=True))[name]
            for at in range(len(found or b"")):
                broken = bytearray(found)
                broken[at] ^= 1 << (at % 8)
                with pytest.raises(Damaged, match=f"default/{key}"):
                    site.ring.open(changed(row, **{name: bytes(broken)}))


async def test_every_column_of_a_row_counts(site: Any) -> None:
    await site.put("k", {"n": 1}, "private", ttl_s=60.0)
    await site.put("p", {"n": 1}, "public")
    await site.vault.tick()
    for key in ("k", "p"):
        row = await site.row(key)
        others: dict[str, list[Any]] = {
            "namespace": ["defaul", "default2"], "key": ["q", "kk", ""],
            "owner": ["dev_agent_other", "", None, 5, b"x"],
            "team": [None, "", "dev_team_2", 5], "swarm": [None, "", "dev_swarm_2", b"x"],
            "level": [2, 3, 5, 0, 6, None, 1.0, "1", -1, 1 << 40],
            "version": [0, 2, -1, 1 << 64, "1", None, 1.0],
            "created_at": [0, None, "x"], "updated_at": [0, None, 1 << 63],
            "expires_at": [None, 0, 1, "x"] if key == "k" else [1, "x"],
            "key_id": [0, 2, None, "1", 1.5, b"1"],
            "format": [0, 1, 0x10, 0x30, 0x21, 0x40, 0x60, 0xFF, 256, -1, None, "x"],
            "mac": [None, b"", bytes(28)] if key == "p" else [],
            "body": [b"", None, "text", 5],
        }  # fmt: skip
        for name, values in others.items():
            for value in values:
                if value == dict(zip(NAMES, row, strict=True))[name]:
                    continue
                with pytest.raises(Damaged):
                    pytest.fail(
                        f"{key} {name} {value}: {site.ring.open(changed(row, **{name: value}))}"
                    )


async def test_sealed_bodies_do_not_move(opening: Any) -> None:
    """Between keys, namespaces, levels, versions, data keys and environments."""
    rows = []
    async with opening("development") as site:
        for number in range(6):
            for level in LEVELS:
                for namespace in ("default", "other"):
                    await site.put(f"k{number}{level}", number, level, namespace=namespace)
                    await site.put(f"k{number}{level}", number, level, namespace=namespace)
                    rows.append(await site.row(f"k{number}{level}", namespace))
        for row in rows:
            site.ring.open(row)
        chance = random.Random(1)
        for _ in range(500):
            one, two = chance.sample(rows, 2)
            moved = changed(one, body=two[4], mac=two[5], format=two[2], key_id=two[3])
            with pytest.raises(Damaged):
                site.ring.open(moved)
            if one[1] != two[1]:
                with pytest.raises(Damaged):
                    site.ring.open(changed(two, key=one[1], level=one[6], version=one[10]))
    async with opening("testing") as site:
        await site.put("k", 1, who=site.operator)
        for row in rows:
            with pytest.raises(Damaged):
                site.ring.open(row)


async def test_an_old_version_of_a_body_is_not_the_new_one(site: Any) -> None:
    await site.put("k", "old")
    old = await site.row("k")
    await site.put("k", "new")
    new = await site.row("k")
    await site.change("UPDATE memory SET body = ?", old[4])
    with pytest.raises(Damaged):
        await site.get("k")
    assert old[3] == new[3]


async def test_damage_is_told_to_those_who_may_read_and_missing_to_others(site: Any) -> None:
    await site.put("mine", 1, "private")
    await site.put("ours", 1, "public")
    await site.change("UPDATE memory SET version = version + 1")
    with pytest.raises(Damaged, match="development: default/mine"):
        await site.get("mine")
    with pytest.raises(Damaged, match="default/ours"):
        await site.get("ours", who=site.other)
    assert await site.get("mine", who=site.other) is None
    assert await site.store.show(site.other, "default", "mine") is None
    assert issubclass(Damaged, Corrupt)
    assert Damaged.exit_code == 7


async def test_what_is_damaged_is_not_overwritten(site: Any) -> None:
    await site.put("k", 1, "private")
    await site.change("UPDATE memory SET owner = 'dev_agent_other'")
    with pytest.raises(Denied):
        await site.put("k", 2)
    with pytest.raises(Damaged):  # its columns say that it is theirs
        await site.put("k", 2, who=site.other)
    with pytest.raises(Damaged):
        await site.store.incr(site.other, "default", "k", 1)
    with pytest.raises(NotFound):
        await site.store.set_level(site.owner, "default", "k", "team")
    with pytest.raises(Denied):
        await site.store.mset(site.owner, "default", [("k", 0, b"1"), ("l", 0, b"1")])
    assert await site.rows("SELECT count(*) FROM memory") == [(1,)]


async def test_only_the_operator_clears_damage_away(site: Any) -> None:
    await site.put("k", 1, "private")
    await site.put("k2", 1, "private")
    await site.change("UPDATE memory SET version = 9")
    with pytest.raises(Damaged):
        await site.store.delete(site.owner, "default", "k")
    assert await site.store.delete(site.other, "default", "k") is False
    assert await site.store.delete(site.operator, "default", "k") is True
    assert await site.store.clear(site.operator, None) == 1
    await site.put("k", 2, "private")
    assert await site.get("k") == 2


async def test_a_damaged_record_that_seems_due_stays(site: Any, clock: Any) -> None:
    await site.put("due", 1, ttl_s=5.0)
    await site.put("kept", 1)
    await site.change("UPDATE memory SET expires_at = 1 WHERE key = 'kept'")
    await site.store.open()
    clock.advance(10)
    assert await site.store.sweep() == 1
    assert await site.store.sweep() == 0
    assert await site.rows("SELECT key FROM memory") == [("kept",)]


@pytest.mark.parametrize(
    "change",
    [
        "body = CAST(body AS TEXT)", "body = 7", "mac = 'text'", "mac = 1.5",
        "owner = CAST('agent' AS BLOB)", "team = CAST(x'ff80' AS TEXT)", "level = 2.5",
        "version = 9007199254740993", "format = x'00'", "key_id = 1e300", "created_at = 9e999",
        "team = x'0b'", "owner = 5", "mac = NULL",
    ],
)  # fmt: skip
async def test_a_row_of_other_types_stays_and_keeps_none_from_being_swept(
    site: Any, clock: Any, change: str
) -> None:
    for number in range(3):
        await site.put(f"k{number}", {"number": number}, "public", ttl_s=5.0)
    await site.change("PRAGMA ignore_check_constraints = 1")
    await site.change(f"UPDATE memory SET {change} WHERE key = 'k1'")
    clock.advance(10)
    assert await site.store.sweep() == 2
    assert await site.rows("SELECT key FROM memory") == [("k1",)]
    assert await site.store.sweep() == 0


@pytest.mark.parametrize("key", ["x'0b'", "x'1778'", "CAST(x'ff80' AS TEXT)", "7"])
async def test_a_name_that_is_none_keeps_no_other_from_being_swept(
    site: Any, clock: Any, key: str
) -> None:
    for number in range(3):
        await site.put(f"k{number}", {"number": number}, "public", ttl_s=5.0)
    await site.change(f"UPDATE memory SET key = {key} WHERE key = 'k1'")
    clock.advance(10)
    assert await site.store.sweep() == 2
    assert await site.rows("SELECT count(*) FROM memory") == [(1,)]
    assert await site.store.sweep() == 0


@pytest.mark.parametrize("size", [65_000, 66_000, 1_000_000])
@pytest.mark.parametrize("level", ["public", "team"])
async def test_large_values_are_swept_too(site: Any, clock: Any, size: int, level: str) -> None:
    value = "".join(random.Random(1).choices("abcdefgh", k=size))
    for number in range(3):
        await site.put(f"k{number}", value, level, ttl_s=5.0)
    clock.advance(10)
    assert await site.store.sweep() == 3
    assert await site.rows("SELECT count(*) FROM memory") == [(0,)]


async def test_a_row_without_a_check_is_damage(site: Any) -> None:
    await site.put("k", 1, "public")
    await site.vault.tick()
    await site.change("UPDATE memory SET mac = NULL, key_id = NULL, format = 0")
    with pytest.raises(Damaged):
        await site.get("k")


async def test_names_that_are_no_text_are_damage(site: Any) -> None:
    await site.put("k", 1, "public")
    await site.change("UPDATE memory SET team = CAST(x'ff80' AS TEXT)")
    assert await site.get("k", who=site.other) is None
    with pytest.raises(Damaged):
        await site.get("k", who=site.operator)
    assert await site.store.delete(site.operator, "default", "k") is True


# --- bits of the file --------------------------------------------------------------------------


async def test_no_flipped_bit_is_ever_read_as_a_value(
    opening: Any, tmp_path: Path, times: Callable[[int, int], int]
) -> None:
    """On a copy of a file without log, read as a restarted engine would read it."""
    wanted: dict[str, Any] = {}
    async with opening() as site:
        for number in range(300):
            key, level = f"k{number}", LEVELS[number % 4]
            wanted[key] = {"number": number, "text": "x" * (number % 7) * 40}
            await site.put(key, wanted[key], level)
        site.ring.open(await site.row("k0"))
        broken = tmp_path / "broken.db"
        await site.database.rebuild()
        sound = (tmp_path / "development.db").read_bytes()
        found = _Readings(site.ring, wanted)
        chance = random.Random(11)
        for _ in range(times(200, 5000)):
            flipped = bytearray(sound)
            at = chance.randrange(len(flipped) * 8)
            flipped[at // 8] ^= 1 << (at % 8)
            broken.write_bytes(flipped)
            found.read(broken, at)
    assert found.wrong == []
    assert found.noticed > 0


class _Raw(NamedTuple):
    """A connection as something to read from."""

    env: str
    execute: Callable[..., Any]


class _Readings:
    """What a copy gives, beside what was written. Nothing else is ever open on one."""

    def __init__(self, keys: Ring, wanted: dict[str, Any]) -> None:
        self._keys = keys
        self._wanted = wanted
        self.wrong: list[tuple[int, str, object]] = []
        self.noticed = 0

    def read(self, path: Path, bit: int) -> None:
        with closing(dbapi2.connect(f"file:{path}?immutable=1", uri=True)) as raw:
            try:
                there = self._keys.beside(raw.execute(SELECT_KEYS, ("development",)).fetchall())
            except (dbapi2.Error, SwarmDeckError, UnicodeDecodeError):
                self.noticed += 1
                return
            for key in self._wanted:
                self._one(raw, there, key, bit)

    def _one(self, raw: dbapi2.Connection, there: Ring, key: str, bit: int) -> None:
        try:
            row = read_row(_Raw("development", raw.execute), ("default", key))
            entry = there.open(row) if row is not None else None
        except (dbapi2.Error, Damaged):
            self.noticed += 1
            return
        if entry is not None:
            value = codec.decode(entry.format, entry.body)
            number = self._wanted[key]["number"]
            if value != self._wanted[key] or entry.level != number % 4 + 1:
                self.wrong.append((bit, key, value))


# --- planted bugs ------------------------------------------------------------------------------


async def test_a_seal_without_the_level_would_be_noticed(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = record.bind

    def without_level(form: int, _: int, *rest: int) -> bytes:
        return sound(form, 0, *rest)

    monkeypatch.setattr(record, "bind", without_level)
    with pytest.raises(pytest.fail.Exception, match="level"):
        await test_every_column_of_a_row_counts(site)


async def test_a_row_of_a_key_that_cannot_be_is_damage(site: Any) -> None:
    await site.put("k", 1)
    rows = await site.rows(SELECT_KEYS, "development")
    for at, values in enumerate(
        [("1", None), ("x", None), ("x", None), (), (None, -1, "1"), (None,)]
    ):
        for value in values:
            broken = [(*rows[0][:at], value, *rows[0][at + 1 :]), *rows[1:]]
            with pytest.raises(Damaged, match="keys of development"):
                site.ring.beside(broken)


async def test_a_text_that_is_none_breaks_no_reader(site: Any) -> None:
    """The driver has two ways to say it; after both the next look must work."""
    await site.put("k", 1, "public")
    for broken in ("CAST(x'ff80' AS TEXT)", "CAST(x'61626364656667ce61' AS TEXT)"):
        await site.change(f"UPDATE memory SET team = {broken}")
        for _ in range(2):
            with pytest.raises(SwarmDeckError):
                await site.rows("SELECT team FROM memory")
            with pytest.raises(Damaged):
                await site.get("k", who=site.operator)
    assert await site.rows("SELECT 1") == [(1,)]
