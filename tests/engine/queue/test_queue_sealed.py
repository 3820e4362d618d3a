"""What the vault does for messages: bodies and results sealed or checked, damage kept out of the
way, nothing given out while it is sealed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import Engine, actions
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Corrupt, Damaged, Sealed
from swarmdeck.engine.queue.counters import read_snapshot
from swarmdeck.engine.vault import letters

CLOSED, OPEN = "production", "development"
BODY = {"path": "canary-9f2c/plan.txt"}


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    opening = open_core(tmp_path / "data", settings=None, transient=True, headless=True, clock=None)
    async with opening as opened:
        yield opened


async def stored(core: Core, environment: str, column: str = "body") -> list[bytes]:
    """What lies in the file, in order of ids."""
    statement = f"SELECT {column} FROM message ORDER BY id"
    rows = await core.places[environment].database.read(
        lambda reader: reader.execute(statement).fetchall()
    )
    return [row[0] for row in rows]


async def put(core: Core, environment: str, number: int, body: bytes, column: str = "body") -> None:
    """Change the file below the engine."""
    statement = f"UPDATE message SET {column} = ? WHERE id = ?"
    await core.places[environment].database.write(
        lambda tx: tx.execute(statement, (body, number)).rowcount
    )


async def shown(engine: Engine, ident: str) -> Any:
    return await engine.run(actions.QueueShow(id=ident))


@pytest.mark.parametrize(("environment", "sealed"), [(CLOSED, True), (OPEN, False)])
async def test_bodies_and_results_are_sealed_where_isolation_is_strict(
    core: Core, environment: str, sealed: bool
) -> None:
    queue = core.engine.queue(environment)
    ident = await queue.send("digest", BODY)
    [message] = await queue.claim()
    assert message.body == BODY
    await queue.ack(message, result={"words": "canary-9f2c"})
    for column in ("body", "result"):
        [text] = await stored(core, environment, column)
        assert (b"canary-9f2c" not in text) is sealed
        assert text[0] >= letters.FORM
    view = await shown(core.engine, ident)
    assert (view.body, view.result) == (BODY, {"words": "canary-9f2c"})


@pytest.mark.parametrize("environment", [CLOSED, OPEN])
async def test_no_flipped_byte_of_a_body_or_result_is_given_out(
    core: Core, environment: str
) -> None:
    queue = core.engine.queue(environment)
    ident = await queue.send("digest", BODY)
    [message] = await queue.claim()
    await queue.ack(message, result=7)
    for column in ("body", "result"):
        [text] = await stored(core, environment, column)
        for at in range(len(text)):
            flipped = text[:at] + bytes([text[at] ^ (1 << at % 8)]) + text[at + 1 :]
            await put(core, environment, 1, flipped, column)
            with pytest.raises(Damaged):
                await shown(core.engine, ident)
        await put(core, environment, 1, text, column)
    assert (await shown(core.engine, ident)).result == 7


async def test_a_damaged_message_is_a_dead_letter_and_holds_nobody_up(core: Core) -> None:
    queue = core.engine.queue(CLOSED)
    bad = await queue.send("digest", BODY, priority=10)
    good = await queue.send("digest", BODY, priority=1)
    text = (await stored(core, CLOSED))[0]
    await put(core, CLOSED, 1, text[:-1] + bytes([text[-1] ^ 4]))
    [message] = await queue.claim(wait_s=5)
    assert message.id == good
    [dead] = await core.engine.run(actions.QueueDead(environment=CLOSED))
    assert dead.id == bad
    assert "does not match its seal" in dead.error
    place = core.places[CLOSED]
    snapshot = await place.database.read(read_snapshot)
    counts = place.queue.counts()
    assert (counts.ready, counts.leased, counts.dead) == (0, 1, 1)
    assert (sum(count for *_, count in snapshot.ready), len(snapshot.leases)) == (0, 1)
    assert place.queue.counters.redelivered == snapshot.redelivered


async def test_texts_do_not_open_where_they_do_not_belong(core: Core) -> None:
    queue = core.engine.queue(CLOSED)
    first = await queue.send("digest", {"n": 1})
    await queue.send("digest", {"n": 2})
    one, two = await stored(core, CLOSED)
    await put(core, CLOSED, 1, two)
    with pytest.raises(Damaged):
        await shown(core.engine, first)
    await put(core, CLOSED, 1, one)
    await put(core, CLOSED, 1, one, "result")
    with pytest.raises(Damaged):
        await shown(core.engine, first)
    await put(core, CLOSED, 1, b'{"n":3}')
    with pytest.raises(Damaged):
        await shown(core.engine, first)


async def test_an_edited_body_is_sealed_again(core: Core) -> None:
    queue = core.engine.queue(CLOSED)
    ident = await queue.send("digest", {"n": 1})
    await core.engine.run(actions.QueueEdit(id=ident, body={"n": "canary-9f2c"}))
    [text] = await stored(core, CLOSED)
    assert b"canary-9f2c" not in text
    [message] = await queue.claim()
    assert message.body == {"n": "canary-9f2c"}


async def test_a_sealed_queue_takes_and_gives_nothing_and_goes_on_once_it_is_unsealed(
    core: Core,
) -> None:
    queue = core.engine.queue(CLOSED)
    ident = await queue.send("digest", BODY, delay_s=0.3)
    waiting = asyncio.create_task(queue.claim(wait_s=20))
    await core.engine.run(actions.VaultSeal())
    for call in (queue.send("digest", BODY), queue.claim(), shown(core.engine, ident)):
        with pytest.raises(Sealed):
            await call
    async with asyncio.timeout(10):
        while not core.places[CLOSED].queue.counts().ready:
            await asyncio.sleep(0.02)
    assert not waiting.done()
    await core.engine.run(actions.VaultUnseal())
    [message] = await asyncio.wait_for(waiting, 10)
    assert message.body == BODY


async def test_a_rotation_seals_messages_anew(core: Core) -> None:
    queue = core.engine.queue(CLOSED)
    idents = [await queue.send("digest", {"n": number}) for number in range(250)]
    [message] = await queue.claim()
    await queue.ack(message, result=1)
    before = {letters.key_of(text) for text in await stored(core, CLOSED)}
    await core.engine.run(actions.VaultRotate(environment=CLOSED))
    texts = await stored(core, CLOSED)
    texts += [text for text in await stored(core, CLOSED, "result") if text is not None]
    after = {letters.key_of(text) for text in texts}
    assert len(after) == 1
    assert not after & before
    assert [(await shown(core.engine, ident)).body["n"] for ident in idents] == list(range(250))


async def test_a_damaged_message_is_found_by_checks_and_backups(core: Core) -> None:
    queue = core.engine.queue(CLOSED)
    await queue.send("digest", BODY)
    [text] = await stored(core, CLOSED)
    await put(core, CLOSED, 1, text[:-1] + bytes([text[-1] ^ 1]))
    [found] = await core.engine.run(actions.DatabaseCheck(environment=CLOSED, full=True))
    assert found.status == "failed"
    assert "message 1 does not match its seal" in found.detail
    with pytest.raises(Corrupt, match="message 1"):
        await core.engine.run(actions.BackupCreate(environment=CLOSED))
