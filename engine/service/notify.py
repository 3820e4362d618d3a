"""What a service tells the one that started it, as systemd understands it (sd_notify(3)).

One datagram for each word, to the socket named in NOTIFY_SOCKET. A supervisor that does not listen
is no trouble of the engine's: what cannot be said is logged once and the engine goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Final

from ..clock import Clock

MOST_STATUS: Final = 200  # characters of a status line
_ADDRESS: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_WATCHDOG_PID: Final = "WATCHDOG_PID"

log = logging.getLogger(__name__)


class Notifier:
    """Speaks to the supervisor at `address` (None: to nobody). `watchdog_s` is how long it waits
    for a sign of life before it ends this process; None when it does not."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = address
        self._failed = False

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> Notifier:
        """As the environment of the process says, which it is taken out of: what this process
        starts must not speak for it."""
        address = environment.pop(_ADDRESS, None)
        microseconds = environment.pop(_WATCHDOG, "")
        meant = environment.pop(_WATCHDOG_PID, "")
        is_ours = meant in {"", str(os.getpid())}
        watched = is_ours and microseconds.isdigit() and int(microseconds) > 0
        usable = address if address and address[0] in "/@" else None
        return cls(usable, int(microseconds) / 1e6 if watched and usable else None)

    @property
    def is_heard(self) -> bool:
        """Whether a supervisor listens."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Everything is open: what waits for this service may begin."""
        self._say("READY=1", _status(status), f"MAINPID={os.getpid()}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._say(_status(text))

    def reloading(self, clock: Clock) -> None:
        """Settings are read again; `ready` says that it is done."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic_s() * 1e6)}")

    def stopping(self, reason: str) -> None:
        """The engine begins to close."""
        self._say("STOPPING=1", _status(reason))

    async def keep_alive(self) -> None:
        """Say for ever, twice in each wait of the supervisor, that the loop runs. Returns at once
        where nobody waits for it."""
        while self.watchdog_s is not None:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 2)

    def _say(self, *words: str) -> None:
        if self._address is None:
            return
        # An abstract address begins with NUL, which no variable can hold.
        place = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(words).encode(), place)
        except OSError as error:
            if not self._failed:
                log.warning("the supervisor at %s is not reached: %s", self._address, error)
            self._failed = True


def _status(text: str) -> str:
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return f"STATUS={line[:MOST_STATUS]}"
