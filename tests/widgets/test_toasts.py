"""Toasts: the newest is always seen."""

from __future__ import annotations

import pytest
from textual.geometry import Region, Size
from textual.notifications import Notification
from textual.widgets._toast import Toast

from swarmdeck.widgets import DeckApp
from swarmdeck.widgets.toasts import crowded_out, rows_of

NARROW = Size(80, 24)


def said(number: int, rows: int = 1) -> Notification:
    return Notification("\n".join(f"said {number}" for _ in range(rows)))


def test_a_toast_takes_its_lines_broken_where_they_are_too_long_and_the_gap_above() -> None:
    assert rows_of(Notification("short"), 80) == 2
    assert rows_of(Notification("short", title="Denied"), 80) == 3
    assert rows_of(Notification("word " * 20), 80) == 3
    assert rows_of(Notification("word " * 20), 20) == 10 + 1


@pytest.mark.parametrize(
    ("shown", "newest", "gone"),
    [
        ([], 3, 0),
        ([3, 3], 3, 0),
        ([3, 3, 3], 3, 1),
        ([1, 1, 3, 3], 3, 2),
        ([3, 1, 1], 6, 1),
        ([1, 1], 30, 2),
    ],
)
def test_the_oldest_go_so_that_all_take_half_the_screen(
    shown: list[int], newest: int, gone: int
) -> None:
    before = [said(number, rows) for number, rows in enumerate(shown)]
    assert crowded_out(before, said(9, newest), NARROW) == before[:gone]


async def test_the_newest_of_many_toasts_is_seen_whole() -> None:
    async with DeckApp().run_test(size=NARROW, notifications=True) as pilot:
        for number in range(12):
            pilot.app.notify(f"said {number}\nand more\nof it")
            await pilot.pause()
            shown = sorted(pilot.app.screen.query(Toast), key=lambda toast: toast.region.y)
            texts = [str(toast.render()).split("\n")[0] for toast in shown]
            assert texts == [f"said {n}" for n in range(max(0, number - 2), number + 1)]
            assert all(Region(0, 0, *NARROW).contains_region(each.region) for each in shown)
