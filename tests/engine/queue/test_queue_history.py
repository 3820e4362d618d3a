"""What the trail tells of one message among all."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.engine.errors import NotFound
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.queue import history as histories


async def steps(scene: Any, ident: str, limit: int = 100) -> list[str]:
    return [f"{each.actor} {each.action}" for each in await scene.queue.history(ident, limit)]


async def noise(scene: Any, count: int = 5) -> None:
    """Other messages come and go, each some time after the other."""
    for _ in range(count):
        scene.clock.advance(0.5)
        await scene.queue.cancel(OPERATOR_PRINCIPAL, await scene.send())


async def test_a_life_is_told_from_its_beginning(scene: Any) -> None:
    await noise(scene)
    ident = await scene.send()
    await noise(scene)
    await scene.claim()
    await noise(scene)
    await scene.queue.nack(scene.a, ident, 1, "the disk is full", 0)
    await scene.claim(scene.b)
    await scene.queue.release(scene.b.id)
    await noise(scene)
    await scene.claim(scene.c)
    await scene.queue.ack(scene.c, ident, 3)
    await noise(scene)
    a, b, c = scene.a.id, scene.b.id, scene.c.id
    assert await steps(scene, ident) == [
        "operator send", f"{a} claim", f"{a} nack", f"{b} claim", "engine take_back", f"{c} claim",
        f"{c} ack",
    ]  # fmt: skip
    found = await scene.queue.history(ident, 3)
    assert [each.action for each in found] == ["take_back", "claim", "ack"]
    assert found[0].at_us <= found[1].at_us <= found[2].at_us
    assert "ended while it held this" in found[0].detail


async def test_only_the_time_of_the_message_is_looked_through(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that name it outside its time are not met: that is what bounds the look."""
    await noise(scene)
    ident = await scene.send()
    await scene.queue.cancel(OPERATOR_PRINCIPAL, ident)
    scene.clock.advance(5)
    await scene.database.write(lambda tx: tx.audit("someone", "queue.later", ident))
    assert await steps(scene, ident) == ["operator send", "operator cancel"]
    monkeypatch.setattr(histories, "_first_since", lambda _, at_us: 0 if at_us < 9e15 else 1 << 60)
    everything = histories.SELECT_STEPS.replace("sequence < ?", "sequence >= 0 * ?")
    monkeypatch.setattr(histories, "SELECT_STEPS", everything)
    assert len(await steps(scene, ident)) == 3


async def test_a_trail_whose_beginning_was_pruned_tells_the_rest(scene: Any) -> None:
    ident = await scene.send()
    scene.clock.advance(1)
    await noise(scene)
    await scene.queue.cancel(OPERATOR_PRINCIPAL, ident)

    def prune(tx: Any) -> None:
        tx.execute("DELETE FROM audit WHERE sequence <= 4")

    await scene.database.write(prune)
    assert await steps(scene, ident) == ["operator cancel"]


async def test_a_message_that_is_not_there_has_no_history(scene: Any) -> None:
    with pytest.raises(NotFound):
        await scene.queue.history("dev_msg_1", 10)
