"""A lint rule: text from data reaches the terminal through `LineWidget` alone.

    python tests/lint/painted_text.py console widgets

`LineWidget` cleans what it paints; everything else Textual offers paints what it is given, escape
sequences and markup included. So these are refused outside the modules that are the gate itself:

- a widget of Textual that shows text (`Static`, `Label`, `DataTable`, …); `Input` may be used,
- painting by hand: `Segment`, `Strip`, Rich's or Textual's `Text` and `Content`,
- a `render` or `render_line` of one's own,
- toasts, tooltips, borders and titles, which Textual paints itself,
- writing to the terminal past Textual.

A statement with a comment `# painted: WHY` on one of its lines is accepted.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

GATES: Final = ("widgets/linewidget.py", "widgets/app.py", "widgets/palette.py")
ALLOWED_WIDGETS: Final = frozenset({"Input"})
PAINT: Final = frozenset({"Input", "Segment", "Strip", "Text", "Content", "RichLog"})
METHODS: Final = frozenset({"notify", "write_raw", "print"})
ATTRIBUTES: Final = frozenset({"border_title", "border_subtitle", "tooltip", "sub_title"})
RENDERERS: Final = frozenset({"render", "render_line", "render_lines"})
EXCUSE: Final = "# painted:"


class Finding(NamedTuple):
    """Where the rule is broken, and how."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def check(path: str, source: str) -> list[Finding]:
    """What breaks the rule in one module."""
    if path.endswith(GATES):
        return []
    lines = source.splitlines()
    return [
        Finding(path, getattr(node, "lineno", 1), what)
        for node in ast.walk(ast.parse(source, path))
        for what in _wrong(node)
        if not _excused(node, lines)
    ]


def _excused(node: ast.AST, lines: Sequence[str]) -> bool:
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
    return any(EXCUSE in text for text in lines[first - 1 : last])


def _wrong(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.ImportFrom(module=module, names=names) if module in _TEXT_MODULES:
            refused = [name.name for name in names if name.name not in ALLOWED_WIDGETS]
            if module == "textual.widgets" and refused:
                yield f"{', '.join(refused)} paints text as it is; derive from LineWidget"
            elif module != "textual.widgets":
                yield f"{module} paints text as it is; hand lines to a LineWidget"
        case ast.Call(func=ast.Name(id=name)) if name in PAINT:
            yield f"{name}(…) paints past LineWidget; hand it lines"
        case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
            yield f".{name}(…) is painted by Textual; clean the text first"
        case ast.Assign(targets=[ast.Attribute(attr=name)]) if name in ATTRIBUTES:
            yield f".{name} is painted by Textual; a LineWidget has a title of its own"
        case ast.FunctionDef(name=name) if name in RENDERERS:
            yield f"{name} paints past LineWidget; override layout_lines"
        case ast.Call(
            func=ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="sys"), attr=stream), attr="write"
            )
        ):
            yield f"sys.{stream} is the terminal the console paints on"
        case _:
            pass


_TEXT_MODULES: Final = frozenset(
    {"textual.widgets", "rich.text", "rich.segment", "textual.content", "textual.strip"}
)


def check_folders(folders: Sequence[Path]) -> list[Finding]:
    """What breaks the rule in all modules below some folders."""
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return [
        each for path in files for each in check(path.as_posix(), path.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    findings = check_folders([Path(name) for name in sys.argv[1:]])
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    sys.exit(1 if findings else 0)
