"""Signed heads of a chain, and their copy outside the data directory.

Whoever can write the data directory can compute a chain anew. He cannot sign it, and what is kept
outside still says where the chain was. One file an environment, only ever appended to, one JSON
object a line.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

import msgspec

from ..errors import StorageError
from ..store.chain import Head
from ..store.log import sync_directory

Kind = Literal["checkpoint", "disputed", "restored"]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]  # what a database can hold
Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*$")]

RESTORE_HINT: Final = (
    "if you put the file back yourself, do it with swarmdeck backup restore, which records it; "
    "else run swarmdeck audit verify"
)
_UNKEPT: Final = 10_000  # checkpoints in memory
_TAIL_BYTES: Final = 8_192  # holds some lines
_DOMAIN: Final = "swarmdeck audit 1"  # a signature for this is one for nothing else
_encode = msgspec.msgpack.Encoder().encode
_line = msgspec.json.Encoder().encode


class Signer(Protocol):
    """What the audit trail needs of the vault."""

    @property
    def id(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def public_key(self) -> bytes: ...
    def sign(self, message: bytes) -> bytes: ...


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A head of a chain, signed. `disputed`: made while a rollback was not explained. `restored`:
    the file was put back on purpose, and of what was signed before only what reaches up to
    sequence `base` still stands. `anchor` is the sequence of the anchor at that time. Bytes are in
    hexadecimal, the time in microseconds."""

    environment: str
    kind: Kind
    sequence: Sequence
    hash: Hex
    anchor: Sequence
    base: Sequence = 0
    at_us: int
    signature: Hex = ""
    public_key: Hex = ""

    def message(self, vault: str) -> bytes:
        """What is signed."""
        return _encode(
            (_DOMAIN, vault, self.environment, self.kind, self.sequence, self.hash, self.anchor,
             self.base, self.at_us)
        )  # fmt: skip

    def signed(self, vault: Signer) -> Checkpoint:
        """The same with a signature. Raises Sealed."""
        return msgspec.structs.replace(
            self,
            signature=vault.sign(self.message(vault.id)).hex(),
            public_key=vault.public_key.hex(),
        )


_decode = msgspec.json.Decoder(Checkpoint).decode


def standing(points: Iterable[Checkpoint]) -> list[Checkpoint]:
    """What still has to hold: a restore ends what was signed behind its base."""
    kept: list[Checkpoint] = []
    for point in points:
        if point.kind == "restored":
            kept = [each for each in kept if each.sequence <= point.base]
        kept.append(point)
    return kept


class Outside:
    """The copy of one environment's checkpoints. Its methods touch the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self) -> Checkpoint | None:
        """The newest line that is whole."""
        lines = self._tail().split(b"\n")
        for line in reversed(lines):
            point = _parsed(line)
            if point is not None:
                return point
        found = None
        for found in self.all():  # noqa: B007 - something long and strange is at the end
            pass
        return found

    def all(self) -> Iterator[Checkpoint]:
        """Every line in order. One that a power loss has cut is passed over."""
        try:
            with self.path.open("rb") as file:
                for line in file:
                    point = _parsed(line.rstrip(b"\n"))
                    if point is not None:
                        yield point
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._trouble(error) from error

    def append(self, point: Checkpoint) -> None:
        """Add a line and wait until it is on the disk. Raises StorageError."""
        try:
            self._append(_line(point) + b"\n")
        except OSError as error:
            raise self._trouble(error) from error

    def _append(self, line: bytes) -> None:
        folder = self.path.parent
        folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        fresh = not self.path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self.path, flags, stat.S_IRUSR | stat.S_IWUSR)
        try:
            size = os.fstat(file).st_size
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            os.write(file, b"\n" + line if torn else line)
            os.fsync(file)
        finally:
            os.close(file)
        if fresh:
            sync_directory(folder)

    def _tail(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> StorageError:
        return StorageError(
            f"checkpoints of the audit trail cannot be kept in {self.path}: {error.strerror}",
            hint="make room there, or name another directory in audit.outside_dir",
        )


class Unkept(Outside):
    """The checkpoints of an environment in memory: they end with what they are about."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._points: list[Checkpoint] = []

    def last(self) -> Checkpoint | None:
        return self._points[-1] if self._points else None

    def all(self) -> Iterator[Checkpoint]:
        return iter(tuple(self._points))

    def append(self, point: Checkpoint) -> None:
        self._points.append(point)
        del self._points[:-_UNKEPT]


def contradiction(newest: Checkpoint, head: Head, anchor: Head) -> str:
    """How the ends of a chain contradict what was signed outside last; empty if they do not."""
    if newest.sequence > head.sequence:
        return (
            f"it ends at row {head.sequence:,}, but row {newest.sequence:,} was signed: "
            "the file was restored or rolled back"
        )
    if anchor.sequence > newest.anchor:
        return (
            f"it begins after row {anchor.sequence:,}, but was said to begin after row "
            f"{newest.anchor:,}: its front was cut"
        )
    for end in (head, anchor):
        if newest.sequence == end.sequence and newest.hash != end.hash.hex():
            return differs(newest)
    return ""


def differs(newest: Checkpoint) -> str:
    return (
        f"row {newest.sequence:,} is not the one that was signed: "
        "the file was restored or rolled back, or its trail was written anew"
    )


def outside_directory(named: str | None, env: Mapping[str, str]) -> Path:
    """Where copies are kept: `audit.outside_dir`, else below the user's state directory."""
    if named:
        return Path(named).expanduser()
    state = env.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path(env.get("HOME", "~")) / ".local/state"
    return base.expanduser() / "swarmdeck" / "audit"


def _parsed(line: bytes) -> Checkpoint | None:
    try:
        return _decode(line) if line else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
