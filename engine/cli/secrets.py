"""Secrets of a command: asked for without echo on a terminal, else one line of standard input.

They are never words of a command line, which everybody on the host can read, and never variables,
which every child inherits.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from .. import views
from ..actions import Action, VaultRekey, VaultStatus, VaultUnseal, spec_of
from ..errors import InvalidInput, Unavailable
from ..lock import find_socket
from ..parameters import parameters
from . import where
from .options import Options
from .session import perform

_MAX_BYTES: Final = 4096


def with_secrets(action: Action, options: Options) -> Action:
    """The action with its secrets, where it needs any: the passphrase of a vault only when its key
    comes from one. Raises InvalidInput; Unavailable where unsealing would end with the command."""
    if isinstance(action, VaultRekey):
        if action.source != "passphrase":
            return action
        return msgspec.structs.replace(action, passphrase=new_passphrase())
    if isinstance(action, VaultUnseal) and not _needs_passphrase(options):
        return action
    names = [each.field for each in parameters(spec_of(action)) if each.kind == "secret"]
    return msgspec.structs.replace(action, **{name: ask(name) for name in names})


def new_passphrase() -> str:
    """A passphrase that is not known yet; on a terminal asked for twice. Raises InvalidInput."""
    from ..vault.sources import check_passphrase  # noqa: PLC0415 - few commands need it

    first = check_passphrase(ask("new passphrase"), new=True)
    if _on_terminal() and ask("the same again") != first:
        raise InvalidInput("the two passphrases differ", hint="nothing was changed: try again")
    return first


def ask(what: str) -> str:
    """One secret. Raises InvalidInput where none comes."""
    if not _on_terminal():
        return _line(what)
    from getpass import getpass  # noqa: PLC0415 - scripts do without

    try:
        return getpass(f"{what}: ")
    except EOFError:
        raise InvalidInput(f"no {what} was given", hint="it is asked for on the terminal") from None


def _line(what: str) -> str:
    try:
        line = sys.stdin.buffer.readline(_MAX_BYTES + 1)
        text = line.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"the {what} is not UTF-8 text", hint="one line of it") from None
    if not text or len(line) > _MAX_BYTES:
        raise InvalidInput(
            f"no {what} was given, or one too long", hint="one line on standard input"
        )
    return text


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _needs_passphrase(options: Options) -> bool:
    found: views.VaultView = perform(VaultStatus(), options)
    data = where.data_directory(options)
    if found.source in {"passphrase", "keyring"} and find_socket(data) is None:
        raise Unavailable(
            f"no engine owns {data}: it would be sealed again as soon as this command ends",
            hint="start one with `swarmdeck serve`, or open the console; then unseal it",
        )
    return found.source == "passphrase" and found.state == "sealed"
