"""Contents and rows that somebody or a disk has changed: found, named, and repaired."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.artifacts import form
from swarmdeck.engine.errors import Damaged, NotFound

MIB = 1 << 20
WHOLE = form.HEAD_BYTES + MIB + form.TAG_BYTES  # of a chunk that does not compress
FIRST = len(form.MAGIC)


def flip(at: int) -> Callable[[bytearray], None]:
    def change(body: bytearray) -> None:
        body[at] ^= 1

    return change


def swap(body: bytearray) -> None:
    """The second and the third chunk."""
    second, third = FIRST + WHOLE, FIRST + 2 * WHOLE
    body[second:third], body[third : third + WHOLE] = (
        body[third : third + WHOLE],
        body[second:third],
    )


def cut(body: bytearray) -> None:
    del body[-5:]


def repeat(body: bytearray) -> None:
    """The first chunk in the place of the second, which is as long."""
    body[FIRST + WHOLE : FIRST + 2 * WHOLE] = body[FIRST : FIRST + WHOLE]


CHANGES = [
    (flip(FIRST + WHOLE + 5_000), r"chunk 2 of 4 \(bytes 1,048,576 to 2,097,151\)"),
    (flip(FIRST + 2 * WHOLE), "chunk 3 of 4"),
    (flip(FIRST + 4), "chunk 1 of 4"),
    (flip(-1), "chunk 4 of 4"),
    (swap, "chunk 2 of 4"),
    (repeat, "chunk 2 of 4"),
    (cut, "its file has"),
    (flip(3), "its file has"),
]


@pytest.mark.parametrize("environment", ["production", "development"])
async def test_a_changed_chunk_is_named_before_anybody_reads_it(
    kept: Any, environment: str
) -> None:
    artifacts = kept.artifacts(environment)
    body = os.urandom(3 * MIB + 9)
    for change, named in CHANGES:
        made = await artifacts.put("a", body)
        kept.spoil(change, environment)
        parts = artifacts.open(made)
        for sound in range(int(named[6]) - 1 if named.startswith("chunk") else 0):
            assert await anext(parts) == body[sound * MIB : (sound + 1) * MIB]
        with pytest.raises(Damaged, match=named):
            await anext(parts)
        [found] = await artifacts.verify(made)
        assert found.status == "failed"
        [shown] = await artifacts.list(damaged=True)
        assert shown.state == "damaged"
        assert shown.damage in found.detail
        await artifacts.delete(made)


async def test_a_content_of_another_artifact_is_not_taken_for_it(kept: Any) -> None:
    artifacts = kept.artifacts()
    await artifacts.put("a", os.urandom(1000))
    [mine] = kept.contents()
    other = await artifacts.put("b", os.urandom(1000))
    [theirs] = [path for path in kept.contents() if path != mine]
    mine.replace(theirs)
    with pytest.raises(Damaged, match="chunk 1 of 1"):
        await anext(artifacts.open(other))


async def test_a_file_that_is_gone_is_named_and_comes_back_when_it_is_put_again(
    kept: Any, read: Any
) -> None:
    artifacts, body = kept.artifacts(), os.urandom(MIB)
    made = await artifacts.put("a", body)
    [path] = kept.contents()
    path.unlink()
    found = await artifacts.verify()
    assert [(each.name, each.status) for each in found] == [
        (made.id, "failed"), ("development", "failed"),
    ]  # fmt: skip
    assert "gone" in found[0].detail
    again = await artifacts.put("copy", body)
    assert await read(artifacts, made) == await read(artifacts, again) == body
    assert [each.status for each in await artifacts.verify()] == ["ok"]
    assert await artifacts.list(damaged=True) == []


async def test_a_damaged_content_is_replaced_when_it_is_put_again(kept: Any, read: Any) -> None:
    artifacts, body = kept.artifacts("production"), os.urandom(MIB)
    made = await artifacts.put("a", body)
    kept.spoil(flip(100), "production")
    assert [each.status for each in await artifacts.verify(made)] == ["failed"]
    await artifacts.put("copy", body)
    assert await read(artifacts, made) == body


async def test_a_changed_row_is_damage(kept: Any) -> None:
    artifacts = kept.artifacts()
    for change in (
        "level = 3", "owner = 'dev_agent_00000001'", "name = 'b'", "parent = 7",
        "created_at = created_at + 1", "metadata = NULL", "team = 'dev_team_00000001'",
    ):  # fmt: skip
        made = await artifacts.put("a", b"words", level="public")
        await _write(kept, f"UPDATE artifact SET {change}")
        for look in (artifacts.show(made), anext(artifacts.open(made))):
            with pytest.raises(Damaged):
                await look
        assert [each.status for each in await artifacts.verify()] == ["failed", "failed"]
        await artifacts.delete(made)


async def test_a_changed_row_of_a_content_is_damage(kept: Any) -> None:
    artifacts = kept.artifacts()
    for column in ("size", "stored", "chunks"):
        made = await artifacts.put("a", b"words")
        await _write(kept, f"UPDATE artifact_content SET {column} = {column} + 1")
        with pytest.raises(Damaged):
            await anext(artifacts.open(made))
        await artifacts.delete(made)


async def _write(kept: Any, statement: str) -> None:
    await kept.core.places["development"].database.write(lambda tx: tx.execute(statement).rowcount)


async def test_why_says_what_is_damaged_and_to_whom_nothing(kept: Any) -> None:
    artifacts = kept.artifacts()
    made = await artifacts.put("a", b"words")
    found = await kept.engine.run(actions.Explain(subject=made.id))
    assert "nobody has read it whole" in found.verdict
    kept.spoil(flip(-1))
    await artifacts.verify()
    found = await kept.engine.run(actions.Explain(subject=made.id))
    assert found.state == "damaged"
    assert any("chunk 1 of 1" in reason.text for reason in found.reasons)
    with pytest.raises(NotFound, match="nothing to explain"):
        await kept.engine.run(actions.Explain(subject="dev_artifact_99"))
