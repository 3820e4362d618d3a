"""Sessions of people and programs that will come over a network.

A session is an opaque random token, shown once when it is made; its hash is kept. It ends a day
later, after half an hour without use, and at once when it is revoked. Nothing is signed and nothing
is read from the token: whether it counts is asked here, each time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import msgspec

from .clock import Clock
from .errors import Busy, Denied, NotFound
from .model import printable
from .store.database import Database, Reader, Transaction

LIFE_S: Final = 86_400.0
IDLE_S: Final = 1_800.0
NOTE_USE_S: Final = 60.0  # a use is written down no more often: a crash forgets so much of it
MAX_PER_PRINCIPAL: Final = 16
SECRET_LENGTH: Final = 52  # of an alphabet of 32: 260 bits
ID_LENGTH: Final = 12
MAX_TOKEN_LENGTH: Final = 128
SWEEP_ROWS: Final = 500

_SELECT: Final = """
SELECT id, principal, token_hash, created_at, used_at, ends_at FROM session WHERE env = ?"""
_INSERT: Final = """
INSERT INTO session (env, id, principal, token_hash, created_at, used_at, ends_at)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
_TOUCH: Final = "UPDATE session SET used_at = ? WHERE env = ? AND id = ?"
_DELETE: Final = "DELETE FROM session WHERE env = ? AND id = ?"
_NOBODY: Final = bytes(32)  # no token has this hash


class Session(msgspec.Struct, frozen=True):
    """A session that counts, or did. Times are microseconds since the epoch."""

    id: str
    principal: str
    token_hash: bytes
    created_us: int
    used_us: int
    ends_us: int

    def __repr__(self) -> str:
        return f"Session(id={self.id!r}, principal={self.principal!r})"

    def is_over(self, now_us: int) -> bool:
        return now_us >= min(self.ends_us, self.used_us + int(IDLE_S * 1_000_000))


class Sessions:
    """The sessions in the coordination database. All methods belong to the engine's loop; the
    clock is one that nobody can set far."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._noted: dict[str, int] = {}  # until when its last use is written down

    async def open(self) -> None:
        """Read those that are kept. Call once, before anything else."""
        for session in await self._database.read(_load):
            self._sessions[session.id] = session
            self._noted[session.id] = session.used_us

    async def issue(self, principal: str, *, actor: str) -> str:
        """The token of a new session, told this once. Raises Busy when the principal has too
        many already: revoke one, or wait until one ends."""
        await self.sweep()
        if len(self.of(principal)) >= MAX_PER_PRINCIPAL:
            raise Busy(
                f"{printable(principal)} has {MAX_PER_PRINCIPAL} sessions",
                hint="end one of them first",
            )
        now_us = self._clock.wall_us()
        secret = self._clock.token(SECRET_LENGTH)
        session = Session(
            id=f"session_{self._clock.token(ID_LENGTH)}",
            principal=principal,
            token_hash=_digest(secret),
            created_us=now_us,
            used_us=now_us,
            ends_us=now_us + int(LIFE_S * 1_000_000),
        )

        def change(tx: Transaction) -> None:
            tx.execute(_INSERT, (tx.env, *msgspec.structs.astuple(session)))
            tx.audit(actor, "session.open", session.id, detail=principal)

        self._sessions[session.id] = session  # from here on it is counted; nobody has its token
        try:
            await self._database.write(change)
        except BaseException:
            self._sessions.pop(session.id, None)
            raise
        self._noted[session.id] = now_us
        return f"{session.id}.{secret}"

    def check(self, token: str) -> str:
        """Whose session this is, which counts as using it. Never waits for the disk. Raises
        Denied, in the same words whatever is wrong."""
        ident, _, secret = token[:MAX_TOKEN_LENGTH].partition(".")
        session = self._sessions.get(ident)
        known = session.token_hash if session is not None else _NOBODY
        matches = hmac.compare_digest(known, _digest(secret))
        now_us = self._clock.wall_us()
        if session is None or not matches or session.is_over(now_us):
            raise Denied("this session is over, or never was", hint="sign in again")
        self._sessions[ident] = msgspec.structs.replace(session, used_us=now_us)
        return session.principal

    async def revoke(self, ident: str, *, actor: str) -> None:
        """End a session: its token does not count any more when this is called, not only when it
        returns. Raises NotFound."""
        if ident not in self._sessions:
            raise NotFound(f"no session {printable(ident)}")
        await self._end([ident], actor, "session.revoke")

    async def revoke_all(self, principal: str, *, actor: str) -> int:
        """End all sessions of a principal; how many."""
        ended = [session.id for session in self.of(principal)]
        await self._end(ended, actor, "session.revoke")
        return len(ended)

    def of(self, principal: str) -> list[Session]:
        """The sessions of a principal that count, oldest first."""
        now_us = self._clock.wall_us()
        found = [
            each
            for each in self._sessions.values()
            if each.principal == principal and not each.is_over(now_us)
        ]
        return sorted(found, key=lambda each: each.created_us)

    async def sweep(self) -> int:
        """Delete what is over, a bounded number, and write down what was used; how many are
        gone."""
        now_us = self._clock.wall_us()
        over = [each.id for each in self._sessions.values() if each.is_over(now_us)][:SWEEP_ROWS]
        await self._end(over, "system", "session.end")
        late_us = int(NOTE_USE_S * 1_000_000)
        used = [
            each
            for each in self._sessions.values()
            if each.used_us - self._noted.get(each.id, 0) >= late_us
        ][:SWEEP_ROWS]
        if used:
            await self._database.write(lambda tx: _touch(tx, used))
            self._noted.update((each.id, each.used_us) for each in used)
        return len(over)

    async def _end(self, idents: Iterable[str], actor: str, action: str) -> None:
        gone = list(idents)
        for ident in gone:
            self._sessions.pop(ident, None)
            self._noted.pop(ident, None)
        if gone:
            await self._database.write(lambda tx: _delete(tx, gone, actor, action))


def _load(reader: Reader) -> list[Session]:
    return [Session(*row) for row in reader.execute(_SELECT, (reader.env,))]


def _touch(tx: Transaction, used: Iterable[Session]) -> None:
    tx.executemany(_TOUCH, [(each.used_us, tx.env, each.id) for each in used])


def _delete(tx: Transaction, idents: Iterable[str], actor: str, action: str) -> None:
    for ident in idents:
        tx.execute(_DELETE, (tx.env, ident))
        tx.audit(actor, action, ident)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
