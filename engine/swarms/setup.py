"""What the processes of a swarm are started with: checked when it is made, and at each start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import InvalidInput
from ..model import printable
from ..settings import catalogue
from .roster import Setup

MAX_VARIABLES: Final = 100
MAX_VALUE_CHARACTERS: Final = 32_768  # the kernel takes four times as many bytes
# Secrets of the engine that an agent has no use for.
WITHHELD: Final = frozenset(name for name, field in catalogue().variables.items() if field.secret)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OURS: Final = frozenset({"SWARM_ID", "AGENT_ID"})


def read_setup(
    variables: Sequence[str],
    directory: str,
    warm_up_s: float | None,
    own: Mapping[str, str] | None = None,
    *,
    cpu_percent: int | None = None,
) -> Setup:
    """From `NAME=VALUE` or `NAME` alone, which stands for the value in `own` (the environment of
    the engine) at each start. Raises InvalidInput for names that cannot be given, those that
    `own` lacks, and a directory that is none."""
    if len(variables) > MAX_VARIABLES:
        raise InvalidInput(f"{len(variables)} variables", hint=f"at most {MAX_VARIABLES}")
    named: dict[str, str | None] = {}
    for text in variables:
        name, given, value = text.partition("=")
        if name in named:
            raise InvalidInput(f"variable {name} is given twice")
        named[_check_name(name)] = _check_value(name, value) if given else None
    chosen = tuple(named.items())
    values(chosen, os.environ if own is None else own)
    return Setup(
        variables=chosen,
        directory=check_directory(directory) if directory else "",
        warm_up_s=warm_up_s,
        cpu_percent=cpu_percent,
    )


def values(variables: Sequence[tuple[str, str | None]], own: Mapping[str, str]) -> dict[str, str]:
    """The variables with their values, those given by name alone from `own`. Raises InvalidInput
    for one that it lacks or that is withheld."""
    found = {name: own.get(name) if value is None else value for name, value in variables}
    for name, value in variables:
        if value is None and name in WITHHELD:
            raise InvalidInput(
                f"{name} is a secret of the engine, which it gives to no agent",
                hint="give the agent a secret of its own under another name",
            )
    for name, value in found.items():
        if value is None:
            raise InvalidInput(
                f"variable {name} is not set where the engine runs",
                hint=f"give it as {name}=VALUE, or start the engine with it",
            )
    return {name: value for name, value in found.items() if value is not None}


def check_directory(directory: str) -> str:
    """Raises InvalidInput unless it is an absolute path of a directory that can be entered."""
    path = Path(directory)
    if "\0" in directory or not path.is_absolute():
        raise InvalidInput(f"{printable(directory)} is not an absolute path")
    if not path.is_dir():
        raise InvalidInput(f"there is no directory {printable(directory)}", hint="make it first")
    if not os.access(path, os.X_OK):
        raise InvalidInput(f"directory {printable(directory)} cannot be entered")
    return directory


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{printable(name)} is not the name of a variable", hint="NAME=VALUE, or NAME alone"
        )
    if name in _OURS or name.startswith("SWARMDECK_"):
        raise InvalidInput(f"variable {name} is given by the engine itself")
    return name


def _check_value(name: str, value: str) -> str:
    if "\0" in value:
        raise InvalidInput(f"the value of variable {name} holds a NUL character")
    if len(value) > MAX_VALUE_CHARACTERS:
        raise InvalidInput(
            f"the value of variable {name} has {len(value):,} characters",
            hint=f"at most {MAX_VALUE_CHARACTERS:,}; put it into a file",
        )
    return value
