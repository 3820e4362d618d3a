"""Values that are not what they say: each refused where it comes in, and why."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import Engine, codec, open_engine
from swarmdeck.engine.actions import ACTIONS
from swarmdeck.engine.errors import Damaged, InvalidInput
from swarmdeck.engine.model import MAX_TTL_S, MAX_VALUE_BYTES, check_ttl
from swarmdeck.engine.parameters import parameters, read
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.vault import record

HUGE = pytest.param(10**5000, id="huge")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    made = load_settings(None, {}, {"vault.key_file": str(tmp_path / "vault.key")})
    async with open_engine(tmp_path / "data", settings=made) as opened:
        yield opened


# --- JSON -----------------------------------------------------------------------------------


def refused(body: bytes) -> str:
    with pytest.raises(InvalidInput) as error:
        codec.check_json(body)
    return error.value.message


def test_depth_is_told_by_a_scan_before_anything_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def parsed(_: bytes) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(codec, "decode_json", parsed)
    for body in (b"[" * 100_000, b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65):
        assert "deeper than 64" in refused(body)
    with pytest.raises(AssertionError, match="parsed"):
        codec.check_json(b"[" * 64 + b"]" * 64)


@pytest.mark.parametrize(
    "body",
    [b'["' + b"[" * 1000 + b'"]', b'["\\"' + b"{" * 1000 + b'"]', b"[" + b"[]," * 999 + b"1]"],
)
def test_brackets_that_do_not_nest_are_not_counted(body: bytes) -> None:
    assert codec.check_json(body) == body


def test_telling_the_depth_takes_time_linear_in_the_size() -> None:
    for unit in (b"[", b'"\\', b'["', b"[]", b'{"a":', b"\\"):
        body = b"[" * 70 + unit * (1_000_000 // len(unit))
        begun = time.thread_time()
        refused(body)
        assert time.thread_time() - begun < 1, unit


@pytest.mark.parametrize(
    "body", [b"NaN", b"[Infinity]", b"-Infinity", b"1e400", b'{"a":1e999}', b"9" * 400 + b".0"]
)
def test_numbers_that_are_not_finite_are_refused(body: bytes) -> None:
    assert "the value is not JSON" in refused(body)


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, -math.inf], {"a": math.nan}])
def test_numbers_that_are_not_finite_never_leave_as_null(value: Any) -> None:
    with pytest.raises(InvalidInput, match="NaN or infinity"):
        codec.encode(value)


@pytest.mark.parametrize("digits", [b"18446744073709551616", b"-9223372036854775809", b"9" * 5000])
def test_whole_numbers_beyond_64_bits_are_refused(digits: bytes) -> None:
    assert "the value is not JSON" in refused(digits)
    assert "the value is not JSON" in refused(b'{"a":[' + digits + b"]}")
    with pytest.raises(InvalidInput):
        read(VALUE, digits.decode())


@pytest.mark.parametrize("body", [b'"\\ud800"', b'"\\udc00x"', b'"\xed\xa0\x80"', b'"\xff"'])
def test_half_characters_are_refused(body: bytes) -> None:
    assert "the value is not JSON" in refused(body)


VALUE = next(p for p in parameters(ACTIONS["memory.set"]) if p.kind == "value")
BODY = next(p for p in parameters(ACTIONS["queue.send"]) if p.kind == "json")


@pytest.mark.parametrize("text", ['"\ud800"', "[\udcff]"])
def test_half_characters_in_what_is_typed_are_refused(text: str) -> None:
    for parameter in (VALUE, BODY):
        with pytest.raises(InvalidInput, match="not UTF-8"):
            read(parameter, text)


async def test_half_characters_in_a_value_a_key_or_a_body_are_refused(engine: Engine) -> None:
    memory, queue = engine.memory("testing"), engine.queue("testing")
    for failing in (
        memory.set("k", "\ud800"),
        memory.set("k", {"\ud800": 1}),
        memory.set("\ud800", 1),
        memory.get("\ud800"),
        queue.send("work", ["\ud800"]),
    ):
        with pytest.raises(InvalidInput):
            await failing


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}', b'{"a":1,"a":1}', b'{ "a" : 1, "\\u0061" : 2 }',
        b'[{"x":{"b":0,"c":1,"b":2}}]',
    ],
)  # fmt: skip
def test_a_key_that_stands_twice_in_an_object_is_refused(body: bytes) -> None:
    assert "a key twice" in refused(body)


@pytest.mark.parametrize(
    "body", [b'{"a":{"a":1},"b":{"a":1}}', b'{"a:b":1,"c":"a:b"}', b'{ "a" : "\\":", "b" : 1.0 }']
)
def test_keys_that_only_look_alike_are_taken(body: bytes) -> None:
    assert codec.check_json(body) == body


async def test_nul_is_a_character_in_values_and_in_nothing_else(engine: Engine) -> None:
    memory = engine.memory("testing")
    for value in (b"a\0b\0", "a\0b", {"\0": ["\0"]}):
        await memory.set("k", value)
        assert await memory.get("k") == value
    for failing in (
        memory.set("a\0b", 1),
        memory.set("k", 1, namespace="a\0"),
        engine.queue("testing").send("a\0", {}),
        engine.agents.register("testing", name="a\0b"),
    ):
        with pytest.raises(InvalidInput, match="is not allowed"):
            await failing


# --- LZ4 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1 << 31, (1 << 32) - 1, MAX_VALUE_BYTES + 1])
def test_a_compressed_value_that_lies_about_its_size_is_damaged(size: int) -> None:
    packed = record.compress(b"ab" * 1000)
    assert packed is not None
    tracemalloc.start()
    with pytest.raises(Damaged):
        record.decompress(size.to_bytes(4, "big") + packed[4:])
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_bomb_takes_no_more_room_than_a_value_may() -> None:
    packed = record.compress(bytes(MAX_VALUE_BYTES))
    assert packed is not None
    assert len(packed) < MAX_VALUE_BYTES // 200
    for claim in (1, 1000, MAX_VALUE_BYTES - 1, 2 * MAX_VALUE_BYTES, (1 << 32) - 1):
        with pytest.raises(Damaged):
            record.decompress(claim.to_bytes(4, "big") + packed[4:])
    assert len(record.decompress(packed)) == MAX_VALUE_BYTES


@pytest.mark.parametrize("cut", [1, 4, 5, 10, -1])
def test_a_compressed_value_that_is_cut_is_damaged(cut: int) -> None:
    packed = record.compress(b"ab" * 1000)
    assert packed is not None
    with pytest.raises(Damaged):
        record.decompress(packed[:cut])


# --- times and priorities -------------------------------------------------------------------


@pytest.mark.parametrize(
    "ttl_s", [-1, -0.001, 0, -0.0, 1e-9, math.nan, math.inf, MAX_TTL_S + 1, 1e300, HUGE]
)
def test_a_time_to_live_that_cannot_be_is_refused(ttl_s: float) -> None:
    with pytest.raises(InvalidInput, match="is out of range") as error:
        check_ttl(ttl_s)
    assert len(error.value.message) < 200


async def test_a_time_to_live_that_cannot_be_stores_nothing(engine: Engine) -> None:
    memory = engine.memory("testing")
    for ttl_s in (-1, 0, 1e-9, math.nan, MAX_TTL_S * 2):
        with pytest.raises(InvalidInput):
            await memory.set("k", 1, ttl_s=ttl_s)
    assert not await memory.has("k")
    await memory.set("k", 1, ttl_s=MAX_TTL_S)
    assert await memory.has("k")


@pytest.mark.parametrize("priority", [0, 11, -1, HUGE, 5.5, "urgent", "9" * 5000, True, None])
async def test_a_priority_out_of_range_is_refused_when_it_is_sent(
    engine: Engine, priority: Any
) -> None:
    queue = engine.queue("testing")
    with pytest.raises(InvalidInput):
        await queue.send("work", {}, priority=priority)
    assert await queue.claim(limit=1, wait_s=0) == []


async def test_a_message_that_cannot_be_done_is_a_dead_letter_and_blocks_nobody(
    engine: Engine,
) -> None:
    queue = engine.queue("testing")
    poison = await queue.send("work", {"n": 0}, priority=9)
    healthy = [await queue.send("work", {"n": n}, priority=9) for n in range(1, 4)]
    done: list[str] = []
    for _ in range(20):
        for message in await queue.claim(limit=10, wait_s=0):
            if message.id == poison:
                await queue.nack(message, error="cannot be done", delay_s=0)
            else:
                await queue.ack(message)
                done.append(message.id)
    assert done == healthy
    [dead] = await engine.run(ACTIONS["queue.dead"].type(environment="testing"))
    assert (dead.id, dead.state, dead.error) == (poison, "dead", "cannot be done")
