"""The engine's log: `logs/engine.log` in the data directory, one JSON document a line.

    {"at": "2031-02-03T04:05:06.789Z", "level": "warning", "logger": "swarms.crew", "pid": 412,
     "message": "...", "error": {"type": "OSError", "message": "...", "trace": [...]}}
    {"at": "...", "level": "info", "logger": "events", "pid": 412, "message": "running",
     "kind": "swarm", "subject": "dev_swarm_7", "environment": "development"}

The second is an event of the journal, which the console's log screen shows too. Only the owner of
the directory writes there, so that one process alone puts files aside. A disk that is full or gone
costs lines, never the engine.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..journal import EVENTS
from ..text import safe_json
from ..views import JournalView

if TYPE_CHECKING:
    from io import TextIOWrapper

    from ..settings import LoggingSettings

FILE: Final = "engine.log"
ROOT: Final = "swarmdeck.engine"
SAID_BY: Final = (ROOT, EVENTS)
MOST_MESSAGE: Final = 4000  # characters; a message is a line, no document
MOST_FRAMES: Final = 30
_ENCODER: Final = msgspec.json.Encoder()


class JsonLine(logging.Formatter):
    """A record as one line of JSON, with nothing in it that a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "at": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix(f"{ROOT}.").removeprefix("swarmdeck."),
            "pid": os.getpid(),
            "message": _cut(_message(record)),
        }
        event = getattr(record, "event", None)
        if isinstance(event, JournalView):
            said |= {"kind": event.kind, "subject": event.subject, "environment": event.environment}
        if record.exc_info and record.exc_info[1] is not None:
            said["error"] = _error(record.exc_info[1])
        return safe_json(_ENCODER.encode(said).decode())


def _moment(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a line whose parts do not fit is worth more than none
        return f"{record.msg} {record.args!r}"


def _cut(text: str) -> str:
    """As much as a line holds; half characters, as in a path that is not UTF-8, cannot stand in
    JSON."""
    return text[:MOST_MESSAGE].encode(errors="backslashreplace").decode()


def _error(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    return {
        "type": type(error).__name__,
        "message": _cut(str(error)),
        "trace": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


class EngineLog(RotatingFileHandler):
    """Writes to a file that is put aside when it is full. `take` changes its settings."""

    def __init__(self, folder: Path, settings: LoggingSettings) -> None:
        super().__init__(folder / FILE, delay=True, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(JsonLine())
        self.take(settings)

    def take(self, settings: LoggingSettings) -> None:
        """Go by these from the next line on."""
        self.maxBytes = settings.file_bytes
        self.backupCount = settings.files
        for name in SAID_BY:
            logging.getLogger(name).setLevel(settings.level.upper())

    def _open(self) -> TextIOWrapper:
        """Readable by its owner only, whatever the umask says."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)  # noqa: PTH123

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """The next line tries the file anew."""
        if self.stream is not None:
            stream, self.stream = self.stream, None
            try:
                stream.close()
            except OSError:
                return


@contextmanager
def engine_log(data: Path, settings: LoggingSettings) -> Iterator[EngineLog]:
    """Write what the engine says to the log of a data directory while the block runs. The file is
    made with the first line; the directory need not be there yet."""
    handler = EngineLog(data / "logs", settings)
    loggers = [logging.getLogger(name) for name in SAID_BY]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield handler
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        handler.close()
