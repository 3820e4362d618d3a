"""Lines become cells; differences never cut a glyph and never carry what acts on a terminal."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from textual.app import App, ComposeResult

from swarmdeck.widgets import LineWidget
from swarmdeck.widgets.cells import cells, changed_spans, clean, fit, width_of

HOSTILE = (
    "\x1b]52;c;c2VjcmV0\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "user\u202etxt.exe",
    "zero\u200bwidth\u2066",
    "two\nlines\r\tand a tab",
    "\u2028separator",
    "half \ud800 a pair",
)
TEXT = st.text(st.sampled_from("ab 界漢🙂e\u0301\u2588\u28ff"), max_size=24)
LINE = st.lists(st.tuples(TEXT, st.sampled_from(("text", "bad", "cursor reverse"))), max_size=4)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    shown = clean(text) + "".join(glyph for glyph, _ in cells(((text, "text"),), 60))
    assert all(character.isprintable() for character in shown)


def test_no_code_point_comes_out_of_cells_able_to_act_or_hide() -> None:
    for start in range(0, sys.maxunicode + 1, 256):
        text = "".join(map(chr, range(start, start + 256)))
        assert not acting(glyph for glyph, _ in cells(((text, "text"),), 256 * 8))


GIVEN = "".join(
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) not in {"Cn", "Co"} or 0xE0000 <= code < 0xE1000
)
"""What Unicode has given a meaning, and what it sets aside to be invisible."""


class EveryCharacter(App[None]):
    """A line for every 256 code points, framed, in a title too."""

    def compose(self) -> ComposeResult:
        yield LineWidget(title="every", frame="rule")


async def test_no_code_point_comes_out_of_a_widget_able_to_act_or_hide() -> None:
    app = EveryCharacter()
    async with app.run_test(size=(2_060, 70)):
        widget = app.query_one(LineWidget)
        for first in range(0, len(GIVEN), 64 * 256):
            texts = [GIVEN[at : at + 256] for at in range(first, first + 64 * 256, 256)]
            widget.set_lines([((text, "text"),) for text in texts])
            painted: list[Segment] = [each for y in range(66) for each in widget.render_line(y)]
            assert not acting(segment.text for segment in painted)


def acting(texts: Iterable[str]) -> set[str]:
    """What would act on a terminal or not be seen; a few that are filed under letters included."""
    shown = set("".join(texts))
    hidden = shown & {"\u034f", "\u115f", "\u3164", "\ufe0f", "\U000e0100", "\U000e0fff"}
    return hidden | {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}


def test_markup_is_only_text() -> None:
    row = cells((("[bold]x[/][@click=app.exit]", "text"),), 30)
    assert "".join(glyph for glyph, _ in row).rstrip() == "[bold]x[/][@click=app.exit]"


@pytest.mark.parametrize(
    ("text", "width", "align", "expected"),
    [
        ("abc", 5, "left", "abc  "),
        ("abc", 5, "right", "  abc"),
        ("abcdef", 5, "left", "abcd…"),
        ("abcdef", 5, "right", "abcd…"),
        ("漢字漢字", 5, "left", "漢字…"),
        ("漢字漢字", 4, "left", "漢 …"),
        ("漢", 1, "left", "…"),
        ("abc", 0, "left", ""),
        ("", 3, "left", "   "),
        ("\x1b[1m", 6, "left", "␛[1m  "),
    ],
)
def test_fit_fills_exactly_its_width(text: str, width: int, align: str, expected: str) -> None:
    assert fit(text, width, align) == expected
    assert width_of(expected) == width


def test_accents_stay_with_their_letter_and_do_not_pile_up() -> None:
    row = cells((("e" + "\u0301" * 30 + "x", "text"),), 3)
    assert [len(glyph) for glyph, _ in row] == [3, 1, 1]


def test_a_wide_glyph_at_the_edge_becomes_a_blank() -> None:
    assert [glyph for glyph, _ in cells((("a漢", "text"),), 2)] == ["a", " "]


def test_equal_rows_have_no_difference() -> None:
    row = cells((("same", "good"), ("  ", "text"), ("漢", "bad")), 20)
    assert changed_spans(row, list(row)) == []


def test_a_wide_glyph_in_place_of_another_is_sent_whole() -> None:
    old, new = cells((("a漢b", "text"),), 4), cells((("a字b", "text"),), 4)
    assert changed_spans(old, new) == [(1, 3)]


def test_a_wide_glyph_that_moves_by_a_cell_takes_its_old_cells_along() -> None:
    old, new = cells((("漢漢 x", "text"),), 6), cells(((" 漢漢x", "text"),), 6)
    assert changed_spans(old, new) == [(0, 5)]


def test_a_gap_in_other_ink_is_no_difference_but_a_bar_is() -> None:
    plain, inked = cells((("  ", "text"),), 4), cells((("  ", "bad"),), 4)
    barred = cells((("  ", "cursor reverse"),), 4)
    assert changed_spans(plain, inked) == []
    assert changed_spans(plain, barred) == [(0, 2)]


def test_far_differences_are_sent_apart_and_near_ones_together() -> None:
    def row(text: str) -> list[tuple[str, str]]:
        return cells(((text, "text"),), 60)

    old = row("0" * 60)
    assert changed_spans(old, row("1" + "0" * 5 + "1" + "0" * 53)) == [(0, 7)]
    assert changed_spans(old, row("1" + "0" * 50 + "1" + "0" * 8)) == [(0, 1), (51, 52)]


def test_a_bridge_over_many_styles_is_not_worth_it() -> None:
    def row(text: str) -> list[tuple[str, str]]:
        spans = tuple((text[x], ("text", "bad", "good")[x % 3]) for x in range(len(text)))
        return cells(spans, len(text))

    assert changed_spans(row("0000000"), row("1000001")) == [(0, 1), (6, 7)]


@given(LINE, LINE, st.integers(1, 30))
def test_sending_the_differences_gives_the_new_row(old_line, new_line, width) -> None:  # noqa: ANN001
    old, new = cells(tuple(old_line), width), cells(tuple(new_line), width)
    assert len(old) == len(new) == width
    screen = list(old)
    last = 0
    for start, end in changed_spans(old, new):
        assert last <= start < end <= width
        # Neither end is in the middle of a glyph of either row.
        assert all(row[x][0] for row in (old, new) for x in (start, end) if x < width)
        screen[start:end] = new[start:end]
        last = end
    seen = [(glyph, "" if glyph == " " else style) for glyph, style in screen]
    wanted = [(glyph, "" if glyph == " " else style) for glyph, style in new]
    assert [glyph for glyph, _ in seen] == [glyph for glyph, _ in wanted]
    assert seen == wanted
