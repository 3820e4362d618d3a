"""Dead letters made ready again, many at once."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.engine.errors import Denied
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.queue import redrive as redriving


async def bury(scene: Any, count: int, kind: str = "work") -> list[str]:
    idents = [await scene.send(kind=kind, max_attempts=1) for _ in range(count)]
    for message in await scene.claim(limit=100, kinds=[kind]):
        await scene.queue.nack(scene.a, message[0], 1, "no")
    return idents


async def redrive(scene: Any, **how: Any) -> tuple[int, int]:
    told: list[float] = []
    wanted = {"kind": None, "limit": None} | how
    found: tuple[int, int] = await scene.queue.redrive(
        OPERATOR_PRINCIPAL, wanted["kind"], wanted["limit"], lambda share, _: told.append(share)
    )
    assert told == sorted(told)
    return found


async def test_all_dead_letters_are_ready_with_fresh_attempts(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redriving, "STEP_ROWS", 3)
    idents = await bury(scene, 7)
    assert await redrive(scene) == (7, 0)
    assert scene.counts() == {"ready": 7}
    assert scene.queue.flow.depth == 7
    for ident in idents:  # one that has failed before comes alone
        [[got, _, _, _, attempt, *_]] = await scene.claim(limit=10)
        assert (got, attempt) == (ident, 2)
        assert await scene.queue.nack(scene.a, ident, 2, "no") == "dead"
    assert [each.action for each in await scene.queue.history(idents[0], 10)] == [
        "send", "claim", "nack", "retry", "claim", "nack",
    ]  # fmt: skip


async def test_only_those_of_a_kind_and_only_so_many(scene: Any) -> None:
    first = await bury(scene, 3)
    await bury(scene, 2, "other")
    assert await redrive(scene, kind="work", limit=2) == (2, 0)
    assert await scene.ids(kinds=["work"]) == first[:1]
    assert scene.counts() == {"ready": 1, "leased": 1, "dead": 3}


async def test_it_stops_where_the_queue_is_full(scene: Any) -> None:
    await bury(scene, 5)
    await scene.send(kind="other")
    scene.queue.flow.resize(3)
    assert await redrive(scene) == (2, 3)
    assert scene.counts() == {"ready": 3, "dead": 3}
    assert await redrive(scene) == (0, 3)


async def test_agents_may_not(scene: Any) -> None:
    with pytest.raises(Denied):
        await scene.queue.redrive(scene.a, None, None, lambda *_: None)
