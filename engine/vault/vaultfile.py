"""`keys/vault.json`: what a data directory knows of its keys, none of them in clear.

Written beside, synced and moved over the old one, so that a crash leaves one or the other. Its
checksum tells damage before a key is there; the key check value tells a wrong key; the MAC tells
that somebody without the key has edited it.
"""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path
from typing import Final, Literal

import msgspec

from ..errors import Corrupt, StorageError
from ..store.log import sync_directory
from ..store.volatile import is_volatile
from . import derive

FORMAT: Final = 1
NAME: Final = "vault.json"
_MAX_BYTES: Final = 1 << 20
_HINT: Final = "restore keys/vault.json from a backup"

Kind = Literal["file", "passphrase", "keyring", "variable", "memory"]


class Source(msgspec.Struct, frozen=True):
    """Where the key comes from; `memory` is made for an engine that writes nothing. `place` is a
    path for a file that is not in the usual place; the rest are Argon2id's parameters for a
    passphrase, the memory in KiB."""

    kind: Kind
    place: str = ""
    salt: bytes = b""
    memory_kib: int = 0
    passes: int = 0
    lanes: int = 0


class EnvironmentKey(msgspec.Struct, frozen=True):
    """The wrapped key of an environment, empty before its first use. `protected`: every row has a
    seal or a check, as in a new data directory; from then on one without is damage."""

    wrapped: bytes
    protected: bool = False


class SigningKey(msgspec.Struct, frozen=True):
    """The Ed25519 key of the audit trail, the private half wrapped."""

    public: bytes
    wrapped: bytes


class VaultFile(msgspec.Struct, frozen=True):
    """The file. `check` is empty until the source has given its first key."""

    format: int
    id: str
    created_at_us: int
    source: Source
    check: str = ""
    sealed: bool = False
    environments: dict[str, EnvironmentKey] = {}
    audit: SigningKey | None = None
    mac: str = ""
    checksum: str = ""

    def _body(self) -> bytes:
        return msgspec.json.encode(msgspec.structs.replace(self, mac="", checksum=""))

    def signed(self, root: bytes | None) -> VaultFile:
        """With its MAC (while there is a key) and checksum as they should be."""
        mac = derive.authenticate(root, self._body()) if root is not None else ""
        return msgspec.structs.replace(self, mac=mac, checksum=self._sum(mac))

    def _sum(self, mac: str) -> str:
        return derive.checksum(self._body() + mac.encode())

    def belongs_to(self, root: bytes) -> bool:
        """Whether `root` is this vault's key. Raises Corrupt when it is and the file was edited."""
        if not _equal(self.check, derive.check_value(root)):
            return False
        if not _equal(self.mac, derive.authenticate(root, self._body())):
            raise Corrupt("keys/vault.json was changed by something without its key", hint=_HINT)
        return True

    def is_whole(self) -> bool:
        return _equal(self.checksum, self._sum(self.mac))


def _equal(found: str, wanted: str) -> bool:
    """In constant time; as bytes, because anything may stand in the file."""
    return hmac.compare_digest(found.encode(), wanted.encode())


def load(directory: Path) -> VaultFile | None:
    """The file of a data directory, None where there is none yet. Raises Corrupt, StorageError."""
    path = directory / NAME
    try:
        with path.open("rb") as file:
            body = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"cannot read {path}: {error.strerror}", hint="check its rights"
        ) from error
    try:
        found = msgspec.json.decode(body, type=VaultFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt("keys/vault.json is damaged", hint=_HINT) from error
    if found.format > FORMAT:
        raise Corrupt(
            f"keys/vault.json has format {found.format}, this release knows {FORMAT}",
            hint="use the newer release of swarmdeck that wrote it",
        )
    held = found.audit or any(each.wrapped for each in found.environments.values())
    if not found.is_whole() or (held and not found.check):
        raise Corrupt("keys/vault.json is damaged: its checksum does not match", hint=_HINT)
    return found


def save(directory: Path, file: VaultFile) -> None:
    """Replace the file of a data directory, wholly or not at all. Raises StorageError."""
    if is_volatile(directory):
        return
    body = msgspec.json.format(msgspec.json.encode(file), indent=2)
    write_atomically(directory / NAME, body + b"\n")


def write_atomically(path: Path, body: bytes) -> None:
    """Write beside, sync, move over, sync the directory. Mode 0600. Raises StorageError."""
    beside = path.with_name(f"{path.name}.tmp")
    try:
        beside.unlink(missing_ok=True)
        create(beside, body)
        beside.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}", hint="check the disk and its rights"
        ) from error


def create(path: Path, body: bytes) -> None:
    """Make a file only its owner can read; one that is there is never opened. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
