"""Charts of a window of time: they fit, gaps are seen, and extremes are not lost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from textual.app import ComposeResult

from swarmdeck.widgets import ChartGrid, Curve, DeckApp
from swarmdeck.widgets.cells import Line, width_of
from swarmdeck.widgets.timechart import curve_lines, stretched


def curve(values: Sequence[float | None] = (1, 2, 3), **more: object) -> Curve:
    fields: dict[str, object] = {
        "title": "cpu", "values": values, "highs": (), "begins": "10:00", "ends": "11:00",
        "note": "39 %", "write": lambda value: f"{value:g} %",
    }  # fmt: skip
    return Curve(**(fields | more))  # type: ignore[arg-type]


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


class Grid(DeckApp):
    def __init__(self, curves: Sequence[Curve]) -> None:
        super().__init__()
        self.grid = ChartGrid(title="Charts")
        self._curves = curves

    def compose(self) -> ComposeResult:
        yield self.grid

    def on_mount(self) -> None:
        self.grid.show("host · last 1h", self._curves)
        self.grid.focus()


@pytest.mark.parametrize(("width", "height"), [(11, 3), (20, 4), (38, 6), (200, 40)])
def test_a_chart_takes_its_room_and_no_more(width: int, height: int) -> None:
    lines = curve_lines(curve([n % 7 for n in range(720)], highs=[9] * 720), width, height)
    assert len(lines) == height
    assert max(width_of(text(line)) for line in lines) <= max(width, 15)


def test_what_was_not_measured_has_no_line_and_nought_has_one() -> None:
    lines = curve_lines(curve([0, None, 0, 5], most=10.0), 10 + 8, 4)
    bottom = text(lines[2])[10:]
    assert bottom[:2] == "⣀⣀"
    assert bottom[2:4].strip() == ""
    assert bottom[4:6] == "⣀⣀"


def test_a_step_is_as_wide_as_it_lasts() -> None:
    assert stretched([1, 2], 6, max) == [1, 1, 1, 2, 2, 2]
    wide = stretched([1, None], 4, max)
    assert wide[:2] == [1, 1]
    assert all(map(math.isnan, wide[2:]))
    assert stretched([], 4, max) == []


def test_steps_that_share_a_column_keep_their_greatest() -> None:
    assert stretched([1, 9, 2, None], 2, max) == [9, 2]
    assert stretched([1, 9, 2, 4], 2, lambda values: sum(values) / len(values)) == [5, 3]


def test_the_scale_and_the_times_are_in_words() -> None:
    lines = curve_lines(curve([40], most=100.0), 40, 6)
    assert text(lines[0]) == "cpu  39 %".ljust(len(text(lines[0])))
    assert text(lines[1]).startswith("   100 % ┤")
    assert text(lines[4]).startswith("     0 % ┤")
    assert text(lines[5]).split() == ["10:00", "11:00"]


@pytest.mark.parametrize(
    ("size", "shown"), [((80, 13), 4), ((80, 24), 6), ((160, 24), 9), ((60, 13), 2)]
)
async def test_as_many_charts_are_shown_as_fit(size: tuple[int, int], shown: int) -> None:
    app = Grid([curve(title=f"m{n}") for n in range(20)])
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert app.grid.note == f"1 to {shown} of 20"
        assert len(app.grid.layout_lines()) <= app.grid.body_height


async def test_the_others_are_scrolled_to_and_no_further() -> None:
    app = Grid([curve(title=f"m{n}") for n in range(5)])
    async with app.run_test(size=(80, 13)) as pilot:
        await pilot.press("j", "j", "j")
        assert app.grid.note == "3 to 5 of 5"
        await pilot.press("g")
        assert app.grid.note == "1 to 4 of 5"
        await pilot.press("G", "k")
        assert app.grid.note == "1 to 4 of 5"


async def test_one_chart_has_all_the_room_and_none_says_why() -> None:
    app = Grid([curve()])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.grid.note == ""
        assert max(width_of(text(line)) for line in app.grid.layout_lines()) == 80
        app.grid.say("host", "✗ the disk\nlook at it")
        assert [text(line).strip() for line in app.grid.layout_lines()] == [
            "",
            "✗ the disk",
            "look at it",
        ]
