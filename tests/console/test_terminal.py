"""What a terminal sends becomes the keys that were pressed, however it arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from swarmdeck.console.terminal import ESCAPE_KEY, KeyParser, apart

ESC = "\x1b"


def keys(*chunks: str) -> list[str]:
    """The keys of what arrives in these pieces, one right after the other."""
    parser = KeyParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    return [event.key for event in found if isinstance(event, events.Key)]


@pytest.mark.parametrize("behind", ["1", ":", "j", "q", "/", "A", "P", " "])
def test_escape_and_a_key_in_one_packet_are_two_keys(behind: str) -> None:
    [alone] = keys(behind)
    assert keys(ESC + behind) == ["escape", alone]
    assert keys(ESC, behind) == ["escape", alone]


def test_a_line_typed_right_behind_escape_is_whole() -> None:
    assert keys(ESC + ":queue\r") == ["escape", "colon", *"queue", "enter"]
    assert keys("j" + ESC, ":q") == ["j", "escape", "colon", "q"]


@pytest.mark.parametrize(
    ("sequence", "key"),
    [
        ("[A", "up"),
        ("[1;2C", "shift+right"),
        ("OH", "home"),
        ("[3~", "delete"),
        ("[Z", "shift+tab"),
    ],
)
def test_the_sequences_of_special_keys_stay_whole(sequence: str, key: str) -> None:
    assert keys(ESC + sequence) == [key]
    assert keys(ESC, sequence) == [key]
    assert keys("x" + ESC + sequence + "y") == ["x", key, "y"]


def test_an_escape_that_was_given_up_waiting_for_is_not_told_twice() -> None:
    parser = KeyParser()
    assert list(parser.feed(ESC)) == []
    parser._timeout_time = 0.0
    told = [*parser.tick(), *parser.feed("1")]
    assert [event.key for event in told if isinstance(event, events.Key)] == ["escape", "1"]


def test_pasted_text_is_pasted() -> None:
    parser = KeyParser()
    told = list(parser.feed(f"{ESC}[200~two lines{ESC}[201~"))
    assert [event.text for event in told if isinstance(event, events.Paste)] == ["two lines"]


@given(st.text(st.sampled_from(ESC + "[Oab1:"), max_size=20))
def test_nothing_but_lonely_escapes_is_rewritten(text: str) -> None:
    assert apart(text).replace(ESCAPE_KEY, ESC) == text.replace(ESCAPE_KEY, ESC)
