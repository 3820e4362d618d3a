"""Whoever changes a trail without the key is found out, wherever and however he does it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from swarmdeck.engine.store import chain, driver

CASES: Final = 1_000 if os.environ.get("STRESS") else 100
ROWS: Final = 400
COLUMNS: Final = ("env", "at", "actor", "action", "object", "allowed", "detail")

Tampering = Callable[[Any, random.Random], None]


def one(raw: Any, sql: str, *parameters: object) -> Any:
    return raw.execute(sql, parameters).fetchone()[0]


def edit(raw: Any, chance: random.Random) -> None:
    column = chance.choice(COLUMNS)
    sequence = chance.randint(1, ROWS)
    old = one(raw, f"SELECT {column} FROM audit WHERE sequence = ?", sequence)
    new = chance.choice([f"{old}x", "", 7, 0.5, b"\xff", 1 << 40])
    assert new != old
    raw.execute(f"UPDATE audit SET {column} = ? WHERE sequence = ?", (new, sequence))


def cut_front(raw: Any, chance: random.Random) -> None:
    raw.execute("DELETE FROM audit WHERE sequence <= ?", (chance.randint(1, ROWS),))


def cut_front_and_say_so(raw: Any, chance: random.Random) -> None:
    """As retention would, without the key."""
    ends = raw.execute("SELECT sequence, hash FROM audit WHERE hash IS NOT NULL").fetchall()
    sequence, hash_ = chance.choice(ends)
    raw.execute("DELETE FROM audit_anchor")
    raw.execute("INSERT INTO audit_anchor VALUES ('development', ?, ?)", (sequence, hash_))
    raw.execute("DELETE FROM audit WHERE sequence <= ?", (sequence,))
    raw.execute("DELETE FROM audit_checkpoint WHERE sequence < ?", (sequence,))


def begin_far_behind(raw: Any, chance: random.Random) -> None:
    raw.execute("DELETE FROM audit_anchor")
    place = (ROWS + chance.randint(0, 10**9), bytes(32))
    raw.execute("INSERT INTO audit_anchor VALUES ('development', ?, ?)", place)
    raw.execute("DELETE FROM audit")
    raw.execute("DELETE FROM audit_checkpoint")


def cut_middle(raw: Any, chance: random.Random) -> None:
    first = chance.randint(2, ROWS - 1)
    last = chance.randint(first, ROWS - 1)
    raw.execute("DELETE FROM audit WHERE sequence BETWEEN ? AND ?", (first, last))


def cut_tail(raw: Any, chance: random.Random) -> None:
    raw.execute("DELETE FROM audit WHERE sequence >= ?", (chance.randint(1, ROWS),))


def cut_tail_cleanly(raw: Any, chance: random.Random) -> None:
    """At the end of a commit, with the checkpoints after it."""
    ends = raw.execute("SELECT sequence FROM audit WHERE hash IS NOT NULL").fetchall()
    last = chance.choice(ends[:-1])[0]
    raw.execute("DELETE FROM audit WHERE sequence > ?", (last,))
    raw.execute("DELETE FROM audit_checkpoint WHERE sequence > ?", (last,))


def insert(raw: Any, chance: random.Random) -> None:
    at = chance.randint(1, ROWS + 1)
    for sequence in range(ROWS, at - 1, -1):
        raw.execute("UPDATE audit SET sequence = ? WHERE sequence = ?", (sequence + 1, sequence))
    raw.execute(
        "INSERT INTO audit VALUES (?, 'development', 1, 'a', 'memory.set', 'k', 1, '', ?)",
        (at, chance.choice([None, bytes(32)])),
    )


def reorder(raw: Any, chance: random.Random) -> None:
    one_, other = chance.sample(range(1, ROWS + 1), 2)
    for old, new in ((one_, -1), (other, one_), (-1, other)):
        raw.execute("UPDATE audit SET sequence = ? WHERE sequence = ?", (new, old))


def edit_hash(raw: Any, chance: random.Random) -> None:
    sequence = chance.randint(1, ROWS)
    old = one(raw, "SELECT hash FROM audit WHERE sequence = ?", sequence)
    new = chance.choice([None, chance.randbytes(32), b"", "text", 5])
    if new == old:
        new = chance.randbytes(32)
    raw.execute("UPDATE audit SET hash = ? WHERE sequence = ?", (new, sequence))


def edit_checkpoint(raw: Any, chance: random.Random) -> None:
    column = chance.choice(["env", "sequence", "hash", "kind", "anchor", "at", "signature"])
    sequence = chance.choice(raw.execute("SELECT sequence FROM audit_checkpoint").fetchall())[0]
    new = chance.choice([3, "disputed", chance.randbytes(32), chance.randbytes(64), 10**12])
    raw.execute(f"UPDATE audit_checkpoint SET {column} = ? WHERE sequence = ?", (new, sequence))


def rewrite(raw: Any, chance: random.Random) -> None:
    """Change a row and compute every hash after it anew, also those in the checkpoints."""
    sequence = chance.randint(1, ROWS)
    raw.execute("UPDATE audit SET object = 'default/other' WHERE sequence = ?", (sequence,))
    rehash(raw)
    if chance.random() < 0.5:
        raw.execute(
            "UPDATE audit_checkpoint SET hash ="
            " (SELECT hash FROM audit WHERE audit.sequence = audit_checkpoint.sequence)"
        )
    elif chance.random() < 0.5:
        raw.execute("DELETE FROM audit_checkpoint")


def drop_and_close_up(raw: Any, chance: random.Random) -> None:
    """Delete a row, renumber those behind it and compute the chain anew."""
    gone = chance.randint(1, ROWS)
    raw.execute("DELETE FROM audit WHERE sequence = ?", (gone,))
    raw.execute("UPDATE audit SET sequence = -(sequence - 1) WHERE sequence > ?", (gone,))
    raw.execute("UPDATE audit SET sequence = -sequence WHERE sequence < 0")
    raw.execute("UPDATE audit SET hash = x'00' WHERE sequence = (SELECT max(sequence) FROM audit)")
    rehash(raw)


def rehash(raw: Any) -> None:
    before, pending = chain.NO_HASH, []
    for *row, hash_ in raw.execute(
        "SELECT sequence, env, at, actor, action, object, allowed, detail, hash FROM audit"
        " ORDER BY sequence"
    ).fetchall():
        pending.append(tuple(row))
        if hash_ is not None:
            before = chain.link(before, pending)
            raw.execute("UPDATE audit SET hash = ? WHERE sequence = ?", (before, row[0]))
            pending = []


TAMPERINGS: Final[tuple[Tampering, ...]] = (
    edit, cut_front, cut_front_and_say_so, begin_far_behind, cut_middle, cut_tail,
    cut_tail_cleanly, insert, reorder, edit_hash, edit_checkpoint, rewrite, drop_and_close_up,
)  # fmt: skip


@pytest.fixture
async def pristine(opening: Any, tmp_path: Path) -> Path:
    """A trail in commits of one to nine rows, with some checkpoints, closed in order."""
    chance = random.Random(7)
    async with opening(checkpoint_rows=50) as scene:
        left = ROWS
        while left:
            rows = min(left, chance.randint(1, 9))
            await scene.add(rows, each=rows)
            await scene.auditor.tick()
            left -= rows
    return tmp_path / "development.db"


async def changed(pristine: Path, case: int, tampering: Tampering) -> Path:
    path = pristine.with_name(f"case-{case}.db")
    shutil.copy(pristine, path)
    connection = await driver.connect(path)
    try:
        await connection.run(lambda raw: tampering(raw, random.Random(case)))
    finally:
        await connection.close()
    return path


async def found(opening: Any, path: Path) -> tuple[Any, str]:
    async with opening(path, orderly=False) as scene:
        views = await scene.auditor.verify(None)
        return views[0], scene.auditor.alarms.get("development", "")


async def test_an_untouched_trail_passes(opening: Any, pristine: Path) -> None:
    view, alarm = await found(opening, pristine)
    assert (view.status, view.rows, view.first, view.last) == ("ok", ROWS, 1, ROWS)
    assert view.checkpoints >= ROWS // 50 - 1
    assert view.outside == view.checkpoints
    assert alarm == ""


@pytest.mark.parametrize("kind", range(len(TAMPERINGS)), ids=[t.__name__ for t in TAMPERINGS])
async def test_tampering_is_found_every_time(opening: Any, pristine: Path, kind: int) -> None:
    tampering = TAMPERINGS[kind]
    for case in range(kind, CASES, len(TAMPERINGS)):
        path = await changed(pristine, case, tampering)
        view, _ = await found(opening, path)
        assert view.status == "failed", f"{tampering.__name__} with seed {case}: {view.detail}"
        path.unlink()


@pytest.mark.parametrize("tampering", [cut_tail_cleanly, begin_far_behind, cut_front_and_say_so])
async def test_what_moves_the_ends_raises_an_alarm_on_opening(
    opening: Any, pristine: Path, tampering: Tampering
) -> None:
    path = await changed(pristine, 1, tampering)
    _, alarm = await found(opening, path)
    assert "restored" in alarm or "cut" in alarm


async def test_a_rewritten_trail_raises_an_alarm_on_opening(opening: Any, pristine: Path) -> None:
    path = await changed(pristine, 3, drop_and_close_up)
    _, alarm = await found(opening, path)
    assert "restored or rolled back" in alarm


async def test_the_first_bad_row_is_named(opening: Any, pristine: Path) -> None:
    def spoil(raw: Any, _: random.Random) -> None:
        raw.execute("DELETE FROM audit WHERE sequence IN (200, 300)")

    view, _ = await found(opening, await changed(pristine, 0, spoil))
    assert "row 200 is missing" in view.detail
    assert view.hint


async def test_a_signature_of_another_key_is_refused(
    opening: Any, pristine: Path, outside: Path, keys: Any
) -> None:
    other = type(keys)()
    async with opening(pristine, vault=other, orderly=False) as scene:
        view = (await scene.auditor.verify(None))[0]
    assert view.status == "failed"


async def test_a_trail_without_a_copy_outside_is_doubtful(
    opening: Any, pristine: Path, outside: Path
) -> None:
    shutil.rmtree(outside)
    view, _ = await found(opening, pristine)
    assert view.status == "warning"
    assert "outside" in view.detail


# --- a check that cannot fail is none -----------------------------------------------------------


async def escapes(opening: Any, pristine: Path, tamperings: list[Tampering]) -> list[str]:
    """Tamperings that nothing finds."""
    missed = []
    for case, tampering in enumerate(tamperings, 100):
        view, _ = await found(opening, await changed(pristine, case, tampering))
        if view.status != "failed":
            missed.append(tampering.__name__)
    return missed


async def test_a_hash_without_the_one_before_would_be_noticed(
    opening: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = chain.link
    loose = lambda _, rows: whole(chain.NO_HASH, rows)  # noqa: E731 - the planted bug
    monkeypatch.setattr(chain, "link", loose)
    monkeypatch.setattr("swarmdeck.engine.audit.walk.link", loose)
    async with opening() as scene:
        await scene.add(20)

    def behind(raw: Any, _: random.Random) -> None:  # only a chain notices this before row 20
        raw.execute("UPDATE audit SET detail = 'x' WHERE sequence = 5")
        pending = raw.execute(
            "SELECT sequence, env, at, actor, action, object, allowed, detail FROM audit"
            " WHERE sequence = 5"
        ).fetchall()
        raw.execute("UPDATE audit SET hash = ? WHERE sequence = 5", (loose(b"", pending),))

    assert await escapes(opening, tmp_path / "development.db", [behind]) == ["behind"]
    monkeypatch.undo()
    await _caught_without_bug(opening, tmp_path, behind)


async def _caught_without_bug(opening: Any, tmp_path: Path, tampering: Tampering) -> None:
    async with opening(tmp_path / "sound.db", env="testing") as scene:
        await scene.add(20)
    path = await changed(tmp_path / "sound.db", 0, tampering)
    async with opening(path, env="testing", orderly=False) as scene:
        assert (await scene.auditor.verify(None))[0].status == "failed"


async def test_a_hash_without_the_sequence_would_be_noticed(
    opening: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = chain.link
    loose = lambda before, rows: whole(before, [(0, *row[1:]) for row in rows])  # noqa: E731
    monkeypatch.setattr(chain, "link", loose)
    monkeypatch.setattr("swarmdeck.engine.audit.walk.link", loose)
    async with opening(orderly=False) as scene:
        await scene.add(20)

    def shift(raw: Any, _: random.Random) -> None:
        raw.execute("INSERT INTO audit_anchor VALUES ('development', 7, zeroblob(32))")
        raw.execute("UPDATE audit SET sequence = sequence + 107")
        raw.execute("UPDATE audit SET sequence = sequence - 100")

    path = await changed(tmp_path / "development.db", 0, shift)
    view, _ = await found(opening, path)
    assert view.status == "warning"  # the bug lets it pass
    monkeypatch.undo()
    async with opening(tmp_path / "sound.db", orderly=False) as scene:
        await scene.add(20)
    view, _ = await found(opening, await changed(tmp_path / "sound.db", 0, shift))
    assert view.status == "failed"


async def test_not_asking_outside_would_be_noticed(
    opening: Any, pristine: Path, outside: Path
) -> None:
    def all_of_it(raw: Any, _: random.Random) -> None:
        raw.execute("UPDATE audit SET object = 'default/other' WHERE sequence = 9")
        rehash(raw)
        raw.execute("DELETE FROM audit_checkpoint")

    assert await escapes(opening, pristine, [all_of_it, cut_tail_cleanly]) == []
    shutil.rmtree(outside)  # as if it were not compared
    missed = await escapes(opening, pristine, [all_of_it, cut_tail_cleanly])
    assert missed == ["all_of_it", "cut_tail_cleanly"]
