"""Which data directory and which settings a command means, and what it logs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import InvalidInput
from ..store.volatile import is_memory
from .options import Options

if TYPE_CHECKING:
    from ..settings import Settings

_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def load(options: Options) -> Settings:
    """The settings of this run. Raises ConfigError."""
    from ..settings import load_settings  # noqa: PLC0415 - half the time of an attached command

    return load_settings(options.config_file, os.environ, options.overrides())


def data_directory(options: Options) -> Path:
    """The data directory as an absolute path; it need not exist. A directory that is given
    outright is answered without reading settings, which an attached command does not need.
    Raises InvalidInput for `:memory:`."""
    if options.data is not None and options.config is None and options.log_level is None:
        return kept(Path(options.data).expanduser().absolute())
    return kept(load(options).data_dir.absolute())


def kept(data: Path) -> Path:
    """A data directory that outlives this process. Raises InvalidInput for one in memory."""
    if is_memory(data):
        raise InvalidInput(
            "an engine in memory ends with its process, and nobody can attach to it",
            hint="open it from a program: open_engine(':memory:'); here name a directory: --data",
        )
    return data


def log_to_stderr(level: str) -> None:
    """Log to stderr from `level` up: debug, info, warning or error."""
    import logging  # noqa: PLC0415 - asyncio brings it, commands without an engine do without

    logging.basicConfig(level=level.upper(), format=_LOG_FORMAT)
