"""Where the key of one vault comes from: asked for it, and given another one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from ..clock import Clock
from ..errors import Conflict, InvalidInput, Sealed
from ..settings import Settings
from . import derive, sources, vaultfile
from .vaultfile import Source, VaultFile


class Origin:
    """The source that a vault.json names, with what the settings say of it. `value` is the key
    that the environment variable gave."""

    def __init__(self, settings: Settings, value: bytes | None) -> None:
        self._settings = settings
        self.value = value

    def key_file(self, file: VaultFile) -> Path:
        """Where the key is, or would be, in a file."""
        named = self._settings.vault.key_file or file.source.place
        return Path(named).expanduser() if named else sources.usual_file(file.id)

    def make(self, file: VaultFile) -> bytes:
        """The first key of a new vault, in its key file. Raises StorageError, Sealed."""
        path = self.key_file(file)
        if not os.path.lexists(path):
            sources.make_file(path, os.urandom(derive.KEY_BYTES))
        return sources.read_file(path)

    def read(self, file: VaultFile) -> bytes:
        """The key in the key file, or in the one a change of keys has left beside it. Raises
        Sealed."""
        path = self.key_file(file)
        spare = beside(path)
        if os.path.lexists(spare):
            key = sources.read_file(spare)
            if _fits(file, key):
                spare.replace(path)  # the change was cut off after vault.json
            else:
                sources.remove_file(spare)
        return sources.read_file(path)

    async def ask(self, file: VaultFile, passphrase: str | None) -> bytes:
        """The key its source gives; what takes long on a thread, one at a time."""
        source = file.source
        if source.kind == "passphrase":
            known = sources.check_passphrase(passphrase, new=not file.check)
            return await asyncio.to_thread(sources.from_passphrase, source, known)
        if source.kind == "keyring":
            return await asyncio.to_thread(_from_keyring, file)
        if source.kind == "file":
            if not file.check and not os.path.lexists(self.key_file(file)):
                sources.make_file(self.key_file(file), os.urandom(derive.KEY_BYTES))
            return self.read(file)
        if self.value is None:
            raise Sealed(
                f"{sources.VARIABLES[0]} was not set when the engine started",
                hint="start it again with the key",
            )
        return self.value

    async def new(self, file: VaultFile, kind: str, passphrase: str | None) -> tuple[Source, bytes]:
        """Another source and its key. A key file is written beside the one in use. Raises
        InvalidInput, Conflict, Unavailable, StorageError."""
        if kind == "passphrase":
            known = sources.check_passphrase(passphrase, new=True)
            made = sources.new_passphrase_source()
            return made, await asyncio.to_thread(sources.from_passphrase, made, known)
        key = os.urandom(derive.KEY_BYTES)
        if kind == "keyring":
            if file.source.kind == "keyring":
                raise Conflict(
                    "the key is in the keyring already",
                    hint="rekey to a file first, then back: the old key stays until then",
                )
            await asyncio.to_thread(sources.into_keyring, file.id, key)
            return Source("keyring"), key
        if kind != "file":
            raise InvalidInput(f"no source {kind}", hint="file, passphrase or keyring")
        # Beside the old one until vault.json says which is true.
        spare = beside(self.key_file(file))
        sources.remove_file(spare)
        sources.make_file(spare, key)
        return Source("file", place=file.source.place), key


def beside(path: Path) -> Path:
    """Where another key waits until vault.json says that it is the true one."""
    return path.with_name(f"{path.name}.new")


def new_file(settings: Settings, clock: Clock, *, has_value: bool) -> VaultFile:
    """The file of a vault that has no key yet."""
    kind = "variable" if has_value else settings.vault.source
    place = settings.vault.key_file or ""
    made = sources.new_passphrase_source() if kind == "passphrase" else Source(kind)
    if kind == "file" and place:
        made = msgspec.structs.replace(made, place=str(Path(place).expanduser().absolute()))
    ident = os.urandom(8).hex()
    return VaultFile(vaultfile.FORMAT, f"vault-{ident}", clock.wall_us(), made)


def _fits(file: VaultFile, key: bytes) -> bool:
    return file.check == derive.check_value(derive.extract(key, file.id.encode()))


def _from_keyring(file: VaultFile) -> bytes:
    found = sources.from_keyring(file.id)
    if found is None and not file.check:
        found = os.urandom(derive.KEY_BYTES)
        sources.into_keyring(file.id, found)
    if found is None:
        raise Sealed(
            "the keyring has no key of this vault", hint="log in as whoever made the vault"
        )
    return found
