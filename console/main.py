"""Entry of the `swarmdeck` command.

With a subcommand it is the headless command line and no terminal library is imported; without one
it opens the console.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ..engine import process

if TYPE_CHECKING:
    from ..engine.cli.charts import Canvas, Charted
    from ..engine.cli.options import Options
    from ..engine.settings import Settings
    from .preferences import Preferences


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    process.spare()  # before there is anything to load
    from ..engine.cli.main import main as run_command  # noqa: PLC0415

    return run_command(console=open_console, plot=draw)


def draw(rows: Charted, canvas: Canvas) -> str:
    """Charts of benchmark results and measurements, for the command line."""
    from ..engine.views import BenchView, SeriesView  # noqa: PLC0415 - as below
    from . import plots, timeplots  # noqa: PLC0415 - subcommands must not load what draws

    series = [row for row in rows if isinstance(row, SeriesView)]
    results = [row for row in rows if isinstance(row, BenchView)]
    lines = timeplots.draw(series, canvas.width) if series else plots.draw(results, canvas.width)
    if canvas.svg:
        return plots.as_svg(lines)
    return plots.as_ansi(lines) if canvas.colour else plots.as_text(lines)


def open_console(options: Options) -> int:
    """Open the console in this terminal. Raises InvalidInput where there is none and for a view
    that is none, ConfigError for bad settings and keys."""
    from ..engine.cli.where import kept, load  # noqa: PLC0415 - nothing for subcommands
    from ..engine.errors import InvalidInput  # noqa: PLC0415

    if options.json:
        raise InvalidInput("--json needs a command", hint="for example swarmdeck status --json")
    _check_terminal()
    settings = load(options)
    data = kept(settings.data_dir.absolute())
    wanted = _preferences(options, settings)
    if wanted.low_bandwidth:
        os.environ.setdefault("TEXTUAL_COLOR_SYSTEM", "standard")  # read when it is imported
    from .app import run  # noqa: PLC0415 - subcommands must not load the terminal library

    process.tune()
    return run(data, settings, wanted)


def _preferences(options: Options, settings: Settings) -> Preferences:
    """How the console is to begin, with what is wrong in it found before the screen is taken."""
    import msgspec  # noqa: PLC0415 - nothing for subcommands

    from . import commands, keymap, preferences  # noqa: PLC0415

    keymap.use(keymap.user_keymap(preferences.keymap_file()))
    view = commands.beginning(options.view, options.filter)
    wanted = preferences.preferences(settings, view)
    if options.read_only:
        wanted = msgspec.structs.replace(wanted, read_only_source="--read-only")
    return wanted


def _check_terminal() -> None:
    from ..engine.errors import InvalidInput  # noqa: PLC0415 - nothing for subcommands

    hint = "without a terminal use commands, such as swarmdeck status"
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise InvalidInput("the console needs a terminal on stdin and stderr", hint=hint)
    if os.environ.get("TERM", "") in {"", "dumb"}:
        raise InvalidInput("the terminal cannot be painted: TERM is dumb or not set", hint=hint)
