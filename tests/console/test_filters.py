"""What is typed behind `/`: which rows it lets through, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.console import columns
from swarmdeck.console.columns import Moment
from swarmdeck.console.filters import Filter, Measure, Term, keys, measure, read_filter
from swarmdeck.engine import views
from swarmdeck.engine.errors import InvalidInput

MIB = 1 << 20


def passes(fakes: Any, text: str, row: Any) -> bool:
    shown = columns.columns_for(type(row), Moment(fakes.NOW_US))
    return bool(read_filter(text).matcher(shown, type(row), fakes.NOW_US)(row))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ()),
        ("two words", (Term("two"), Term("words"))),
        ("'two words'", (Term("two words"),)),
        ('"a=b" !x', (Term("a=b"), Term("x", inverse=True))),
        ("-f dgst dig", (Term("dgst", sign="-f"), Term("dig"))),
        ("name='my swarm'", (Term("my swarm", "name", "="),)),
        ("a>=5 b!=c !d<1", (Term("5", "a", ">="), Term("c", "b", "!="), Term("1", "d", "<", True))),
        ("'still being ty", (Term("still being ty"),)),
        ("!", (Term("!"),)),
        ("=x >5", (Term("=x"), Term(">5"))),
    ],
)
def test_a_text_is_read_as_terms(text: str, wanted: tuple[Term, ...]) -> None:
    assert read_filter(text) == Filter(text, wanted)


@pytest.mark.parametrize(
    ("text", "number", "timed"),
    [
        ("5", 5, False),
        ("1,234", 1_234, False),
        ("512MB", 512 * MIB, False),
        ("1.5 GB", 1_536 * MIB, False),
        ("12k", 12_000, False),
        ("10m", 600, True),
        ("2 h 5 m", 7_500, True),
        ("87 µs", 87e-6, True),
        ("50%", 50, False),
    ],
)
def test_numbers_sizes_and_ages_are_measured(text: str, number: float, timed: bool) -> None:
    assert measure(text) == Measure(pytest.approx(number), timed)


@pytest.mark.parametrize("text", ["", "abc", "5 parsecs", "5MB 3MB", "-1", "1..2", "m"])
def test_what_is_no_measure_is_none(text: str) -> None:
    assert measure(text) is None


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("digest", True),
        ("DIGEST dev", True),
        ("digest nothing", False),
        ("!nothing", True),
        ("!digest", False),
        ("-f dgst", True),
        ("-f tsgd", False),
        ("state=dead", True),
        ("state=ready", False),
        ("state!=ready", True),
        ("!state=dead", False),
        ("kind=dig*", True),
        ("kind=dig", False),
        ("environment=dev*", True),
        ("prio>6", True),
        ("prio>7", False),
        ("priority>=7 priority<=7", True),
        ("priority=7", True),
        ("tries=1/3", True),
        ("attempt<2", True),
        ("age>20s", True),
        ("age>1m", False),
        ("created<1m", True),
        ("holder=", True),
        ("lease_until>0", False),
        ("note=ValueError*", True),
    ],
)
def test_a_message_passes_when_every_term_holds(fakes: Any, text: str, holds: bool) -> None:
    """The message: dead, priority 7, 21 s old, first of three attempts."""
    assert passes(fakes, text, fakes.message(3, "dead")) is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("memory>2GB", True),
        ("memory<=4GB", True),
        ("memory=4GB", True),
        ("memory_bytes>5GB", False),
        ("used>1GB", True),
        ("ready=7/8", True),
        ("agents_ready<8", True),
        ("age>1h age<2h", True),
        ("restarts>0", True),
        ("name=crawl", True),
        ("borrowed=0", True),
    ],
)
def test_sizes_and_ages_of_a_swarm_are_compared(fakes: Any, text: str, holds: bool) -> None:
    swarm = fakes.swarm("dev_swarm_1", "crawl", "development", 8, agents_ready=7, restarts=2)
    assert passes(fakes, text, swarm) is holds


def test_times_of_a_measurement_are_compared_in_any_unit(fakes: Any) -> None:
    bench = fakes.busy().benchmarks[0]  # p50 1,810 µs, p99 3,400 µs
    assert passes(fakes, "p50_us>1ms p50_us<2ms p99>3ms", bench)
    assert passes(fakes, "p50_us>1000", bench)
    assert not passes(fakes, "p99_us>1s", bench)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("sate=dead", "no column or field 'sate'", "did you mean state?"),
        ("size>5", "no column or field 'size'", "one of prio, kind"),
        ("prio>", "prio> needs a number, not nothing", "512MB"),
        ("prio>many", "prio> needs a number, not 'many'", "10m"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(fakes: Any, text: str, says: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        passes(fakes, text, fakes.message(1))
    assert hint in refused.value.hint


def test_any_key_is_taken_while_the_rows_are_not_known(fakes: Any) -> None:
    read_filter("whatever=1").matcher((), None, 0)


def test_a_plain_text_can_be_looked_for_by_the_engine() -> None:
    assert read_filter("digest").contains == "digest"
    assert read_filter("'two words'").contains == "two words"
    for text in ("", "!digest", "two words", "a=b", "-f digest"):
        assert read_filter(text).contains == ""


def test_every_column_and_field_is_a_key() -> None:
    shown = columns.columns_for(views.MessageView, Moment())
    known = keys(shown, views.MessageView)
    assert known[:2] == ["prio", "kind"]
    assert {"priority", "lease_until_us", "body"} <= set(known)
    assert len(known) == len(set(known))


@given(st.text(max_size=60))
def test_no_text_breaks_a_filter(text: str) -> None:
    message = views.Done(detail="x", changed=3)
    shown = columns.columns_for(views.Done, Moment())
    try:
        matches = read_filter(text).matcher(shown, views.Done, 0)
    except InvalidInput:
        return
    assert matches(message) in {True, False}
