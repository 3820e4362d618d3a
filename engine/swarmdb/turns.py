"""Who writes next, and who writes together.

One thread writes at a time; the others wait in line, where SQLite would have them try again and
again. Whoever's turn it is takes along what waits behind it: all of that is one transaction, one
commit and, with full durability, one sync. A transaction block has its turn alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Final

from ..errors import SwarmDeckError
from ..store.dbapi import Link, Outcome, Statement
from ..store.kin import CommitUnknown, DiskError, Locked
from .log import Log

TOGETHER: Final = 200
"""Writes in one commit at most: the last of them waits for all."""


class Turn:
    """One caller's statements, and what became of them."""

    __slots__ = ("alone", "done", "error", "leads", "outcome", "statements", "wake")

    def __init__(self, statements: Sequence[Statement], *, alone: bool = False) -> None:
        self.statements = statements
        self.alone = alone
        self.leads = False
        self.done = False
        self.outcome = Outcome(0, 0)
        self.error: SwarmDeckError | None = None
        self.wake: Lock | None = None  # held until its thread is to go on

    def answer(self) -> Outcome:
        """The outcome, once another thread has committed it. Raises its error."""
        if self.error is not None:
            raise self.error
        if not self.done:
            raise CommitUnknown(
                "another thread did not say whether it committed this",
                hint="the change may be stored or not: read it back before you repeat it",
            )
        return self.outcome


class Turns:
    """The line before one database, for all threads of this process."""

    def __init__(self, timeout_s: float, log: Log) -> None:
        self._timeout_s = timeout_s
        self._log = log
        self._mutex = Lock()
        self._busy = False
        self._line: deque[Turn] = deque()

    def write(self, link: Link, statements: Sequence[Statement]) -> Outcome:
        """Run statements as one transaction, together with those of others that wait. Raises
        Locked when the turn did not come in time, and what the statements raise."""
        turn = Turn(statements)
        batch = [turn]
        try:
            self._wait(turn)
            if turn.leads:
                self._gather(batch)
                self._commit(link, batch)
        finally:  # an interrupt may come anywhere: a turn that is kept would end all writing
            if turn.leads:
                self._leave(link, batch)
        return turn.answer()

    @contextmanager
    def transaction(self, link: Link) -> Iterator[None]:
        """A turn of one's own to write in, as long as the block lasts. Raises Locked, and
        DiskError while the disk refuses."""
        turn = Turn((), alone=True)
        try:
            self._wait(turn)
            self._log.before(link)
            yield
        except BaseException as error:
            self._log.note(error)
            raise
        finally:
            if turn.leads:
                self._leave(link, [turn])

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nobody of this process writes as long as the block lasts. Raises Locked."""
        turn = Turn((), alone=True)
        try:
            self._wait(turn)
            yield
        finally:
            if turn.leads:
                self._pass_on()

    def _wait(self, turn: Turn) -> None:
        """Until it is this one's turn, or another has committed it."""
        with self._mutex:
            if not self._busy:
                turn.leads = self._busy = True
                return
            turn.wake = wake = Lock()
            wake.acquire()
            self._line.append(turn)
        try:
            told = wake.acquire(timeout=self._timeout_s)
        except BaseException:
            self._withdraw(turn)
            raise
        if told or turn.leads:
            return
        if self._withdraw(turn):
            raise Locked("another thread writes for too long", hint="end its transaction")
        if not turn.leads:  # being committed: how long that takes is up to the disk
            wake.acquire(timeout=self._timeout_s)

    def _withdraw(self, turn: Turn) -> bool:
        """Leave the line; whether it was still in it."""
        with self._mutex:
            if turn.leads or turn not in self._line:
                return False
            self._line.remove(turn)
            return True

    def _gather(self, batch: list[Turn]) -> None:
        """Take along those who wait, up to one that wants to be alone."""
        with self._mutex:
            line = self._line
            while line and not line[0].alone and len(batch) < TOGETHER:
                batch.append(line.popleft())

    def _leave(self, link: Link, batch: Sequence[Turn]) -> None:
        """Let those of the batch go on, see to the log, and let the next one lead."""
        try:
            for turn in batch[1:]:
                _go_on(turn)
            self._log.after(link, len(batch))
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        with self._mutex:
            following = self._line.popleft() if self._line else None
            if following is None:
                self._busy = False
                return
            following.leads = True
        _go_on(following)

    def _commit(self, link: Link, batch: Sequence[Turn]) -> None:
        """Commit all in one transaction. When one of them cannot be, each is run by itself, so
        that each answers for its own."""
        try:
            self._attempt(link, batch)
        except SwarmDeckError as error:
            self._log.note(error)
            if len(batch) == 1:
                batch[0].error = error
            elif isinstance(error, Locked | DiskError | CommitUnknown):
                for turn in batch:
                    turn.error = error.again()
            else:
                for turn in batch:
                    self._commit(link, [turn])

    def _attempt(self, link: Link, batch: Sequence[Turn]) -> None:
        self._log.before(link)
        try:
            link.begin()
            for turn in batch:
                turn.outcome = link.run(turn.statements)
            link.commit()
        except BaseException:
            link.undo()
            raise
        for turn in batch:
            turn.done = True


def _go_on(turn: Turn) -> None:
    if turn.wake is not None:
        turn.wake.release()
