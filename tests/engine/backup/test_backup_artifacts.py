"""Artifacts in backups: copied with the environment, read whole, put back, deleted with them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.artifacts.files import STAGED
from swarmdeck.engine.backup import contents
from swarmdeck.engine.core import open_core
from swarmdeck.engine.errors import Corrupt

MIB = 1 << 20
HERE = "development"


async def backup(held: Any) -> Any:
    return await held.engine.run(actions.BackupCreate(environment=HERE))


async def restore(held: Any, name: str) -> Any:
    return await held.engine.run(actions.BackupRestore(environment=HERE, name=name))


async def verify(held: Any, name: str) -> Any:
    return await held.engine.run(actions.BackupVerify(environment=HERE, name=name))


async def whole(artifacts: Any, artifact: Any) -> bytes:
    return b"".join([part async for part in artifacts.open(artifact)])


def kept_in(held: Any, name: str) -> list[Path]:
    found = held.data / "backups" / HERE / f"{name}.files"
    return sorted(found.iterdir()) if found.exists() else []


def root_of(held: Any) -> Path:
    return Path(held.data, "instances", HERE, "artifacts")


async def test_artifacts_come_back_with_the_environment(held: Any) -> None:
    artifacts, body = held.engine.artifacts(HERE), os.urandom(MIB + 7)
    first = await artifacts.put("a", body, metadata={"n": 1})
    made = await backup(held)
    assert (made.contents, made.status) == (1, "verified")
    await artifacts.delete(first)
    await artifacts.put("b", b"of later")
    await artifacts.put("again", body)  # the same address, another key
    assert (await verify(held, made.name)).status == "verified"
    await restore(held, made.name)
    assert [each.id for each in await artifacts.list()] == [first.id]
    assert await whole(artifacts, first) == body
    assert [each.status for each in await artifacts.verify()] == ["ok"]
    [aside] = Path(held.data, "instances", HERE).glob("replaced-*-artifacts")
    assert len([path for path in aside.rglob("*") if path.is_file()]) == 2
    await held.core.places[HERE].leavings.finish()
    assert len([path for path in root_of(held).rglob("*") if path.is_file()]) == 1


async def test_a_backup_without_artifacts_says_nothing_of_them(held: Any) -> None:
    made = await backup(held)
    _, manifest = held.files(made.name)
    assert b"contents" not in manifest.read_bytes()
    assert kept_in(held, made.name) == []
    await held.engine.artifacts(HERE).put("a", b"of later")
    await restore(held, made.name)
    assert await held.engine.artifacts(HERE).list() == []
    assert [path for path in root_of(held).rglob("*") if path.is_file()] == []


async def test_a_backup_whose_content_is_not_whole_has_failed(held: Any) -> None:
    artifacts = held.engine.artifacts(HERE)
    for number in range(2):
        await artifacts.put(f"n{number}", os.urandom(1000))
    for how in ("changed", "shorter", "gone", "another"):
        await spoiled(held, how)
    assert {each.status for each in await artifacts.verify()} == {"ok"}


async def spoiled(held: Any, how: str) -> None:
    made = await backup(held)
    path, other = kept_in(held, made.name)
    body = bytearray(path.read_bytes())
    path.unlink()
    if how == "changed":
        body[500] ^= 1
    if how in {"changed", "shorter"}:
        path.write_bytes(body[: -1 if how == "shorter" else None])
    if how == "another":
        path.write_bytes(other.read_bytes())
    assert (await verify(held, made.name)).status == "failed"
    with pytest.raises(Corrupt):
        await restore(held, made.name)


async def test_what_is_known_to_be_damaged_keeps_no_backup_from_being_made(held: Any) -> None:
    artifacts = held.engine.artifacts(HERE)
    await artifacts.put("a", b"x")
    await artifacts.put("b", b"y")
    [path, _] = sorted(path for path in root_of(held).rglob("*") if path.is_file())
    path.write_bytes(b"spoiled")
    with pytest.raises(Corrupt, match="content") as refused:
        await backup(held)
    assert "artifact verify" in refused.value.hint
    await artifacts.verify()
    made = await backup(held)
    assert (made.status, made.contents) == ("verified", 1)


async def test_what_is_deleted_while_a_backup_is_made_is_in_it(
    held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = held.engine.artifacts(HERE)
    doomed = await artifacts.put("a", b"x")
    loop, gather = asyncio.get_running_loop(), contents.gather

    def late(*args: Any) -> None:
        asyncio.run_coroutine_threadsafe(artifacts.delete(doomed), loop).result(10)
        gather(*args)

    monkeypatch.setattr(contents, "gather", late)
    made = await backup(held)
    assert (made.status, made.contents) == ("verified", 1)
    assert await held.core.places[HERE].leavings.finish() == 1
    assert (await verify(held, made.name)).status == "verified"


async def test_contents_go_with_their_backup(held: Any) -> None:
    await held.engine.artifacts(HERE).put("a", b"x")
    made = await backup(held)
    assert len(kept_in(held, made.name)) == 1
    await held.engine.run(actions.BackupDelete(environment=HERE, name=made.name))
    assert list((held.data / "backups" / HERE).iterdir()) == []


async def test_where_files_have_no_second_name_they_are_copied(
    held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    artifacts = held.engine.artifacts(HERE)
    first = await artifacts.put("a", os.urandom(2 * MIB + 5))
    monkeypatch.setattr(contents.os, "link", refusing)
    made = await backup(held)
    [path] = kept_in(held, made.name)
    assert path.stat().st_nlink == 1
    monkeypatch.undo()
    await restore(held, made.name)
    assert [each.status for each in await artifacts.verify(first)] == ["ok"]


@pytest.mark.parametrize("step", ["staged", "moved aside", "in its place"])
async def test_a_restore_that_was_killed_goes_on_where_it_was(tmp_path: Path, step: str) -> None:
    data, body = tmp_path / "data", os.urandom(1000)
    async with open_core(data, settings=None, transient=True, headless=False, clock=None) as core:
        artifacts = core.engine.artifacts(HERE)
        first = await artifacts.put("a", body)
        files = core.places[HERE].artifacts.files
        [path] = [path for path in files.root.rglob("*") if path.is_file()]
        staged = files.root / STAGED / path.parent.name / path.name
        staged.parent.mkdir(parents=True)
        staged.hardlink_to(path)
        aside = files.root.with_name("replaced-x-artifacts")
        if step == "moved aside":
            files.root.rename(aside)
        for _ in range(2 if step == "in its place" else 1):
            files.replace(aside)
        assert await whole(artifacts, first) == body
        assert not (files.root / STAGED).exists()


async def test_what_was_staged_for_a_restore_that_never_came_is_swept(held: Any) -> None:
    await held.engine.artifacts(HERE).put("a", b"x")
    files = held.core.places[HERE].artifacts.files
    (files.root / STAGED / "ab").mkdir(parents=True)
    await held.core.places[HERE].leavings.finish()
    assert not (files.root / STAGED).exists()
    assert [each.status for each in await held.engine.artifacts(HERE).verify()] == ["ok"]
