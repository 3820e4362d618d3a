"""What is copied, and how much of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from swarmdeck.console.clipboard import MOST_BYTES, check_copy, rows_json
from swarmdeck.engine.errors import InvalidInput


def test_one_row_is_an_object_and_several_are_a_list(fakes: Any) -> None:
    one, two = fakes.message(1), fakes.message(2)
    assert json.loads(rows_json([one]))["id"] == one.id
    assert [row["id"] for row in json.loads(rows_json([one, two]))] == [one.id, two.id]


def test_what_a_clipboard_would_cut_is_refused_with_another_way() -> None:
    assert check_copy("x" * MOST_BYTES)
    with pytest.raises(InvalidInput, match="too much for the clipboard") as refused:
        check_copy("ü" * (MOST_BYTES // 2 + 1))
    assert ":export" in refused.value.hint
