"""Computing a chain anew from the rows of a file, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..store import driver
from ..store.chain import Head, Row, link

CHUNK_ROWS: Final = 20_000

_ROWS: Final = """
SELECT sequence, env, at, actor, action, object, allowed, detail FROM audit
WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"""
_HASHES: Final = """
SELECT sequence, hash FROM audit
WHERE sequence > ? AND sequence <= ? AND hash IS NOT NULL ORDER BY sequence"""


class Broken(Exception):
    """Where a chain does not hold, and how."""


class Walk:
    """A way along a chain, from its anchor to the row `until`. It steps on the thread of one
    connection, one chunk a call, so that no reader is held for long."""

    def __init__(self, anchor: Head, until: int) -> None:
        self.at = anchor
        self.rows = 0
        self.agreed = 0
        self._until = until
        self._signed: dict[int, set[bytes]] = {}  # sequences where the hash is known, to come
        self._open: list[Row] = []  # rows of a commit whose end has not been read yet

    def expect(self, signed: Iterable[tuple[int, bytes]]) -> None:
        """What was signed has to be passed. Raises Broken when it is not even so at the anchor."""
        for sequence, hash_ in signed:
            self._signed.setdefault(sequence, set()).add(hash_)
        self._compare(self.at)

    @property
    def missed(self) -> int | None:
        """The first sequence that was signed and not passed."""
        return min(self._signed, default=None)

    def step(self, raw: driver.Raw) -> bool:
        """Pass one chunk; whether there is more. Raises Broken."""
        after = self._open[-1][0] if self._open else self.at.sequence
        raw.execute("BEGIN")
        try:
            rows: list[Row] = raw.execute(_ROWS, (after, self._until, CHUNK_ROWS)).fetchall()
            last = rows[-1][0] if rows else after
            ends = raw.execute(_HASHES, (after, last)).fetchall()
        finally:
            raw.execute("ROLLBACK")
        self._pass(rows, ends)
        more = len(rows) == CHUNK_ROWS
        if not more:
            self._finish()
        return more

    def _pass(self, rows: Sequence[Row], ends: Sequence[tuple[int, object]]) -> None:
        start = 0
        for sequence, hash_ in ends:
            # Rows without gaps end where the sequence says; anything else is a gap.
            stop = start + 1 + sequence - rows[start][0]
            commit = rows[start:stop]
            if self._open:
                commit = [*self._open, *commit]
                self._open = []
            self._commit(commit, sequence, hash_)
            start = stop
        self._open += rows[start:]
        self.rows += len(rows)

    def _commit(self, rows: Sequence[Row], sequence: int, hash_: object) -> None:
        first = self.at.sequence + 1
        if rows[0][0] != first:
            raise Broken(f"row {first:,} is missing")
        if rows[-1][0] != sequence or len(rows) != sequence - first + 1:
            gone = next((at for at, row in enumerate(rows, first) if row[0] != at), sequence)
            raise Broken(f"row {gone:,} is missing")
        found = link(self.at.hash, rows)
        if found != hash_:
            raise Broken(f"{_named(first, sequence)} changed, or a row before")
        self.at = Head(sequence, found)
        self._compare(self.at)

    def _compare(self, head: Head) -> None:
        known = self._signed.pop(head.sequence, None)
        if known is None:
            return
        if known != {head.hash}:
            raise Broken(f"row {head.sequence:,} is not the one that was signed")
        self.agreed += 1

    def _finish(self) -> None:
        if self._open:
            raise Broken(f"rows from {self._open[0][0]:,} on were added by somebody else")
        if self.at.sequence < self._until:
            raise Broken(f"rows after {self.at.sequence:,} are missing")


def _named(first: int, last: int) -> str:
    return f"row {first:,} was" if first == last else f"one of the rows {first:,} to {last:,} was"
