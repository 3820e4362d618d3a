"""The key table: one source for bindings, footer and help."""

from __future__ import annotations

import pytest

from swarmdeck.console import commands
from swarmdeck.console.help import help_lines
from swarmdeck.console.keymap import EVERYWHERE, MOTION, Key, fill, keymap, parse_keymap
from swarmdeck.console.listings import LISTINGS
from swarmdeck.engine.errors import ConfigError
from swarmdeck.widgets import VirtualTable

GROUPS = [group for group in keymap().groups if group != MOTION]


class Everything:
    """A row that has every field a key may name."""

    def __getattr__(self, name: str) -> str:
        return {"environment": "development"}.get(name, "dev_thing_1")


@pytest.mark.parametrize("group", GROUPS)
def test_every_key_asks_for_something_known(group: str) -> None:
    for key in keymap().groups[group]:
        words = fill(key.run, Everything(), "dev_agent_1")
        assert words is not None
        commands.interpret(words)


def test_every_motion_is_a_binding_of_the_table() -> None:
    known = {binding.id for binding in VirtualTable.BINDINGS}
    assert {key.run for key in keymap().groups[MOTION]} <= known


@pytest.mark.parametrize("name", LISTINGS)
def test_every_listing_names_groups_that_exist(name: str) -> None:
    assert set(LISTINGS[name].groups) <= set(keymap().groups)


@pytest.mark.parametrize("name", LISTINGS)
def test_no_key_of_a_screen_hides_another_of_the_same_screen(name: str) -> None:
    motions = {n for key in keymap().groups[MOTION] for n in key.names}
    own = [n for group in LISTINGS[name].groups if group != MOTION
           for key in keymap().groups[group] for n in key.names]  # fmt: skip
    assert len(own) == len(set(own))
    assert motions.isdisjoint(own)
    assert motions.isdisjoint(n for key in keymap().groups[EVERYWHERE] for n in key.names)


def test_a_footer_names_the_most_wanted_keys_that_fit() -> None:
    narrow = keymap().footer(("swarms", "rows"), 40)
    assert sum(key.footer_width for key in narrow) <= 40
    assert {":", "?", "q"} <= {key.shown for key in narrow}
    wide = keymap().footer(("swarms", "rows"), 200)
    assert set(narrow) < set(wide)
    assert all(key.label for key in wide)


def test_the_help_shows_every_key_and_every_command() -> None:
    text = "\n".join("".join(part for part, _ in line) for line in help_lines(GROUPS))
    assert all(key.help in text for group in GROUPS for key in keymap().groups[group])
    assert all(word.help in text for word in commands.WORDS)


def test_a_key_line_takes_fields_of_the_row_and_the_subject_of_the_screen() -> None:
    row = Key("x", "y", "z")
    assert fill("swarm scale {keys}", row) == ("swarm", "scale", "x")
    assert fill("logs {subject}", None, "dev_agent_1") == ("logs", "dev_agent_1")
    assert fill("swarm scale {id}", None) is None
    assert fill("swarm scale {label}", row) is None, "an empty field names nothing"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[everywhere]]\nkeys = "a"', "run"),
        ('[[everywhere]]\nkeys = "a"\nrun = "help"\nhelp = "h"\nfoo = 1', "foo"),
        ('[[g]]\nkeys = "a, b"\nrun = "x"\nhelp = "h"\n[[g]]\nkeys = "b"\nrun = "y"\nhelp = "h"',
         "b twice"),
        ("[[everywhere", "keys.toml"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused_with_its_reason(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_keymap(text, "keys.toml")
