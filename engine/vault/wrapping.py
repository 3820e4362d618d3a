"""The keys in vault.json, each wrapped by a key of its own that the root key gives."""

from __future__ import annotations

import os

import msgspec

from . import derive
from .vaultfile import EnvironmentKey, SigningKey, Source, VaultFile


def with_environment(file: VaultFile, root: bytes, environment: str) -> VaultFile:
    """With a new key for an environment, in the place of one that is there."""
    made = os.urandom(derive.KEY_BYTES)
    old = file.environments.get(environment)
    held = EnvironmentKey(
        derive.wrap(_kek(root, environment), made, environment),
        protected=old is not None and old.protected,
    )
    known = file.environments | {str(environment): held}
    return msgspec.structs.replace(file, environments=known)


def with_signing_key(file: VaultFile, root: bytes) -> VaultFile:
    """With a new Ed25519 key, which signs."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - slow
        Ed25519PrivateKey,
    )

    private = Ed25519PrivateKey.generate()
    wrapped = derive.wrap(_kek(root, "audit"), private.private_bytes_raw(), "audit")
    public = private.public_key().public_bytes_raw()
    return msgspec.structs.replace(file, audit=SigningKey(public, wrapped))


def unwrapped(root: bytes, name: str, wrapped: bytes) -> bytes:
    """The key of an environment, or the one called `audit`. Raises Damaged."""
    return derive.unwrap(_kek(root, name), wrapped, name)


def wrapped_anew(file: VaultFile, source: Source, old: bytes, new: bytes) -> VaultFile:
    """Every key that the root `old` wraps, wrapped by the root `new` that `source` gives."""
    assert file.audit is not None
    environments = {
        name: msgspec.structs.replace(held, wrapped=_moved(name, held.wrapped, old, new))
        for name, held in file.environments.items()
    }
    audit = SigningKey(file.audit.public, _moved("audit", file.audit.wrapped, old, new))
    return msgspec.structs.replace(
        file,
        source=source,
        check=derive.check_value(new),
        environments=environments,
        audit=audit,
    )


def _moved(name: str, wrapped: bytes, old: bytes, new: bytes) -> bytes:
    key = derive.unwrap(_kek(old, name), wrapped, name)
    return derive.wrap(_kek(new, name), key, name)


def _kek(root: bytes, purpose: str) -> bytes:
    return derive.expand(root, f"swarmdeck key encryption|{purpose}")
