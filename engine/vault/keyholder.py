"""The root key of a data directory and the keys it wraps, for any thread.

    source --extract--> root --wraps--> key of each environment, signing key (keys/vault.json)
    key of an environment --wraps--> keys that seal records (its database)

The keys in vault.json are made with the first use of the root.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from ..errors import Sealed, SwarmDeckError
from ..model import Environment, Isolation, parse_environment
from . import derive, sources, vaultfile, wrapping
from .origin import Origin
from .ring import Ring
from .vaultfile import VaultFile

if TYPE_CHECKING:
    from ..settings import Settings


class Keyholder:
    """What a vault holds. `state` is open or sealed, `reason` says why."""

    def __init__(
        self, directory: Path, settings: Settings, file: VaultFile, value: bytes | None
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._origin = Origin(settings, value)
        self._file = file
        self._root: bytes | None = None
        self._lock = threading.RLock()
        self._reason = ""
        self._rings = {each: self._new_ring(each) for each in Environment}

    def _new_ring(self, environment: Environment) -> Ring:
        store = self._settings.store
        return Ring(
            environment,
            self,
            strict=self._settings.isolation[environment.value] is Isolation.STRICT,
            compress_above=store.compression_threshold_bytes if store.compression else None,
        )

    @property
    def id(self) -> str:
        return self._file.id

    @property
    def state(self) -> Literal["open", "sealed"]:
        return "sealed" if self._reason else "open"

    @property
    def reason(self) -> str:
        return self._reason

    def ring(self, environment: Environment | str) -> Ring:
        """The keys of an environment. Raises InvalidInput."""
        return self._rings[parse_environment(environment)]

    @property
    def public_key(self) -> bytes:
        """The Ed25519 key that verifies what `sign` gave; known while sealed too. Any thread.
        Raises Sealed only before the vault was open for the first time."""
        if self._file.audit is None:
            self._complete()
        assert self._file.audit is not None
        return self._file.audit.public

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature of 64 bytes. Any thread. Raises Sealed, Damaged."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - slow
            Ed25519PrivateKey,
        )

        with self._lock:
            root = self._complete()
            assert self._file.audit is not None
            private = wrapping.unwrapped(root, "audit", self._file.audit.wrapped)
        return Ed25519PrivateKey.from_private_bytes(private).sign(message)

    def environment_key(self, environment: str, *, make: bool) -> bytes | None:
        """The key of an environment, made if need be. Any thread. Raises Sealed, Damaged."""
        with self._lock:
            root = self._complete()
            held = self._file.environments.get(environment)
            if (held is None or not held.wrapped) and make:
                self._save(wrapping.with_environment(self._file, root, environment))
                held = self._file.environments[environment]
            if held is None or not held.wrapped:
                return None
            return wrapping.unwrapped(root, environment, held.wrapped)

    def renew_environment_key(self, environment: str) -> None:
        """Another key for an environment all of whose keys are destroyed: whoever has an old copy
        of its database has no key for the keys in it either. Any thread. Raises Sealed,
        StorageError."""
        with self._lock:
            self._save(wrapping.with_environment(self._file, self._complete(), environment))

    def is_protected(self, environment: str) -> bool:
        """Whether every row of an environment has a seal or a check. Any thread."""
        held = self._file.environments.get(environment)
        return held is not None and held.protected

    def set_protected(self, environment: str) -> None:
        """From now on a row without one is damage. Any thread. Raises Sealed, StorageError."""
        self._mark(environment, protected=True)

    def begin_again(self, environment: str) -> None:
        """Another file was put in the place of an environment's, of which it is known whose it
        is: it may be of a time before there were keys. Until every row was looked at, rows
        without a check are read. Any thread. Raises Sealed, StorageError."""
        if self.is_protected(environment):
            self._mark(environment, protected=False)

    def _mark(self, environment: str, *, protected: bool) -> None:
        with self._lock:
            self._complete()
            held = self._file.environments[environment]
            known = self._file.environments | {
                environment: msgspec.structs.replace(held, protected=protected)
            }
            self._save(msgspec.structs.replace(self._file, environments=known))

    def _complete(self) -> bytes:
        """The root key; with its first use the keys that it wraps are made. Raises Sealed."""
        with self._lock:
            root = self._unlocked()
            if self._file.audit is None:
                file = wrapping.with_signing_key(self._file, root)
                for environment in Environment:
                    file = wrapping.with_environment(file, root, environment)
                self._save(file)
            return root

    def _unlocked(self) -> bytes:
        if self._reason:
            raise Sealed(f"the vault is sealed: {self._reason}", hint=sources.UNSEAL)
        if self._root is None:
            try:
                self._enter(self._origin.read(self._file))
            except SwarmDeckError as error:
                self._reason = error.message
                self._tell_rings()
                raise
        assert self._root is not None
        return self._root

    def _enter(self, key: bytes) -> None:
        """Take the key a source gave. Raises Sealed for a wrong one, Corrupt."""
        if not self._file.check:
            self._adopt(key)
            return
        root = derive.extract(key, self.id.encode())
        if not self._file.belongs_to(root):
            raise Sealed("this is not the key of this vault", hint=sources.UNSEAL)
        self._root = root

    def _adopt(self, key: bytes) -> None:
        """The first key of a new vault."""
        self._root = derive.extract(key, self.id.encode())
        check = derive.check_value(self._root)
        self._file = msgspec.structs.replace(self._file, check=check)

    def _save(self, file: VaultFile) -> None:
        """Write the file, then take it for true. Raises StorageError."""
        signed = file.signed(self._root)
        vaultfile.save(self._directory, signed)
        self._file = signed

    def _tell_rings(self) -> None:
        """Let every environment know whether it is sealed. Any thread."""
        for environment, ring in self._rings.items():
            ring.reason = self._reason or self._reason_of(environment, ring)
            if ring.reason:
                ring.forget()

    def _reason_of(self, environment: Environment, ring: Ring) -> str:
        """Why an environment is sealed although the vault is open; empty where it is not."""
        if self._file.source.kind == "variable" and ring.strict:
            return (
                f"a key given by a variable does not open {environment}: swarmdeck vault rekey file"
            )
        held = any(key.wrapped is not None for key in ring.known())
        if held and environment.value not in self._file.environments:
            return "keys/vault.json is not the one its records were sealed with: put that back"
        return ""
