"""Series are made of rows without inventing or losing anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.engine.metrics.names import title_of, unit_of
from swarmdeck.engine.metrics.rates import Rates
from swarmdeck.engine.metrics.recent import KEPT_ROWS, Recent
from swarmdeck.engine.metrics.series import (
    MOST_POINTS,
    Row,
    Span,
    Stat,
    Weave,
    decoded,
    encoded,
    kept_step,
    latest,
    span_of,
)
from swarmdeck.engine.metrics.windows import DAY_S, HOUR_S, MINUTES_S, WINDOWS
from swarmdeck.engine.views import SeriesView

NAMES = ("a", "b")
NUMBERS = st.integers(-1_000, 1_000)


def row(at_s: int, *readings: object, step_s: int = 30) -> Row:
    return Row(at_s, step_s, NAMES[: len(readings)], encoded(list(readings)))  # type: ignore[arg-type]


def woven(span: Span, *rows: Row, name: str = "a") -> SeriesView:
    weave = Weave(span)
    weave.add(rows)
    [found] = weave.series("host", "1h", [name])
    return found


def test_steps_without_a_row_are_gaps() -> None:
    found = woven(Span(300, 30, 4), row(300, 5), row(360, 7.5))
    assert found.values == (5, None, 7.5, None)
    assert (found.latest, found.mean, found.least, found.greatest) == (7.5, 6.25, 5, 7.5)
    assert (found.measured, found.lows, found.first_at_us) == (2, (), 300_000_000)


def test_rows_outside_are_left_out() -> None:
    assert woven(Span(300, 30, 2), row(270, 1), row(360, 1)).values == (None, None)


def test_several_rows_in_a_step_keep_their_extremes() -> None:
    found = woven(Span(0, 60, 2), row(0, 2), row(30, 6), row(60, 3))
    assert found.values == (4, 3)
    assert (found.lows, found.highs) == ((2, 3), (6, 3))


def test_a_longer_step_weighs_by_how_much_was_measured() -> None:
    found = woven(Span(0, 600, 1), row(0, (10.0, 5, 20, 9), step_s=300), row(300, 110, step_s=300))
    assert (found.values, found.lows, found.highs) == ((20,), (5,), (110,))


def test_a_row_longer_than_the_step_says_something_of_all_its_steps() -> None:
    assert woven(Span(0, 30, 4), row(0, 8, step_s=90)).values == (8, 8, 8, None)
    assert woven(Span(30, 30, 2), row(0, 8, step_s=60)).values == (8, None)


def test_a_metric_without_any_value_is_a_series_of_gaps() -> None:
    found = woven(Span(0, 30, 2), row(0, 1), name="b")
    assert (found.values, found.latest, found.mean, found.measured) == ((None, None), None, None, 0)


@given(st.lists(NUMBERS, min_size=1, max_size=40), st.integers(1, 40))
def test_statistics_do_not_depend_on_how_they_are_put_together(values: list[int], cut: int) -> None:
    whole, parts = Stat(), Stat()
    for value in values:
        whole.add(value)
    for first in range(0, len(values), cut):
        part = Stat()
        for value in values[first : first + cut]:
            part.add(value)
        parts.add((part.mean, part.least, part.greatest, part.count))
    assert (parts.least, parts.greatest, parts.count) == (
        min(values), max(values), len(values),
    )  # fmt: skip
    assert parts.mean == pytest.approx(whole.mean)


@given(st.sampled_from(sorted(WINDOWS)), st.integers(1, HOUR_S), st.integers(10**6, 10**9))
def test_a_span_ends_now_and_is_never_too_fine(window: str, step_s: int, now_s: int) -> None:
    kept_s = kept_step(WINDOWS[window], step_s)
    span = span_of(WINDOWS[window], kept_s, now_s, now_s // kept_s * kept_s - kept_s)
    assert 1 <= span.count <= MOST_POINTS
    assert span.first_s % span.step_s == 0
    assert span.end_s - 2 * span.step_s <= now_s + span.step_s
    assert abs(span.end_s - now_s) <= span.step_s


def test_each_window_is_read_in_the_longest_steps_that_show_it_well() -> None:
    found = {name: kept_step(window_s, 30) for name, window_s in WINDOWS.items()}
    assert found == {"1h": 30, "6h": 30, "24h": MINUTES_S, "7d": MINUTES_S, "30d": HOUR_S}
    assert kept_step(DAY_S, 600) == 600
    assert span_of(WINDOWS["7d"], MINUTES_S, 10**9, None).step_s == 900


def test_a_missing_end_is_seen() -> None:
    assert span_of(120, 30, 1_000, 960).end_s == 990
    assert span_of(120, 30, 1_000, 900).end_s == 990
    assert span_of(120, 30, 1_000, None).end_s == 990


def test_readings_keep_their_kinds() -> None:
    readings = [1, 2.5, None, (3.5, 1, 9, 4)]
    assert decoded(encoded(readings)) == readings
    assert latest(Row(0, 30, ("a", "b", "c", "d"), encoded(readings))) == {
        "a": 1,
        "b": 2.5,
        "d": 3.5,
    }


def test_memory_holds_an_hour_and_a_bounded_number_of_rows() -> None:
    recent = Recent()
    for at_s in range(0, 2 * HOUR_S, 30):
        recent.add("host", row(at_s, 1))
        recent.trim(at_s + 30)
    first = next(iter(recent.rows("host")))
    assert first.at_s == HOUR_S == recent.since_s + 29
    for at_s in range(2 * HOUR_S, 2 * HOUR_S + KEPT_ROWS * 2):
        recent.add("host", row(at_s, 1, step_s=1))
    assert len(list(recent.rows("host"))) == KEPT_ROWS
    assert recent.since_s == 2 * HOUR_S + KEPT_ROWS
    recent.trim(5 * HOUR_S)
    assert recent.newest() == {}


def test_a_total_that_begins_anew_has_no_rate() -> None:
    rates = Rates()
    rates.begin(None)
    assert rates.of("sent", 100) is None
    rates.begin(10)
    assert rates.of("sent", 150) == 5
    rates.begin(10)
    assert rates.of("sent", 3) is None
    rates.begin(10)
    assert rates.of("sent", 3) == 0
    rates.begin(10)  # not given in this round
    rates.begin(10)
    assert rates.of("sent", 9) is None


def test_names_tell_units() -> None:
    names = ("used_bytes", "sends_per_s", "oldest_s", "commit_ms_p99", "cpu_percent", "done")
    assert [unit_of(name) for name in names] == ["bytes", "/s", "s", "ms", "%", ""]
    assert title_of("sends_per_s") == "sends"
    assert title_of("cache_hit_percent") == "cache hit"
