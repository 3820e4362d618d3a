"""Every error a caller can see, as one tree.

    SwarmDeckError
    ├── InvalidInput        the request itself is wrong
    │   └── ConfigError     a settings file, variable or flag is wrong
    ├── NotFound            no such thing, or a read that is denied
    ├── Denied              the principal may not do this
    ├── Conflict            the thing has moved on (version, lease, state)
    ├── Busy                try again: a lane is full, or a lock is held
    │   └── EngineBusy      another process owns the data directory
    ├── OverBudget          memory or agent limit of the host plan
    ├── Unavailable         a part that is needed does not answer
    │   ├── StorageError    the disk refused; nothing was changed
    │   ├── OutcomeUnknown  the disk failed during commit; look before you repeat
    │   ├── Sealed          the keys are not there: unseal the vault
    │   └── Corrupt         a database file is damaged or from a newer release
    │       └── Damaged     one record does not match its seal
    └── Defect              a bug of ours

An error knows its code, a hint and whether a retry can help. It knows nothing of terminals or
sockets: the tables at the bottom translate it at each border.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class SwarmDeckError(Exception):
    """Base of all errors. `message` says what and which; `hint` says what to do."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def again(self) -> SwarmDeckError:
        """The same error for one more caller: what is raised twice collects both tracebacks."""
        return type(self)(self.message, hint=self.hint)

    def report(self) -> ErrorReport:
        """The form that crosses a process border."""
        return ErrorReport(self.code, self.message, self.hint, self.retryable)


class InvalidInput(SwarmDeckError):
    code = "invalid_input"
    exit_code = 2


class ConfigError(InvalidInput):
    code = "config"


class NotFound(SwarmDeckError):
    code = "not_found"
    exit_code = 3


class Denied(SwarmDeckError):
    code = "denied"
    exit_code = 4


class Conflict(SwarmDeckError):
    code = "conflict"
    exit_code = 5


class Busy(SwarmDeckError):
    code = "busy"
    exit_code = 5
    retryable = True


class EngineBusy(Busy):
    """Another process owns the data directory. `pid` is that process, or None if unknown."""

    code = "engine_busy"

    def __init__(self, message: str, *, hint: str = "", pid: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pid = pid


class OverBudget(SwarmDeckError):
    code = "over_budget"
    exit_code = 6


class Unavailable(SwarmDeckError):
    code = "unavailable"
    exit_code = 7
    retryable = True


class StorageError(Unavailable):
    code = "storage"


class OutcomeUnknown(Unavailable):
    code = "outcome_unknown"
    retryable = False


class Corrupt(Unavailable):
    code = "corrupt"
    retryable = False


class Damaged(Corrupt):
    code = "damaged"


class Sealed(Unavailable):
    code = "sealed"
    retryable = False


class Defect(SwarmDeckError):
    code = "defect"


class ErrorReport(msgspec.Struct, frozen=True):
    """An error as data: on the socket, in `--json` output, in an event."""

    code: str
    message: str
    hint: str = ""
    retryable: bool = False

    def error(self) -> SwarmDeckError:
        """The exception this report was made from (its class, message and hint)."""
        kind = BY_CODE.get(self.code, Defect)
        return kind(self.message, hint=self.hint)


def _tree(kind: type[SwarmDeckError]) -> list[type[SwarmDeckError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _tree(child))]


BY_CODE: dict[str, type[SwarmDeckError]] = {kind.code: kind for kind in _tree(SwarmDeckError)}
