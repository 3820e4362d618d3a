"""Keys."""

from __future__ import annotations

from .base import View


class DataKeyView(View, frozen=True, kw_only=True):
    """A key that seals records of one class: private, team or rest. `state` is active, retiring
    or destroyed; `uses` counts messages, reserved ahead; `rotate_at_us` is when it is due."""

    id: int
    kind: str
    state: str
    created_at_us: int
    uses: int
    rotate_at_us: int | None = None


class KeyringView(View, frozen=True, kw_only=True):
    """The keys of one environment. `state` is open or sealed; `rotating` is how far a rotation
    is, 0 to 1, None when none runs."""

    environment: str
    state: str
    reason: str
    keys: tuple[DataKeyView, ...]
    rotating: float | None = None


class VaultView(View, frozen=True, kw_only=True):
    """The vault: `state` is open or sealed, `reason` says why it is sealed. `source` is where its
    key comes from: file, passphrase, keyring or variable; `place` where that is."""

    state: str
    source: str
    place: str
    reason: str
    environments: tuple[KeyringView, ...] = ()


class VaultGlance(View, frozen=True, kw_only=True):
    """What the overview shows of the vault."""

    state: str = "open"
    source: str = "file"
    reason: str = ""
