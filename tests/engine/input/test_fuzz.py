"""Whatever comes, every decoder refuses it in our words, in time, and in little memory."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from swarmdeck.engine import codec
from swarmdeck.engine.link import protocol


def _load() -> ModuleType:
    place = Path(__file__).parents[2] / "fuzz" / "decoders.py"
    spec = importlib.util.spec_from_file_location("decoders", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["decoders"] = module
    spec.loader.exec_module(module)
    return module


decoders = _load()

INPUTS: Final = 20_000 if os.environ.get("STRESS") else 2_000
MIB: Final = 1 << 20
# Twice what the format allows: a value of 16 MiB, a frame of 32, a few of 64 KiB otherwise.
MEMORY: Final = {"record": 32 * MIB, "frame": 64 * MIB}
OTHERWISE: Final = 2 * MIB


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A seed with a few bytes changed, cut out, doubled or put in."""
    body = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(body) + 1)
        length = chance.choice((1, 1, 2, 4, 16))
        kind = chance.randrange(5)
        if kind == 0 and body:
            body[at % len(body)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 1:
            del body[at : at + length]
        elif kind == 2:
            body[at:at] = body[at : at + length] * chance.choice((1, 2, 40))
        elif kind == 3:
            body[at:at] = chance.randbytes(length)
        else:
            body[at:at] = chance.choice(TOKENS)
    return bytes(body)


TOKENS: Final = (
    b"[" * 70, b'{"a":' * 70, b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"NaN", b"1e400", b"9" * 30,
    b"\\ud800", b"\xed\xa0\x80", b"\x00", b"'", b'"', b"--", b"\xdd\xff\xff\xff\xff", b"\x1b[2J",
    b"a.a." * 40, b'"""', b"\n",
)  # fmt: skip


@pytest.mark.parametrize("name", decoders.DECODERS)
def test_a_decoder_survives_anything(name: str) -> None:
    decode, seeds = decoders.DECODERS[name], decoders.SEEDS[name]
    for seed in seeds:
        decode(seed)
    wild = st.binary(max_size=300)
    near = st.builds(mutated, st.sampled_from(seeds), st.randoms(use_true_random=True))

    @settings(
        max_examples=INPUTS, deadline=None, database=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(wild | near | near)
    @example(b"")
    def survives(data: bytes) -> None:
        limit = MEMORY.get(name, OTHERWISE)
        # A module that is loaded on the way counts once, what an input costs counts again.
        assert peak_of(data) < limit or peak_of(data) < limit, data

    def peak_of(data: bytes) -> int:
        tracemalloc.start()
        try:
            decoders.bounded(decode, data)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    survives()


# --- planted: each kind of failure is one that the tests above can see ------------------------


def test_a_wrong_exception_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNDECODABLE", ())
    with pytest.raises(Exception, match="truncated"):
        decoders.DECODERS["frame"](b"\0\0\0\0\1\x92")


def test_a_wrong_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgiving(cipher: object, body: bytes, *_: object) -> bytes:
        return body

    monkeypatch.setattr("swarmdeck.engine.vault.record.unseal", forgiving)
    with pytest.raises(AssertionError):
        decoders.DECODERS["record"](b"\2\4\1\1")


def test_a_slow_decoder_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "LIMIT_S", 1e-9)
    with pytest.raises(AssertionError, match="of processor time"):
        decoders.bounded(decoders.DECODERS["names"], b"user:1")


def test_a_key_that_stands_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_members", lambda _: 0)
    with pytest.raises(AssertionError, match="twice"):
        decoders.DECODERS["message"](b'{"a":1,"a":2}')


# --- found by fuzzing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config", b"a." * 20_000 + b"a=1"),  # 8 s in the parser of names
        ("config", b"[a]\nb='''" + b"\n" * 30_000 + b"'''\n"),  # minutes in the search for lines
        ("config", b"store.batch_limit" + b".a" * 60 + b"=1"),
        ("message", b"[" * 70 + b'"\\' * 100_000),  # a regular expression that went back and forth
        ("frame", b"\0\0\0\0\x06\x93\x04\x01\x81\x81\x01\x02\x03"),  # a map as the key of a map
        ("vaultfile", decoders.SEEDS["vaultfile"][0].replace(b'sum":"', b'sum":"\xc3\xa9')),
    ],
)  # fmt: skip
def test_what_was_found_stays_found(name: str, data: bytes) -> None:
    decoders.bounded(decoders.DECODERS[name], data)
