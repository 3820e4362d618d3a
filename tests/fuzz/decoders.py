"""Everything that turns bytes from outside into something, one function each.

A function takes any bytes and returns. What it may raise inside is one of our errors; anything
else, a wrong answer, more than 100 ms or more memory than twice the limit of the format is a
finding. The functions serve the property tests and the fuzzer alike.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
import time
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmdeck.engine import codec, commandline, model, settings
from swarmdeck.engine.actions import check
from swarmdeck.engine.backup import manifest as backup_manifest
from swarmdeck.engine.dataplane import DataPlane
from swarmdeck.engine.errors import Corrupt, Damaged, SwarmDeckError
from swarmdeck.engine.link import protocol
from swarmdeck.engine.link.backend import CheckedVerb
from swarmdeck.engine.link.maps import decode_action, decode_body
from swarmdeck.engine.memory.records import Entry
from swarmdeck.engine.memory.store import MemoryStore
from swarmdeck.engine.model import Environment, Level
from swarmdeck.engine.queue import arguments
from swarmdeck.engine.vault import record, vaultfile
from swarmdeck.engine.vault.ring import Ring

LIMIT_S: Final = 0.1
SMALL: Final = b"\x00"

Decoder = Callable[[bytes], None]


def bounded(decode: Decoder, data: bytes) -> None:
    """Decode; what is slow is tried again, because others use this processor too."""
    for _ in range(4):
        begun = time.thread_time()
        decode(data)
        spent_s = time.thread_time() - begun
        if spent_s < LIMIT_S:
            return
    raise AssertionError(f"{decode.__name__} took {spent_s * 1000:.0f} ms of processor time")


def _is_one_line(refused: SwarmDeckError) -> None:
    said = refused.message + refused.hint
    if len(refused.message) > 1_000 or "\n" in said or not said.isprintable():
        raise AssertionError("a message that is not one line") from refused


def _took(data: bytes, size: int) -> tuple[bytes, bytes]:
    return data[:size], data[size:]


# --- records --------------------------------------------------------------------------------


class _Keeper:
    """A vault that has a key for every environment, always the same."""

    protected = False

    def environment_key(self, environment: str, *, make: bool) -> bytes:
        return bytes(32)

    def renew_environment_key(self, environment: str) -> None:
        raise AssertionError(environment)

    def is_protected(self, environment: str) -> bool:
        return self.protected


class _Keys:
    """The table of keys as a transaction shows it."""

    now_us = 1

    def __init__(self) -> None:
        self.rows: dict[int, list[Any]] = {}

    def execute(self, sql: str, args: tuple[Any, ...]) -> _Keys:
        if sql.lstrip().startswith("INSERT"):
            _, ident, kind, wrapped, now_us = args
            self.rows[ident] = [ident, kind, "active", wrapped, 0, now_us]
        return self

    def fetchall(self) -> list[list[Any]]:
        return list(self.rows.values())


@cache
def _ring() -> tuple[Ring, _Keys]:
    keeper, keys = _Keeper(), _Keys()
    ring = Ring(Environment.DEVELOPMENT, keeper, strict=False, compress_above=None)
    ring.prepare(keys)  # type: ignore[arg-type]
    keeper.protected = True
    return ring, keys


def _entry(plain: bytes, format_: int, level: Level) -> Entry:
    return Entry(format_, plain, level, "dev_agent_1", "dev_team_1", None, 3, 1_000, 2_000)


def _row(entry: Entry) -> list[Any]:
    """A row as the engine writes it, without the environment in front."""
    ring, keys = _ring()
    [row] = ring.protect_all(keys, {("default", "user:1"): entry})  # type: ignore[arg-type]
    return list(row[1:])


def _opened(row: list[Any]) -> Entry | None:
    try:
        entry = _ring()[0].open(row)
    except Damaged:
        return None
    assert len(entry.body) <= model.MAX_VALUE_BYTES
    return entry


def sealed_record(data: bytes) -> None:
    """A row of which anything is not what was written is never opened as another record. One that
    was written with any content, also by a liar who has the key, opens within bounds."""
    head, rest = _took(data, 4)
    how, field, at, flip = head.ljust(4, SMALL)
    level = Level.PRIVATE if at & 1 else Level.PUBLIC
    if how % 4 == 0:
        entry = _entry(rest, codec.RAW, level)
        assert _opened(_row(entry)) == entry
    elif how % 4 == 1:
        found = _opened(_row(_entry(rest, codec.RAW | record.LZ4, level)))
        assert found is None or len(found.body) <= record.MAX_RATIO * len(rest)
    else:
        entry = _entry(b"value", codec.RAW, level)
        row = _row(entry)
        column = field % len(row)
        flipped = how % 4 == 2 and isinstance(row[column], bytes)
        row[column] = _flipped(row[column], at, flip) if flipped else _other(rest, flip)
        assert _opened(row) in {None, entry}, (column, row)


def _flipped(body: bytes, at: int, flip: int) -> bytes:
    found = bytearray(body)
    found[at % len(found)] ^= flip
    return bytes(found)


def _other(rest: bytes, kind: int) -> Any:
    """Anything a column of a damaged file can hold."""
    choices: tuple[Any, ...] = (
        None, rest, rest.decode(errors="replace"), int.from_bytes(rest[:8], "big", signed=True),
        float(int.from_bytes(rest[:4], "big")), 0, 1, -1, "", b"",
    )  # fmt: skip
    return choices[kind % len(choices)]


def vault_file(data: bytes) -> None:
    """`keys/vault.json`, whatever is in it."""
    with tempfile.TemporaryDirectory(dir=_shm()) as place:
        (Path(place) / vaultfile.NAME).write_bytes(data)
        try:
            vaultfile.load(Path(place))
        except Corrupt:
            return


def _shm() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


# --- the socket -----------------------------------------------------------------------------


class _Anything:
    """A part of the engine that takes every call."""

    def __getattr__(self, name: str) -> Any:
        return self if name in {"memory", "queue", "registry"} else lambda *_: None


@cache
def _verbs() -> dict[str, CheckedVerb]:
    places = {each.value: _Anything() for each in Environment}
    plane = DataPlane(places, places)  # type: ignore[arg-type]
    return {name: CheckedVerb(name, verb) for name, verb in plane.verbs.items()}


def frames(data: bytes) -> None:
    """What arrives on the socket, cut anywhere on its way."""
    head, rest = _took(data, 1)
    step = head[0] if head and head[0] else len(rest) or 1
    reader = protocol.FrameReader()
    bodies: list[bytes] = []
    whole: list[bytes] = []
    refused = [False, False]
    try:
        for at in range(0, len(rest), step):
            bodies += reader.feed(rest[at : at + step])
    except SwarmDeckError:
        refused[0] = True
    try:
        whole = protocol.FrameReader().feed(rest)
    except SwarmDeckError:
        refused[1] = True
    assert refused[0] == refused[1]
    assert refused[0] or bodies == whole
    for body in (*bodies, rest):
        request(body)


def request(body: bytes) -> None:
    """One message, as the server and the client read it."""
    for decode in (protocol.decode_response, protocol.decode_request):
        try:
            found = decode(body)
        except protocol.UNDECODABLE:
            continue
        try:
            if isinstance(found, protocol.Call) and found.verb in _verbs():
                _verbs()[found.verb](model.OPERATOR_PRINCIPAL, found.environment, found.args)
            elif isinstance(found, protocol.Dispatch):
                check(decode_action(found.action))
            elif isinstance(found, protocol.Publish):
                decode_body(found.body)
        except SwarmDeckError:
            continue


# --- messages and values --------------------------------------------------------------------


def json_text(data: bytes) -> None:
    """A value or the body of a message. What is let through reads back as itself."""
    try:
        body = arguments.body(data)
    except SwarmDeckError:
        return
    value = codec.decode_json(body)
    json.loads(body, object_pairs_hook=_once)
    assert codec.decode_json(codec.encode_json(value)) == value


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    assert len(found) == len(members), "a key stands twice"
    return found


@cache
def _store() -> MemoryStore:
    store = MemoryStore.__new__(MemoryStore)
    store.ring = _Open()  # type: ignore[assignment]
    store._namespaces = set()
    return store


class _Open:
    reason = ""


def message(data: bytes) -> None:
    """What stands around the body of a message: kind, key, times, and the writes of an ack."""
    json_text(data)
    try:
        found = msgspec.msgpack.decode(data)
    except protocol.UNDECODABLE:
        return
    for part in found if isinstance(found, list) else [found]:
        _allowed(arguments.kind, part)
        _allowed(arguments.dedup_key, part)
        _allowed(arguments.number, part, "dev")
        _allowed(arguments.kinds, part)
        _allowed(arguments.wait, part)
        _allowed(arguments.lease, part)
        _allowed(arguments.expiry, part, 0)
        _allowed(arguments.error, part)
    if isinstance(found, list):
        _allowed(_store().check_writes, found)


def _allowed(function: Callable[..., Any], *args: Any) -> None:
    try:
        function(*args)
    except SwarmDeckError:
        return


# --- what people write ----------------------------------------------------------------------


def config(data: bytes) -> None:
    """A settings file."""
    try:
        settings.read_file("config.toml", data)
    except SwarmDeckError as refused:
        _is_one_line(refused)
        if not refused.message.startswith("config.toml"):
            raise AssertionError("no place in the message") from refused


def command(data: bytes) -> None:
    """A line typed into the console or a shell."""
    text = data.decode(errors="surrogateescape")
    commandline.complete(text)
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    try:
        action = commandline.parse(words)
    except SwarmDeckError as refused:
        _is_one_line(refused)
        return
    assert commandline.parse(commandline.render(action)) == action


def names(data: bytes) -> None:
    """A name, a key, a name for display: what is let through hides nothing."""
    text = data.decode(errors="surrogateescape")
    _allowed(model.check_name, text)
    try:
        model.check_key(text)
    except SwarmDeckError:
        pass
    else:
        assert 0 < len(text.encode()) <= model.MAX_KEY_BYTES
        assert unicodedata.is_normalized("NFC", text)
        assert not {unicodedata.category(each) for each in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    _allowed(model.check_display_name, text)
    _allowed(model.parse_size, text)
    _allowed(model.parse_level, text)
    _allowed(model.parse_priority, text)


_PUBLIC: Final = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def manifest(data: bytes) -> None:
    """The manifest of a backup. Only the bytes that the engine would write are one."""
    try:
        found = backup_manifest.decode(data)
    except Corrupt:
        return
    assert backup_manifest.encode(found.manifest, found.signature) == data
    try:
        backup_manifest.require_signature(found, _PUBLIC, "development", "x")
    except Corrupt:
        return
    raise AssertionError("a manifest nobody has signed was taken")


DECODERS: Final[dict[str, Decoder]] = {
    "record": sealed_record,
    "frame": frames,
    "config": config,
    "message": message,
    "manifest": manifest,
    "command": command,
    "names": names,
    "vaultfile": vault_file,
}


def _frame(message: msgspec.Struct) -> bytes:
    return SMALL + b"".join(protocol.frame(message))  # type: ignore[arg-type]


def _call(verb: str, *args: object) -> bytes:
    return SMALL + b"".join(protocol.call_frame(1, verb, "operator", "development", args))


# Where the search begins: one of each kind that is taken.
SEEDS: Final[dict[str, tuple[bytes, ...]]] = {
    "record": (
        b"\0\0\0\0value", b"\1\0\0\0" + (record.compress(b"ab" * 200) or b""),
        b"\2\1\3\1", b"\3\6\0\5", b"\3\2\1\3\x30",
    ),
    "frame": (
        _frame(protocol.Hello(1, "dev_agent_1", "token")),
        _call("memory.set", "default", "k", 0, b'{"a":1}', 1, 60.0, None),
        _call("queue.send", "kind", b"{}", 5, 0, None, None, None, None),
        _call("queue.ack", "dev_msg_1", 1, None, [["default", "k", 0, b"1", None, None, None]]),
        _frame(protocol.Publish(3, "events", msgspec.Raw(msgspec.msgpack.encode({"a": [1]})))),
        _frame(protocol.Dispatch(4, msgspec.Raw(
            msgspec.msgpack.encode({"do": "memory.get", "environment": "testing", "key": "k"})))),
        _frame(protocol.Result(5, {"a": 1})),
    ),
    "config": (
        b"[store]\nbatch_limit = 5\n", b'[host]\ntotal_bytes = "96GB"\n',
        b'store.cache_bytes = "16MB"\n[console]\nread_only = [\n"all",\n]\n',
    ),
    "message": (
        b'{"path": "a.txt", "n": [1, 2.5e3, null, "\\u00e9"]}',
        msgspec.msgpack.encode([["default", "k", 0, b"1", "team", 5.0, 1]]),
        msgspec.msgpack.encode(["kind", "dev_msg_1", 2.5, ["a", "b"]]),
    ),
    "manifest": (
        backup_manifest.encode(
            backup_manifest.Manifest(
                environment="development", name="x", created_us=1, size=4096, sha256=bytes(32),
                schema_version=2, records=1, messages=1, audit_rows=1, audit_sequence=1,
                audit_hash=bytes(32), vault="v", environment_key=bytes(60), key_ids=(1, 2),
                release="0.1.0",
            ),
            bytes(64),
        ),
    ),
    "command": (
        b"swarm create development --agents 4 --memory 2GB -- python worker.py",
        b"memory set testing k '{\"a\": 1}' --level team --ttl 5", b"acl grant dev_a --level 4",
    ),
    "names": (b"user:123", b"2GB", "e\u0301".encode(), b"\xc3\xa9"),
    "vaultfile": (
        msgspec.json.encode(
            vaultfile.VaultFile(1, "v", 1, vaultfile.Source("file")).signed(bytes(32))
        ),
    ),
}  # fmt: skip
