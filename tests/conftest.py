"""The snapshot fixture: screens as SVG and as plain text in `snapshots/`, compared line by line."""

from __future__ import annotations

import atexit
import difflib
import gc
import io
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from textual.app import App
    from textual.pilot import Pilot

# Key files and what else is written outside a data directory: never in the home of who runs this.
_AWAY: Final = tempfile.mkdtemp(prefix="swarmdeck-tests-")
atexit.register(shutil.rmtree, _AWAY, ignore_errors=True)
os.environ["XDG_CONFIG_HOME"] = str(Path(_AWAY, "config"))
os.environ["XDG_STATE_HOME"] = str(Path(_AWAY, "state"))

# A shell lets what it starts in the background ignore ctrl+c, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests in parallel are told a terminal size; it would overrule that of the terminals they open.
for _told in ("LINES", "COLUMNS"):
    os.environ.pop(_told, None)

# A command that is started compiles all it loads unless its bytecode is kept: five times its work.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Hundreds of engines are opened: what each holds back on the disk would add up.
os.environ["SWARMDECK_STORE__RESERVE_BYTES"] = "64KB"

# Every app and engine leaves cycles of tens of thousands of objects that all live on; collecting
# them as often as Python does by itself is a sixth of the tests' time.
gc.set_threshold(100_000, 50, 1_000)

SIZES: Final = ((80, 24), (120, 30), (200, 60))
_INK: Final = re.compile(r"\.screen-(r\d+) \{([^}]*)\}")
_USED_INK: Final = re.compile(r'(?<=class="screen-)(r\d+)(?=")')
_RECTANGLE: Final = re.compile(
    r'<rect fill="([^"]+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"'
    r' shape-rendering="crispEdges"/>'
)
_FONT_FACE: Final = re.compile(r"\s*@font-face \{\{.*?\}\}\n", re.DOTALL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--snapshot-update",
        action="store_true",
        help="write the screens in snapshots/ anew instead of comparing them",
    )


class Picture(NamedTuple):
    """What is on the screen: the glyphs, and the same with colours."""

    text: str
    svg: str


class Snapshots:
    """Compares the screens of an app with the committed ones."""

    def __init__(self, folder: Path, seen: Path, *, update: bool) -> None:
        self._folder = folder
        self._seen = seen
        self._update = update

    async def __call__(
        self,
        make: Callable[[], App[Any]],
        name: str,
        *,
        sizes: Iterable[tuple[int, int]] = SIZES,
        press: Iterable[str] = (),
        before: Callable[[Pilot[Any]], Awaitable[None]] | None = None,
    ) -> None:
        """Run a new app at each size, await `before`, press the keys, compare the screen with
        `snapshots/NAME-WxH.txt` and `.svg`. All sizes are looked at before the test fails."""
        problems = []
        for width, height in sizes:
            app = make()
            async with app.run_test(size=(width, height)) as pilot:
                await pilot.pause()
                if before is not None:
                    await before(pilot)
                await pilot.press(*press)
                await pilot.pause()
                seen = picture(app, name)
            problems += self._check(f"{name}-{width}x{height}", seen)
        if problems:
            pytest.fail("\n\n".join(problems), pytrace=False)

    def _check(self, name: str, seen: Picture) -> list[str]:
        if self._update:
            _write(self._folder / name, seen)
            return []
        text, svg = (self._folder / f"{name}{suffix}" for suffix in (".txt", ".svg"))
        if not (text.exists() and svg.exists()):
            problem = f"snapshots/{name} is missing: run pytest --snapshot-update and look at it"
        elif text.read_text(encoding="utf-8") != seen.text:
            problem = f"snapshots/{name} differs:\n{_diff(text.read_text(encoding='utf-8'), seen)}"
        elif not _looks_same(svg.read_text(encoding="utf-8"), seen.svg):
            problem = f"snapshots/{name}: the same text in other colours, see the two .svg"
        else:
            return []
        _write(self._seen / name, seen)
        return [f"{problem}\nseen now: {self._seen / name}.txt and .svg"]


def picture(app: App[Any], title: str) -> Picture:
    """The screen of a running app. The one place that draws what Textual would show."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    width, height = app.size
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
        safe_box=False,
    )
    screens = app._background_screens
    console.print(
        app.screen._compositor.render_update(full=True, screen_stack=screens, simplify=True)
    )
    lines = console.export_text(clear=False).split("\n")[:height]
    # No fonts from elsewhere, and ids that do not follow the content.
    frame = _FONT_FACE.sub("\n", CONSOLE_SVG_FORMAT)
    svg = console.export_svg(title=title, unique_id="screen", code_format=frame)
    return Picture("\n".join(line.rstrip() for line in lines) + "\n", svg + "\n")


def _looks_same(before: str, seen: str) -> bool:
    """Whether two pictures show the same. A blank looks alike in any ink, and which one it has
    depends on what was painted there before."""
    return before == seen or _visible(before) == _visible(seen)


def _visible(svg: str) -> tuple[str, list[tuple[str, str, str, float, float]]]:
    """A picture by what can be seen: each text with its ink instead of the number of that, and
    the rectangles behind them, those side by side of one colour as one."""
    inks = dict(_INK.findall(svg))
    texts = _USED_INK.sub(lambda used: inks[used[1]], _INK.sub("", svg))
    merged: list[tuple[str, str, str, float, float]] = []
    for fill, x, y, width, height in _RECTANGLE.findall(svg):
        left, right = float(x), round(float(x) + float(width), 1)
        if merged and merged[-1][:3] == (fill, y, height) and merged[-1][4] == left:
            left = merged.pop()[3]
        merged.append((fill, y, height, left, right))
    return "".join(_RECTANGLE.sub("", texts).split()), merged


def _diff(before: str, seen: Picture) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), seen.text.splitlines(), "committed", "seen", lineterm="", n=1
    )
    return "\n".join(lines)


def _write(stem: Path, seen: Picture) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{stem}.txt").write_text(seen.text, encoding="utf-8")
    Path(f"{stem}.svg").write_text(seen.svg, encoding="utf-8")


@pytest.fixture
def snapshot(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Snapshots:
    """Compare screens with the committed ones; a missing one is a failure."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_FILTERS"):
        monkeypatch.delenv(name, raising=False)
    folder = request.config.rootpath / "snapshots"
    return Snapshots(folder, tmp_path, update=request.config.getoption("--snapshot-update"))


# --- real servers ---------------------------------------------------------------------------

SERVERS: Final = {"redis": "redis-server", "tmux": "tmux", "cc": "cc", "systemd": "systemd-analyze"}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a program that is not here; under CI that is a failure."""
    for mark, program in SERVERS.items():
        if item.get_closest_marker(mark) and shutil.which(program) is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{program} is not on PATH")
            pytest.skip(f"{program} is not on PATH")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    missing = [program for program in SERVERS.values() if shutil.which(program) is None]
    if missing:
        terminalreporter.write_line(
            f"tests that need {', '.join(missing)} were skipped: install from your distribution"
        )
