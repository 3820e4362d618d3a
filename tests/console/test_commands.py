"""Lines: what is typed, pressed or chosen becomes a screen, a word or an action."""

from __future__ import annotations

import pytest

from swarmdeck.console import commands
from swarmdeck.console.commands import Fill, GoTo, Known, Run, Tell, complete, interpret, split
from swarmdeck.console.keymap import keymap
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
    elif name == "queue.dead":
        assert intent == GoTo("queue", state="dead"), "the state, where its keys are"
        assert interpret(["queue", "dead", "development"]) == Run(
            actions.QueueDead(environment="development")
        )
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


def test_a_line_that_is_shown_holds_no_value_of_a_variable() -> None:
    wanted = actions.SwarmCreate(
        environment="testing", agents=1, memory_bytes=1 << 30, variables=("KEY=s3=cret", "HOME")
    )
    assert commands.line_of(wanted).endswith("--memory 1GB --env KEY --env HOME")


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
    assert isinstance(interpret(["queue", "list"]), Run), "a screen's name is also a noun"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("queue /filter @development", GoTo("queue", "filter", "development")),
        (":queue @dev /filter", GoTo("queue", "filter", "development")),
        ("qu dead @prod", GoTo("queue", environment="production", state="dead")),
        ("dead", GoTo("queue", state="dead")),
        ("dead /kind=digest age>1h @st", GoTo("queue", "kind=digest age>1h", "staging", "dead")),
        ("agents /backend @d", GoTo("agents", "backend", "development")),
        ('agents /"two words" !x', GoTo("agents", '"two words" !x')),
        ("ag", GoTo("agents")),
        ("acl @test", GoTo("access", environment="testing")),
        ("queue @all", GoTo("queue", environment="all")),
        ("audit /a@b", GoTo("audit", "a@b")),
        ("@rese", Tell("environment", ("research",))),
        ("/some text", Tell("filter", ("some text",))),
        ("acl list", Run(actions.AclList())),
        ("queue dead --limit 3", Run(actions.QueueDead(limit=3))),
    ],
)
def test_a_view_is_narrowed_behind_its_name(line: str, wanted: object) -> None:
    assert commands.read(line) == wanted


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("queue @moon", "one of"),
        ("queue @", "one of"),
        ("agents dead @dev", "agents [STATE]"),
        ("queue daed @dev", "did you mean dead?"),
        ("queu", "did you mean queue?"),
        ("q now", "usage: quit"),
        ("/text @dev", "name the view"),
    ],
)
def test_a_view_that_cannot_be_narrowed_so_says_why(line: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        commands.read(line)
    assert hint in refused.value.hint


def test_an_environment_is_named_by_prefix_or_what_no_other_begins_with() -> None:
    named = commands.environment_named
    assert [named(word) for word in ("prod", "DEV", "t", "s", "all", "research")] == [
        "production", "development", "testing", "staging", "all", "research",
    ]  # fmt: skip


def test_where_to_begin_is_read_from_the_options() -> None:
    assert commands.beginning(None, None) is None
    with pytest.raises(InvalidInput, match="'nonsense' is no view"):
        commands.beginning("nonsense", None)
    assert commands.beginning("queue", "state=dead") == GoTo("queue", "state=dead")
    assert commands.beginning("queue dead @dev", "x") == GoTo("queue", "x", "development", "dead")
    for view, filter_ in ((None, "x"), ("theme", None), ("swarm list", None), ("moon", None)):
        with pytest.raises(InvalidInput):
            commands.beginning(view, filter_)


@pytest.mark.parametrize(
    ("line", "carries"),
    [
        ("memory set development k secret", True),
        ("form memory set development k secret", True),
        ("queue send development digest {}", True),
        ("queue edit dev_msg_1 --priority 2", True),
        ("memory set", False),
        ("queue retry dev_msg_1", False),
        ("queue /secret", False),
        ("theme x", False),
    ],
)
def test_lines_that_carry_content_are_known(line: str, carries: bool) -> None:
    assert commands.carries_value(split(line)) is carries


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
    own = {*commands.SCREENS, *(word.name for word in commands.WORDS), *keymap().aliases}
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
