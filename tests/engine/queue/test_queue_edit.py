"""Editing a message, purging a state, and what those who may not do it leave behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine.errors import Conflict, Denied, InvalidInput, NotFound
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, MessageState, Principal, Role
from swarmdeck.engine.queue import steering
from swarmdeck.engine.queue.edit import Edit

ADMIN = Principal("dev_agent_chief", Role.ADMIN, "development")


async def edit(scene: Any, ident: str, who: Principal = OPERATOR_PRINCIPAL, **fields: Any) -> Any:
    return await scene.queue.edit(who, ident, Edit(**fields))


async def end(scene: Any, ident: str, state: str) -> None:
    """Bring the only message into a state."""
    if state == "cancelled":
        await scene.queue.cancel(OPERATOR_PRINCIPAL, ident)
    elif state == "expired":
        await edit(scene, ident, expires_s=1)
        await scene.later(1)
    elif state in {"leased", "done", "dead"}:
        await scene.claim(lease_s=600)
    if state == "done":
        await scene.queue.ack(scene.a, ident, 1)
    elif state == "dead":
        await scene.queue.nack(scene.a, ident, 1, "no", 0)


async def trail(scene: Any, action: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = await scene.rows(
        "SELECT actor, object, allowed, detail FROM audit WHERE action = ? ORDER BY sequence",
        action,
    )
    return rows


# --- editing ----------------------------------------------------------------------------------


async def test_a_raised_priority_is_claimed_first(scene: Any) -> None:
    first, second = await scene.send(), await scene.send()
    view = await edit(scene, second, priority=9)
    assert (view.priority, view.state) == (9, "ready")
    assert await scene.ids() == [second, first]


async def test_a_new_body_is_what_the_worker_gets(scene: Any) -> None:
    ident = await scene.send(body=b'{"path":"a"}')
    assert (await edit(scene, ident, body=b'{"path":"b"}')).body == {"path": "b"}
    assert [message[2] for message in await scene.claim()] == [b'{"path":"b"}']


async def test_a_delay_takes_it_from_the_ready_ones_until_it_is_due(scene: Any) -> None:
    ident = await scene.send()
    view = await edit(scene, ident, delay_s=30)
    assert (view.state, view.due_at_us) == ("delayed", scene.clock.wall_us() + 30_000_000)
    assert await scene.ids() == []
    await scene.later(30)
    assert await scene.ids() == [ident]


async def test_no_delay_wakes_whoever_waits(scene: Any) -> None:
    ident = await scene.send(delay_s=600)
    waiting = asyncio.ensure_future(scene.ids(wait_s=60))
    await scene.database.write(lambda _: None)
    assert not waiting.done()
    assert (await edit(scene, ident, delay_s=0)).due_at_us is None
    assert await waiting == [ident]


async def test_a_new_expiry_counts_from_now(scene: Any) -> None:
    ident = await scene.send(expires_s=5)
    await scene.later(4)
    await edit(scene, ident, expires_s=10)
    await scene.later(9)
    assert await scene.state(ident) == "ready"
    await scene.later(1)
    assert await scene.state(ident) == "expired"


async def test_fewer_attempts_end_it_sooner(scene: Any) -> None:
    ident = await scene.send(max_attempts=3)
    assert (await edit(scene, ident, max_attempts=1)).max_attempts == 1
    await scene.claim()
    assert await scene.queue.nack(scene.a, ident, 1, "no", 0) == "dead"


@pytest.mark.parametrize("state", ["dead", "expired", "cancelled"])
async def test_what_has_ended_is_changed_for_its_retry(scene: Any, state: str) -> None:
    ident = await scene.send(max_attempts=1)
    await end(scene, ident, state)
    view = await edit(scene, ident, priority=8, body=b"2", max_attempts=5, expires_s=60)
    assert (view.state, view.priority, view.body, view.max_attempts) == (state, 8, 2, 5)
    with pytest.raises(Conflict, match=f"{state} and waits for nothing"):
        await edit(scene, ident, delay_s=5)
    assert (await scene.queue.retry(OPERATOR_PRINCIPAL, ident)).priority == 8
    await scene.later(60)
    assert await scene.state(ident) == "expired"


@pytest.mark.parametrize(("state", "hint"), [("leased", "cancel it first"), ("done", "it is done")])
async def test_what_somebody_has_in_hand_is_left_alone(scene: Any, state: str, hint: str) -> None:
    ident = await scene.send()
    await end(scene, ident, state)
    with pytest.raises(Conflict, match=f"is {state}") as refused:
        await edit(scene, ident, priority=8)
    assert hint in refused.value.hint
    assert (await scene.queue.show(ident)).priority == 5


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"priority": 11},
        {"priority": 0},
        {"body": b"{"},
        {"max_attempts": 0},
        {"delay_s": -1},
        {"expires_s": 0},
        {"delay_s": 60},
        {"delay_s": 5, "expires_s": 5},
    ],
    ids=str,
)
async def test_an_edit_that_makes_no_sense_changes_nothing(
    scene: Any, fields: dict[str, Any]
) -> None:
    ident = await scene.send(expires_s=60)
    before = await scene.queue.show(ident)
    with pytest.raises(InvalidInput):
        await edit(scene, ident, **fields)
    assert await scene.queue.show(ident) == before
    assert await trail(scene, "queue.edit") == []


async def test_the_trail_says_what_was_changed_but_not_the_body(scene: Any) -> None:
    ident = await scene.send(max_attempts=3)
    await edit(scene, ident, body=b'"secret"', priority=9, delay_s=2.5, max_attempts=4)
    detail = "body, priority 5 -> 9, delay 2.5 s, max_attempts 3 -> 4"
    assert await trail(scene, "queue.edit") == [("operator", ident, 1, detail)]


async def test_an_edit_is_whole_after_a_restart(scene: Any) -> None:
    ident = await scene.send(delay_s=5)
    await edit(scene, ident, priority=2, delay_s=50, expires_s=90)
    await scene.reopen()
    await scene.later(50)
    assert (await scene.claim())[0][3] == 2


# --- purging a state --------------------------------------------------------------------------


def quietly(_fraction: float, _text: str) -> None:
    pass


async def purge(scene: Any, state: str, kind: str | None = None, **options: Any) -> int:
    who = options.get("who", OPERATOR_PRINCIPAL)
    progress = options.get("progress", quietly)
    gone: int = await scene.queue.purge_state(who, MessageState(state), kind, progress)
    return gone


async def test_a_purge_deletes_one_state_in_steps_and_says_how_far_it_is(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "PURGE_ROWS", 3)
    idents = await asyncio.gather(*(scene.send("x") for _ in range(7)))
    for ident in idents:
        await scene.queue.cancel(ADMIN, ident)
    kept = await scene.send("x")
    steps: list[tuple[float, str]] = []
    assert await purge(scene, "cancelled", who=ADMIN, progress=lambda *s: steps.append(s)) == 7
    assert steps == [
        (0.0, "0 messages deleted"), (3 / 7, "3 messages deleted"), (6 / 7, "6 messages deleted")
    ]  # fmt: skip
    assert scene.counts() == {"ready": 1}
    assert await scene.state(kept) == "ready"
    assert len(await trail(scene, "queue.purge")) == 3


async def test_a_purge_of_a_kind_spares_the_others(scene: Any) -> None:
    await scene.send("x"), await scene.send("y"), await scene.send("x", delay_s=9)
    assert await purge(scene, "ready", "x") == 1
    assert scene.counts() == {"ready": 1, "delayed": 1}
    [(actor, _, _, detail)] = await trail(scene, "queue.purge")
    assert (actor, detail) == ("operator", "state=ready kind=x from 1 to 1")


@pytest.mark.parametrize("state", ["ready", "delayed", "done", "dead", "expired", "cancelled"])
async def test_every_state_but_leased_can_be_purged(scene: Any, state: str) -> None:
    ident = await scene.send(max_attempts=1, delay_s=5 if state == "delayed" else 0)
    await end(scene, ident, state)
    assert await purge(scene, state) == 1
    assert scene.counts() == {}
    assert await purge(scene, state) == 0


async def test_what_is_leased_is_not_purged(scene: Any) -> None:
    await scene.send()
    await scene.claim()
    with pytest.raises(InvalidInput, match="somebody works"):
        await purge(scene, "leased")


async def test_what_comes_or_changes_while_a_purge_runs_stays(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "PURGE_ROWS", 2)
    idents = await asyncio.gather(*(scene.send() for _ in range(6)))

    def meanwhile(fraction: float, _text: str) -> None:
        if not fraction:
            scene.send("late")
            scene.queue.claim(scene.a, 1)

    assert await purge(scene, "ready", progress=meanwhile) == 5, "the claimed one is not ready"
    assert scene.counts() == {"ready": 1, "leased": 1}
    assert await scene.state(idents[0]) == "leased"


async def test_a_purge_that_is_cancelled_keeps_the_rest(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "PURGE_ROWS", 2)
    for _ in range(6):
        await scene.send()

    def stop(fraction: float, _text: str) -> None:
        if fraction:
            task.cancel()

    task = asyncio.ensure_future(purge(scene, "ready", progress=stop))
    with pytest.raises(asyncio.CancelledError):
        await task
    await scene.database.write(lambda _: None)  # behind what was on its way
    assert 0 < scene.counts()["ready"] < 6


# --- who may not ------------------------------------------------------------------------------


async def test_a_denied_call_changes_nothing_and_leaves_a_row(scene: Any) -> None:
    ident = await scene.queue.send(scene.a, "x", b"1")
    calls = {
        "cancel": lambda: scene.queue.cancel(scene.b, ident),
        "retry": lambda: scene.queue.retry(scene.b, ident),
        "edit": lambda: edit(scene, ident, scene.b, priority=9),
        "purge": lambda: purge(scene, "ready", who=scene.b),
    }
    for call in calls.values():
        with pytest.raises(Denied):
            await call()
    stranger = Principal("test_agent_1", Role.AGENT, "testing")
    with pytest.raises(Denied):
        scene.queue.claim(stranger)
    await scene.database.write(lambda _: None)
    rows = await trail(scene, "queue.denied")
    assert [row[0] for row in rows] == ["dev_agent_b"] * 4 + ["test_agent_1"]
    assert [row[3] for row in rows] == [*calls, "use"]
    assert [row[1] for row in rows] == [ident] * 3 + ["messages"] * 2
    assert not any(row[2] for row in rows)
    view = await scene.queue.show(ident)
    assert (view.state, view.priority) == ("ready", 5)


async def test_its_sender_may_edit_and_a_missing_one_is_missing(scene: Any) -> None:
    ident = await scene.queue.send(scene.a, "x", b"1")
    assert (await edit(scene, ident, scene.a, priority=9)).priority == 9
    with pytest.raises(NotFound):
        await edit(scene, "dev_msg_99", priority=9)
    assert await trail(scene, "queue.denied") == []
