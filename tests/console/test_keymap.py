"""The key table: one source for bindings, footer and help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarmdeck.console import commands
from swarmdeck.console.deck import SwarmDeck
from swarmdeck.console.help import help_lines
from swarmdeck.console.keymap import (
    EVERYWHERE,
    MOTION,
    Key,
    Keymap,
    fill,
    keymap,
    main,
    markdown,
    packaged,
    parse_keymap,
    parse_user_keymap,
    user_keymap,
)
from swarmdeck.console.listings import LISTINGS
from swarmdeck.console.preferences import Preferences
from swarmdeck.engine.errors import ConfigError
from swarmdeck.widgets import AclMatrix, VirtualTable

GROUPS = [group for group in keymap().groups if group != MOTION]


class Everything:
    """A row that has every field a key may name."""

    def __getattr__(self, name: str) -> str:
        return {"environment": "development"}.get(name, "dev_thing_1")


@pytest.mark.parametrize("group", GROUPS)
def test_every_key_asks_for_something_known(group: str) -> None:
    for key in keymap().groups[group]:
        if key.run.startswith(("table.", "matrix.")):
            continue
        words = fill(key.run, Everything(), "dev_agent_1")
        assert words is not None
        commands.interpret(words)


def test_every_motion_is_a_binding_of_the_table() -> None:
    known = {binding.id for binding in VirtualTable.BINDINGS}
    assert {key.run for key in keymap().groups[MOTION]} <= known


def test_every_motion_of_another_group_is_a_binding_too() -> None:
    known = {binding.id for kind in (VirtualTable, AclMatrix) for binding in kind.BINDINGS}
    asked = {key.run for group in GROUPS for key in keymap().groups[group]}
    assert {run for run in asked if run.startswith(("table.", "matrix."))} <= known


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


# --- the user's own -------------------------------------------------------------------------


def laid(text: str) -> Keymap:
    return packaged().under(parse_user_keymap(text, "mine.toml", packaged()))


def running(table: Keymap, group: str, key: str) -> str | None:
    return next((row.run for row in table.groups[group] if key in row.names), None)


def test_a_row_of_the_user_replaces_what_runs_the_same() -> None:
    table = laid('[[queue]]\nkeys = "f5"\nrun = "queue retry {id}"\n')
    assert running(table, "queue", "f5") == "queue retry {id}"
    assert running(table, "queue", "r") is None
    row = next(row for row in table.groups["queue"] if row.names == ("f5",))
    assert row.help == next(k.help for k in packaged().groups["queue"] if k.names == ("r",))
    assert row.label == "retry"


def test_a_row_of_the_user_takes_a_key_from_another() -> None:
    table = laid('[[queue]]\nkeys = "r"\nrun = "queue show {id}"\nhelp = "Look"\n')
    assert running(table, "queue", "r") == "queue show {id}"
    assert not any(row.run == "queue retry {id}" for row in table.groups["queue"])


def test_a_row_without_keys_takes_them_away() -> None:
    table = laid('[[everywhere]]\nkeys = ""\nrun = "demo"\n')
    assert running(table, "everywhere", "D") is None


def test_aliases_are_added_and_changed() -> None:
    table = laid('[aliases]\ndl = "queue dead @production"\nag = "agents @dev"\n')
    assert table.aliases["dl"] == "queue dead @production"
    assert table.aliases["ag"] == "agents @dev"
    assert table.aliases["qu"] == "queue"


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ('\n[[quue]]\nkeys = "a"\nrun = "x"\n', "mine.toml:2: no group quue", "queue"),
        ('[[queue]]\nkeys = "a"\n', "mine.toml:1: Object missing required field `run`", "[["),
        ('[[queue]]\nkeys="a"\nrun="x"\n[[queue]]\nkeys="a"\nrun="y"\n', "mine.toml:4: ", "[["),
        ('[queue]\nkeys = "a"\n', "mine.toml:1: queue must be rows", "[["),
        ("[[queue]]\nkeys = \n", "mine.toml:2: ", "[["),
        ("[aliases]\nx = 1\n", "mine.toml:1: ", "dl ="),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(text: str, says: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        laid(text)
    assert refused.value.message.startswith(says)
    assert hint in refused.value.hint or says.endswith(": ")


def test_a_file_need_not_exist_but_must_be_readable(tmp_path: Path) -> None:
    assert user_keymap(None) is packaged()
    assert user_keymap(tmp_path / "keymap.toml") is packaged()
    with pytest.raises(ConfigError, match="cannot be read"):
        user_keymap(tmp_path)


async def test_the_file_is_read_again_while_the_console_runs(fakes: Any, tmp_path: Path) -> None:
    file = tmp_path / "keymap.toml"
    file.write_text('[[everywhere]]\nkeys = "f9"\nrun = "audit"\n[aliases]\nzz = "swarms"\n')
    async with fakes.console(fakes.busy(), preferences=Preferences(keymap_file=file)) as deck:
        await deck.press("f9")
        assert deck.app.deck.crumb == "audit"
        await deck.type("zz")
        assert deck.app.deck.crumb == "swarms"
        file.write_text('[[everywhere]]\nkeys = "f8"\nrun = "audit"\n')
        await deck.type("keymap")
        await deck.press("f9")
        assert deck.app.deck.crumb == "swarms"
        await deck.press("f8")
        assert deck.app.deck.crumb == "audit"
        file.write_text("[[nothing]]\n")
        await deck.type("keymap")
        await deck.until(lambda: any("no group nothing" in toast for toast in deck.toasts))
        await deck.press("1", "f8")
        assert deck.app.deck.crumb == "audit", "the keys stay as they were"


async def test_a_wrong_file_is_said_before_the_screen_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "keymap.toml"
    file.write_text("[[nothing]]\n")
    with pytest.raises(ConfigError, match=r"keymap\.toml:1: no group nothing"):
        SwarmDeck(lambda _: None, "data", Preferences(keymap_file=file))


# --- the page -------------------------------------------------------------------------------


def test_the_page_of_keys_is_up_to_date() -> None:
    """`python -m swarmdeck.console.keymap docs/guide/keys.md` writes it."""
    page = Path(__file__).parents[2] / "docs" / "guide" / "keys.md"
    assert page.read_text(encoding="utf-8") == markdown(packaged())


def test_the_page_has_every_key(tmp_path: Path) -> None:
    assert main([str(tmp_path / "keys.md")]) == 0
    page = (tmp_path / "keys.md").read_text(encoding="utf-8")
    for keys in packaged().groups.values():
        assert all(f"`{key.run}`" in page and key.help in page for key in keys)
    assert all(f"`:{alias}`" in page for alias in packaged().aliases)
