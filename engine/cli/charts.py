"""`--plot` and `--svg` of benchmarks and measurements. What draws is handed in: the engine loads no
such library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from .. import views
from ..actions import BenchShow, MetricsShow
from ..errors import InvalidInput, NotFound, Unavailable

_WIDTH: Final = 80
_SVG_WIDTH: Final = 100


class Canvas(msgspec.Struct, frozen=True):
    """What charts are drawn for: `width` cells of text, with ANSI colours or not, or a picture."""

    width: int
    colour: bool = False
    svg: bool = False


Charted: TypeAlias = Sequence[views.BenchView] | Sequence[views.SeriesView]
Plot = Callable[[Charted, Canvas], str]


def charts(action: BenchShow | MetricsShow, rows: Charted, plot: Plot | None) -> str:
    """The charts asked for as text for stdout, and the picture in its file. Raises NotFound
    where nothing was measured, InvalidInput for a file that cannot be written, Unavailable
    without a plotter."""
    if plot is None:
        raise Unavailable("nothing here draws charts", hint="use the command swarmdeck")
    if not rows:
        raise NotFound("nothing has been measured yet", hint="swarmdeck bench run")
    if action.svg is not None:
        _save(Path(action.svg), plot(rows, Canvas(_SVG_WIDTH, svg=True)))
    return plot(rows, _stdout()) if action.plot else ""


def _save(path: Path, picture: str) -> None:
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        hint = "" if path.parent.is_dir() else f"make the directory {path.parent} first"
        raise InvalidInput(f"cannot write {path}: {error.strerror}", hint=hint) from error


def _stdout() -> Canvas:
    import shutil  # noqa: PLC0415 - slow to import

    size = shutil.get_terminal_size((_WIDTH, 24))
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return Canvas(size.columns, colour=sys.stdout.isatty() and not plain)
