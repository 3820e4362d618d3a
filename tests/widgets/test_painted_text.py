"""The lint rule about painted text: it finds what it is for, and the console obeys it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rule() -> ModuleType:
    path = ROOT / "tests/lint/painted_text.py"
    spec = importlib.util.spec_from_file_location("painted_text", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_console_and_widgets_paint_through_the_gate(rule: ModuleType) -> None:
    assert rule.check_folders([ROOT / "console", ROOT / "widgets"]) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from textual.widgets import Label\nLabel(agent.name)",
        "from textual.widgets import DataTable, Input",
        "from rich.text import Text",
        "from textual.content import Content",
        "Segment(agent.name, style)",
        "Input(message.body)",
        "self.app.notify(message.error)",
        "self.border_title = swarm.name",
        "widget.tooltip = record.key",
        "def render_line(self, y): ...",
        "def render(self): return self.name",
        "sys.stderr.write(agent.name)",
    ],
)
def test_a_bare_string_is_found(rule: ModuleType, planted: str) -> None:
    assert rule.check("console/screens/planted.py", planted)


@pytest.mark.parametrize(
    "fine",
    [
        "from textual.widgets import Input",
        "self.set_lines([line(agent.name)])",
        "self.notify(clean)  # painted: cleaned above",
        "sys.stdin.isatty()",
    ],
)
def test_what_goes_through_the_gate_is_fine(rule: ModuleType, fine: str) -> None:
    assert rule.check("console/screens/fine.py", fine) == []


def test_a_finding_says_where(rule: ModuleType) -> None:
    found = rule.check("console/x.py", "\n\nself.notify(text)")
    assert str(found[0]).startswith("console/x.py:3: .notify(…)")
