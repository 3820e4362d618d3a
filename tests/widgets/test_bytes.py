"""Bytes that really reach a terminal, and that they make it show the right thing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

TRUECOLOR = {"COLORTERM": "truecolor"}
MOST_PER_KEY = 300


class Driver:
    """Types into `terminal_app.py` and waits for the mark that follows."""

    def __init__(self, terminal: Callable[..., object], **options: object) -> None:
        self.terminal = terminal("terminal_app.py", **options)
        self.marks = 0
        self.mark_bytes = 0
        for _ in range(3):
            # The first frames are painted in several steps; after these marks all is quiet.
            self.mark_bytes = self.bytes_of("")

    def bytes_of(self, keys: str) -> int:
        """Bytes that these keys and the mark after them cost."""
        self.marks += 1
        self.terminal.send(keys + "m")
        wanted = f"mark {self.marks} end"
        return self.terminal.until(lambda lines: lines[-1] == wanted, wanted)

    def cursor_line(self) -> str:
        return next(line for line in self.terminal.lines if "▸  " in line)


@pytest.mark.parametrize(
    ("size", "environment"),
    [((80, 24), {}), ((120, 30), {}), ((120, 30), TRUECOLOR), ((300, 60), {"NO_COLOR": "1"})],
)
def test_a_cursor_key_is_cheap_on_every_terminal(terminal, size, environment) -> None:  # noqa: ANN001
    driver = Driver(terminal, size=size, **environment)
    for step in range(1, 5):
        cost = driver.bytes_of("j") - driver.mark_bytes
        assert 0 < cost <= MOST_PER_KEY, f"key {step}: {cost} bytes"
        assert f"swarm_{step:03}" in driver.cursor_line()


def test_what_did_not_change_costs_nothing(terminal) -> None:  # noqa: ANN001
    driver = Driver(terminal)
    assert driver.bytes_of("rrrrr") == driver.mark_bytes


def test_focus_repaints_two_edges_only(terminal) -> None:  # noqa: ANN001
    driver = Driver(terminal)
    away = driver.bytes_of("\t") - driver.mark_bytes
    assert any("▸ Notes" in line for line in driver.terminal.lines)
    assert away < 1_000


def test_many_changes_leave_the_screen_that_a_repaint_would_draw(terminal) -> None:  # noqa: ANN001
    driver = Driver(terminal, size=(100, 30))
    for _ in range(12):
        driver.bytes_of("cjc")
    piecewise = driver.terminal.lines
    driver.bytes_of("R")
    assert _unmarked(driver.terminal.lines) == _unmarked(piecewise)
    assert any("漢" in line for line in piecewise)


def _unmarked(lines: list[str]) -> list[str]:
    return [re.sub(r"mark \d+ end", "", line) for line in lines]
