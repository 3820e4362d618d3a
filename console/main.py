"""Entry of the `swarmdeck` command.

With a subcommand it is the headless command line and no terminal library is imported; without one
it opens the console.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..engine.cli.main import main as run_command
from ..engine.cli.options import Options
from ..engine.cli.where import data_directory
from ..engine.errors import InvalidInput

if TYPE_CHECKING:
    from ..engine.cli.charts import Canvas
    from ..engine.views import BenchView


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    return run_command(console=open_console, plot=draw)


def draw(rows: Sequence[BenchView], canvas: Canvas) -> str:
    """Charts of benchmark results, for the command line."""
    from . import plots  # noqa: PLC0415 - subcommands must not load what draws

    lines = plots.draw(rows, canvas.width)
    if canvas.svg:
        return plots.as_svg(lines)
    return plots.as_ansi(lines) if canvas.colour else plots.as_text(lines)


def open_console(options: Options) -> int:
    """Open the console in this terminal. Raises InvalidInput where there is none, ConfigError for
    bad settings."""
    if options.json:
        raise InvalidInput("--json needs a command", hint="for example swarmdeck status --json")
    _check_terminal()
    data = data_directory(options)
    from .app import run  # noqa: PLC0415 - subcommands must not load the terminal library

    return run(data, options.config_file, theme=options.theme)


def _check_terminal() -> None:
    hint = "without a terminal use commands, such as swarmdeck status"
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise InvalidInput("the console needs a terminal on stdin and stderr", hint=hint)
    if os.environ.get("TERM", "") in {"", "dumb"}:
        raise InvalidInput("the terminal cannot be painted: TERM is dumb or not set", hint=hint)
