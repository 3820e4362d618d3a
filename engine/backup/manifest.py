"""What a backup says of itself, signed by the vault that made it.

The file is one canonical JSON document, `{"manifest": …, "signature": …}`: only bytes that this
release would write itself are accepted, so no bit of it can differ unnoticed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..errors import Corrupt

KIND: Final = "swarmdeck backup"
FORMAT: Final = 1
_LABEL: Final = b"swarmdeck backup manifest 1\0"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup holds. `size` is bytes, `created_us` microseconds since the epoch. The copy
    can be read with the key of its environment in keys/vault.json, of which `environment_key` is a
    hash as it was wrapped then, and the wrapped data keys `key_ids` that are in the copy itself.
    `contents` are the files of artifacts beside it; not said where there are none, as in backups of
    before there were artifacts."""

    kind: str = KIND
    format: int = FORMAT
    environment: str
    name: str
    created_us: int
    size: int
    sha256: bytes
    schema_version: int
    records: int
    messages: int
    audit_rows: int
    audit_sequence: int
    audit_hash: bytes
    vault: str
    environment_key: bytes
    key_ids: tuple[int, ...]
    release: str
    contents: int | msgspec.UnsetType = msgspec.UNSET
    content_bytes: int | msgspec.UnsetType = msgspec.UNSET


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    manifest: Manifest
    signature: bytes


def message(manifest: Manifest) -> bytes:
    """What is signed."""
    return _LABEL + msgspec.json.encode(manifest)


def encode(manifest: Manifest, signature: bytes) -> bytes:
    return msgspec.json.encode(Signed(manifest, signature)) + b"\n"


def decode(body: bytes) -> Signed:
    """The manifest in a file, its form checked and nothing else. Raises Corrupt."""
    try:
        found = msgspec.json.decode(body, type=Signed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"the manifest is damaged: {error}", hint="use another backup") from error
    if found.manifest.kind != KIND:
        raise Corrupt("that is no manifest of a backup", hint="use another backup")
    if found.manifest.format > FORMAT:
        raise Corrupt(
            f"the manifest has format {found.manifest.format}, this release knows {FORMAT}",
            hint="use the newer release of swarmdeck that wrote it",
        )
    if encode(found.manifest, found.signature) != body:
        raise Corrupt("the manifest is damaged: its form is not ours", hint="use another backup")
    return found


def require_signature(found: Signed, public_key: bytes, environment: str, name: str) -> Manifest:
    """The manifest, if this vault has signed it, for this environment and under this name.
    Raises Corrupt."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow, and rarely asked
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(found.signature, message(found.manifest))
    except (InvalidSignature, ValueError) as error:
        raise Corrupt(
            "the signature of the manifest is not this vault's",
            hint="it was changed, or made with other keys: use another backup",
        ) from error
    manifest = found.manifest
    if (manifest.environment, manifest.name) != (environment, name):
        raise Corrupt(
            f"the manifest is that of {manifest.name} of {manifest.environment}",
            hint="somebody has moved it: put it back",
        )
    return manifest
