"""Lanes say what waits at each priority, and the empty and the least urgent give way first."""

from __future__ import annotations

import pytest
from textual.app import ComposeResult

from swarmdeck.engine.views import LaneView
from swarmdeck.widgets import DeckApp, QueueLanes
from swarmdeck.widgets.lanes import Lane, lane_bar

NOW_US = 1_000_000_000_000
MINUTE_US = 60_000_000


class One(DeckApp):
    def __init__(self, *lanes: LaneView) -> None:
        super().__init__()
        self.lanes = lanes

    def compose(self) -> ComposeResult:
        yield QueueLanes(title="Lanes", frame="rule")

    def on_mount(self) -> None:
        self.query_one(QueueLanes).show(self.lanes, NOW_US)


def lane(priority: int, ready: int = 0, environment: str = "development", **more: int) -> LaneView:
    fields = {"delayed": 0, "leased": 0, "dead": 0} | more
    return LaneView(environment=environment, priority=priority, ready=ready, **fields)


async def shown(*lanes: LaneView, size: tuple[int, int] = (80, 12)) -> list[str]:
    app = One(*lanes)
    async with app.run_test(size=size):
        widget = app.query_one(QueueLanes)
        rows = (widget.render_line(y) for y in range(size[1]))
        return ["".join(segment.text for segment in row).rstrip() for row in rows]


async def test_every_priority_has_a_line_most_urgent_first() -> None:
    rows = await shown(lane(5, 3), lane(10, 1))
    assert [int(row.split()[0]) for row in rows[2:]] == list(range(10, 0, -1))


async def test_environments_are_summed_and_the_oldest_counts() -> None:
    rows = await shown(
        lane(5, 3, oldest_at_us=NOW_US - 2 * MINUTE_US),
        lane(5, 4, environment="research", dead=2, oldest_at_us=NOW_US - 9 * MINUTE_US),
    )
    numbers = next(row for row in rows if row.lstrip().startswith("5")).split()[2:]
    assert numbers == ["7", "·", "·", "2", "▲", "9", "m"]


async def test_where_lines_are_few_the_empty_lanes_go_first() -> None:
    rows = await shown(lane(2, 1), lane(9, 1), lane(5, 1), lane(1, 8), size=(80, 5))
    assert [row.split()[0] for row in rows[2:]] == ["9", "5", "2"]
    assert "1 more lane" in rows[0]


async def test_a_narrow_place_keeps_the_numbers_without_bars() -> None:
    rows = await shown(lane(5, 7), size=(50, 12))
    five = next(row for row in rows if row.lstrip().startswith("5"))
    assert "█" not in five
    assert "7" in five


async def test_time_that_passes_repaints_nothing_within_a_minute() -> None:
    app = One(lane(5, 1, oldest_at_us=NOW_US - 90_000_000))
    async with app.run_test(size=(80, 12)):
        widget = app.query_one(QueueLanes)
        before = [list(row) for row in widget._cells]
        widget.show(app.lanes, NOW_US + 20_000_000)
        assert before == widget._cells


@pytest.mark.parametrize(
    ("lane_", "expected"),
    [
        (Lane(5, ready=8, leased=4, delayed=4), "████▓▓░░"),
        (Lane(5, ready=1, dead=1), "█✗      "),
        (Lane(5, ready=100_000, leased=1, delayed=1, dead=1), "█████▓░✗"),
        (Lane(5), "        "),
    ],
)
def test_every_part_that_holds_anything_is_seen(lane_: Lane, expected: str) -> None:
    most = max(lane_.total, 16)
    assert "".join(text for text, _ in lane_bar(lane_, 8, most)) == expected
