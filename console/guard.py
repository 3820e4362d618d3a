"""What a console that may only look refuses: everything that is no query.

The whole console by a flag or setting, or single environments. It keeps a person from a slip; it
is no access control, which the engine does. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from ..engine import commandline
from ..engine.actions import Action, ActionSpec, spec_of
from ..engine.errors import Denied, InvalidInput
from ..engine.model import environment_of

ALL: Final = "all"
_IDS: Final = ("id", "subject", "agent", "team", "swarm", "to", "leader", "actor")
"""Fields of actions that name something by its id, which tells its environment."""

_PLACES: Final = ("environment", "source", "target")
"""Fields that may name an environment outright. Others of these names say something else, which
no environment is called."""

_OWN: Final = frozenset({"form", "edit", "grant", "deny", "unseal", "endread"})
"""Words of the console that open the form of an action which changes something."""


class Guard:
    """`read_only` are the environments that are only looked at, or `all`; `source` is where that
    was said, for the refusal."""

    def __init__(self, read_only: Collection[str] = (), source: str = "console.read_only") -> None:
        self.whole = ALL in read_only
        self._places = frozenset(read_only) - {ALL}
        self._source = source

    @property
    def banner(self) -> str:
        """What the head line says; empty for a console that may do everything."""
        if self.whole:
            return "READ-ONLY"
        return " ".join(("READ-ONLY", *sorted(self._places))) if self._places else ""

    def check(self, action: Action) -> None:
        """Raises Denied for an action that this console must not ask for."""
        self.check_fields(spec_of(action), msgspec.structs.asdict(action))

    def check_fields(self, spec: ActionSpec, fields: Mapping[str, object]) -> None:
        """The same for an action of which only some fields are known."""
        if spec.query:
            return
        what = f"{spec.name.replace('.', ' ')} is refused: this console only looks"
        if self.whole:
            raise Denied(what, hint=f"set by {self._source}")
        closed = self._places & environments_named(fields)
        if closed:
            where = " and ".join(sorted(closed))
            raise Denied(f"{what} at {where}", hint=f"set by {self._source}")

    def hides(self, run: str, environment: str) -> bool:
        """Whether the line of a key is refused on a screen of that environment, whatever its
        row; for the footer, which names no key in vain."""
        if not self.whole and environment not in self._places:
            return False
        words = [word for word in run.split() if "{" not in word]
        if words and words[0] in _OWN:
            return True
        try:
            spec, _ = commandline.find(words)
        except InvalidInput:
            return False  # a word of the console's own
        return not spec.query


def environments_named(fields: Mapping[str, object]) -> set[str]:
    """The environments that the fields of an action name, outright or by an id."""
    named = {str(fields[name]) for name in _PLACES if fields.get(name)}
    for name in _IDS:
        value = fields.get(name)
        if isinstance(value, str):
            named |= _environment(value)
    return named


def _environment(ident: str) -> set[str]:
    try:
        return {str(environment_of(ident))}
    except InvalidInput:
        return set()
