"""No bit of a backup may differ, and nobody but its vault can say what is in order."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from pysqlite3 import dbapi2

from swarmdeck.engine import actions as act
from swarmdeck.engine.backup import manifest, shelf
from swarmdeck.engine.errors import Corrupt, InvalidInput, NotFound, StorageError

if TYPE_CHECKING:
    from .conftest import Held

DEV = "development"
FLIPS: Final = 1_000 if os.environ.get("STRESS") else 200
SEED: Final = 4


async def a_backup(held: Held) -> tuple[str, Path, Path]:
    name = (await held.engine.run(act.BackupCreate(environment=DEV))).name
    return name, *held.files(name)


async def status_of(held: Held, name: str) -> str:
    found = await held.engine.run(act.BackupVerify(environment=DEV, name=name))
    return f"{found.status}: {found.detail}"


def flipped(body: bytes, bit: int) -> bytes:
    found = bytearray(body)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def signed_anew(held: Held, copy: Path, paper: Path) -> None:
    """Say of a changed copy that it is in order, as only somebody with the vault could."""
    found = manifest.decode(paper.read_bytes()).manifest
    with copy.open("rb") as file:
        sha256 = shelf.digest(file.fileno())
    told = msgspec.structs.replace(found, sha256=sha256, size=copy.stat().st_size)
    paper.write_bytes(manifest.encode(told, held.core.vault.sign(manifest.message(told))))


async def test_every_flipped_bit_is_found(held: Held) -> None:
    name, copy, paper = await a_backup(held)
    chance = random.Random(SEED)
    for number in range(FLIPS):
        file = copy if number % 2 else paper
        whole = file.read_bytes()
        bit = chance.randrange(len(whole) * 8)
        file.write_bytes(flipped(whole, bit))
        found = await status_of(held, name)
        assert found.startswith("failed"), f"{file.name}, bit {bit}, seed {SEED}"
        file.write_bytes(whole)
    assert (await status_of(held, name)).startswith("verified")


async def test_a_flip_is_found_where_nobody_compares_the_file(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with the SHA-256 taken on trust, most flips of values are still found, by
    their seals, and some of what no seal covers are not. So the comparison is what finds all."""
    name, copy, paper = await a_backup(held)
    said = manifest.decode(paper.read_bytes()).manifest.sha256
    whole, chance = copy.read_bytes(), random.Random(SEED)
    monkeypatch.setattr("swarmdeck.engine.backup.service.digest", lambda *_: said)
    found = 0
    for _ in range(60):
        copy.write_bytes(flipped(whole, chance.randrange(len(whole) * 8)))
        found += (await status_of(held, name)).startswith("failed")
    assert 0 < found < 60


@pytest.mark.parametrize("cut", [1, 4096, 20_000])
async def test_a_shorter_or_longer_copy_is_found(held: Held, cut: int) -> None:
    name, copy, _ = await a_backup(held)
    whole = copy.read_bytes()
    for body in (whole[:-cut], whole + b"\0" * cut):
        copy.write_bytes(body)
        assert "bytes" in await status_of(held, name)


async def test_no_bit_and_no_white_space_of_a_manifest_may_differ(held: Held) -> None:
    name, _, paper = await a_backup(held)
    whole, key = paper.read_bytes(), held.core.vault.public_key

    def read(body: bytes) -> manifest.Manifest:
        return manifest.require_signature(manifest.decode(body), key, DEV, name)

    assert read(whole).name == name
    forms = [whole + b" ", whole[:1] + b" " + whole[1:], whole.replace(b"a", b"\\u0061", 1)]
    for body in (*forms, *(flipped(whole, bit) for bit in range(len(whole) * 8))):
        with pytest.raises(Corrupt):
            read(body)


async def test_a_manifest_of_another_place_is_found(held: Held) -> None:
    name, copy, paper = await a_backup(held)
    other = "20260101t000000z-aaaa"
    for file in (copy, paper):
        (file.parent / f"{other}{file.suffix}").write_bytes(file.read_bytes())
    assert "moved" in await _hint(held, other)
    folder = held.data / "backups/testing"
    folder.mkdir()
    for file in (copy, paper):
        (folder / file.name).write_bytes(file.read_bytes())
    found = await held.engine.run(act.BackupVerify(environment="testing", name=name))
    assert (found.status, DEV in found.detail) == ("failed", True)


async def _hint(held: Held, name: str) -> str:
    with pytest.raises(Corrupt) as caught:
        await held.engine.run(act.BackupRestore(environment=DEV, name=name))
    return caught.value.hint


async def test_a_manifest_signed_by_another_key_is_found(held: Held) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    name, _, paper = await a_backup(held)
    found = manifest.decode(paper.read_bytes()).manifest
    strange = Ed25519PrivateKey.generate().sign(manifest.message(found))
    paper.write_bytes(manifest.encode(found, strange))
    assert "signature" in await status_of(held, name)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TRIGGER sly AFTER INSERT ON message BEGIN DELETE FROM message; END",
        "CREATE VIEW sly AS SELECT * FROM memory",
        "CREATE TABLE sly (a)",
        "DROP INDEX memory_expiry",
        "DROP TRIGGER memory_touch",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 99",
    ],
)
async def test_a_schema_that_is_not_ours_is_found_even_if_signed(held: Held, change: str) -> None:
    name, copy, paper = await a_backup(held)
    edit(copy, change)
    signed_anew(held, copy, paper)
    assert (await status_of(held, name)).startswith("failed: it")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("UPDATE memory SET level = 4 WHERE key = 'k0'", "seal"),
        ("UPDATE memory SET version = version + 1 WHERE key = 'k3'", "seal"),
        ("UPDATE memory SET expires_at = 9 WHERE key = 'k3'", "seal"),
        ("UPDATE audit SET actor = 'nobody' WHERE sequence = 3", "audit trail was changed"),
        ("DELETE FROM audit WHERE sequence = 3", "has no row 3"),
        ("DELETE FROM memory WHERE key = 'k3'", "not the one its manifest speaks of"),
        ("DELETE FROM audit WHERE sequence > 20", ""),
    ],
)
async def test_a_row_that_was_changed_is_found_even_if_signed(
    held: Held, change: str, word: str
) -> None:
    name, copy, paper = await a_backup(held)
    edit(copy, change)
    signed_anew(held, copy, paper)
    found = await status_of(held, name)
    assert found.startswith("failed")
    assert word in found


def edit(copy: Path, change: str) -> None:
    raw = dbapi2.connect(str(copy))
    raw.execute(change)
    raw.commit()
    raw.close()


async def test_what_has_failed_is_not_put_back(held: Held) -> None:
    name, copy, _ = await a_backup(held)
    await held.fill("new")
    copy.write_bytes(flipped(copy.read_bytes(), 40_000))
    with pytest.raises(Corrupt, match="not put back"):
        await held.engine.run(act.BackupRestore(environment=DEV, name=name))
    assert await held.engine.memory(DEV).get("k1") == "new 1"
    assert not list((held.data / "instances" / DEV).glob("replaced-*"))


# --- names and links --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../keys/vault", "a/b", "..", "", ".hidden", "A", "x" * 64, "a\0b", "ü", "a b"]
)
async def test_a_name_is_never_a_path(held: Held, name: str) -> None:
    for action in (act.BackupVerify, act.BackupRestore, act.BackupDelete):
        with pytest.raises(InvalidInput):
            await held.engine.run(action(environment=DEV, name=name))


async def test_no_link_is_followed(held: Held, tmp_path: Path) -> None:
    name, copy, paper = await a_backup(held)
    away = tmp_path / "away"
    away.mkdir()
    copy.rename(away / copy.name)
    copy.symlink_to(away / copy.name)
    with pytest.raises(StorageError):
        await held.engine.run(act.BackupRestore(environment=DEV, name=name))
    paper.rename(away / paper.name)
    paper.symlink_to(away / paper.name)
    assert (await held.engine.run(act.BackupList()))[0].status == "failed"
    await held.engine.run(act.BackupDelete(environment=DEV, name=name))
    assert sorted(each.name for each in away.iterdir()) == [copy.name, paper.name]


@pytest.mark.parametrize("which", ["backups", f"backups/{DEV}"])
async def test_a_directory_that_leads_elsewhere_is_refused(
    held: Held, tmp_path: Path, which: str
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    place = held.data / which
    if place.exists():
        place.rmdir()
    place.symlink_to(away)
    with pytest.raises(StorageError, match="cannot be used"):
        await held.engine.run(act.BackupCreate(environment=DEV))
    assert list(away.iterdir()) == []


async def test_a_pipe_in_the_place_of_a_copy_holds_nobody_up(held: Held) -> None:
    name, copy, _ = await a_backup(held)
    copy.unlink()
    os.mkfifo(copy)
    with pytest.raises(StorageError, match="not a file"):
        await held.engine.run(act.BackupVerify(environment=DEV, name=name))


async def test_what_was_left_half_made_goes_with_the_next(held: Held) -> None:
    name, copy, _ = await a_backup(held)
    (copy.parent / "20260101t000000z-aaaa.db.part").write_bytes(b"half")
    await a_backup(held)
    assert not list(copy.parent.glob("*.part"))
    assert name in {view.name for view in await held.engine.run(act.BackupList())}


async def test_a_manifest_without_its_copy_is_no_backup(held: Held) -> None:
    name, copy, _ = await a_backup(held)
    copy.unlink()
    assert (await held.engine.run(act.BackupList()))[0].status == "failed"
    with pytest.raises(NotFound):
        await held.engine.run(act.BackupVerify(environment=DEV, name=name))
