"""Changing a message that nobody works on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..errors import Conflict, Denied, InvalidInput
from ..model import MAX_TTL_S, Principal
from ..store.database import Transaction
from ..vault import Ring, letters
from ..vault.letters import Letter
from . import arguments
from . import statements as sql
from .counters import Move
from .statements import DELAYED, DONE, LEASED, READY, STATES
from .steering import DENIED, Change, Steered, steered

_OPEN: Final = (READY, DELAYED)
_HINTS: Final = {LEASED: "cancel it first", DONE: "it is done: send another one"}


class Edit(NamedTuple):
    """What to change; None stays as it is. Times count from now."""

    body: bytes | None = None
    priority: int | None = None
    delay_s: float | None = None
    expires_s: float | None = None
    max_attempts: int | None = None


class Draft(NamedTuple):
    """The fields of a message that an edit can change. Times are microseconds."""

    state: int
    priority: int
    due_us: int | None
    expires_us: int | None
    max_attempts: int

    @property
    def deadline_us(self) -> int | None:
        """When something will have to be done about it."""
        times = (self.due_us, self.expires_us) if self.state in _OPEN else ()
        return min(filter(None, times), default=None)


def check(wanted: Edit) -> Edit:
    """An edit whose fields are all within bounds. Raises InvalidInput, also for an empty one."""
    if wanted == Edit():
        raise InvalidInput(
            "nothing says what to change",
            hint="give a body, a priority, a delay, an expiry or a number of attempts",
        )
    if wanted.body is not None:
        arguments.body(wanted.body)
    if wanted.priority is not None:
        arguments.whole(wanted.priority, 1, 10, "priority")
    if wanted.delay_s is not None:
        arguments.wait(wanted.delay_s)
    if wanted.expires_s is not None:
        arguments.micros(wanted.expires_s, 0.001, MAX_TTL_S, "expiry")
    if wanted.max_attempts is not None:
        arguments.whole(wanted.max_attempts, 1, arguments.MAX_ATTEMPTS, "max_attempts")
    return wanted


def edit(principal: Principal, ident: int, shown: str, wanted: Edit, ring: Ring) -> Change:
    """Change a message where it is; only a delay moves it, between ready and delayed. What has
    ended stays as it has ended, changed for its retry."""

    def change(tx: Transaction) -> Move:
        found = steered(tx, principal, ident, shown, "edit")
        if wanted.body is not None:
            _require_author(tx, principal, found, shown)
        _require_idle(found, wanted, shown)
        row = tx.execute(sql.SELECT_EDITED, (ident, tx.env)).fetchone()
        assert row is not None, "a message that was just read is there"
        old = Draft(found.state, found.priority, *row)
        new = _changed(old, wanted, tx.now_us)
        _require_due_before_expiry(new, wanted, tx.now_us, shown)
        body = wanted.body
        if body is not None:
            letter = Letter(ident, found.kind, found.sender, found.target)
            [body] = letters.protect(ring, tx, [(letter, body)])
        tx.execute(sql.EDIT, (*new, body, tx.now_us, ident))
        detail = ", ".join(_words(old, wanted))
        tx.audit(principal.id, "queue.edit", shown, detail=detail)
        return Move(ident, old.state, new.state, found.target, found.kind, old.priority,
                    found.sent_us, new.deadline_us, to_priority=new.priority)  # fmt: skip

    return change


def _require_author(tx: Transaction, principal: Principal, found: Steered, shown: str) -> None:
    """What a message says, its sender answers for: no other agent puts words in its mouth. Raises
    Denied."""
    if not principal.is_operator and principal.id != found.sender:
        tx.audit(principal.id, DENIED, shown, allowed=False, detail="edit")
        raise Denied(
            f"{principal.id} did not write {shown}",
            hint="its sender or the operator may change what it says",
        )


def _require_idle(found: Steered, wanted: Edit, shown: str) -> None:
    if found.state in _HINTS:
        raise Conflict(f"{shown} is {STATES[found.state]}", hint=_HINTS[found.state])
    if wanted.delay_s is not None and found.state not in _OPEN:
        raise Conflict(
            f"{shown} is {STATES[found.state]} and waits for nothing",
            hint="retry it first, then delay it",
        )


def _changed(old: Draft, wanted: Edit, now_us: int) -> Draft:
    new = old
    if wanted.delay_s is not None:
        delay_us = arguments.wait(wanted.delay_s)
        due_us = now_us + delay_us if delay_us else None
        new = new._replace(state=DELAYED if delay_us else READY, due_us=due_us)
    if wanted.expires_s is not None:
        new = new._replace(expires_us=now_us + int(wanted.expires_s * 1_000_000))
    return new._replace(
        priority=wanted.priority or old.priority,
        max_attempts=wanted.max_attempts or old.max_attempts,
    )


def _require_due_before_expiry(new: Draft, wanted: Edit, now_us: int, shown: str) -> None:
    """As for a message that is sent. An old expiry counts as soon as a time is changed."""
    changes_times = wanted.delay_s is not None or wanted.expires_s is not None
    if changes_times and new.expires_us and new.expires_us <= (new.due_us or now_us):
        raise InvalidInput(
            f"{shown} would expire before it is due", hint="let it expire later than its delay"
        )


def _words(old: Draft, wanted: Edit) -> Iterator[str]:
    """What an edit changes, for the audit trail. The body itself is nobody else's business."""
    if wanted.body is not None:
        yield "body"
    if wanted.priority is not None:
        yield f"priority {old.priority} -> {wanted.priority}"
    if wanted.delay_s is not None:
        yield f"delay {wanted.delay_s:g} s"
    if wanted.expires_s is not None:
        yield f"expires in {wanted.expires_s:g} s"
    if wanted.max_attempts is not None:
        yield f"max_attempts {old.max_attempts} -> {wanted.max_attempts}"
