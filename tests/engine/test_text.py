"""Text from data is safe to show: checked over every code point there is."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmdeck.engine.text import safe_text

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1)]


def test_no_code_point_comes_out_able_to_act_or_hide() -> None:
    shown = safe_text("".join(EVERY_CHARACTER), limit=sys.maxunicode * 10)
    categories = {unicodedata.category(character) for character in set(shown)}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not set(shown) & {"\u034f", "\u115f", "\u3164", "\ufe0f", "\U000e0041", "\U000e0100"}


def test_visible_characters_are_left_alone() -> None:
    harmless = {"L", "N", "P", "S"}
    changed = [
        character
        for character in EVERY_CHARACTER
        if unicodedata.category(character)[0] in harmless and safe_text(character) != character
    ]
    assert changed == ["\u115f", "\u1160", "\u3164", "\uffa0"]  # letters that draw nothing


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text ~", "plain text ~"),
        ("Größe 大 🚀", "Größe 大 🚀"),
        ("a\tb\nc\x00", "a␉b␊c␀"),
        ("\x1b]52;c;eA==\x07", "␛]52;c;eA==␇"),
        ("\x7f", "␡"),
        ("\x9b2J", "<009B>2J"),
        ("pay\u202elap", "pay<202E>lap"),
        ("zero\u200bwidth\ufeff", "zero<200B>width<FEFF>"),
        ("line\u2028end", "line<2028>end"),
        ("\ud800", "\ufffd"),
        ("\U000e0041", "<E0041>"),
    ],
)
def test_what_acts_is_shown_as_a_picture_or_a_form(text: str, shown: str) -> None:
    assert safe_text(text) == shown


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.integers(1, 40))
def test_never_longer_than_the_limit_and_stable(text: str, limit: int) -> None:
    shown = safe_text(text, limit)
    assert len(shown) <= limit
    assert safe_text(shown, limit) == shown


def test_a_cut_text_says_so() -> None:
    assert safe_text("x" * 5000) == "x" * 4095 + "…"
    assert safe_text("\u202e" * 10, 8) == "<202E><…"
    assert safe_text("abcd", 4) == "abcd"
