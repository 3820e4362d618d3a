"""Conditions of dependencies: what they can ask, and that they can do nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.tasks.conditions import MAX_DEPTH, condition

FACTS = {
    "status": "completed",
    "progress": 100.0,
    "confidence": None,
    "attempt": 2,
    "reason": "",
    "result": {
        "score": 0.92, "name": "north star", "ok": True, "none": None,
        "rows": [{"id": 7}, {"id": 8}], "big": 10**40,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("status = completed", True),
        ("status == completed", True),
        ("status != failed", True),
        ("status = failed or result.score > 0.9", True),
        ("status = failed and result.score > 0.9", False),
        ("not status = failed and attempt <= 2", True),
        ("not (status = failed or attempt = 2)", False),
        ("result.score >= 0.92", True),
        ("result.score < 0.92", False),
        ("result.rows.1.id = 8", True),
        ("result.rows.2.id = 8", False),
        ("result.rows.x = 8", False),
        ('result.name = "north star"', True),
        ("result.name = 'north star'", True),
        ("result.name > 3", False),
        ("result.ok = true", True),
        ("result.ok = 1", False),
        ("result.none = null", True),
        ("result.missing = null", False),
        ("result.missing != 3", False),
        ("not result.missing", True),
        ("result.ok", True),
        ("result.none", False),
        ("confidence > 0.5", False),
        ("confidence = null", True),
        ("result.big > 5", True),
        ("STATUS = completed", None),
    ],
)
def test_a_condition_says_what_it_reads_as(text: str, holds: bool | None) -> None:
    if holds is None:
        with pytest.raises(InvalidInput):
            condition(text)
    else:
        assert condition(text)(FACTS) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "completed",
        "status =",
        "status = complete",
        "status (",
        "(status = completed",
        "status = completed)",
        "status = completed status = failed",
        "status.x = 1",
        "owner = operator",
        "result.score >= 0.9 and",
        "__import__('os')",
        "result.__class__.__mro__ ; 1",
        "status = completed, 1",
        "(" * (MAX_DEPTH + 1) + "status" + ")" * (MAX_DEPTH + 1),
        "not " * 5_000 + "status",
    ],
)
def test_what_is_no_condition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        condition(text)
    assert refused.value.hint


def test_nothing_but_json_can_be_reached() -> None:
    assert condition("result.__class__")(FACTS) is False
    assert condition("result.items")(FACTS) is False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(text=st.text(max_size=60), result=JSON)
def test_any_text_is_a_condition_or_refused(text: str, result: Any) -> None:
    for whole in (text, f"result {text}", f"status = {text}", f"result.score {text}"):
        try:
            found = condition(whole)
        except InvalidInput:
            continue
        assert found(FACTS | {"result": result}) in (True, False)
