"""The chain over commits: gapless, moved by commits alone, whole after a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import InvalidInput, SwarmDeckError
from swarmdeck.engine.store import chain, driver
from swarmdeck.engine.store.chain import MAX_DETAIL, NO_HASH, Head, link
from swarmdeck.engine.store.database import Database, Operation, StoreOptions, Transaction

KILLS = 20 if os.environ.get("STRESS") else 3


class Note(Operation):
    """One row; a bad one breaks the whole batch it is in."""

    __slots__ = ("bad", "text")

    def __init__(self, text: str, *, bad: bool = False) -> None:
        self.text = text
        self.bad = bad

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Note]) -> list[Any]:
        for operation in operations:
            tx.audit("a", "memory.set", operation.text)
            if operation.bad:
                tx.execute("SELECT no_such_function()")
        return [None] * len(operations)


async def rows(opened: Database) -> list[tuple[Any, ...]]:
    return await opened.read(
        lambda reader: reader.execute(
            "SELECT sequence, object, hash FROM audit ORDER BY sequence"
        ).fetchall()
    )


async def verified(scene: Any) -> str:
    await scene.auditor.close()
    status: str = (await scene.auditor.verify(None))[0].status
    return status


def test_the_form_that_is_hashed_is_fixed() -> None:
    row = (1, "development", 2, "actor", "memory.set", "default/k", 1, "")
    assert link(NO_HASH, [row]).hex() == (
        "a917535f8339cd2491cf4f0e2a065b54b5de5c4000cb5d0e8f263418077fa229"
    )


def test_the_form_is_unambiguous() -> None:
    one = (1, "e", 2, "ab", "c", "o", 1, "")
    other = (1, "e", 2, "a", "bc", "o", 1, "")
    assert link(NO_HASH, [one]) != link(NO_HASH, [other])
    assert link(NO_HASH, [one, other]) != link(NO_HASH, [other, one])


async def test_a_commit_has_one_hash_on_its_last_row(opening: Any) -> None:
    async with opening() as scene:
        await scene.add(6, each=3)
        found = await rows(scene.database)
        assert [row[0] for row in found] == [1, 2, 3, 4, 5, 6]
        assert [row[2] is not None for row in found] == [False, False, True] * 2
        assert scene.database.chain.head == Head(6, found[-1][2])


async def test_one_bad_operation_leaves_no_gap(opening: Any) -> None:
    """The batch is rolled back and run singly: the rows of the others follow each other."""
    async with opening() as scene:
        await scene.add(2)
        notes = [Note(f"n{i}", bad=i == 3) for i in range(6)]
        answers = await asyncio.gather(
            *(scene.database.submit(note) for note in notes), return_exceptions=True
        )
        assert [isinstance(a, SwarmDeckError) for a in answers] == [i == 3 for i in range(6)]
        found = await rows(scene.database)
        assert [row[0] for row in found] == list(range(1, 8))
        assert [row[1] for row in found[2:]] == ["n0", "n1", "n2", "n4", "n5"]
        assert await verified(scene) == "ok"


async def test_an_error_of_a_caller_leaves_no_gap(opening: Any) -> None:
    def refused(_: Transaction) -> None:
        raise InvalidInput("no")

    async with opening() as scene:
        await scene.add(1)
        with pytest.raises(InvalidInput):
            await scene.database.write(refused)
        await scene.add(1)
        assert [row[0] for row in await rows(scene.database)] == [1, 2]


async def test_the_head_is_read_again_after_a_commit_of_unknown_outcome(
    opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COMMIT was on the disk and its answer was lost: the chain goes on from the file."""
    async with opening() as scene:
        await scene.add(1)
        whole = chain.Chain.moved
        lost = iter([True])

        def moved(self: chain.Chain, head: Head) -> None:
            if next(lost, False):
                raise driver.OperationalError("disk I/O error")
            whole(self, head)

        monkeypatch.setattr(chain.Chain, "moved", moved)
        with pytest.raises(SwarmDeckError):
            await scene.add(2, each=2)
    monkeypatch.undo()
    async with opening() as scene:
        await scene.add(2)
        assert [row[0] for row in await rows(scene.database)] == [1, 2, 3, 4, 5]
        assert await verified(scene) == "ok"


async def test_a_long_detail_is_cut(opening: Any) -> None:
    async with opening() as scene:
        await scene.database.write(lambda tx: tx.audit("a", "b", "c", detail="x" * 10_000))
        found = await scene.database.read(
            lambda reader: reader.execute("SELECT detail FROM audit").fetchone()
        )
        assert found == ("x" * (MAX_DETAIL - 1) + "…",)


async def test_rows_from_before_the_chain_stand_before_the_anchor(
    opening: Any, tmp_path: Path
) -> None:
    path = tmp_path / "development.db"
    async with opening():
        pass

    def old(raw: Any) -> None:
        for sequence in (1, 2, 3):
            raw.execute(
                "INSERT INTO audit (sequence, env, at, actor, action, object, allowed, detail)"
                " VALUES (?, 'development', 1, 'a', 'memory.set', 'k', 1, '')",
                (sequence,),
            )
        raw.execute("INSERT INTO audit_anchor VALUES ('development', 3, zeroblob(32))")

    connection = await driver.connect(path)
    await connection.run(old)
    await connection.close()
    async with opening() as scene:
        assert scene.database.chain.head == Head(3, NO_HASH)
        await scene.add(2)
        view = (await scene.auditor.verify(None))[0]
    assert (view.rows, view.first, view.last) == (2, 4, 5)
    assert view.status == "warning"  # nothing is signed before it closes


WRITER = """
import asyncio, sys
from pathlib import Path
from swarmdeck.engine.clock import SystemClock
from swarmdeck.engine.model import Durability
from swarmdeck.engine.store.database import StoreOptions, open_database

async def main():
    options = StoreOptions(durability=Durability(sys.argv[2]))
    async with open_database(Path(sys.argv[1]), "development", options=options,
                             clock=SystemClock()) as opened:
        async def caller(number):
            for turn in range(100_000):
                await opened.write(lambda tx: tx.audit(f"a{number}", "memory.set", str(turn)))
                if turn == 3:
                    print("on", flush=True)
        await asyncio.gather(*(caller(n) for n in range(20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_a_kill_in_the_middle_of_writes_leaves_a_chain_that_holds(
    opening: Any, tmp_path: Path, durability: str, keys: Any
) -> None:
    path, last = tmp_path / "development.db", 0
    for turn in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(path), durability, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(turn % 5 + 1):
            await asyncio.wait_for(process.stdout.readline(), 30)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        async with opening() as scene:
            view = (await scene.auditor.verify(None))[0]
            assert view.status in {"ok", "warning"}, view.detail
            assert view.last == view.rows > last
            assert not scene.auditor.alarms
            last = view.rows
            await scene.add(1)


async def test_a_batch_is_hashed_once(
    opening: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    whole = chain.link

    def counted(before: bytes, batch: Sequence[chain.Row]) -> bytes:
        calls.append(len(batch))
        return whole(before, batch)

    monkeypatch.setattr(chain, "link", counted)
    async with opening() as scene:
        await asyncio.gather(*(scene.database.submit(Note(str(i))) for i in range(100)))
    assert calls == [100]
    assert StoreOptions().batch_limit >= 100
