"""When a chain is signed, what is kept outside, and what an opening makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.audit.checkpoints import Checkpoint, Outside, contradiction, standing
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import InvalidInput, StorageError
from swarmdeck.engine.model import Durability
from swarmdeck.engine.store import chain
from swarmdeck.engine.store.chain import Head


def lines(outside: Path, env: str = "development") -> list[Checkpoint]:
    return list(Outside(outside / "vault-1" / f"{env}.jsonl").all())


async def stored(scene: Any) -> list[int]:
    rows = await scene.database.read(
        lambda reader: reader.execute("SELECT sequence FROM audit_checkpoint").fetchall()
    )
    return [row[0] for row in rows]


async def test_so_many_rows_are_signed_at_once(opening: Any, outside: Path) -> None:
    async with opening(checkpoint_rows=10) as scene:
        await scene.add(9)
        await scene.auditor.tick()
        assert lines(outside) == []
        await scene.add(3)
        await scene.auditor.tick()
        assert [line.sequence for line in lines(outside)] == await stored(scene) == [12]
        await scene.auditor.tick()
        assert len(lines(outside)) == 1


async def test_one_row_is_signed_after_a_time(
    opening: Any, outside: Path, clock: FakeClock
) -> None:
    async with opening(checkpoint_s=60) as scene:
        clock.advance(500)
        await scene.auditor.tick()
        await scene.add(1)
        await scene.auditor.tick()
        clock.advance(59)
        await scene.auditor.tick()
        assert lines(outside) == []
        clock.advance(1)
        await scene.auditor.tick()
        assert [line.sequence for line in lines(outside)] == [1]


async def test_closing_signs_what_was_added_and_nothing_else(opening: Any, outside: Path) -> None:
    async with opening() as scene:
        await scene.add(3)
    assert [line.sequence for line in lines(outside)] == [3]
    async with opening():
        pass
    assert len(lines(outside)) == 1


async def test_a_sealed_vault_signs_nothing_until_it_is_open(
    opening: Any, outside: Path, keys: Any
) -> None:
    keys.state = "sealed"
    async with opening(checkpoint_rows=1) as scene:
        await scene.add(3)
        await scene.auditor.tick()
        assert lines(outside) == []
        keys.state = "open"
        await scene.auditor.tick()
        assert len(lines(outside)) == 1


async def test_with_normal_durability_only_what_a_power_loss_cannot_take_is_signed(
    opening: Any, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening(durability=Durability.NORMAL, checkpoint_rows=1, orderly=False) as scene:
        await scene.add(2)
        with monkeypatch.context() as planted:
            planted.setattr(chain.Chain, "flushed", lambda self: None)  # a reader holds the log
            await scene.auditor.tick()
        assert lines(outside) == []
        await scene.auditor.tick()
        assert [line.sequence for line in lines(outside)] == [2]
        assert scene.database.chain.durable == scene.database.chain.head


async def test_a_disk_that_refuses_outside_is_shown_and_hinders_nothing(
    opening: Any, outside: Path
) -> None:
    outside.write_text("in the way")
    async with opening(checkpoint_rows=1, orderly=False) as scene:
        await scene.add(1)
        await scene.auditor.tick()
        with pytest.raises(StorageError) as refused:
            Outside(outside / "x.jsonl").append(point(1))
        assert "audit.outside_dir" in refused.value.hint
        assert "cannot be kept" in scene.auditor.troubles["development"]
        outside.unlink()
        await scene.auditor.tick()
        assert scene.auditor.troubles == {}
        assert len(lines(outside)) == 1


async def test_the_copy_outside_is_its_owners_alone(opening: Any, outside: Path) -> None:
    async with opening() as scene:
        await scene.add(1)
    path = outside / "vault-1" / "development.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def point(sequence: int, kind: Any = "checkpoint", base: int = 0, anchor: int = 0) -> Checkpoint:
    return Checkpoint(
        environment="development",
        kind=kind,
        sequence=sequence,
        hash="00" * 32,
        anchor=anchor,
        base=base,
        at_us=0,
    )


def test_a_line_cut_by_a_power_loss_spoils_no_other(tmp_path: Path) -> None:
    outside = Outside(tmp_path / "copy" / "x.jsonl")
    assert outside.last() is None
    outside.append(point(1))
    with outside.path.open("ab") as file:
        file.write(b'{"environment":"devel')
    assert outside.last() == point(1)
    outside.append(point(2))
    assert outside.last() == point(2)
    assert list(outside.all()) == [point(1), point(2)]


@pytest.mark.parametrize(
    "spoilt",
    [
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"sequence": 1e400}',
        b"null",
        b"9" * 5000,
        b"[" * 100_000,
        b'{"x":' + b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("field", ["", "hash", "sequence", "signature"])
def test_what_is_no_checkpoint_is_passed_over(tmp_path: Path, spoilt: bytes, field: str) -> None:
    outside = Outside(tmp_path / "copy" / "x.jsonl")
    outside.append(point(1))
    with outside.path.open("ab") as file:
        if field:
            whole = json.loads(outside.path.read_text()) | {
                field: 1 << 70 if field == "sequence" else "zz"
            }
            spoilt = json.dumps(whole).encode()
        file.write(spoilt + b"\n")
    assert outside.last() == point(1)
    assert list(outside.all()) == [point(1)]


def test_a_restore_ends_what_was_signed_behind_its_base() -> None:
    points = [point(1), point(5), point(9), point(6, "restored", base=5), point(8)]
    assert [each.sequence for each in standing(points)] == [1, 5, 6, 8]


def test_ends_that_contradict() -> None:
    zero = bytes(32)
    assert contradiction(point(5), Head(5, zero), Head(0, zero)) == ""
    assert contradiction(point(5), Head(9, b"\1" * 32), Head(0, zero)) == ""
    assert "rolled back" in contradiction(point(5), Head(4, zero), Head(0, zero))
    assert "not the one" in contradiction(point(5), Head(5, b"\1" * 32), Head(0, zero))
    assert "cut" in contradiction(point(5), Head(9, zero), Head(3, zero))


# --- a file that went back ------------------------------------------------------------------------


async def rolled_back(opening: Any, tmp_path: Path, rows_since: int = 5) -> Path:
    """A file as it was `rows_since` rows ago."""
    path = tmp_path / "development.db"
    async with opening() as scene:
        await scene.add(10)
    shutil.copy(path, tmp_path / "old.db")
    async with opening() as scene:
        scene.count = 10
        await scene.add(rows_since)
    shutil.copy(tmp_path / "old.db", path)
    return path


async def test_a_rollback_is_an_alarm_until_a_restore_records_it(
    opening: Any, tmp_path: Path, outside: Path
) -> None:
    await rolled_back(opening, tmp_path)
    async with opening() as scene:
        assert "ends at row 10" in scene.auditor.alarms["development"]
        await scene.add(8)  # also when it has gone on, past what was signed
    assert lines(outside)[-1].kind == "disputed"
    async with opening() as scene:
        assert "before" in scene.auditor.alarms["development"]
        assert (await scene.auditor.verify("development"))[0].status == "failed"
        await scene.auditor.restored(scene)
        assert scene.auditor.alarms == {}
        assert (await scene.auditor.verify("development"))[0].status == "ok"
        await scene.add(1)
    async with opening() as scene:
        assert scene.auditor.alarms == {}
        assert (await scene.auditor.verify(None))[0].status == "ok"


async def test_a_restore_while_sealed_is_recorded_when_the_vault_is_open(
    opening: Any, tmp_path: Path, outside: Path, keys: Any
) -> None:
    await rolled_back(opening, tmp_path)
    async with opening() as scene:
        keys.state = "sealed"
        await scene.auditor.restored(scene)
        await scene.auditor.tick()
        assert lines(outside)[-1].kind == "checkpoint"
        keys.state = "open"
        await scene.auditor.tick()
        assert lines(outside)[-1].kind == "restored"
        assert lines(outside)[-1].base == 10


async def test_a_restore_keeps_what_was_signed_before_the_backup(
    opening: Any, tmp_path: Path
) -> None:
    path = await rolled_back(opening, tmp_path)
    async with opening() as scene:
        await scene.auditor.restored(scene)

    from swarmdeck.engine.store import driver

    connection = await driver.connect(path)
    await connection.run(lambda raw: raw.execute("UPDATE audit SET at = 1 WHERE sequence = 2"))
    await connection.close()
    async with opening() as scene:
        assert (await scene.auditor.verify(None))[0].status == "failed"


async def test_opening_without_cryptography(tmp_path: Path) -> None:
    """A command that only asks loads no cryptography, also beside a signed trail."""
    source = """
import asyncio, sys
from pathlib import Path
from swarmdeck.engine.audit import Auditor
import swarmdeck.engine.audit.listing
assert "cryptography" not in sys.modules
"""
    import sys

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", source)
    assert await process.wait() == 0


# --- export ---------------------------------------------------------------------------------------


async def test_an_export_has_every_row_and_the_signed_head(
    opening: Any, tmp_path: Path, keys: Any
) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    told: list[float] = []
    path = tmp_path / "out.jsonl"
    async with opening() as scene:
        await scene.add(7, each=7)
        done = await scene.auditor.export(
            "development", str(path), lambda part, _: told.append(part)
        )
        head = scene.database.chain.head
    assert "7 rows" in done.detail
    *rows, last = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["sequence"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert rows[-1]["hash"] == head.hash.hex() == last["head"]["hash"]
    assert rows[0] | {"at_us": 0} == {
        "sequence": 1, "environment": "development", "at_us": 0, "actor": "dev_agent_1",
        "action": "memory.set", "object": "default/key-0", "allowed": True,
        "detail": "detail 0", "hash": None,
    }  # fmt: skip
    import msgspec

    signed = msgspec.convert(last["head"], Checkpoint)
    Ed25519PublicKey.from_public_bytes(keys.public_key).verify(
        bytes.fromhex(signed.signature), signed.message(keys.id)
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert told[-1] == 1.0


async def test_an_export_overwrites_nothing(opening: Any, tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("mine")
    link.symlink_to(tmp_path / "elsewhere")
    async with opening() as scene:
        for path in (there, link, tmp_path / "no" / "such"):
            with pytest.raises(InvalidInput):
                await scene.auditor.export("development", str(path), lambda *_: None)
    assert there.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


async def test_an_export_that_fails_leaves_no_file(
    opening: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, os.strerror(28))

    async with opening() as scene:
        await scene.add(1)
        monkeypatch.setattr("swarmdeck.engine.audit.export.os.write", full)
        with pytest.raises(StorageError, match="No space"):
            await scene.auditor.export("development", str(tmp_path / "out"), lambda *_: None)
        monkeypatch.undo()
    assert not (tmp_path / "out").exists()
