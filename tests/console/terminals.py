"""A program in a real terminal: tmux holds it, types to it and tells what is on its screen."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

PROGRAM: Final = "from swarmdeck.console.main import main; raise SystemExit(main())"
PATIENCE_S: Final = 20.0
NARROW: Final = (80, 24)


class Window:
    """A program in a tmux server of its own."""

    def __init__(self, folder: Path, *command: str, size: tuple[int, int] = NARROW) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        width, height = (str(cells) for cells in size)
        self.size = size
        self._do("new-session", "-d", "-x", width, "-y", height, *command)
        self._do("set-option", "-g", "remain-on-exit", "on")

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], check=True, capture_output=True, text=True, timeout=10
        )
        return done.stdout

    @property
    def text(self) -> str:
        return self._do("capture-pane", "-p")

    @property
    def ended(self) -> bool:
        """Whether the program is gone. tmux does not always get to know its exit code."""
        return self._do("display-message", "-p", "#{pane_dead}").strip() == "1"

    def press(self, *keys: str) -> None:
        self._do("send-keys", *keys)

    def type(self, text: str) -> None:
        self._do("send-keys", "-l", text)

    def enter(self, line: str) -> None:
        """Type a line and the key that ends it."""
        self.type(line)
        self.press("Enter")

    def resize(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._do("resize-window", "-x", str(width), "-y", str(height))

    def until(self, seen: Callable[[str], object], what: str = "it") -> str:
        """Wait until the screen is so; what is on it then."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not seen(text := self.text):
            assert time.monotonic() < deadline_s, f"not seen: {what}\n{text}"
            assert not self.ended, f"it has ended before: {what}\n{text}"
            time.sleep(0.03)
        self.check(text)
        return text

    def until_ended(self) -> None:
        """Wait until the program is gone."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not self.ended:
            assert time.monotonic() < deadline_s, self.text
            time.sleep(0.05)
        assert "Traceback" not in self.text

    def check(self, text: str) -> None:
        """What must hold for every screen there is."""
        assert "Traceback" not in text, text
        rows = text.split("\n")[: self.size[1]]
        assert "SwarmDeck" in rows[0], f"the head has scrolled away\n{text}"
        assert max(map(len, rows)) <= self.size[0], text

    def close(self) -> None:
        self._do("kill-server")
