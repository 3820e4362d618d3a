"""Where the key of a vault comes from: a file, a passphrase, the keyring, or a variable.

Each gives 32 bytes. A file is read when the first record needs it; the others are asked once,
when the vault is unsealed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import stat
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from ..errors import ConfigError, Corrupt, InvalidInput, Sealed, StorageError, Unavailable
from ..store.log import sync_directory
from .derive import KEY_BYTES
from .vaultfile import Source, create

MEMORY_KIB: Final = 64 << 10
PASSES: Final = 3
LANES: Final = 4
SALT_BYTES: Final = 16
MIN_PASSPHRASE: Final = 12
MAX_PASSPHRASE: Final = 1024
VARIABLES: Final = ("SQLITE_ENCRYPTION_KEY", "SWARMDECK_STORE__ENCRYPTION_KEY")
UNSEAL: Final = "swarmdeck vault unseal"

_MAX_MEMORY_KIB: Final = 1 << 20
_MAX_COST: Final = 16
_SERVICE: Final = "swarmdeck"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


# --- a file -----------------------------------------------------------------------------------


def usual_file(vault: str) -> Path:
    """The key file of a vault in the user's configuration directory."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path("~/.config").expanduser()
    return base / "swarmdeck" / "keys" / f"{vault}.key"


def file_trouble(path: Path) -> str:
    """Why a key file cannot be used, as far as a look at it tells; empty when it can."""
    try:
        return _trouble(path, path.lstat())
    except OSError as error:
        return f"the key file {path} cannot be read: {error.strerror}"


def _trouble(path: Path, found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return f"the key file {path} is not a file (links are not followed)"
    if found.st_mode & _OTHERS:
        return f"others may read the key file {path}: chmod 600 it, and take a new key"
    if found.st_uid not in (os.geteuid(), 0):
        return f"the key file {path} belongs to somebody else"
    if found.st_size != KEY_BYTES:
        return f"the key file {path} has {found.st_size} bytes, not {KEY_BYTES}"
    return ""


def read_file(path: Path) -> bytes:
    """The key in a file that only its owner can read. Raises Sealed with what is wrong with it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Sealed(file_trouble(path) or str(error), hint=_file_hint(path)) from error
    with os.fdopen(handle, "rb") as file:
        trouble = _trouble(path, os.fstat(file.fileno()))
        key = b"" if trouble else file.read(KEY_BYTES + 1)
    if trouble or len(key) != KEY_BYTES:
        raise Sealed(trouble or f"the key file {path} changed", hint=_file_hint(path))
    return key


def _file_hint(path: Path) -> str:
    return f"put the key of this vault back at {path}, or set vault.key_file"


def make_file(path: Path, key: bytes) -> None:
    """Write a key file that was not there. Raises StorageError."""
    try:
        path.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        create(path, key)
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot make the key file {path}: {error.strerror}",
            hint="set vault.key_file to a place that can be written",
        ) from error


def remove_file(path: Path) -> None:
    """Remove a key file that is no longer used; one that is not there is as good."""
    with contextlib.suppress(OSError):
        path.unlink()


# --- a passphrase -----------------------------------------------------------------------------


def new_passphrase_source() -> Source:
    """Parameters for a new passphrase: 64 MiB, three passes, about half a second."""
    return Source(
        "passphrase",
        salt=os.urandom(SALT_BYTES),
        memory_kib=MEMORY_KIB,
        passes=PASSES,
        lanes=LANES,
    )


def from_passphrase(source: Source, passphrase: str) -> bytes:
    """The key a passphrase stands for, by Argon2id. Takes half a second and 64 MiB: call it on a
    thread. Raises Corrupt for parameters that no release wrote."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415 - slow

    sound = (
        len(source.salt) == SALT_BYTES
        and 1 <= source.passes <= _MAX_COST
        and 1 <= source.lanes <= _MAX_COST
        and 8 * source.lanes <= source.memory_kib <= _MAX_MEMORY_KIB
    )
    if not sound:
        raise Corrupt("keys/vault.json asks for an impossible Argon2id", hint="restore it")
    return Argon2id(
        salt=source.salt,
        length=KEY_BYTES,
        iterations=source.passes,
        lanes=source.lanes,
        memory_cost=source.memory_kib,
    ).derive(passphrase.encode())


def check_passphrase(passphrase: str | None, *, new: bool) -> str:
    """Raise InvalidInput for one that is missing, or as a new one too short."""
    if not passphrase:
        raise InvalidInput("a passphrase is needed", hint="it is asked for, or read from stdin")
    least = MIN_PASSPHRASE if new else 1
    try:
        long = len(passphrase.encode()) > MAX_PASSPHRASE
    except UnicodeEncodeError:
        long = True
    if len(passphrase) < least or long:
        raise InvalidInput(
            "the passphrase is too short or too long",
            hint=f"{MIN_PASSPHRASE} characters or more, at most {MAX_PASSPHRASE} bytes",
        )
    return passphrase


# --- the keyring ------------------------------------------------------------------------------


def from_keyring(vault: str) -> bytes | None:
    """The key that the desktop's keyring holds for a vault. Blocks, perhaps until somebody
    answers it: call it on a thread. Raises Unavailable."""
    keyring = _keyring()
    try:
        found = keyring.get_password(_SERVICE, vault)
    except keyring.errors.KeyringError as error:
        raise _locked(error) from error
    return None if found is None else parse_key(found)


def into_keyring(vault: str, key: bytes) -> None:
    """Keep a key in the keyring. Blocks like `from_keyring`. Raises Unavailable."""
    keyring = _keyring()
    try:
        keyring.set_password(_SERVICE, vault, key.hex())
    except keyring.errors.KeyringError as error:
        raise _locked(error) from error


def _keyring() -> ModuleType:
    """The keyring package, which not everybody has."""
    try:
        import_module("keyring.errors")
        return import_module("keyring")
    except ImportError as error:
        raise Unavailable(
            "the keyring package is not installed",
            hint="pip install 'swarmdeck[keyring]', or swarmdeck vault rekey file",
        ) from error


def _locked(error: Exception) -> Unavailable:
    return Unavailable(
        f"the keyring does not answer: {type(error).__name__}",
        hint="unlock it, or use a key file: swarmdeck vault rekey file",
    )


# --- a value ----------------------------------------------------------------------------------


def parse_key(text: str) -> bytes:
    """32 bytes given as they are, as hex or as base64. Raises ConfigError; never shows the text."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) == KEY_BYTES:
        return raw
    if len(raw) == 2 * KEY_BYTES:
        with contextlib.suppress(ValueError):
            return bytes.fromhex(text)
    with contextlib.suppress(ValueError, binascii.Error):
        found = base64.b64decode(raw.replace(b"-", b"+").replace(b"_", b"/"), validate=True)
        if len(found) == KEY_BYTES:
            return found
    raise ConfigError(
        f"the encryption key has {len(raw)} bytes of no known form",
        hint="32 bytes as they are, 64 hex digits, or base64; make one: openssl rand -hex 32",
    )


def forget_variables() -> None:
    """Take the key out of this process's environment, so that no child inherits it."""
    for name in VARIABLES:
        os.environ.pop(name, None)
