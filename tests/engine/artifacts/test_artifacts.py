"""Artifacts: what is put comes back, versions, lineage, what is kept once, what is refused."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import open_engine
from swarmdeck.engine.errors import Conflict, Damaged, InvalidInput, NotFound

MIB = 1 << 20
TEXT = b"the words of a canary 9f2c. "


async def in_pieces(body: bytes, *sizes: int) -> AsyncIterator[bytes]:
    """A content as a producer may give it."""
    at = 0
    for size in sizes:
        yield body[at : at + size]
        at += size
    yield body[at:]


@pytest.mark.parametrize("environment", ["production", "development"])
async def test_what_is_put_comes_back(kept: Any, read: Any, environment: str) -> None:
    artifacts = kept.artifacts(environment)
    for size in (0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17):
        body = os.urandom(size)
        made = await artifacts.put("a.bin", body)
        assert await read(artifacts, made) == body
        assert (made.size_bytes, made.chunks) == (size, max(1, -(-size // MIB)))
        [found] = await artifacts.verify(made)
        assert found.status == "ok"


async def test_a_content_comes_from_a_file_or_piece_by_piece(
    kept: Any, read: Any, tmp_path: Path
) -> None:
    artifacts, body = kept.artifacts(), os.urandom(2 * MIB + 5)
    path = tmp_path / "model.bin"
    path.write_bytes(body)
    by_path = await artifacts.put("m", path, type="model", metadata={"loss": 0.25})
    by_pieces = await artifacts.put("m", in_pieces(body, 1, MIB, 0, 700_000))
    assert await read(artifacts, by_path) == await read(artifacts, by_pieces) == body
    assert by_path.sha256 == (await artifacts.show(by_pieces)).sha256
    shown = await artifacts.show(by_path)
    assert (shown.type, shown.metadata) == ("model", {"loss": 0.25})


@pytest.mark.parametrize(("environment", "seen"), [("production", False), ("development", True)])
async def test_contents_are_sealed_where_the_environment_seals(
    kept: Any, environment: str, seen: bool
) -> None:
    body = TEXT * 50_000
    await kept.artifacts(environment).put("a", body, compress=False, metadata={"who": "canary"})
    [path] = kept.contents(environment)
    assert (TEXT in path.read_bytes()) is seen
    database = kept.data / "instances" / environment / f"{environment}.db"
    log = database.with_name(database.name + "-wal")
    assert (b"canary" in database.read_bytes() + log.read_bytes()) is seen


async def test_what_is_smaller_compressed_is_kept_so(kept: Any, read: Any) -> None:
    artifacts, body = kept.artifacts(), TEXT * 100_000
    made = await artifacts.put("a", body)
    assert made.stored_bytes < made.size_bytes / 20
    assert await read(artifacts, made) == body


async def test_the_same_name_makes_the_next_version(kept: Any, read: Any) -> None:
    artifacts = kept.artifacts()
    first, second = await artifacts.put("a", b"1"), await artifacts.put("a", b"2", type="code")
    third = await artifacts.put("another name", b"3", of=first.id)
    assert [each.version for each in (first, second, third)] == [1, 2, 3]
    assert third.name == "a"
    assert [each.id for each in await artifacts.versions(first)] == [third.id, second.id, first.id]
    assert [each.id for each in await artifacts.list()] == [third.id]
    assert await read(artifacts, first) == b"1"
    with pytest.raises(InvalidInput, match="all its versions"):
        await artifacts.put("a", b"4", level="public")


async def test_a_content_is_kept_once_and_goes_with_the_last_that_has_it(
    kept: Any, read: Any
) -> None:
    artifacts = kept.artifacts()
    first, second = await artifacts.put("a", b"same"), await artifacts.put("b", b"same")
    assert len(kept.files()) == 1
    assert await artifacts.delete(first) == 1
    assert await read(artifacts, second) == b"same"
    await artifacts.delete(second)
    assert kept.files() == []
    with pytest.raises(NotFound):
        await artifacts.show(second)


async def test_all_versions_go_together_a_step_at_a_time(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmdeck.engine.artifacts.changes.STEP_ROWS", 3)
    artifacts = kept.artifacts()
    made = [await artifacts.put("a", str(number).encode()) for number in range(8)]
    other = await artifacts.put("b", b"3")
    assert await artifacts.delete(made[4], all_versions=True) == 8
    assert [each.id for each in await artifacts.list(versions=True)] == [other.id]
    assert len(kept.files()) == 1


async def test_lineage_goes_up_to_the_first_and_down_to_all_that_came_of_it(kept: Any) -> None:
    artifacts = kept.artifacts()
    data = await artifacts.put("data", b"0", type="data")
    model = await artifacts.put("model", b"1", type="model", parent=data.id)
    report = await artifacts.put("report", b"2", parent=model.id)
    chart = await artifacts.put("chart", b"3", parent=report.id)
    other = await artifacts.put("other", b"4", parent=model.id)
    found = [(step.depth, step.id) for step in await artifacts.lineage(model)]
    assert found == [
        (-1, data.id), (0, model.id), (1, report.id), (2, chart.id), (1, other.id),
    ]  # fmt: skip
    await artifacts.delete(data)
    first = (await artifacts.lineage(model))[0]
    assert (first.id, first.state, first.name) == (data.id, "gone", "")


async def test_lists_are_filtered_ordered_and_paged(kept: Any) -> None:
    artifacts = kept.artifacts()
    for number in range(6):
        await artifacts.put(f"n{number}", b"x" * number, type="code" if number % 2 else "data")
    assert [each.name for each in await artifacts.list(type="code")] == ["n5", "n3", "n1"]
    assert [each.name for each in await artifacts.list(order="name", limit=2)] == ["n0", "n1"]
    assert [each.name for each in await artifacts.list(order="size", limit=2, offset=1)] == [
        "n4", "n3",
    ]  # fmt: skip
    assert [each.name for each in await artifacts.list(contains="N4")] == ["n4"]
    assert (await artifacts.list(order="size", descending=True))[0].name == "n0"


async def test_a_file_is_saved_whole_and_replaces_nothing_unasked(
    kept: Any, tmp_path: Path
) -> None:
    artifacts, path = kept.artifacts(), tmp_path / "out"
    made = await artifacts.put("a", os.urandom(MIB + 1))
    await artifacts.save(made, path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict, match="already"):
        await artifacts.save(made, path)
    path.write_bytes(b"mine")
    await artifacts.save(made, path, replace=True)
    assert path.stat().st_size == MIB + 1
    kept.spoil(lambda body: body.reverse())
    with pytest.raises(Damaged):
        await artifacts.save(made, tmp_path / "never")
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["out"]


REFUSED: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("a\x1b[2J", {}, InvalidInput),
    ("", {}, InvalidInput),
    ("a", {"type": "novel"}, InvalidInput),
    ("a", {"format": "x" * 65}, InvalidInput),
    ("a", {"parent": "dev_artifact_99"}, NotFound),
    ("a", {"parent": "dev_artifact_\u0661"}, NotFound),
    ("a", {"parent": "dev_artifact_0"}, NotFound),
    ("a", {"of": "dev_artifact_99"}, NotFound),
    ("a", {"of": "prod_artifact_1"}, NotFound),
    ("a", {"metadata": float("nan")}, InvalidInput),
]


async def test_what_is_refused_leaves_nothing(kept: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"words")
    for name, fields, error in REFUSED:
        with pytest.raises(error):
            await kept.artifacts().put(name, b"words", **fields)
        if name:
            with pytest.raises(error):
                await kept.artifacts().put(name, tmp_path / "file", **fields)
    assert kept.files() == []


async def test_a_store_in_memory_keeps_none() -> None:
    async with open_engine(":memory:") as engine:
        with pytest.raises(InvalidInput, match="in memory"):
            await engine.artifacts("development").put("a", b"x")
        with pytest.raises(InvalidInput, match="in memory"):
            await engine.artifacts("development").put("a", __file__)


async def test_what_is_no_file_is_refused(kept: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nothing"):
        with pytest.raises(InvalidInput):
            await kept.artifacts().put("a", path)
    assert kept.files() == []
