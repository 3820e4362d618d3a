"""What was measured, on the command line: tables, charts, JSON."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from swarmdeck.console import plots, timeplots
from swarmdeck.console.main import draw, main
from swarmdeck.engine import views
from swarmdeck.engine.cli.charts import Canvas
from swarmdeck.engine.cli.measured import figure
from swarmdeck.engine.cli.output import Shown, as_text
from swarmdeck.engine.clock import SystemClock
from swarmdeck.engine.core import open_core
from swarmdeck.engine.metrics import table
from swarmdeck.engine.metrics.series import encoded
from swarmdeck.widgets.cells import Line, width_of

NOON_US = 1_700_049_600_000_000
PIPE = Shown(None, NOON_US + 90_000_000)


def series(values: tuple[float | None, ...] = (10, None, 30), **more: object) -> views.SeriesView:
    fields: dict[str, object] = {
        "subject": "host", "metric": "cpu_percent", "unit": "%", "window": "1h", "step_s": 1200,
        "first_at_us": NOON_US, "latest": 30, "mean": 20, "least": 10, "greatest": 30,
        "measured": 2, "values": values,
    }  # fmt: skip
    return views.SeriesView(**(fields | more))  # type: ignore[arg-type]


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_charts_fit_their_width(width: int) -> None:
    many = series(tuple(n % 50 for n in range(700)), highs=tuple(n % 60 for n in range(700)))
    lines = timeplots.draw([many, many], width)
    assert max(width_of(text(line)) for line in lines) <= max(width, 65)
    assert len(lines) > 2 * timeplots.HEIGHT - 2


def test_a_gap_is_not_drawn_over() -> None:
    found = timeplots.unbroken((None, 1, 2, None, None, 3, None))
    assert found == [[(1, 1), (2, 2)], [(5, 3)]]
    assert timeplots.unbroken((None, None)) == []


def test_a_series_without_a_value_has_no_chart() -> None:
    assert timeplots.draw([series((None, None), measured=0)], 80) == []


def test_times_are_of_the_day_and_of_longer_windows_dates() -> None:
    assert timeplots.times(series(), 3) == [(0, "12:00"), (1, "12:20"), (2, "12:40")]
    week = series(tuple(range(169)), step_s=3600)
    assert [said for _, said in timeplots.times(week, 2)] == ["15 Nov", "22 Nov"]


def test_names_from_data_cannot_act_on_the_terminal() -> None:
    shown = draw([series(subject="dev_\x1b[2J")], Canvas(80, colour=True))
    assert "\x1b[2J" not in shown
    ElementTree.fromstring(draw([series(subject="<&\x1b")], Canvas(80, svg=True)))


def test_a_table_says_each_metric_in_its_unit() -> None:
    memory = series(metric="used_bytes", unit="bytes", latest=3 << 30, mean=None)
    found = as_text([series(), memory], PIPE)
    assert found == (
        "host, 1h in steps of 20 min\n"
        "\n"
        "metric       latest  mean  least  greatest  steps measured\n"
        "cpu_percent    30 %  20 %   10 %      30 %          2 of 3\n"
        "used_bytes     3 GB     -   10 B      30 B          2 of 3\n"
    )


def test_a_list_says_the_latest_of_each() -> None:
    row = views.MeasurementView(
        subject="queue", kind="queue", environment="", at_us=NOON_US, step_s=30,
        readings={"ready": 12, "oldest_s": 90.0, "acks_per_s": 3.25},
    )  # fmt: skip
    found = re.sub(" +", " ", as_text([row], PIPE))
    assert found.splitlines()[1] == (
        "queue 1.5 min ago ready 12, oldest message 1.5 min, acks 3.25/s"
    )


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(None, "%", "-"), (0, "s", "0 s"), (1234.5, "/s", "1,234/s"), (0.126, "ms", "0.126 ms"),
     (12, "", "12"), (-3, "bytes", "-3 B")],
)  # fmt: skip
def test_figures_are_short_and_have_units(value: float | None, unit: str, said: str) -> None:
    assert figure(value, unit) == said


async def _measured(data: Path) -> None:
    async with open_core(
        data, settings=None, transient=True, headless=True, clock=SystemClock(), brief=True
    ) as core:
        at_s = core.clock.wall_us() // 30_000_000 * 30 - 60
        taken = [table.Taken("host", ("cpu_percent",), encoded([42.5]))]
        await core.coordination.write(lambda tx: table.write(tx, 30, at_s, taken, {}))


def test_a_command_reads_what_engines_before_have_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    asyncio.run(_measured(data))

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["swarmdeck", "--data", str(data), *words])
        return main()

    monkeypatch.setitem(os.environ, "COLUMNS", "80")
    assert run("metrics", "list", "--json") == 0
    [listed] = json.loads(capfd.readouterr().out)
    assert (listed["subject"], listed["readings"]) == ("host", {"cpu_percent": 42.5})
    assert run("metrics", "show", "host", "--plot") == 0
    shown = capfd.readouterr().out
    assert "cpu_percent  42.5 %" in shown
    assert "host: cpu  latest 42.5 %" in shown
    assert run("metrics", "show", "host", "--plot", "--json") == 2
    assert run("metrics", "show", "nobody") == 3
    assert run("metrics", "show", "host", "--metric", "cpu") == 2
    assert run("metrics", "show", "host", "--window", "2h") == 2


def test_both_kinds_of_chart_are_drawn_by_the_same_hand() -> None:
    svg = draw([msgspec.structs.replace(series(), metric="load_1m", unit="")], Canvas(80, svg=True))
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert plots.as_text(timeplots.draw([series()], 60)).startswith("host: cpu")
