"""Real files, a real signing key, a clock that moves when told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarmdeck.engine.audit import Auditor, Reads
from swarmdeck.engine.audit.reads import Mode
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Sealed
from swarmdeck.engine.model import Durability
from swarmdeck.engine.settings import AuditSettings, load_settings
from swarmdeck.engine.store.database import Database, StoreOptions, open_database
from swarmdeck.engine.store.swap import Reason

ENV: Final = "development"


class Keys:
    """What the audit trail asks of a vault."""

    def __init__(self, ident: str = "vault-1") -> None:
        self.id = ident
        self.state = "open"
        self._key = Ed25519PrivateKey.generate()
        self.public_key: bytes = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        if self.state != "open":
            raise Sealed("the vault is sealed")
        return self._key.sign(message)


class Scene:
    """A database with an auditor that looks after it."""

    def __init__(self, database: Database, reads: Reads, auditor: Auditor) -> None:
        self.database = database
        self.reads = reads
        self.auditor = auditor
        self.replaced = Reason("a-backup", "operator", "replaced-1", at_us=1)
        self.count = 0  # so that no two rows are alike

    async def add(self, rows: int, *, each: int = 1, actor: str = "dev_agent_1") -> None:
        """Commits of `each` rows."""
        for _ in range(0, rows, each):
            start, self.count = self.count, self.count + each
            await self.database.write(lambda tx, at=start: _fill(tx, at, each, actor))


def _fill(tx: Any, start: int, rows: int, actor: str) -> None:
    for number in range(start, start + rows):
        tx.audit(actor, "memory.set", f"default/key-{number}", detail=f"detail {number}")


Opening = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def settings() -> AuditSettings:
    return load_settings(None, {}, {}).audit


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "outside"


@pytest.fixture
def opening(
    tmp_path: Path, keys: Keys, clock: FakeClock, settings: AuditSettings, outside: Path
) -> Opening:
    """Opens a file, attached to an auditor of its own; closes it in order."""

    @asynccontextmanager
    async def opened(
        path: Path | None = None,
        *,
        env: str = ENV,
        durability: Durability = Durability.FULL,
        mode: Mode = "none",
        vault: Keys | None = None,
        orderly: bool = True,
        **changed: Any,
    ) -> AsyncIterator[Scene]:
        import msgspec

        known = msgspec.structs.replace(settings, **changed)
        auditor = Auditor(vault or keys, known, clock, outside)
        async with open_database(
            path or tmp_path / f"{env}.db",
            env,
            options=StoreOptions(durability=durability),
            clock=clock,
        ) as database:
            reads = Reads(
                database,
                clock,
                mode=mode,
                sample_every=known.sample_every,
                wait_s=known.wait_s,
            )
            scene = Scene(database, reads, auditor)
            await auditor.attach(scene)
            yield scene
            if orderly:
                await auditor.close()

    return opened
