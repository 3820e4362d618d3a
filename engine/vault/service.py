"""The vault of a data directory: opened, sealed, given another key, and its records' keys replaced.

Opening reads vault.json and looks at the key file. Everything else, cryptography itself included,
is loaded with the first record that is sealed or opened.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from ..clock import Clock
from ..errors import Corrupt, Denied, InvalidInput, NotFound, Sealed, SwarmDeckError
from ..model import Environment, parse_environment
from ..store.volatile import is_volatile
from ..views import Done, VaultGlance, VaultView
from . import derive, sources, vaultfile, wrapping
from .keyholder import Keyholder
from .origin import beside, new_file
from .ring import KINDS
from .vaultfile import EnvironmentKey, Source, VaultFile

if TYPE_CHECKING:
    from ..settings import Settings
    from ..store.database import Database, Transaction
    from .rotation import Rotation

DAY_US: Final = 86_400_000_000
TICK_BUDGET_S: Final = 0.1  # of each second that rotation may take from writers
SEALED_BY_HAND: Final = "it was sealed by the operator"

Progress = Callable[[float, str], object]

log = logging.getLogger(__name__)


class Records(Protocol):
    """The records of an environment, as far as they are in memory."""

    records: int

    def sealed(self) -> None: ...
    def unsealed(self) -> None: ...
    async def reload(self) -> None: ...


class Vault(Keyholder):
    """Made by `open`. Methods belong to the engine's loop, unless they say they are for any
    thread."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        clock: Clock,
        file: VaultFile,
        value: bytes | None,
        told: Callable[[], object],
    ) -> None:
        super().__init__(directory, settings, file, value)
        self._clock = clock
        self._told = told
        self._heard = ""  # the reason that the records in memory know of
        self._broken: Corrupt | None = None  # why vault.json cannot be used
        self._turn = asyncio.Lock()
        self._attached: dict[str, tuple[Database, Records]] = {}
        self._rotations: dict[str, Rotation] = {}  # made when there is something for them
        self._ledger: Database | None = None

    # --- opening ----------------------------------------------------------------------------

    @classmethod
    def open(
        cls, data: Path, settings: Settings, clock: Clock, told: Callable[[], object] = lambda: None
    ) -> Vault:
        """The vault of a data directory; a new one gets what the settings say. One whose file is
        damaged is sealed. `told` is called when it has become open or sealed. Raises ConfigError,
        StorageError."""
        given = settings.store.encryption_key
        value = None if given is None else sources.parse_key(given.reveal())
        sources.forget_variables()
        directory = data / "keys"
        if is_volatile(data):
            value = value or os.urandom(derive.KEY_BYTES)
        else:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        broken = None
        try:
            file = vaultfile.load(directory)
        except Corrupt as error:
            file, broken = None, error
        fresh = file is None
        if file is None:
            file = new_file(settings, clock, has_value=value is not None)
            if is_volatile(data):
                file = msgspec.structs.replace(file, source=Source("memory"))
            if not any(data.glob("instances/*/*.db")):
                # Nothing is of before there were keys: nothing without a check is ever believed.
                born = {str(each): EnvironmentKey(b"", protected=True) for each in Environment}
                file = msgspec.structs.replace(file, environments=born)
        vault = cls(directory, settings, clock, file, value, told)
        vault._broken = broken
        vault._begin(fresh=fresh and broken is None)
        return vault

    def _begin(self, *, fresh: bool) -> None:
        """Find out whether it is open, and write the file of a new vault."""
        kind = self._file.source.kind
        try:
            if self._broken is not None:
                raise self._broken
            if kind == "file" and fresh:
                self._adopt(self._origin.make(self._file))
            if kind in {"variable", "memory"} and self._origin.value is not None:
                self._enter(self._origin.value)
        except SwarmDeckError as error:
            self._reason = error.message
        if fresh:
            self._save(self._file)
        self._reason = self._reason or self._first_reason()
        self._tell()

    def _first_reason(self) -> str:
        source = self._file.source
        if self._file.sealed:
            return SEALED_BY_HAND
        if source.kind == "file":
            return sources.file_trouble(self._origin.key_file(self._file))
        if source.kind == "passphrase":
            return "its passphrase is needed"
        if source.kind == "keyring":
            return "its key is in the keyring"
        return "" if self._root is not None else "its key was given by a variable that is not set"

    # --- what others ask ----------------------------------------------------------------------

    def glance(self) -> VaultGlance:
        return VaultGlance(state=self.state, source=self._file.source.kind, reason=self._reason)

    def view(self, environment: str | None = None) -> VaultView:
        """Where its key comes from, and the keys of one environment or of all."""
        wanted = Environment if environment is None else (parse_environment(environment),)
        after_us = int(self._settings.vault.rotation_days * DAY_US)
        source = self._file.source
        places = {
            "file": str(self._origin.key_file(self._file)),
            "keyring": f"swarmdeck, {self.id}",
            "variable": sources.VARIABLES[0],
            "passphrase": "",
            "memory": "",
        }
        return VaultView(
            state=self.state,
            source=source.kind,
            place=places[source.kind],
            reason=self._reason,
            environments=tuple(
                self._rings[each].view(after_us, self._progress(each)) for each in wanted
            ),
        )

    def _progress(self, environment: Environment) -> float | None:
        rotation = self._rotations.get(environment)
        return None if rotation is None else rotation.progress

    def _tell(self) -> None:
        """Let what is in memory follow."""
        self._tell_rings()
        for environment, (_, records) in self._attached.items():
            if self._rings[Environment(environment)].reason:
                records.sealed()
            else:
                records.unsealed()
        self._heard = self._reason
        self._told()

    # --- what lives in the databases ------------------------------------------------------------

    def attach(self, environment: str, database: Database, records: Records) -> None:
        """An environment was opened. Its `Ring.learn` has been called."""
        ring = self.ring(environment)
        self._attached[environment] = (database, records)
        ring.reason = ring.reason or self._reason_of(Environment(environment), ring)
        if ring.reason:
            records.sealed()

    def keep_ledger(self, coordination: Database) -> None:
        """Where it is recorded who sealed and unsealed."""
        self._ledger = coordination

    async def tick(self) -> None:
        """Once a second: replace keys that are due, and go on with what is being replaced."""
        if self._heard != self._reason:  # a thread has found the key gone
            self._tell()
        if self._reason:
            return
        for environment in list(self._attached):
            if not self._rings[Environment(environment)].reason:
                try:
                    await self._rotation(environment).tick(self._due_us(), TICK_BUDGET_S)
                except SwarmDeckError as error:  # the others go on
                    log.warning("keys of %s are not replaced: %s", environment, error.message)

    def _due_us(self) -> int:
        """Keys made before this are due."""
        return self._clock.wall_us() - int(self._settings.vault.rotation_days * DAY_US)

    async def finish(self, environment: str) -> None:
        """What must not wait for the next second, before an environment closes."""
        ring = self._rings[Environment(environment)]
        wanted = environment in self._attached and not ring.reason
        unconfirmed = wanted and ring.known() and not self.is_protected(environment)
        rotation = self._rotation(environment) if unconfirmed else None
        self._rotations.pop(environment, None)
        self._attached.pop(environment, None)
        if rotation is not None:
            try:
                await rotation.confirm()
            except SwarmDeckError as error:  # it is noted with the next opening
                log.warning("%s closes with keys unconfirmed: %s", environment, error.message)

    # --- what the operator asks -----------------------------------------------------------------

    async def seal(self, *, actor: str) -> VaultView:
        """Forget all keys and everything that was read with them, until `unseal`, also when the
        engine starts again. Raises StorageError."""
        async with self._turn:
            if not self._reason:
                with self._lock:
                    self._unlocked()
                    self._save(msgspec.structs.replace(self._file, sealed=True))
                    self._reason = SEALED_BY_HAND
                    self._root = None
                self._tell()
                await self._note(actor, "vault.seal")
            return self.view()

    async def unseal(self, passphrase: str | None, *, actor: str) -> VaultView:
        """Open it with what its source gives. Raises InvalidInput without a passphrase that is
        needed, Denied for a wrong one, Sealed with what is wrong, Corrupt."""
        async with self._turn:
            self._read_again()
            if self._reason:
                key = await self._origin.ask(self._file, passphrase)
                self._reason = ""
                try:
                    with self._lock:
                        self._open_with(key)
                except SwarmDeckError as error:
                    self._root, self._reason = None, self._reason or error.message
                    self._tell()
                    await self._note(actor, "vault.unseal", allowed=False)
                    raise
                self._tell()
                await self._note(actor, "vault.unseal")
            return self.view()

    def _read_again(self) -> None:
        """Look whether a vault.json that could not be used was put back. Raises Corrupt."""
        if self._broken is None:
            return
        found = vaultfile.load(self._directory)
        if found is None:
            raise self._broken
        self._file, self._broken = found, None

    def _open_with(self, key: bytes) -> None:
        try:
            self._enter(key)
        except Sealed as error:
            self._reason = self._first_reason()
            if self._file.source.kind == "passphrase":
                raise Denied("this is not the passphrase of the vault", hint="try again") from error
            raise
        self._save(msgspec.structs.replace(self._file, sealed=False))

    async def rekey(self, source: str, passphrase: str | None = None, *, actor: str) -> VaultView:
        """A new key, from the same source or another. Records and the keys that seal them stay.
        Raises Sealed, InvalidInput, Unavailable, StorageError."""
        async with self._turn:
            self._complete()
            before, old_file = self._file.source.kind, self._origin.key_file(self._file)
            made, key = await self._origin.new(self._file, source, passphrase)
            with self._lock:
                self._wrap_anew(made, derive.extract(key, self.id.encode()))
            if source == "file":
                path = self._origin.key_file(self._file)
                beside(path).replace(path)
            if before == "file" and source != "file":
                sources.remove_file(old_file)
            self._tell()
            await self._note(actor, "vault.rekey", detail=source)
            return self.view()

    def _wrap_anew(self, source: Source, root: bytes) -> None:
        """Every key that the root wraps, wrapped by another one."""
        made = wrapping.wrapped_anew(self._file, source, self._complete(), root)
        vaultfile.save(self._directory, signed := made.signed(root))
        self._root, self._file = root, signed

    async def rotate(
        self, environment: str | None, *, actor: str, progress: Progress | None = None
    ) -> VaultView:
        """Seal every record anew with new keys; returns when the old ones are destroyed. Raises
        Sealed, NotFound."""
        self._unlocked()
        names = [environment] if environment else list(self._attached)
        for done, name in enumerate(names):
            rotation = self._rotation(name)
            self.ring(name).require()
            tell = partial(_part, progress, done, len(names), name)
            await rotation.run(actor, tell)
        return self.view(environment)

    def _rotation(self, environment: str) -> Rotation:
        name = parse_environment(environment).value
        if name not in self._attached:
            raise NotFound(f"{environment} is not open", hint="see swarmdeck status")
        if name not in self._rotations:
            from .rotation import Rotation  # noqa: PLC0415 - most commands end before a tick

            database, records = self._attached[name]
            self._rotations[name] = Rotation(self.ring(name), database, self, records)
        return self._rotations[name]

    async def shred(self, environment: str, kind: str, *, actor: str) -> Done:
        """Destroy the keys of an environment, or those of one class, and delete what they sealed.
        Whoever keeps an old copy of the file and of vault.json can still read it. Raises Sealed,
        NotFound, InvalidInput."""
        if kind != "all" and kind not in KINDS:
            raise InvalidInput(f"no class of keys {kind}", hint="private, team, rest or all")
        rotation = self._rotation(environment)
        async with self._turn:
            gone = await rotation.shred(KINDS if kind == "all" else (kind,), actor)
        return Done(changed=gone, detail=f"{gone} records are gone, and the keys they were under")

    async def _note(
        self, actor: str, action: str, *, allowed: bool = True, detail: str = ""
    ) -> None:
        if self._ledger is None:
            return

        def change(tx: Transaction) -> None:
            tx.audit(actor, action, self.id, allowed=allowed, detail=detail)

        await self._ledger.write(change)


def _part(progress: Progress | None, done: int, count: int, name: str, fraction: float) -> None:
    if progress is not None:
        progress((done + fraction) / count, name)
