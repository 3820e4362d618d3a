"""Charts of benchmark results: as text, in colour, as a picture, and from the command line."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from swarmdeck import themes
from swarmdeck.console import plots
from swarmdeck.engine import views
from swarmdeck.engine.bench.results import Results
from swarmdeck.widgets.cells import Line, width_of

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
SVG = "{http://www.w3.org/2000/svg}"
LOADED = """
import sys
from swarmdeck.console.main import main
code = main()
print(*sys.modules, file=sys.stderr)
raise SystemExit(code)
"""


def bench(name: str = "memory.set", ops_s: float = 52_100.0, **more: object) -> views.BenchView:
    fields: dict[str, object] = {
        "name": name, "workload": "w", "ops_s": ops_s, "p50_us": 1810.0, "p99_us": 3400.0,
        "concurrency": 100, "operations": 9, "at_us": 1, "machine": "this",
        "repeats": tuple(ops_s * share for share in (1.0, 1.1, 0.9, 1.05)),
        "references": (700.0, 710.0, 690.0, 705.0),
        "latencies": tuple(
            views.BucketView(upto_us=upto, count=count)
            for upto, count in ((1000.0, 1), (2000.0, 7000), (5000.0, 2900), (10_000.0, 99))
        ),
    }  # fmt: skip
    return views.BenchView(**(fields | more))  # type: ignore[arg-type]


ROWS = [
    bench(),
    bench("access.decide", 1_230_000.0, verdict="better", ratio=1.25, baseline="main"),
    bench("queue.claim", 18_000.0, verdict="worse", ratio=0.8, baseline="main", encryption=True),
]


# --- lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_charts_fit_their_width(width: int) -> None:
    lines = plots.draw(ROWS, width)
    assert max(width_of("".join(text for text, _ in line)) for line in lines) <= width


def test_charts_say_rates_shares_repeats_and_verdicts() -> None:
    text = plots.as_text(plots.draw(ROWS, 80))
    bars = {name: _bar(text, name) for name in ("memory.set", "access.decide", "queue.claim")}
    assert bars["queue.claim"] < bars["memory.set"] < bars["access.decide"]
    assert re.search(r"memory\.set +52,100┤█", text)
    assert re.search(r"≤ +2 ms +70\.0 %┤█{20,}", text)
    assert re.search(r"≤ +1 ms +<0\.1 %┤", text)
    assert "repeats beside fixed work" in text
    assert re.search("[\u2801-\u28ff]", text)
    assert "better, 1.25 of main" in text
    assert "queue.claim sealed" in text


def _bar(text: str, name: str) -> int:
    """How long the first bar beside a name is."""
    return next(line.count("█") for line in text.splitlines() if name in line and "┤" in line)


def test_results_without_repeats_are_bars_only() -> None:
    lines = plots.draw([bench(repeats=(), references=(), latencies=())], 80)
    assert "latency" not in plots.as_text(lines)
    assert plots.as_text(plots.draw([bench(ops_s=0.0, repeats=(), latencies=())], 80))


def test_one_drawing_leaves_nothing_in_the_next() -> None:
    first = plots.draw(ROWS, 80)
    plots.draw([bench("other", 5.0)], 120)
    assert plots.draw(ROWS, 80) == first


# --- forms ----------------------------------------------------------------------------------

HOSTILE: list[Line] = [
    (("\x1b[2J\u202e<script>&", "bad"), ("plain", "text")),
    (("marked", "reverse accent"), (" ", "text"), ("wide 漢", "nonsense")),
]


def test_text_has_no_escapes_and_colour_adds_only_colour() -> None:
    lines = [*plots.draw(ROWS, 80), *HOSTILE]
    text, ansi = plots.as_text(lines), plots.as_ansi(lines)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x1b[31m" in ansi
    assert ESCAPES.sub("", ansi) == text


def test_a_picture_is_well_formed_and_loads_nothing() -> None:
    picture = plots.as_svg([*plots.draw(ROWS, 100), *HOSTILE])
    root = ElementTree.fromstring(picture)
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert "<script>&" in "".join(text or "" for text in texts)
    assert picture.count("http") == 1  # the name of the format
    assert "script>" not in picture.replace("&lt;script&gt;", "")


def test_a_picture_takes_the_colours_of_its_theme() -> None:
    for name in themes.names():
        theme = themes.load(name)
        root = ElementTree.fromstring(plots.as_svg(HOSTILE, name))
        inks = {each.text: each.get("fill") for each in root.iter(f"{SVG}text")}
        rects = [each.get("fill") for each in root.iter(f"{SVG}rect")]
        assert rects == [theme.background, theme.accent]
        assert inks["plain"] == theme.text
        assert inks["marked"] == theme.background
        assert inks["wide 漢"] == theme.text
    assert plots.as_svg(HOSTILE, "textual-dark") == plots.as_svg(HOSTILE)


# --- from the command line ------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    Results(folder).add(ROWS)
    return folder


def run(data: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(data, *words), env=_environment(data, **environment),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def _command(data: Path, *words: str) -> list[str]:
    return [sys.executable, "-c", LOADED, "--data", str(data), *words]


def _environment(data: Path, **more: str) -> dict[str, str]:
    home = {"HOME": str(data.parent), "XDG_RUNTIME_DIR": str(data.parent), "TERM": "xterm"}
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | home | more


def test_plots_go_to_a_pipe_as_plain_text(data: Path) -> None:
    done = run(data, "bench", "show", "--plot", COLUMNS="100")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[0].split() == [
        "name", "values", "ops/s", "median", "99", "%", "callers", "verdict", "ratio", "against",
        "measured",
    ]  # fmt: skip
    assert "repeats beside fixed work" in done.stdout
    _, _, charts = done.stdout.partition("\n\n")
    assert max(map(len, charts.splitlines())) == 100
    assert "textual" not in done.stderr.split()


@pytest.mark.parametrize(
    ("more", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_gets_colour_unless_told_not_to(
    data: Path, more: dict[str, str], colour: bool
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        _command(data, "bench", "show", "--plot"), env=_environment(data, **more),
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 65_536):
                seen += part
        except OSError:  # how the end of a terminal reads
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    assert (b"\x1b[34m" in seen) == colour
    assert "█".encode() in seen


def test_a_picture_is_written_beside_one_json_document(data: Path, tmp_path: Path) -> None:
    picture = tmp_path / "charts.svg"
    picture.write_text("older")
    done = run(data, "bench", "show", "--svg", str(picture), "--json")
    assert done.returncode == 0
    assert [row["name"] for row in json.loads(done.stdout)] == [
        "memory.set", "queue.claim", "access.decide",
    ]  # fmt: skip
    assert done.stdout.count("\n") == 1
    assert ElementTree.parse(picture).getroot().tag == f"{SVG}svg"


def test_charts_that_cannot_be_are_refused(data: Path, tmp_path: Path) -> None:
    missing = run(data, "bench", "show", "--svg", str(tmp_path / "none" / "x.svg"))
    assert missing.returncode == 2
    assert "make the directory" in missing.stderr
    assert run(data, "bench", "show", "--plot", "--json").returncode == 2
    assert run(data, "bench", "run", "nonsense").returncode == 2
    assert run(data, "bench", "show", "--against", "none").returncode == 3
    nothing = run(tmp_path / "fresh", "bench", "show", "--plot")
    assert nothing.returncode == 3
    assert "bench run" in nothing.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "show"],
        ["bench", "baseline", "main"],
        ["bench", "run", "access.decide", "--iterations", "2", "--repeats", "2", "--json"],
    ],
    ids=lambda words: words[1],
)
def test_without_a_plot_nothing_that_draws_is_loaded(data: Path, words: list[str]) -> None:
    done = run(data, *words)
    assert done.returncode == 0, done
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "swarmdeck.engine" in loaded
    assert not loaded & {"plotext", "textual", "rich", "cryptography", "lz4"}
    if "--json" in words:
        assert json.loads(done.stdout)[0]["name"] == "access.decide"
