"""Charts of reports: benchmark results drawn by plotext, and lines as text, ANSI and SVG.

The only module that knows plotext. Its figure is one for the whole process, so charts are built on
one thread. What it draws becomes lines of styled spans, the form that widgets show too; colours
come in only where lines become ANSI (the terminal's own 16) or SVG (those of a theme).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len

from .. import themes
from ..engine import views
from ..engine.text import safe_text

if TYPE_CHECKING:
    from ..widgets.cells import Line, Span

MIN_WIDTH: Final = 40
_SIDE_BY_SIDE: Final = 76
_GAP: Final = "  "
_SCALE: Final = "each mark ten times as many"
_REPEATS_WIDTH: Final = 32
_REPEATS_HEIGHT: Final = 8
_FRAME_ROWS: Final = 2  # the axis below and the edge above
_SPREAD: Final = 0.1  # repeats are drawn at least so far around their median

# What plotext draws, told by its glyphs: frames and axes, then bars and dots.
_PARTS: Final = re.compile("([\u2500-\u257f]+)|([\u2580-\u25ff\u2800-\u28ff]+)|[^\u2500-\u28ff]+")

_SGR: Final = {
    "bold": "1", "dim": "2", "italic": "3", "underline": "4", "reverse": "7", "strike": "9",
    "accent": "34", "good": "32", "warning": "33", "bad": "31", "muted": "90", "border": "90",
    "cursor": "34", "selection": "33", "production": "31", "development": "34", "testing": "35",
    "research": "36", "staging": "33",
}  # fmt: skip
_VERDICTS: Final = {"better": "good", "worse": "bad", "same": "muted"}

_CELL_WIDTH: Final = 8.4
_LINE_HEIGHT: Final = 17
_MARGIN: Final = 12


def draw(rows: Sequence[views.BenchView], width: int) -> list[Line]:
    """Rates as bars, then each workload's latencies and repeats, `width` cells wide (at least
    MIN_WIDTH)."""
    width = max(MIN_WIDTH, width)
    lines: list[Line] = [
        *_flowed([("operations a second", "title bold"), (_SCALE, "muted")], width),
        *_rates(rows, width),
    ]
    for row in rows:
        if row.latencies or len(row.repeats) > 1:
            lines += [(), *_heading(row, width), *_details(row, width)]
    return lines


def as_text(lines: Sequence[Line]) -> str:
    """The lines without colour, each ended."""
    return "".join(f"{_plain(line).rstrip()}\n" for line in lines)


def as_ansi(lines: Sequence[Line]) -> str:
    """The lines in the terminal's own 16 colours, each ended."""
    return "".join("".join(map(_ansi, line)).rstrip() + "\n" for line in lines)


def as_svg(lines: Sequence[Line], theme: str = themes.DEFAULT) -> str:
    """The lines as an SVG picture in the colours of a bundled theme (the default one for any other
    name). It needs no font but a monospaced one and loads nothing."""
    colours = themes.load(theme if theme in themes.names() else themes.DEFAULT).tokens()
    columns = max((cell_len(_plain(line)) for line in lines), default=0)
    width = columns * _CELL_WIDTH + 2 * _MARGIN
    height = len(lines) * _LINE_HEIGHT + 2 * _MARGIN
    body = "".join(
        _svg_span(span, column, row, colours)
        for row, line in enumerate(lines)
        for span, column in _placed(line)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="monospace" font-size="14">\n'
        f'<rect width="100%" height="100%" fill="{colours["background"]}"/>\n{body}</svg>\n'
    )


# --- charts ---------------------------------------------------------------------------------


def _rates(rows: Sequence[views.BenchView], width: int) -> list[Line]:
    """A bar for each workload; logarithmic, for rates lie five powers of ten apart."""
    shown = [row for row in rows if row.ops_s > 0][::-1]  # plotext's first is the lowest
    if not shown:
        return []
    logs = [math.log10(row.ops_s) for row in shown]
    lowest, highest = math.floor(min(logs)), math.floor(max(logs)) + 1
    names = [f"{_name(row)} {row.ops_s:>10,.0f}" for row in shown]
    marks = list(range(lowest, highest + 1))
    ticks = (marks, [_power(mark) for mark in marks])
    return _bars(names, [log - lowest for log in logs], (lowest, highest), ticks, width)


def _details(row: views.BenchView, width: int) -> list[Line]:
    """Latencies and repeats: beside each other where there is room."""
    beside = width >= _SIDE_BY_SIDE and len(row.repeats) > 1
    left_width = width - _REPEATS_WIDTH - 1 if beside else width
    left = [(("latency, share of calls", "muted"),), *_latencies(row, left_width)]
    right = _repeats(row, _REPEATS_WIDTH if beside else width)
    if not beside:
        return [*left, *right]
    tall = max(len(left), len(right))
    blank: Line = ()
    rights = right + [blank] * (tall - len(right))
    lefts = [_padded(line, left_width + 1) for line in left + [blank] * (tall - len(left))]
    return [(*one, *other) for one, other in zip(lefts, rights, strict=True)]


def _latencies(row: views.BenchView, width: int) -> list[Line]:
    total = sum(bucket.count for bucket in row.latencies)
    if not total:
        return []
    shares = [100 * bucket.count / total for bucket in row.latencies][::-1]
    names = [
        f"≤ {_micros(bucket.upto_us):>7} {_percent(share):>6}"
        for bucket, share in zip(row.latencies[::-1], shares, strict=True)
    ]
    highest = max(shares)
    ticks = ([0.0, highest], ["0", f"{highest:.0f} %"])
    return _bars(names, shares, (0, highest), ticks, width)


def _repeats(row: views.BenchView, width: int) -> list[Line]:
    """How the repeats lie around their median, machine's load taken out where it was measured."""
    values = list(row.repeats)
    beside = len(row.references) == len(values) and all(row.references)
    if beside:
        values = [rate / one for rate, one in zip(values, row.references, strict=True)]
    middle = sorted(values)[len(values) // 2]
    if len(values) < 2 or not middle:
        return []
    parts = [100 * value / middle for value in values]
    reach = 100 * max(_SPREAD, *(abs(part / 100 - 1) for part in parts))
    drawn = figure(width, _REPEATS_HEIGHT)
    signal = drawn.signal(list(range(1, len(parts) + 1)), parts, marker="braille")
    drawn.draw(signal.lines())
    ends = [100 - reach, 100, 100 + reach]
    drawn.ruler("y").lim(ends[0], ends[-1])
    drawn.ruler("y").ticks(ends, [f"{end:.0f} %" for end in ends])
    drawn.ruler("x").ticks([1, len(parts)], ["1", str(len(parts))])
    said = "repeats beside fixed work" if beside else "repeats"
    return [((said, "muted"),), *built(drawn)]


def _bars(
    names: Sequence[str],
    sizes: Sequence[float],
    ends: tuple[float, float],
    ticks: tuple[Sequence[float], Sequence[str]],
    width: int,
) -> list[Line]:
    """A bar a line, the first lowest. `sizes` count from the lower of `ends`."""
    drawn = figure(width, len(names) + _FRAME_ROWS + 1)
    places = list(range(1, len(names) + 1))
    floor = [ends[0]] * len(names)
    tops = [ends[0] + size for size in sizes]
    drawn.draw(drawn.bar(places, floor, tops, orientation="h", width=0.8))
    # plotext puts the ends of a range on the middle of the outer rows.
    drawn.ruler("y").lim(1, max(len(names), 2))
    drawn.ruler("y").ticks(places, list(names))
    drawn.ruler("x").lim(*ends)
    drawn.ruler("x").ticks(*ticks)
    return built(drawn)


def figure(width: int, height: int) -> Any:  # noqa: ANN401 - plotext has no types
    """A new chart of so many cells. There is one figure in a process: build it before the next."""
    import plotext  # noqa: PLC0415 - a quarter of a second, only where a chart is drawn

    plotext.terminal.limit(False, False)
    made = plotext.figure
    made.clear()
    made.theme("colorless")
    made.plot_size(width, height)
    return made


def built(drawn: Any) -> list[Line]:  # noqa: ANN401 - plotext has no types
    """The lines of a chart, its parts styled."""
    rows = drawn.build().string(colorless=True).splitlines()
    return [tuple(_spans(row.rstrip())) for row in rows if row.strip()]


def _spans(row: str) -> Iterator[Span]:
    for part in _PARTS.finditer(row):
        style = "border" if part[1] else "accent" if part[2] else "muted"
        yield part[0], style


# --- words ----------------------------------------------------------------------------------


def _heading(row: views.BenchView, width: int) -> list[Line]:
    """Name, figures and verdict on as many lines as they need."""
    parts: list[Span] = [
        (_name(row), "title bold"),
        (f"{row.ops_s:,.0f}/s", "text"),
        (f"median {_micros(row.p50_us)}", "text"),
        (f"99 % {_micros(row.p99_us)}", "text"),
        (f"{row.concurrency} callers", "text"),
    ]
    if row.verdict:
        said = f"{row.verdict}, {row.ratio or 0:.2f} of {row.baseline}"
        parts.append((said, _VERDICTS.get(row.verdict, "text")))
    return _flowed(parts, width)


def _flowed(parts: Sequence[Span], width: int) -> list[Line]:
    lines: list[Line] = [tuple(parts[:1])]
    for text, style in parts[1:]:
        if cell_len(_plain(lines[-1])) + len(_GAP) + cell_len(text) <= width:
            lines[-1] = (*lines[-1], (_GAP, "text"), (text, style))
        else:
            lines.append(((_GAP, "text"), (text, style)))
    return lines


def _name(row: views.BenchView) -> str:
    words = {"sealed": row.encryption, "LZ4": row.compression}
    said = "".join(f" {word}" for word, there in words.items() if there)
    return safe_text(row.name, 40) + said


def _power(exponent: int) -> str:
    value = 10.0**exponent
    return f"{value:,.0f}" if exponent >= 0 else f"{value:g}"


def _percent(share: float) -> str:
    return f"{share:.1f} %" if share >= 0.1 or not share else "<0.1 %"


def _micros(value: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} µs"


# --- lines as text --------------------------------------------------------------------------


def _plain(line: Line) -> str:
    return "".join(safe_text(text) for text, _ in line)


def _padded(line: Line, width: int) -> Line:
    return (*line, (" " * max(0, width - cell_len(_plain(line))), "text"))


def _ansi(span: Span) -> str:
    text, style = span
    codes = ";".join(code for word in style.split() if (code := _SGR.get(word)))
    return f"\x1b[{codes}m{safe_text(text)}\x1b[0m" if codes else safe_text(text)


def _placed(line: Line) -> Iterator[tuple[Span, int]]:
    """Each span that shows something, cleaned, and the column it begins in."""
    column = 0
    for text, style in line:
        shown = safe_text(text)
        if shown.strip() or "reverse" in style.split():
            yield (shown, style), column
        column += cell_len(shown)


def _svg_span(span: Span, column: int, row: int, colours: dict[str, str]) -> str:
    text, style = span
    words = style.split()
    ink = next((colours[word] for word in reversed(words) if word in colours), colours["text"])
    left, top = _MARGIN + column * _CELL_WIDTH, _MARGIN + row * _LINE_HEIGHT
    wide = cell_len(text) * _CELL_WIDTH
    behind = ""
    if "reverse" in words:
        behind = (
            f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_LINE_HEIGHT}" '
            f'fill="{ink}"/>'
        )
        ink = colours["background"]
    bold = ' font-weight="bold"' if "bold" in words else ""
    return (
        f'{behind}<text x="{left:.1f}" y="{top + 13}" textLength="{wide:.1f}" '
        f'lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="{ink}"{bold}>'
        f"{escape(text)}</text>\n"
    )
