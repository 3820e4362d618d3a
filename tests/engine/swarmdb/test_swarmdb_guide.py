"""What the guide shows can be run as it stands there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from swarmdeck.engine.swarmdb import SwarmDB

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "swarmdb.md"


def test_the_blocks_of_the_guide_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert len(blocks) == 3
    assert "spawn 2026-01-31T12:00:00 {'model': 'large'}" in capsys.readouterr().out


def test_the_guide_names_every_call() -> None:
    page = PAGE.read_text(encoding="utf-8")
    calls = [
        name
        for name, _ in inspect.getmembers(SwarmDB, inspect.isfunction)
        if not name.startswith("_")
    ]
    assert len(calls) > 15
    assert [name for name in calls if f"{name}(" not in page and f"`{name}`" not in page] == []
