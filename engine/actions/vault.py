"""Actions on the vault: sealed or open, keys, rotation."""

from __future__ import annotations

from typing import Annotated, Literal

from .. import views
from ..model import Role
from .spec import Action, OptionalWhere, Where, action, arg

Passphrase = Annotated[
    str | None,
    arg("passphrase; asked for, or read from standard input", unit="secret"),
]


@action(views.VaultView, query=True)
class VaultStatus(Action, frozen=True, kw_only=True, tag="vault.status"):
    """Show whether records can be read, where the key comes from, and every key."""

    environment: OptionalWhere = None


@action(views.VaultView, role=Role.SYSTEM, destructive=True, idempotent=True)
class VaultSeal(Action, frozen=True, kw_only=True, tag="vault.seal"):
    """Forget all keys: no record can be read or written until the vault is unsealed."""


@action(views.VaultView, role=Role.SYSTEM, idempotent=True)
class VaultUnseal(Action, frozen=True, kw_only=True, tag="vault.unseal"):
    """Open the vault, with the passphrase if that is where its key comes from."""

    passphrase: Passphrase = None


@action(views.VaultView, role=Role.SYSTEM, lane="background", timeout_s=3600, idempotent=True)
class VaultRotate(Action, frozen=True, kw_only=True, tag="vault.rotate"):
    """Seal every record anew with new keys, while work goes on; also happens every 90 days."""

    environment: OptionalWhere = None


@action(views.VaultView, role=Role.SYSTEM, destructive=True)
class VaultRekey(Action, frozen=True, kw_only=True, tag="vault.rekey"):
    """Change where the key comes from, or the passphrase. Records are not touched."""

    source: Annotated[
        Literal["file", "passphrase", "keyring"], arg("where the key comes from", positional=True)
    ]
    passphrase: Passphrase = None


@action(views.Done, role=Role.SYSTEM, destructive=True)
class VaultShred(Action, frozen=True, kw_only=True, tag="vault.shred"):
    """Destroy the keys of an environment: its records can never be read again."""

    environment: Where
    kind: Annotated[
        Literal["private", "team", "rest", "all"], arg("only records sealed with this class of key")
    ] = "all"
