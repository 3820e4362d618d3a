"""A peer that speaks nonsense, slowly or too much hurts only its own connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmdeck.engine import Engine, connect, open_engine
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.link import maps, protocol
from swarmdeck.engine.lock import find_socket
from swarmdeck.engine.settings import load_settings

HELLO = b"".join(protocol.frame(protocol.Hello(protocol.VERSION)))
pack = msgspec.msgpack.encode


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    made = load_settings(None, {}, {"vault.key_file": str(tmp_path / "vault.key")})
    async with open_engine(tmp_path / "data", settings=made):
        found = find_socket(tmp_path / "data")
        assert found is not None
        yield found
        async with connect(tmp_path / "data") as other:
            await still_works(other)


async def still_works(engine: Engine) -> None:
    await engine.memory("testing").set("k", 1)
    assert await engine.memory("testing").get("k") == 1


async def said(place: Path, *pieces: bytes) -> list[Any]:
    """Send pieces and nothing more; what comes back until the server closes."""
    reader, writer = await asyncio.open_unix_connection(place)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(10):
        answers = protocol.FrameReader().feed(await reader.read())
    writer.close()
    await writer.wait_closed()
    return [protocol.decode_response(body) for body in answers]


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "sent",
    [
        framed(b""), (protocol.MAX_FRAME_BYTES + 1).to_bytes(4, "big"), b"\xff\xff\xff\xff",
        b"GET / H",
        framed(b"\xc1"), framed(b"\x92\x01"), framed(b"\x80"), framed(b"\xdd\xff\xff\xff\xff"),
        framed(pack([9, 1])), framed(pack([1, "x", "y", "z", "w", []])), framed(b"\x91" * 5000),
        framed(pack([4, 1, "events"]) + b"\x01"),
    ],
)  # fmt: skip
async def test_a_frame_that_is_none_closes_its_connection(place: Path, sent: bytes) -> None:
    *_, last = await said(place, HELLO, sent)
    assert isinstance(last, protocol.Failure)
    assert last.id == protocol.UNASKED
    assert last.error.code == "invalid_input"
    assert await said(place, sent)


@pytest.mark.parametrize("cut", [1, 3, 4, 5, len(HELLO) - 1])
async def test_a_client_that_never_ends_its_hello_is_let_go(
    place: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setattr(protocol, "HELLO_S", 0.05)
    [answer] = await said(place, HELLO[:cut])
    assert "no hello" in answer.error.message


async def request(place: Path, message: protocol.Message | bytes) -> Any:
    """One request after a hello; its answer."""
    reader, writer = await asyncio.open_unix_connection(place)
    sent = framed(message) if isinstance(message, bytes) else b"".join(protocol.frame(message))
    writer.write(HELLO + sent)
    found: list[bytes] = []
    frames = protocol.FrameReader()
    async with asyncio.timeout(20):
        while len(found) < 2 and (data := await reader.read(1 << 20)):
            found += frames.feed(data)
    writer.close()
    await writer.wait_closed()
    return protocol.decode_response(found[1])


async def test_large_messages_pass_and_larger_than_a_value_do_not(place: Path) -> None:
    body = msgspec.json.encode("x" * (2 << 20))
    call = ("memory.set", "operator", "testing")
    answer = await request(place, pack([1, 1, *call, ["default", "k", 0, body, 1, None, None]]))
    assert isinstance(answer, protocol.Result)
    body = bytes((16 << 20) + 1)
    answer = await request(place, pack([1, 1, *call, ["default", "k", 1, body, 1, None, None]]))
    assert answer.error.code == "invalid_input"


WRONG: tuple[Any, ...] = (
    [], [1], [None] * 9, ["default"] * 9, [[]] * 9, [{}] * 9, [b"x"] * 9, {"namespace": "default"},
    "text", 5, None, [True] * 8, [1.5] * 8, ["default", "k", "0", b"1", 1, None, None],
    ["default", "k", 0, "1", 1, None, None], ["default", "k", 0, b"1", 9, None, None],
    ["default", "k", 9, b"1", 1, None, None], ["default", "k", 0, b"NaN", 1, None, None],
    ["default", "k", 0, b'{"a":1,"a":2}', 1, None, None],
    ["default", "k", 0, b"[" * 99, 1, None, None],
)  # fmt: skip
VERBS = (
    "memory.get", "memory.set", "memory.delete", "memory.has", "memory.clear", "memory.mget",
    "memory.mset", "memory.keys", "memory.incr", "queue.send", "queue.claim", "queue.extend",
    "queue.ack", "queue.nack", "queue.send_many", "queue.broadcast",
    "agent.heartbeat", "agent.ready",
)  # fmt: skip


async def test_every_verb_refuses_arguments_of_other_types(place: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(place)
    calls = [(verb, args) for verb in VERBS for args in WRONG]
    writer.write(HELLO)
    for ident, (verb, args) in enumerate(calls, 1):
        writer.write(framed(pack([1, ident, verb, "operator", "testing", args])))
    frames, found = protocol.FrameReader(), []
    async with asyncio.timeout(20):
        while len(found) < len(calls) + 1:
            data = await reader.read(1 << 20)
            assert data, "the connection was closed"
            found += frames.feed(data)
    writer.close()
    await writer.wait_closed()
    for answer in map(protocol.decode_response, found[1:]):
        verb, args = calls[answer.id - 1]
        assert isinstance(answer, protocol.Failure), (verb, args)
        assert answer.error.code in {"invalid_input", "not_found", "denied"}, (verb, args, answer)


async def test_arguments_with_a_default_may_be_left_out_at_the_end(place: Path) -> None:
    """As clients do that were made before there were any."""
    call = ["queue.send", "operator", "testing"]
    old = ["work", b"1", 5, 0, None, None, None, None]
    for args in (old, [*old, 0]):
        answer = await request(place, pack([1, 1, *call, args]))
        assert isinstance(answer, protocol.Result), answer
    for args in (old[:-1], [*old, 0, 0], [*old, "soon"]):
        answer = await request(place, pack([1, 1, *call, args]))
        assert answer.error.code == "invalid_input"


async def test_a_key_that_stands_twice_in_a_map_is_refused(place: Path) -> None:
    twice = b"\x84\xa2do\xaamemory.get\xabenvironment\xa7testing\xa3key\xa1k\xa3key\xa1j"
    answer = await request(place, b"\x93\x02\x01" + twice)
    assert "a key twice" in answer.error.message
    answer = await request(place, b"\x94\x04\x01\xa6events\x82\xa1a\x01\xd9\x01a\x02")
    assert "a key twice" in answer.error.message


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\x81\x01\x02\x03", b"\xc7\x01\x05a", b"\xcf" + b"\x91" * 8 + b"\x01",
        b"\x91" * 100 + b"\xcc\x01",
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_type_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        maps.decode_body(msgspec.Raw(body))


def test_other_forms_than_the_shortest_are_taken_while_they_are_small() -> None:
    spread = b"\xdf\x00\x00\x00\x01\xdb\x00\x00\x00\x01a\xcb" + bytes(8)
    assert maps.decode_body(msgspec.Raw(spread)) == {"a": 0.0}
    large = b"\xdd\x00\x00\xff\xff" + b"\x01" * 0xFFFF
    with pytest.raises(InvalidInput, match="shortest"):
        maps.decode_body(msgspec.Raw(large))
