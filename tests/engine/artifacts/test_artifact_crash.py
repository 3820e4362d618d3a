"""Engines that are killed while artifacts come in, full disks, callers that give up: what is there
is whole, and what is not whole is gone."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import open_engine
from swarmdeck.engine.artifacts import content, files
from swarmdeck.engine.core import open_core
from swarmdeck.engine.errors import Conflict, StorageError

MIB = 1 << 20
PUTTING = Path(__file__).with_name("putting.py")
STRESS = bool(os.environ.get("STRESS"))
ROUNDS = 40 if STRESS else 2
LARGE_MIB = 1024 if STRESS else 64
MOST_GROWN = 24 * MIB


def started(data: Path, environment: str, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PUTTING), str(data), environment, what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("environment", ["production", "development"][: 1 + STRESS])
async def test_an_engine_that_is_killed_leaves_nothing_half(
    tmp_path: Path, environment: str
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"FAULTS_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    chance, data = random.Random(seed), tmp_path / "data"
    known: dict[str, str] = {}
    for _ in range(ROUNDS):
        with started(data, environment, "loop") as child:
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(chance.randrange(3, 12))]
            await asyncio.sleep(chance.uniform(0, 0.02))
            child.kill()
            told += child.stdout.readlines()
        for line in told[1:]:
            note(line, known)
        await look(data, environment, known)


def note(line: str, known: dict[str, str]) -> None:
    """Take in what was acknowledged; a line that was cut off was not."""
    if not line.endswith("\n"):
        return
    first, second = line.split()
    if first == "-":
        known.pop(second)
    else:
        known[first] = second


async def look(data: Path, environment: str, known: dict[str, str]) -> None:
    """Whether all that was acknowledged is there and whole, and nothing else is on the disk."""
    async with open_core(data, settings=None, transient=True, headless=False, clock=None) as core:
        artifacts = core.engine.artifacts(environment)
        found = {each.id: each for each in await artifacts.list(versions=True, limit=10_000)}
        # The last one may have been deleted without an answer.
        for missing in known.keys() - found.keys():
            assert missing == list(known)[-1]
        for ident in known.keys() & found.keys():
            assert (await artifacts.show(ident)).sha256 == known[ident]
        assert {each.status for each in await artifacts.verify()} == {"ok"}
        await core.places[environment].leavings.finish()
        root = data / "instances" / environment / "artifacts"
        held = {path.name for path in root.rglob("*") if path.is_file()}
        rows = await core.places[environment].database.read(
            lambda reader: reader.execute("SELECT address FROM artifact_content").fetchall()
        )
        assert held == {row[0] for row in rows}
    for gone in known.keys() - found.keys():
        del known[gone]
    known.update(dict.fromkeys((), ""))


async def test_what_a_killed_engine_has_left_goes(kept: Any) -> None:
    place = kept.core.places["development"]
    parts = place.artifacts.files.root / "parts"
    parts.mkdir(parents=True)
    (parts / "of-another").write_bytes(b"half")
    await kept.artifacts().put("a", b"x")
    assert len(kept.files()) == 1  # one command has no time for more
    (parts / "of-another").write_bytes(b"half")
    orphan = place.artifacts.files.path("ab" + "0" * 62)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"whole, and nobody's")
    assert await place.leavings.finish() == 2
    assert len(kept.files()) == 1


async def test_a_full_disk_stores_nothing_and_leaves_nothing_half(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, write = kept.artifacts(), os.write
    first = await artifacts.put("a", b"there before")
    left = [2 * MIB]

    def full(file: int, body: Any) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= len(body)
        return write(file, body)

    monkeypatch.setattr(content.os, "write", full)
    with pytest.raises(StorageError, match="full"):
        await artifacts.put("b", os.urandom(5 * MIB))
    monkeypatch.undo()
    assert [each.id for each in await artifacts.list()] == [first.id]
    assert len(kept.files()) == 1
    assert (await artifacts.put("b", os.urandom(5 * MIB))).version == 1


async def test_a_sync_that_fails_stores_nothing(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(content.os, "fsync", failing)
    with pytest.raises(StorageError):
        await kept.artifacts().put("a", b"x")
    monkeypatch.undo()
    assert kept.files() == []


async def test_contents_leave_the_databases_their_space(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, artifacts = kept.core.places["development"], kept.artifacts()
    await artifacts.put("a", b"x")
    reserve = place.database.disk.reserve
    real = os.statvfs(tmp_path)

    class Disk:
        f_frsize = real.f_frsize
        f_bavail = (reserve.size_bytes + 3 * MIB) // real.f_frsize

    (tmp_path / "in").write_bytes(bytes(4 * MIB))
    monkeypatch.setattr(files.os, "statvfs", lambda _: Disk)
    with pytest.raises(StorageError, match="no room for 4 MB"):
        await artifacts.put("b", tmp_path / "in")
    assert (await artifacts.put("c", os.urandom(2 * MIB))).version == 1
    monkeypatch.undo()
    assert len(kept.files()) == 2
    reserve.spend()
    with pytest.raises(StorageError, match="disk is full"):
        place.artifacts.files.require_room(1)


async def test_a_change_that_is_refused_takes_its_file_with_it(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> Any:
        def change(_: Any) -> int:
            raise Conflict("not now")

        return change

    monkeypatch.setattr("swarmdeck.engine.artifacts.changes.keep", refusing)
    with pytest.raises(Conflict):
        await kept.artifacts().put("a", b"x")
    assert kept.files() == []


async def test_a_caller_that_gives_up_leaves_nothing_half(kept: Any) -> None:
    artifacts, begun = kept.artifacts(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield os.urandom(2 * MIB)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(artifacts.put("a", slowly()))
    await asyncio.wait_for(begun.wait(), 10)
    assert len(kept.files()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kept.files() == []
    assert await artifacts.list() == []


async def test_a_producer_that_fails_leaves_nothing_half(kept: Any) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield os.urandom(MIB)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        await kept.artifacts().put("a", failing())
    assert kept.files() == []


async def test_an_engine_that_closes_ends_what_comes_in(tmp_path: Path) -> None:
    async with open_engine(tmp_path / "data") as engine:
        handle = engine.artifacts("development")
        begun = ("a", "other", "", None, None, None, None, b"null", True)
        await handle._call("artifact.begin", *begun)
    root = tmp_path / "data" / "instances" / "development" / "artifacts"
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_large_artifact_never_lies_in_memory(tmp_path: Path) -> None:
    with started(tmp_path / "data", "production", str(LARGE_MIB)) as child:
        out, _ = child.communicate(timeout=600)
    assert int(out.split()[-1]) < MOST_GROWN, out
