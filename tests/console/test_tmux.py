"""The console in tmux: what people run it in when the line may drop."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.tmux

PROGRAM = "from swarmdeck.console.main import main; raise SystemExit(main())"


class Tmux:
    """A tmux server of our own, with one window."""

    def __init__(self, folder: Path, *command: str, size: tuple[int, int] = (80, 24)) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        width, height = (str(cells) for cells in size)
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

    def type(self, line: str) -> None:
        self._do("send-keys", "-l", line)
        self.press("Enter")

    def resize(self, width: int, height: int) -> None:
        self._do("resize-window", "-x", str(width), "-y", str(height))

    def until(self, condition: Callable[[str], object]) -> None:
        deadline_s = time.monotonic() + 30
        while not condition(text := self.text):
            assert time.monotonic() < deadline_s, f"on the screen:\n{text}"
            time.sleep(0.05)

    def close(self) -> None:
        self._do("kill-server")


@pytest.fixture(params=["xterm-256color", "screen", "linux"])
def tmux(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tmux]:
    opened = Tmux(
        tmp_path, "env", f"TERM={request.param}", "COLUMNS=80", "LINES=24",
        sys.executable, "-c", PROGRAM, "--data", str(tmp_path / "data"),
    )  # fmt: skip
    yield opened
    opened.close()


def test_a_walk_through_the_screens_at_several_sizes(tmux: Tmux) -> None:
    tmux.until(lambda text: "No swarm runs yet" in text)
    tmux.type(':queue send development digest \'{"path": "a.txt"}\'')
    tmux.press("4")
    tmux.until(lambda text: "1 of 1" in text and "digest" in text)
    tmux.press("Enter")
    tmux.until(lambda text: '"path": "a.txt"' in text)
    tmux.resize(200, 60)
    tmux.press("Escape")
    tmux.until(lambda text: '"path"' not in text)
    tmux.until(lambda text: len(text.split("\n")[0]) > 150)  # the head line goes to the edge
    for key, title in (("2", "Swarms"), ("3", "Agents"), ("5", "Budgets"),
                       ("6", "Rights · "), ("7", "Last measurements"),
                       ("8", "queue.send"), ("?", "Help")):  # fmt: skip
        tmux.press(key)
        tmux.until(lambda text, title=title: title in text)
    tmux.resize(80, 24)
    tmux.press("1")
    tmux.until(lambda text: "No swarm runs yet" in text and "staging" in text)
    tmux.press("q")
    tmux.until(lambda _: tmux.ended)
    assert "Traceback" not in tmux.text


def test_without_colour_it_says_the_same(tmp_path: Path) -> None:
    tmux = Tmux(
        tmp_path, "env", "NO_COLOR=1", sys.executable, "-c", PROGRAM,
        "--data", str(tmp_path / "data"),
    )  # fmt: skip
    try:
        tmux.until(lambda text: "No swarm runs yet" in text)
        tmux.press("?")
        tmux.until(lambda text: "Help" in text)
        tmux.press("Escape")
        tmux.until(lambda text: "Help" not in text)
        tmux.press("c")
        tmux.until(lambda text: "Start a swarm" in text)
    finally:
        tmux.close()
