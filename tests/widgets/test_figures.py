"""Meters, charts, heat strips and the status line say in marks and words what colours say."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from textual.app import ComposeResult

from swarmdeck.engine.model import GIB, MIB
from swarmdeck.widgets import (
    STATE_MARKS,
    BrailleChart,
    DeckApp,
    HeatRow,
    HeatStrip,
    LineWidget,
    LogTail,
    Meter,
    MeterBar,
    Series,
    StatusLine,
    Threshold,
    state_span,
)
from swarmdeck.widgets.chart import Raster, round_up
from swarmdeck.widgets.gallery import sample_engine
from swarmdeck.widgets.meter import bar_spans


class One(DeckApp):
    def __init__(self, widget: LineWidget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget


def text_of(widget: LineWidget) -> list[str]:
    height = widget.size.height
    return ["".join(s.text for s in widget.render_line(y)).rstrip() for y in range(height)]


def bar(used: float, allocated: float, plan: float, limit: float = 0, width: int = 17) -> str:
    sizes = (round(amount * GIB) for amount in (used, allocated, plan, limit))
    return "".join(text for text, _ in bar_spans(Meter("m", *sizes), width, 16 * GIB))


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ((4, 8, 12, 16), "████▒▒▒▒────┃····"),
        ((0, 0, 12, 0), "────────────┃    "),
        ((6, 14, 12, 16), "██████▒▒▒▒▒▒┃▒▒··"),
        ((16, 16, 12, 16), "████████████┃████"),
        ((0.001, 1, 16, 16), "█───────────────┃"),
        ((99, 99, 16, 16), "████████████████┃"),
        ((0, 0, 0, 0), "┃                "),
    ],
)
def test_a_bar_shows_used_allocated_plan_and_limit(
    amounts: tuple[float, ...], expected: str
) -> None:
    assert bar(*amounts) == expected


async def test_meters_carry_all_three_numbers_at_every_width() -> None:
    meters = MeterBar(title="Memory")
    async with One(meters).run_test(size=(80, 6)) as pilot:
        meters.show([Meter("production", 7 * GIB, 9 * GIB, 12 * GIB, 16 * GIB)])
        for width in (200, 80, 40):
            await pilot.resize_terminal(width, 6)
            await pilot.pause()
            heading, row = text_of(meters)[1:3]
            assert heading.split()[1] == "GB"
            assert heading.split()[-4:-1] == ["used", "alloc", "plan"]
            assert row.split()[-4:-1] == ["7", "9", "12"]
            assert "production" in row


async def test_what_is_used_beyond_its_allocation_has_a_sign() -> None:
    meters = MeterBar()
    async with One(meters).run_test(size=(80, 6)):
        meters.show([Meter("a", 300 * MIB, 200 * MIB, 500 * MIB), Meter("b", 1, 2, 500 * MIB)])
        heading, over, fine = text_of(meters)[:3]
        assert heading.startswith("MB")
        assert "!300" in over
        assert "!" not in fine
        assert "<0.01" in fine


async def test_meters_without_room_for_a_heading_carry_the_unit() -> None:
    meters = MeterBar()
    async with One(meters).run_test(size=(60, 1)):
        meters.show([Meter("host", 7 * GIB, 9 * GIB, 12 * GIB)])
        assert text_of(meters)[0].endswith("7     9   12 GB")


def test_a_trace_joins_its_samples_and_leaves_gaps_for_what_is_unknown() -> None:
    raster = Raster(4, 1, top=3.0)
    raster.trace([0, 3, math.nan, 0, 0, math.inf, 3, 3], 0, "accent")
    assert raster.spans(0) == (("⣸", "accent"), ("⣀⣀", "border"), ("⣉", "accent"))


def test_a_stroke_belongs_to_the_samples_not_to_the_screen() -> None:
    whole, moved = Raster(8, 1, top=1.0), Raster(8, 1, top=1.0)
    whole.trace([0] * 12, 0, "good", (3, 2), 0)
    moved.trace([0] * 8, 0, "good", (3, 2), 4)
    assert moved.spans(0)[0][0][:4] == whole.spans(0)[0][0][2:6]


def test_the_scale_is_a_round_number_above_all() -> None:
    values = (0, 0.3, 1, 1.1, 2.2, 3, 7, 12, 260, 4_800, 10_000)
    assert [round_up(v) for v in values] == [1, 0.5, 1, 2, 2.5, 5, 10, 20, 500, 5_000, 10_000]


async def test_a_chart_has_an_axis_a_threshold_and_a_legend() -> None:
    chart = BrailleChart(
        [Series("sets"), Series("gets", "good")],
        title="Ops",
        unit="/s",
        thresholds=[Threshold(80, "busy")],
    )
    async with One(chart).run_test(size=(60, 12)):
        chart.show([[10, 20, 30], [5, 5, 5]])
        rows = text_of(chart)
        assert rows[1].split()[1] == "100"
        assert rows[-3].split()[1] == "0"
        assert sum("busy" in row and "╌╌╌" in row for row in rows) == 1
        assert "━━ sets 30/s  ╍╍ gets 5/s" in rows[-2]


async def test_a_chart_without_samples_has_no_scale() -> None:
    chart = BrailleChart([Series("gets")])
    async with One(chart).run_test(size=(60, 12)):
        assert not any("┤" in row for row in text_of(chart))
        chart.push(7.0)
        assert any("10 ┤" in row for row in text_of(chart))


async def test_most_samples_touch_one_column_of_the_chart(monkeypatch: Any) -> None:
    chart = BrailleChart([Series("sets")], maximum=100.0)
    asked: list[int] = []
    async with One(chart).run_test(size=(60, 12)) as pilot:
        chart.show([[50.0 + 40 * math.sin(x / 5) for x in range(400)]])
        await pilot.pause()
        monkeypatch.setattr(chart, "refresh", lambda *regions: asked.append(len(regions)))
        for x in range(16):
            chart.push(50.0 + 40 * math.sin((400 + x) / 5))
        few = [number for number in asked if number <= 8]
        assert len(few) >= 14
        assert len(asked) == 16


def test_a_chart_takes_one_to_three_series() -> None:
    with pytest.raises(ValueError, match="1 to 3 series, not 4"):
        BrailleChart([Series("x")] * 4)


def test_no_two_agent_states_look_alike_without_colour() -> None:
    states = ("ready", "starting", "external", "stale", "exited", "failed")
    assert len({STATE_MARKS[state].symbol for state in states}) == len(states)
    assert state_span("ready") == ("● ready", "good")
    assert state_span("unheard of")[0].startswith("?")


async def test_a_heat_strip_shows_each_agent_and_counts_the_rest() -> None:
    strip = HeatStrip()
    async with One(strip).run_test(size=(40, 4)):
        strip.show([HeatRow("dev", ("ready",) * 3 + ("failed",)), HeatRow("test", ("ready",) * 99)])
        dev, test, _, legend = [*text_of(strip)[:2], "", text_of(strip)[2]]
        assert dev == "dev     4 ●●●✗"
        assert test.startswith("test   99 ●●●")
        assert test.endswith("+72")
        assert len(test) == 40
        assert legend == "● 102 ready  ✗ 1 failed"


async def test_a_narrow_heat_strip_counts_without_words() -> None:
    strip = HeatStrip()
    async with One(strip).run_test(size=(20, 3)):
        strip.show([HeatRow("dev", ("ready", "failed", "stale"))])
        assert text_of(strip)[1] == "●1 ▲1 ✗1"
        strip.show([])
        assert text_of(strip)[0] == "no agents"


async def test_the_status_line_marks_what_to_look_at() -> None:
    status = StatusLine()
    calm = msgspec.structs.replace(sample_engine(), writer_queue=3)
    async with One(status).run_test(size=(100, 2)):
        assert "no data yet" in text_of(status)[0]
        status.show(calm, age_s=0.8, mode="embedded")
        text = text_of(status)[0]
        assert "▲" not in text
        words = ("embedded", "data 1 s", "loop 0 ms", "writer 3", "wal 3 MB", "bus in-process")
        assert all(word in text for word in words)
        status.show(sample_engine(), age_s=9, mode="embedded")
        assert "▲ writer 1,240" in text_of(status)[0]
        assert "▲ data 9 s" in text_of(status)[0]


async def test_a_message_takes_the_room_of_the_least_telling_numbers() -> None:
    status = StatusLine()
    async with One(status).run_test(size=(60, 2)):
        status.show(sample_engine(), age_s=0.1, mode="attached")
        status.say("swarm dev_swarm_1 ended", "good")
        text = text_of(status)[0]
        assert text.startswith(" swarm dev_swarm_1 ended")
        assert "attached" in text
        assert "bus" not in text
        status.say("")
        assert "ended" not in text_of(status)[0]


async def test_a_log_follows_its_end_until_somebody_scrolls_back() -> None:
    log = LogTail(capacity=20, title="Output")
    async with One(log).run_test(size=(40, 6)) as pilot:
        log.focus()
        log.write("\n".join(f"line {n}" for n in range(10)))
        assert [row.split()[2] for row in text_of(log)[1:5]] == ["6", "7", "8", "9"]
        await pilot.press("k", "k")
        assert not log.following
        log.write("line 10\x1b[2J")
        assert [row.split()[2] for row in text_of(log)[1:5]] == ["4", "5", "6", "7"]
        assert "3 below" in text_of(log)[0]
        await pilot.press("G")
        assert log.following
        assert "line 10␛[2J" in text_of(log)[4]
        for n in range(40):
            log.write(f"more {n}")
        await pilot.press("ctrl+u", "ctrl+u", "ctrl+u", "ctrl+u", "ctrl+u", "ctrl+u", "ctrl+u")
        assert "more 20" in text_of(log)[1]
        log.clear()
        assert text_of(log)[1].strip("│ ") == ""


async def test_a_sweep_runs_over_the_oldest_samples_and_moves_nothing_else() -> None:
    chart = BrailleChart([Series("gets")], maximum=100.0, mode="sweep")
    async with One(chart).run_test(size=(40, 8)):
        dots = 2 * (40 - 7)
        chart.show([[50.0] * dots])
        full = text_of(chart)
        assert "⠤" in full[3] or "⠒" in full[3]
        chart.push(50.0)
        before = [list(row) for row in chart._cells[:-1]]
        chart.push(50.0)
        after = [list(row) for row in chart._cells[:-1]]
        changed = {x for one, two in zip(before, after, strict=True)
                   for x, (a, b) in enumerate(zip(one, two, strict=True)) if a != b}  # fmt: skip
        assert len(changed) <= 2, "the newest sample and the gap before it"


async def test_a_sweep_keeps_what_it_has_not_run_over() -> None:
    chart = BrailleChart([Series("gets")], maximum=100.0, mode="sweep")
    async with One(chart).run_test(size=(40, 8)):
        dots = 2 * (40 - 7)
        chart.show([[50.0] * dots + [100.0] * (dots // 2)])
        top, middle = text_of(chart)[0], text_of(chart)[3]
        assert set(top[7:20]) <= set("⠉⠈⠁"), "new samples on the left"
        assert top[30:].strip() == ""
        assert set(middle[30:]) <= set("⠒⠤"), "old ones still on the right"
        assert (top + " " * 40)[24:27].strip() == middle[24:27].strip() == "", "a gap between"


async def test_a_series_at_zero_changes_no_cell() -> None:
    chart = BrailleChart([Series("sets")], maximum=100.0)
    async with One(chart).run_test(size=(40, 8)):
        before = [list(row) for row in chart._cells[:-1]]
        for _ in range(40):
            chart.push(0.0)
        assert chart._cells[:-1] == before


async def test_a_filtered_log_shows_what_is_wanted_and_forgets_nothing() -> None:
    log = LogTail(capacity=6, title="Output")
    async with One(log).run_test(size=(60, 6)):
        log.write("one\nbad two\nthree\nbad four")
        log.filter(lambda text: "bad" in text)
        assert [row.strip("│ ") for row in text_of(log)[1:3]] == ["bad two", "bad four"]
        assert "2 of 4 lines" in text_of(log)[0]
        log.write("five\nsix\nseven\nbad eight")
        assert [row.strip("│ ") for row in text_of(log)[1:3]] == ["bad four", "bad eight"]
        assert "2 of 6 lines" in text_of(log)[0], "what fell out of the ring is gone here too"
        log.filter(None)
        assert [row.strip("│ ") for row in text_of(log)[1:5]] == [
            "five",
            "six",
            "seven",
            "bad eight",
        ]
