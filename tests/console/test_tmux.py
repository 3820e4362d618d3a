"""The console in tmux: what people run it in when the line may drop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = pytest.mark.tmux

PROGRAM: Final = "from swarmdeck.console.main import main; raise SystemExit(main())"


@pytest.fixture(params=["xterm-256color", "screen", "linux"])
def tmux(tmp_path: Path, request: pytest.FixtureRequest, open_window: Callable[..., Any]) -> Any:
    return open_window(
        "env", f"TERM={request.param}", "COLUMNS=80", "LINES=24",
        sys.executable, "-c", PROGRAM, "--data", str(tmp_path / "data"),
    )  # fmt: skip


def test_a_walk_through_the_screens_at_several_sizes(tmux: Any) -> None:
    tmux.until(lambda text: "No swarm runs yet" in text)
    tmux.enter(':queue send development digest \'{"path": "a.txt"}\'')
    tmux.press("4")
    tmux.until(lambda text: "1 of 1 " in text and "digest" in text)
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
    tmux.until_ended()


def test_without_colour_it_says_the_same(tmp_path: Path, open_window: Callable[..., Any]) -> None:
    tmux = open_window(
        "env", "NO_COLOR=1", sys.executable, "-c", PROGRAM, "--data", str(tmp_path / "data")
    )
    tmux.until(lambda text: "No swarm runs yet" in text)
    tmux.press("?")
    tmux.until(lambda text: "Help" in text)
    tmux.press("Escape")
    tmux.until(lambda text: "Help" not in text)
    tmux.press("c")
    tmux.until(lambda text: "Start a swarm" in text)
