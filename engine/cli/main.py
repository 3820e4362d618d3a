"""One command from its words to its exit code.

The border of the process: every error leaves as one line (one JSON object with `--json`) on
stderr and the exit code of its class; a result leaves as one document on stdout.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .. import __version__, actions, process, views
from ..actions import ACTIONS, Action, ActionSpec, spec_of
from ..commandline import find, nouns, parse, summary, usage, usage_noun
from ..errors import Defect, ErrorReport, InvalidInput, SwarmDeckError, Unavailable
from ..model import printable
from ..parameters import parameters, suggestion
from ..text import safe_json, safe_text
from .options import INIT_USAGE, OPTIONS_HELP, SERVE_USAGE, Options, asks_for_json, read_options
from .output import Shown, as_json, as_text

INTERRUPTED: Final = 128 + signal.SIGINT
_BROKEN_PIPE: Final = 128 + signal.SIGPIPE

if TYPE_CHECKING:
    from ..actions import AclMatrix, BenchShow, MetricsShow
    from .charts import Charted, Plot

Console = Callable[[Options], int]

_PROCESS_COMMANDS: Final = {
    "init": "Create the data directory, with the key of its vault, and say what is there.",
    "serve": "Own the data directory and stay, for consoles, commands and agents.",
}
_PROCESS_USAGE: Final = {"init": INIT_USAGE, "serve": SERVE_USAGE}


def main(
    argv: Sequence[str] | None = None,
    *,
    console: Console | None = None,
    plot: Plot | None = None,
) -> int:
    """Run one command and return its exit code. `argv` is without the program's name; `console`
    is called when there is no command, `plot` where charts are asked for, and their errors leave
    here as well."""
    words = sys.argv[1:] if argv is None else list(argv)
    process.spare()
    process.leave_no_core()
    process.end_without_search()
    try:
        return _run(words, console, plot)
    except SwarmDeckError as error:
        report(error, as_json=asks_for_json(words))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the border of the process
        return _defect(error, words)


def report(error: SwarmDeckError, *, as_json: bool) -> None:
    """Say on stderr what went wrong: one line, or one JSON object."""
    if as_json:
        said = msgspec.json.encode({"error": _sayable(error.report())}).decode()
        sys.stderr.write(safe_json(said) + "\n")
        return
    hint = f" ({safe_text(error.hint)})" if error.hint else ""
    sys.stderr.write(f"swarmdeck: {safe_text(error.message)}{hint}\n")


def _sayable(said: ErrorReport) -> ErrorReport:
    """Half characters, as in a path that is not UTF-8, cannot stand in JSON."""
    texts = [text.encode(errors="backslashreplace").decode() for text in (said.message, said.hint)]
    return msgspec.structs.replace(said, message=texts[0], hint=texts[1])


def _defect(error: Exception, words: Sequence[str]) -> int:
    if "--debug" in words:
        import traceback  # noqa: PLC0415 - only on the way out

        traceback.print_exception(error)
    what = f"unexpected {type(error).__name__}: {error}"
    hint = "a defect of SwarmDeck; repeat with --debug in front for the place"
    report(Defect(what, hint=hint), as_json=asks_for_json(words))
    return Defect.exit_code


def _run(argv: Sequence[str], console: Console | None, plot: Plot | None) -> int:
    options, words = read_options(argv)
    if options.version:
        return _write(f"swarmdeck {__version__}\n")
    if options.help:
        return _write(_help(words))
    if not words and console is not None:
        return console(options)
    options.refuse_for_command()
    if words and words[0] in _PROCESS_COMMANDS:
        return _process_command(words, options)
    if words and words[0] not in ACTIONS.nouns:
        names = [*nouns(), *_PROCESS_COMMANDS]
        hint = suggestion(words[0], names, "see swarmdeck --help")
        raise InvalidInput(f"unknown command {printable(words[0])}", hint=hint)
    action = parse(words)
    spec = spec_of(action)
    if spec.name == "acl.matrix" and isinstance(action, actions.AclMatrix) and action.csv:
        return _sheet(action, spec, options)
    charted = _charted(action)
    if charted is not None and charted.plot and options.json:
        raise InvalidInput("--plot draws text", hint="leave out --json, or use --svg FILE")
    result = _perform(action, spec, options)
    drawn = _charts(charted, result, plot) if charted is not None else ""
    return _answer(spec, result, options, drawn)


def _charted(action: Action) -> BenchShow | MetricsShow | None:
    """The action if its answer can be drawn."""
    if actions.name_of(action) not in {"bench.show", "metrics.show"}:
        return None
    return action if isinstance(action, (actions.BenchShow, actions.MetricsShow)) else None


def _perform(action: Action, spec: ActionSpec, options: Options) -> Any:  # noqa: ANN401 - any result
    if spec.offline:
        from .offline import perform_offline  # noqa: PLC0415 - psutil and the like

        return perform_offline(action, options)
    from .session import perform  # noqa: PLC0415 - asyncio

    if any(parameter.kind == "secret" for parameter in parameters(spec)):
        from .secrets import with_secrets  # noqa: PLC0415 - few actions have any

        action = with_secrets(action, options)
    return perform(action, options)


def _process_command(words: Sequence[str], options: Options) -> int:
    if words[0] == "serve":
        from .serve import serve  # noqa: PLC0415 - the whole engine

        return serve(words[1:], options)
    from .initial import initialise  # noqa: PLC0415 - the whole engine

    made = initialise(words[1:], options)
    return _write(as_json(made) if options.json else as_text(made, _shown()))


def _charts(action: BenchShow | MetricsShow, rows: Charted, plot: Plot | None) -> str:
    if not action.plot and action.svg is None:
        return ""
    from .charts import charts  # noqa: PLC0415 - only for --plot and --svg

    return charts(action, rows, plot)


def _answer(
    spec: ActionSpec,
    result: Any,  # noqa: ANN401 - any result
    options: Options,
    drawn: str = "",
) -> int:
    """Write the result; checks that failed make the exit code, for scripts that only look at it."""
    below = f"\n{drawn}" if drawn else ""
    _write(as_json(result) if options.json else _text(spec, result) + below)
    return Unavailable.exit_code if _failed(result) else 0


def _failed(result: object) -> bool:
    """Whether something that was looked at is not as it should be."""
    if isinstance(result, views.BackupView):
        return result.status == "failed"
    return isinstance(result, list) and any(
        isinstance(row, (views.CheckView, views.ChainView, views.FindingView))
        and row.status == "failed"
        for row in result
    )


def _sheet(action: AclMatrix, spec: ActionSpec, options: Options) -> int:
    """Write the matrix as CSV; what it leaves out is said on stderr."""
    if options.json:
        raise InvalidInput("--csv and --json are two forms", hint="leave one of them out")
    result: views.MatrixView = _perform(action, spec, options)
    from .sheets import matrix_csv  # noqa: PLC0415 - only for --csv

    _write(matrix_csv(result))
    if result.more:
        after = action.offset + len(result.rows)
        sys.stderr.write(f"swarmdeck: more records follow: --offset {after}\n")
    return 0


def _text(spec: ActionSpec, result: Any) -> str:  # noqa: ANN401 - any result
    if not isinstance(result, views.Overview):
        return as_text(result, _shown())
    from .status import plan_text, status_text  # noqa: PLC0415 - only these two need it

    page: Callable[[views.Overview, Shown], str]
    page = plan_text if spec.name == "memory.plan" else status_text
    return page(result, _shown())


def _shown() -> Shown:
    width = None
    if sys.stdout.isatty():
        import shutil  # noqa: PLC0415 - slow to import

        width = shutil.get_terminal_size().columns
    return Shown(width, time.time_ns() // 1000)


def _write(text: str | bytes) -> int:
    """Write to stdout, unbuffered: UTF-8 whatever the locale says, and a reader that left or a
    full disk is met here."""
    rest = memoryview(text if isinstance(text, bytes) else text.encode(errors="replace"))
    while rest:
        try:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unavailable(f"cannot write the answer: {error.strerror}") from error
    return 0


# --- help -----------------------------------------------------------------------------------


def _help(words: Sequence[str]) -> str:
    if not words:
        return _overall_help()
    if words[0] in _PROCESS_COMMANDS:
        return f"usage: swarmdeck {_PROCESS_USAGE[words[0]]}\n\n{_PROCESS_COMMANDS[words[0]]}\n"
    if len(words) == 1 and words[0] not in ACTIONS and words[0] in nouns():
        return usage_noun(words[0])
    return usage(find(words)[0])


def _overall_help() -> str:
    own = "".join(f"  {name:<26}{text}\n" for name, text in _PROCESS_COMMANDS.items())
    return (
        "usage: swarmdeck [options]                    open the console\n"
        "       swarmdeck [options] COMMAND …          run one command\n\n"
        f"{OPTIONS_HELP}\ncommands:\n{own}{summary()}"
    )
