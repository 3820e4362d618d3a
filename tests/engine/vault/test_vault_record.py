"""The form of a record, byte by byte, and what is refused before it costs anything."""

from __future__ import annotations

import struct
from pathlib import Path

import lz4.block
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.engine.errors import Damaged
from swarmdeck.engine.vault import derive, record

KEY = bytes(range(32))
NONCE = bytes(range(100, 112))
BODY = b'{"name":"A"}'
SCOPE = record.scope("development", "default", "dev_agent_1", "dev_team_1", None)
BOUND = record.bind(1, 1, 0x20, 7, 3, 1_700_000_000_000_000, 1_700_000_000_000_001, 0, 8)
CONTEXT = BOUND + b"user:123" + SCOPE

# The same as in docs/security.md.
SCOPE_HEX = (
    "000b646576656c6f706d656e74000764656661756c74000b6465765f6167656e745f31"
    "000a6465765f7465616d5f31ffff"
)
BOUND_HEX = "01012000000007000000000000000300060a24181e400000060a24181e400100000000000000000008"
SEALED_HEX = "016465666768696a6b6c6d6e6f3339b007148c74a41c237d95f316abe710d6f9229dc2d11d54844d83"
MAC_HEX = "6465666768696a6b6c6d6e6f28e9fe9c55e7211cc93e1fdcc9efbf31"


def test_the_manual_has_these_vectors() -> None:
    manual = Path(__file__).parents[3] / "docs" / "security.md"
    digits = "".join(manual.read_text(encoding="utf-8").split())
    for vector in (CONTEXT.hex(), SEALED_HEX, MAC_HEX):
        assert vector in digits


def test_the_context_is_what_the_manual_says() -> None:
    assert SCOPE.hex() == SCOPE_HEX
    assert BOUND.hex() == BOUND_HEX


def test_a_sealed_body_is_what_the_manual_says() -> None:
    sealed = record.seal(AESGCM(KEY), NONCE, BODY, CONTEXT)
    assert sealed.hex() == SEALED_HEX
    assert record.unseal(AESGCM(KEY), sealed, CONTEXT) == BODY
    assert len(sealed) == len(BODY) + record.OVERHEAD_BYTES


def test_a_check_is_what_the_manual_says() -> None:
    cipher = AESGCM(derive.expand(KEY, "swarmdeck record check"))
    check = record.mac(cipher, NONCE, BODY, CONTEXT)
    assert check.hex() == MAC_HEX
    record.verify(cipher, BODY, check, CONTEXT)


def test_keys_are_derived_as_rfc_5869_says() -> None:
    wanted = HKDF(SHA256(), 32, b"salt", b"swarmdeck key check").derive(KEY)
    assert derive.expand(derive.extract(KEY, b"salt"), "swarmdeck key check") == wanted


def test_every_flipped_byte_of_a_sealed_body_is_refused() -> None:
    cipher = AESGCM(KEY)
    sealed = record.seal(cipher, NONCE, BODY, CONTEXT)
    for at in range(len(sealed)):
        broken = bytearray(sealed)
        broken[at] ^= 0x01
        with pytest.raises((InvalidTag, ValueError)):
            record.unseal(cipher, bytes(broken), CONTEXT)
    for at in range(len(CONTEXT)):
        context = bytearray(CONTEXT)
        context[at] ^= 0x80
        with pytest.raises(InvalidTag):
            record.unseal(cipher, sealed, bytes(context))


def test_names_that_run_together_differ() -> None:
    texts = [
        ("a", "bc", "o", None, None), ("ab", "c", "o", None, None), ("a", "b", "co", None, None),
        ("a", "bc", "o", "", None), ("a", "bc", "o", None, ""), ("a", "bc", "o", "t", None),
        ("a", "bc", "o", None, "t"), ("a", "bco", "", None, None),
    ]  # fmt: skip
    assert len({record.scope(*each) for each in texts}) == len(texts)


def test_what_is_no_text_has_no_scope() -> None:
    for odd in (1, b"a", 1.5):
        with pytest.raises(ValueError, match="not text"):
            record.scope("development", odd)  # type: ignore[arg-type]


@given(st.binary(max_size=5000))
def test_a_compressed_value_comes_back(body: bytes) -> None:
    packed = record.compress(body)
    if packed is not None:
        assert len(packed) < len(body)
        assert record.decompress(packed) == body


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_damage(body: bytes) -> None:
    try:
        plain = record.decompress(body)
    except Damaged:
        return
    assert 0 < len(plain) <= record.MAX_RATIO * len(body)


def test_a_bomb_is_refused_before_room_is_made_for_it() -> None:
    zeros = lz4.block.compress(bytes(64 << 20), store_size=False)
    for size in (64 << 20, (16 << 20) + 1, 0xFFFFFFFF, 0):
        with pytest.raises(Damaged, match="claims"):
            record.decompress(struct.pack(">I", size) + zeros)
    short = lz4.block.compress(bytes(1000), store_size=False)
    with pytest.raises(Damaged, match="claims"):
        record.decompress(struct.pack(">I", 16 << 20) + short)


def test_a_length_that_is_not_the_length_is_refused() -> None:
    packed = record.compress(b"ab" * 1000)
    assert packed is not None
    for size in (1, 1999, 2001, 4000):
        with pytest.raises(Damaged):
            record.decompress(struct.pack(">I", size) + packed[4:])


def test_a_wrapped_key_opens_only_for_what_it_was_wrapped_for() -> None:
    wrapped = derive.wrap(KEY, NONCE, "development")
    assert derive.unwrap(KEY, wrapped, "development") == NONCE
    for wrapping, body, label in (
        (KEY, wrapped, "testing"),
        (bytes(32), wrapped, "development"),
        (KEY, wrapped[:-1], "development"),
        (KEY, b"", "development"),
    ):
        with pytest.raises(Damaged):
            derive.unwrap(wrapping, body, label)


def test_names_without_their_lengths_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lengthless:
        @staticmethod
        def pack(_: int) -> bytes:
            return b""

    monkeypatch.setattr(record, "_SHORT", Lengthless)
    with pytest.raises(AssertionError):
        test_names_that_run_together_differ()
