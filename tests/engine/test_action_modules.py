"""Actions are loaded by noun: one command loads what it needs, and everybody finds everything."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.actions import ACTIONS, Action
from swarmdeck.engine.actions.registry import MODULES, home
from swarmdeck.engine.handlers import _PARTS

_PACKAGE = "swarmdeck.engine.actions"


def test_each_module_has_the_nouns_it_is_listed_with_in_their_order() -> None:
    found: dict[str, list[str]] = {}
    for spec in ACTIONS.values():
        nouns = found.setdefault(home(spec.type), [])
        if (noun := spec.name.partition(".")[0]) not in nouns:
            nouns.append(noun)
    assert {module: tuple(nouns) for module, nouns in found.items()} == dict(MODULES)
    assert list(found) == list(MODULES)
    assert set(_PARTS) == set(MODULES)


def test_each_module_of_actions_is_listed() -> None:
    folder = Path(str(actions.__file__)).parent
    beside = {"__init__", "registry", "spec"}
    assert {path.stem for path in folder.glob("*.py")} - beside == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_each_action_is_found_in_the_package_by_its_class(module: str) -> None:
    defined = [
        each
        for each in vars(import_module(f"{_PACKAGE}.{module}")).values()
        if isinstance(each, type) and issubclass(each, Action) and home(each) == module
    ]
    for kind in defined:
        assert getattr(actions, kind.__name__) is kind
        assert kind.__name__ in actions.__all__


def test_what_is_no_action_is_not_found() -> None:
    assert "queue.sand" not in ACTIONS
    assert "sand" not in ACTIONS
    for name in ("QueueSand", "Sand", "sand", "__wrapped__"):
        assert not hasattr(actions, name)


_LOADED = """
import json, sys
{first}
loaded = [name for name in sys.modules if name.startswith("swarmdeck.engine.actions.")]
print(json.dumps(sorted(name.rpartition(".")[2] for name in loaded)))
"""


def loaded_by(first: str) -> set[str]:
    """The modules of actions in a new interpreter that has done this."""
    run = subprocess.run(
        [sys.executable, "-c", _LOADED.format(first=first)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return set(json.loads(run.stdout.splitlines()[-1])) - {"registry", "spec"}


def test_one_command_loads_the_actions_of_its_noun_only(tmp_path: Path) -> None:
    command = f"from swarmdeck.engine.cli.main import main; main(['--data', {str(tmp_path)!r}, "
    assert loaded_by(command + "'status', '--json'])") == {"engine"}
    loaded = loaded_by(
        "from swarmdeck.engine.commandline import find, usage\n"
        "assert 'swarmdeck recovery set' in usage(find(['recovery', 'set'])[0])\n"
        "from swarmdeck.engine.actions import ACTIONS\n"
        "assert ACTIONS.verbs('alert') == ('list', 'ack')"
    )
    assert loaded == {"health", "engine"}


def test_the_order_of_help_is_the_same_in_whatever_order_modules_are_loaded() -> None:
    listed = "print(list(ACTIONS), ACTIONS.verbs('alert'))"
    load = "from swarmdeck.engine.actions import ACTIONS"
    backwards = "; ".join(f"import {_PACKAGE}.{module}" for module in reversed(MODULES))
    orders = {
        subprocess.run(
            [sys.executable, "-c", f"{first}; {load}; {listed}"],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for first in (load, backwards)
    }  # fmt: skip
    assert len(orders) == 1
