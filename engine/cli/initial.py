"""`init`: make a data directory, with a vault whose key comes from where it was asked to."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .. import views
from ..actions import DatabaseStats, VaultStatus, VaultUnseal
from ..errors import Conflict, InvalidInput
from ..model import printable
from . import secrets, where
from .options import INIT_USAGE, Options
from .session import perform

_FLAG = "--key-source"


class Initialised(msgspec.Struct, frozen=True):
    """A data directory and what is in it. `created` tells whether it was made just now."""

    data: str
    created: bool
    key_source: str
    databases: list[views.DatabaseView]


def initialise(words: Sequence[str], options: Options) -> Initialised:
    """Make the data directory with its databases, or find it made; either way say what is there.
    A passphrase is asked for twice, before anything is made. Raises Conflict where a vault with
    another source is there, Corrupt for a damaged or newer directory, StorageError where it cannot
    be made."""
    options = msgspec.structs.replace(options, key_source=_key_source(words))
    data = where.data_directory(options)
    created = not (data / "instances").exists()
    source = where.load(options).vault.source
    if created and source != "file":
        asked = secrets.new_passphrase() if source == "passphrase" else None
        perform(VaultUnseal(passphrase=asked), options)
    found: views.VaultView = perform(VaultStatus(), options)
    if options.key_source not in {None, found.source}:
        raise Conflict(
            f"the key of {data} comes from a {found.source}",
            hint=f"change it with swarmdeck vault rekey {options.key_source}",
        )
    return Initialised(str(data), created, found.source, perform(DatabaseStats(), options))


def _key_source(words: Sequence[str]) -> str | None:
    if not words:
        return None
    name, assigned, text = words[0].partition("=")
    given = [text] if assigned else list(words[1:2])
    if name != _FLAG or not given or len(words) > (1 if assigned else 2):
        wrong = next((word for word in words if word != _FLAG), words[0])
        raise InvalidInput(
            f"init does not take {printable(wrong)}", hint=f"usage: swarmdeck {INIT_USAGE}"
        )
    return given[0]
