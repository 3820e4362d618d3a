"""Lines: what is typed, pressed or chosen becomes a screen, a word or an action."""

from __future__ import annotations

import pytest

from swarmdeck.console import commands
from swarmdeck.console.commands import Fill, GoTo, Known, Run, Tell, complete, interpret, split
from swarmdeck.console.words import TELLERS
from swarmdeck.engine import actions
from swarmdeck.engine.actions import ACTIONS
from swarmdeck.engine.commandline import nouns
from swarmdeck.engine.errors import InvalidInput


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_is_a_command(name: str) -> None:
    intent = interpret(name.split("."))
    if isinstance(intent, Run):
        assert actions.spec_of(intent.action).name == name
    else:
        assert intent == (GoTo(name) if name in commands.SCREENS else Fill(name, {}))


def test_a_whole_line_becomes_its_action() -> None:
    line = ":swarm create development --agents 4 --memory 512MB -- python 'my worker.py'"
    wanted = actions.SwarmCreate(
        environment="development", agents=4, memory_bytes=512 << 20,
        command=("python", "my worker.py"),
    )  # fmt: skip
    assert interpret(split(line)) == Run(wanted)
    assert split(commands.line_of(wanted))[1:] == split(line)


def test_an_unfinished_line_opens_its_form_with_what_was_typed() -> None:
    intent = interpret(split("swarm create development --memory 1GB --name 'my swarm'"))
    texts = {"environment": "development", "memory_bytes": "1GB", "name": "my swarm"}
    assert isinstance(intent, Fill)
    assert intent.texts == texts
    assert "--agents" in intent.error


def test_a_wrong_value_opens_the_form_too_so_that_it_can_be_put_right() -> None:
    intent = interpret(split("swarm create moon --agents=many --memory 1GB -- run me"))
    assert isinstance(intent, Fill)
    assert intent.texts["environment"] == "moon"
    assert intent.texts["agents"] == "many"
    assert intent.texts["command"] == "run me"


def test_form_opens_even_when_nothing_is_missing() -> None:
    assert interpret(split("form demo --keep")) == Fill("demo", {"keep": "true"})


def test_screens_words_and_aliases() -> None:
    assert interpret(["queue"]) == GoTo("queue")
    assert interpret(["q"]) == Tell("quit")
    assert interpret(["theme", "swarmdeck-light"]) == Tell("theme", ("swarmdeck-light",))
    assert isinstance(interpret(["queue", "dead"]), Run), "a screen's name is also a noun"


@pytest.mark.parametrize(
    "line", ["", "frobnicate", "quit now", "form", "swarm jump", "'open quote"]
)
def test_a_line_that_asks_for_nothing_is_refused(line: str) -> None:
    with pytest.raises(InvalidInput):
        interpret(split(line))


def test_a_mistyped_word_of_the_console_gets_a_hint() -> None:
    with pytest.raises(InvalidInput) as refused:
        interpret(["overveiw"])
    assert "overview" in refused.value.hint


def test_no_word_or_screen_hides_an_action() -> None:
    own = {*commands.SCREENS, *(word.name for word in commands.WORDS), *commands.ALIASES}
    hidden = own & {noun for noun in nouns() if noun in ACTIONS}
    assert not hidden
    assert {word.name for word in commands.WORDS} == {*TELLERS, "form"}


def test_completion_offers_screens_words_actions_and_ids() -> None:
    known = Known(("dev_swarm_1", "prod_swarm_1"), ("swarmdeck-dark", "swarmdeck-light"))
    assert {"swarms", "swarm"} <= {c.word for c in complete("sw", known)}
    assert [c.line for c in complete("swarm create dev", known)] == ["swarm create development "]
    assert [c.word for c in complete("swarm scale dev_", known)] == ["dev_swarm_1"]
    assert [c.word for c in complete("theme swarmdeck-l", known)] == ["swarmdeck-light"]
    assert "--agents" in {c.word for c in complete("swarm create development ", known)}
    assert complete("swarm 'x", known) == []
