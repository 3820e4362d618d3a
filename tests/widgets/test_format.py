"""Numbers as words."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.widgets import format as words


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("size", 512 << 20, "512 MB"),
        ("duration", 0.44, "0.4 s"),
        ("duration", 9.96, "10 s"),
        ("duration", 59.6, "1m00s"),
        ("duration", 187, "3m07s"),
        ("duration", 7_500, "2h05m"),
        ("duration", 352_800, "4d02h"),
        ("duration", -75, "-1m15s"),
        ("age", 0.7, "1 s"),
        ("age", 59.7, "1m00s"),
        ("count", 9_999, "9,999"),
        ("count", 12_345, "12.3k"),
        ("count", 999_960, "1.0M"),
        ("count", 250_000, "250k"),
        ("count", 4_500_000_000, "4.5G"),
        ("rate", 0.42, "0.4/s"),
        ("rate", 0, "0/s"),
        ("rate", 12_345, "12.3k/s"),
        ("percent", 0.236, "24 %"),
        ("micros", 87, "87 µs"),
        ("micros", 1_240, "1.2 ms"),
        ("micros", 3_400_000, "3.4 s"),
        ("clock", 1_795_219_200_000_000, "00:00:00"),
        ("moment", 1_795_219_200_000_000, "2026-11-21 00:00:00"),
    ],
)
def test_numbers_are_short_words(function: str, value: Any, text: str) -> None:
    assert getattr(words, function)(value) == text


@pytest.mark.parametrize(
    "function",
    ["size", "duration", "age", "count", "rate", "percent", "micros", "clock", "moment"],
)
def test_what_is_unknown_is_a_dash(function: str) -> None:
    assert getattr(words, function)(None) == words.UNKNOWN
