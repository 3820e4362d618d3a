"""The actions by name. A module of actions is loaded when one of its nouns is asked for.

One command of a shell is about one noun; loading what describes all the others would cost it more
than its own work does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .spec import ActionSpec

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "engine": (
        "status", "stop", "reload", "doctor", "config", "demo", "logs", "memory", "db", "clock",
        "explain", "alert", "journal",
    ),
    "swarms": ("swarm", "agent", "team"),
    "memory": ("memory",),
    "queue": ("queue", "schedule"),
    "tasks": ("task", "dependency"),
    "events": ("event",),
    "artifacts": ("artifact",),
    "consensus": ("consensus", "conflict"),
    "access": ("acl", "audit"),
    "vault": ("vault",),
    "backup": ("backup",),
    "health": ("health", "recovery", "alert"),
    "metrics": ("metrics",),
    "measures": ("metric",),
    "bench": ("bench",),
}  # fmt: skip
"""The modules in the order in which help lists their actions, each with the nouns that these
begin with. A test compares it with what is defined."""

_SPOKEN: Final = {"database": "db"}  # where a class is not named as its action is


class Registry(Mapping[str, "ActionSpec"]):
    """Every action's definition by its name, in the order of help. Looking at one loads the
    modules of its noun, going through all of them loads all."""

    def __init__(self) -> None:
        self._known: dict[str, ActionSpec] = {}
        self._complete = False

    def add(self, spec: ActionSpec) -> None:
        """Called by a module that is being loaded, for each of its actions."""
        self._known[spec.name] = spec

    @property
    def nouns(self) -> tuple[str, ...]:
        """Every first word of an action's name, in the order of help. Loads nothing."""
        return tuple(dict.fromkeys(noun for nouns in MODULES.values() for noun in nouns))

    def verbs(self, noun: str) -> tuple[str, ...]:
        """The second words of a noun's actions; none for an action of one word."""
        load(noun)
        names = (name.partition(".") for name in _ordered(self._known))
        return tuple(verb for first, _, verb in names if first == noun and verb)

    def __getitem__(self, name: str) -> ActionSpec:
        found = self._known.get(name)
        if found is None:
            load(name.partition(".")[0])
            found = self._known[name]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, ActionSpec]:
        if not self._complete:
            for module in MODULES:
                import_module(f".{module}", __package__)
            self._known = _ordered(self._known)
            self._complete = True
        return self._known


def _ordered(known: dict[str, ActionSpec]) -> dict[str, ActionSpec]:
    """Modules may be loaded in any order; each defines its own actions in that of help."""
    places = list(MODULES)
    return dict(sorted(known.items(), key=lambda item: places.index(home(item[1].type))))


def home(kind: type) -> str:
    """The module that defines this class of actions: a key of MODULES."""
    return kind.__module__.rpartition(".")[2]


def load(noun: str) -> list[Any]:
    """The modules that have actions of this noun; none when it is no noun."""
    names = [name for name, nouns in MODULES.items() if noun in nouns]
    return [import_module(f".{name}", __package__) for name in names]


def kind_called(name: str) -> Any:  # noqa: ANN401 - what a module calls so
    """A class of actions by its own name: `QueueShow` is of the noun `queue`. Raises
    AttributeError."""
    end = next((at for at, letter in enumerate(name) if at and letter.isupper()), len(name))
    noun = name[:end].lower()
    for module in load(_SPOKEN.get(noun, noun)):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module {__package__!r} has no attribute {name!r}")
