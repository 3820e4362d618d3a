"""Benchmarks: the last measurements, how the latencies of one are spread, and what runs now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from textual.containers import Horizontal
from textual.widget import Widget

from ...engine import views
from ...engine.events import Sampled
from ...widgets import BrailleChart, Line, LineWidget, Series, Span, VirtualTable, fit, line
from ...widgets.format import count, micros, rate
from ..bridge import Pull
from ..columns import VERDICTS, Moment
from ..listings import LISTINGS, Scope
from .listing import ListScreen

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_NO_LATENCIES: Final = "No latencies were kept of this one; b measures anew."


class Histogram(LineWidget):
    """How many calls took how long, a column for each bucket of latencies, from the quickest
    bucket that has a call to the slowest. The columns of the median and of the 99th of a hundred
    are named below."""

    def __init__(self) -> None:
        super().__init__(title="Latencies", frame="rule", id="histogram")
        self._bench: views.BenchView | None = None

    def show(self, bench: views.BenchView | None) -> None:
        """Show the latencies of this measurement."""
        self._bench = bench
        self._title = f"Latencies · {bench.name}" if bench is not None else "Latencies"
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        bench = self._bench
        self._note = ""
        if bench is None:
            return ()
        buckets = filled(bench.latencies)
        room, height = self.body_width - 2, self.body_height - 2
        if not buckets or room < 8 or height < 1:
            return [(), line((f"  {_NO_LATENCIES}", "muted"))] if not buckets else []
        self._note = f"{count(sum(bucket.count for bucket in buckets))} calls"
        buckets = merged(buckets, room)
        width = max(1, room // len(buckets))
        return [
            *_columns(buckets, width, height, bench),
            _scale(buckets, width * len(buckets)),
            line(("  median ", "muted"), micros(bench.p50_us), ("  99 % ", "muted"),
                 (micros(bench.p99_us), "warning"), *_repeats(bench)),
        ]  # fmt: skip


def filled(buckets: Sequence[views.BucketView]) -> Sequence[views.BucketView]:
    """The buckets from the first to the last that has a call."""
    held = [place for place, bucket in enumerate(buckets) if bucket.count]
    return buckets[held[0] : held[-1] + 1] if held else ()


def merged(buckets: Sequence[views.BucketView], room: int) -> Sequence[views.BucketView]:
    """At most `room` buckets, neighbours put together evenly."""
    step = -(-len(buckets) // max(1, room))
    groups = [buckets[at : at + step] for at in range(0, len(buckets), step)]
    return [
        views.BucketView(upto_us=group[-1].upto_us, count=sum(each.count for each in group))
        for group in groups
    ]


def _columns(
    buckets: Sequence[views.BucketView], width: int, height: int, bench: views.BenchView
) -> Iterable[Line]:
    """The columns from top to bottom, in eighths of a cell; a bucket with any call shows."""
    most = max(bucket.count for bucket in buckets)
    eighths = [
        max(1, round(bucket.count * height * 8 / most)) if bucket.count else 0 for bucket in buckets
    ]
    for row in range(height - 1, -1, -1):
        spans: list[Span] = [("  ", "text")]
        for bucket, tall in zip(buckets, eighths, strict=True):
            glyph = _EIGHTHS[max(0, min(8, tall - row * 8))]
            spans.append((glyph * width, "warning" if bucket.upto_us > bench.p99_us else "accent"))
        yield tuple(spans)


def _scale(buckets: Sequence[views.BucketView], room: int) -> Line:
    """The latency at the left, in the middle and at the right."""
    middle = micros(buckets[len(buckets) // 2].upto_us)
    left, right = micros(buckets[0].upto_us), micros(buckets[-1].upto_us)
    if room < len(left) + len(middle) + len(right) + 4:
        return line((f"  {fit(left + ' to ' + right, room)}", "muted"))
    side = room // 2 - len(middle) // 2
    text = fit(left, side) + middle
    return line((f"  {text}{fit(right, room - len(text), 'right')}", "muted"))


def _repeats(bench: views.BenchView) -> Sequence[Span]:
    """How far the repeats lie apart: what a difference must exceed to mean anything."""
    if len(bench.repeats) < 2:
        return ()
    low, high = min(bench.repeats), max(bench.repeats)
    return (
        (f"  {len(bench.repeats)} repeats ", "muted"),
        (f"{rate(low)} to {rate(high)}", "text"),
    )


class BenchScreen(ListScreen):
    """Measurements with their verdicts; below them the latencies of the selected one, and while
    something is measured its rate, live."""

    DEFAULT_CSS = """
    BenchScreen #figures { height: 45%; min-height: 7; }
    BenchScreen #live { display: none; }
    BenchScreen.-live #live { display: block; }
    BenchScreen.-live.-narrow #histogram { display: none; }
    BenchScreen.-live.-wide #live { margin: 0 2 0 0; }
    BenchScreen.-live.-huge #live { margin: 0 2 0 0; }
    """

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["bench"], scope)
        self._histogram = Histogram()
        self._live = BrailleChart(
            (Series("operations/s"),), title="Live", frame="rule", unit="/s", mode="sweep",
            id="live",
        )  # fmt: skip
        self._workload = ""

    def below(self) -> Iterable[Widget]:
        with Horizontal(id="figures"):
            yield self._live
            yield self._histogram

    def sample(self, event: Sampled) -> None:
        """What a running benchmark just did. A new workload begins a new chart."""
        if event.workload != self._workload:
            self._workload = event.workload
            self._live.show(((),))
        self.add_class("-live")
        self._live.title = f"Live · {event.workload} · 99 % {micros(event.p99_us)}"
        self._live.push(event.ops_s)

    def show(self, pull: Pull) -> None:
        super().show(pull)
        self._histogram.show(self.table.cursor_row)

    def _fill(self) -> None:
        super()._fill()
        rows: Sequence[views.BenchView] = self._rows
        verdicts = [bench.verdict for bench in rows if bench.verdict]
        said = [
            f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts
        ]
        against = next((bench.baseline for bench in rows if bench.baseline), "")
        words = f" · {', '.join(said)} than {against}" if said else ""
        self.table.title = f"{self.listing.title}{words}"

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        self._histogram.show(message.row)
