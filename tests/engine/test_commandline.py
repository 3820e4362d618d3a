"""Commands are read, written, completed and explained from the action registry alone."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmdeck.engine import actions
from swarmdeck.engine.actions import ACTIONS, Action
from swarmdeck.engine.commandline import (
    Completion,
    build,
    complete,
    find,
    nouns,
    parse,
    render,
    summary,
    usage,
    usage_line,
    usage_noun,
)
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.parameters import Parameter, nearest, parameters, read, write

ANY_TEXT = st.text(max_size=20) | st.sampled_from(
    ["", "-", "--", "-x", "--name", "a b", "'\"", "=", "true"]
)
# As a path comes out of reading one: absolute, without what says nothing.
ANY_PATH = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"])).map(
    lambda name: f"/{name}".removesuffix("/.") or "/"
)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)


def values_of(parameter: Parameter) -> st.SearchStrategy[Any]:
    low, high = parameter.ge, parameter.le
    whole = st.integers(
        int(low) if low is not None else -(1 << 63),
        int(high) if high is not None else (1 << 63) - 1,
    )
    one: st.SearchStrategy[Any] = {
        "text": ANY_TEXT.filter(lambda text: len(text) >= parameter.min_length),
        "integer": whole,
        "number": st.floats(low, high, allow_nan=False, allow_infinity=False),
        "switch": st.booleans(),
        "choice": st.sampled_from(parameter.choices or ("",)),
        "size": whole,
        "json": ANY_JSON,
        "value": ANY_JSON,
        "level": st.sampled_from([*parameter.choices, 1, 2, 3, 4, 5]),
        "priority": st.integers(1, 10),
        "secret": st.none() | ANY_TEXT,
        "path": ANY_PATH,
        "variable": ANY_TEXT,
    }[parameter.kind]
    return (
        st.lists(one, min_size=parameter.min_length, max_size=4).map(tuple)
        if parameter.repeated
        else one
    )


@st.composite
def any_action(draw: st.DrawFn) -> Action:
    spec = draw(st.sampled_from(list(ACTIONS.values())))
    values = {}
    for parameter in parameters(spec):
        strategy = values_of(parameter)
        if not parameter.required:
            strategy = st.just(parameter.default) | strategy
        values[parameter.field] = draw(strategy)
    return spec.type(**values)


def spoken(action: Action) -> Action:
    """The action as it can be said aloud: without its secrets."""
    every = parameters(actions.spec_of(action))
    return msgspec.structs.replace(action, **{p.field: None for p in every if p.kind == "secret"})


@settings(deadline=None)
@given(any_action())
def test_a_rendered_action_parses_to_itself(action: Action) -> None:
    words = render(action)
    assert parse(words) == spoken(action)
    assert parse(shlex.split(shlex.join(words))) == spoken(action)


@settings(deadline=None)
@given(any_action())
def test_a_parsed_action_passes_the_check_at_the_door(action: Action) -> None:
    assert actions.check(parse(render(action))) == spoken(action)


@settings(deadline=None)
@given(
    st.lists(
        ANY_TEXT | st.sampled_from([*nouns(), "set", "create", "--as", "--json", "--memory=1GB"])
    )
)
def test_any_words_give_an_action_or_invalid_input(words: list[str]) -> None:
    try:
        parse(words)
    except InvalidInput as error:
        assert "\n" not in error.message + error.hint  # noqa: PT017 - not raising is fine too


def test_the_registry_keeps_to_what_a_command_line_can_say() -> None:
    for spec in ACTIONS.values():
        every = parameters(spec)
        optional = [p.required for p in every if p.place == "positional"]
        assert optional == sorted(optional, reverse=True), f"{spec.name}: optional before required"
        assert optional.count(False) <= 1, f"{spec.name}: two optional positionals"
        assert all(not p.required and p.default is False for p in every if p.kind == "switch")
        assert all(p.default is None and p.place == "flag" for p in every if p.kind == "secret")
        flags = [p.flag for p in every if p.flag]
        assert len(set(flags)) == len(flags)
        assert not {"--json", "--help", "--data", "--config", "--debug", "--log-level"} & set(flags)
    assert not any(noun in ACTIONS for noun, verbs in nouns().items() if verbs)


# --- reading --------------------------------------------------------------------------------


def test_a_swarm_with_sizes_flags_and_a_command() -> None:
    line = "swarm create development --agents 4 --memory=1.5GiB -- python worker.py --data x -- y"
    assert parse(shlex.split(line)) == actions.SwarmCreate(
        environment="development",
        agents=4,
        memory_bytes=3 << 29,
        command=("python", "worker.py", "--data", "x", "--", "y"),
    )


def test_variables_are_repeated_and_a_directory_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "swarm create testing --agents 1 --memory 1GB --env A=1=2 --env HOME --directory work"
    wanted = parse(shlex.split(f"{line} --warm-up 2.5"))
    assert wanted == actions.SwarmCreate(
        environment="testing",
        agents=1,
        memory_bytes=1 << 30,
        variables=("A=1=2", "HOME"),
        directory=str(tmp_path / "work"),
        warm_up_s=2.5,
    )
    assert "A=1" not in repr(wanted)


def test_words_and_numbers_for_levels_and_priorities() -> None:
    assert parse(["memory", "set", "testing", "k", "1", "--level", "TEAM"]) == actions.MemorySet(
        environment="testing", key="k", value=1, level="team"
    )
    assert parse(["acl", "grant", "dev_a", "--level", "4"]) == actions.AclGrant(
        subject="dev_a", level=4
    )
    assert parse(
        ["queue", "send", "testing", "work", "{}", "--priority", "critical"]
    ) == actions.QueueSend(environment="testing", kind="work", body={}, priority=10)


def test_repeated_flags_make_a_tuple_and_as_names_the_actor() -> None:
    line = "acl grant dev_a --actions read --actions write"
    assert parse(line.split()) == actions.AclGrant(subject="dev_a", actions=("read", "write"))
    assert parse(["memory", "get", "testing", "k", "--as", "test_a"]) == actions.MemoryGet(
        environment="testing", key="k", actor="test_a"
    )
    assert parse(["agent", "update", "dev_a", "--no-capabilities"]) == actions.AgentUpdate(
        id="dev_a", capabilities=()
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("-5", -5),
        ("1.0", 1.0),
        ("true", True),
        ('"true"', "true"),
        ("plain text", "plain text"),
        ("", ""),
        ("nothing", "nothing"),
    ],
)
def test_a_value_is_json_or_a_plain_string(text: str, value: object) -> None:
    parsed = parse(["memory", "set", "development", "k", text])
    assert isinstance(parsed, actions.MemorySet)
    assert parsed.value == value
    assert type(parsed.value) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":',
        "[1,",
        '"open',
        "2024-01-01",
        "-x",
        "NaN",
        "[NaN]",
        "-Infinity",
        "1e999",
        '"\\ud800"',
    ],
)
def test_broken_json_is_refused_and_never_stored_as_text(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(["memory", "set", "development", "k", "--", text])
    assert refused.value.message.startswith("VALUE: ")
    assert refused.value.hint


@pytest.mark.parametrize("text", ["plain", "{'a': 1}", "", "NaN"])
def test_a_message_body_must_be_json(text: str) -> None:
    with pytest.raises(InvalidInput, match="BODY: the value is not JSON"):
        parse(["queue", "send", "development", "work", text])


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("", "no command is given", "see swarmdeck --help"),
        ("swrm list", "unknown command 'swrm'", "did you mean swarm?"),
        ("xyzzy", "unknown command 'xyzzy'", "see swarmdeck --help"),
        ("swarm", "swarm needs a verb", "one of create, list"),
        ("swarm --force", "swarm needs a verb", "one of create, list"),
        ("swarm crate", "unknown command swarm 'crate'", "did you mean create?"),
        (
            "swarm terminate dev_1 --forse",
            "swarm terminate has no flag '--forse'",
            "did you mean --force?",
        ),
        (
            "swarm health dev_1 -x",
            "swarm health has no flag '-x'",
            "usage: swarmdeck swarm health ID",
        ),
        ("swarm terminate dev_1 --force=yes", "--force takes no value", ""),
        ("swarm terminate dev_1 --force --force", "--force is given twice", ""),
        ("memory get testing k --as --namespace n", "--as needs a value", "written --as=-…"),
        ("memory get testing k --as", "--as needs a value", "written --as=-…"),
        ("agent update a --capabilities x --no-capabilities", "--capabilities contradicts", ""),
        ("swarm health", "swarm health needs ID", "usage: swarmdeck swarm health ID"),
        ("swarm create testing", "swarm create needs --agents N and --memory SIZE", "usage: "),
        ("swarm health a b", "swarm health does not take 'b'", "usage: "),
        (
            "swarm list prod",
            "ENVIRONMENT: unknown environment 'prod'",
            "did you mean production? one of",
        ),
        ("queue list --state x", "--state: unknown state 'x'", "one of ready, delayed"),
        ("acl grant a --actions read,wrote", "--actions: unknown action", "did you mean"),
        ("swarm scale a 99 1GB", "AGENTS: 99 is out of range", "0 to 74"),
        ("swarm scale a 9.5 1GB", "AGENTS: '9.5' is not a whole number", ""),
        ("swarm scale a 5 1MB", "MEMORY: 1 MB is out of range", "at least 16 MB"),
        ("swarm scale a 5 2XB", "MEMORY: '2XB' is not a size", "512MB or 2GB"),
        (f"swarm scale a 5 {'9' * 400}GB", "MEMORY: '999", ""),
        ("swarm terminate a --wait nan", "--wait: 'nan' is not a number", ""),
        ("swarm terminate a --wait 301", "--wait: 301 is out of range", "0 to 300"),
        ("acl grant a --level 9", "--level: unknown level '9'", "private, team"),
        (
            "queue send testing w {} --priority 11",
            "--priority: priority 11 is out of range",
            "1 to 10",
        ),
        (
            f"queue send testing w {{}} --priority {'9' * 5000}",
            "--priority: priority '999",
            "1 to 10",
        ),
        (f"agent list --limit {'9' * 5000}", "agent list has no flag '--limit'", ""),
        (f"queue list --limit {'9' * 5000}", "--limit: '999", ""),
    ],
)
def test_bad_input_gets_one_clear_line(line: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(line.split())
    assert refused.value.message.startswith(message)
    assert hint in refused.value.hint
    assert len(refused.value.message) < 160


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(InvalidInput, match="is not UTF-8"):
        parse(["memory", "get", "testing", b"\xff".decode("utf-8", "surrogateescape")])


def test_a_field_with_too_few_elements_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--actions needs at least 1"):
        build(ACTIONS["acl.grant"], {"subject": "dev_a", "actions": ()})


def test_a_secret_is_on_no_command_line_and_in_no_help() -> None:
    for words in (["--passphrase", "x"], ["--passphrase=x"], ["--passphrase"]):
        with pytest.raises(InvalidInput, match="--passphrase is never written") as refused:
            parse(["vault", "unseal", *words])
        assert "standard input" in refused.value.hint
        assert "x" not in refused.value.message.split()
    assert render(actions.VaultUnseal(passphrase="open sesame")) == ["vault", "unseal"]
    assert usage_line(ACTIONS["vault.unseal"]) == "swarmdeck vault unseal"
    assert "(passphrase)" in usage(ACTIONS["vault.unseal"])
    assert "--passphrase" not in usage(ACTIONS["vault.rekey"])
    assert complete("vault unseal ") == []
    assert complete("vault unseal --pass") == []


def test_a_path_is_absolute_where_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = next(p for p in parameters(ACTIONS["audit.export"]) if p.kind == "path")
    assert read(file, "out.jsonl") == str(tmp_path / "out.jsonl")
    assert read(file, "~/out.jsonl") == str(tmp_path / "home" / "out.jsonl")
    assert read(file, "/var/out.jsonl") == "/var/out.jsonl"
    for text in ("", "a\0b", "~nobody-of-this-name/x"):
        with pytest.raises(InvalidInput, match="FILE: "):
            read(file, text)


# --- writing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (actions.Status(), "status"),
        (actions.SwarmList(), "swarm list"),
        (
            actions.SwarmCreate(
                environment="development",
                agents=4,
                memory_bytes=2 << 30,
                command=("python", "w.py"),
            ),
            "swarm create development --agents 4 --memory 2GB -- python w.py",
        ),
        (
            actions.SwarmTerminate(id="dev_1", force=True, wait_s=1.5),
            "swarm terminate dev_1 --force --wait 1.5",
        ),
        (actions.MemorySet(environment="testing", key="k", value="v"), "memory set testing k v"),
        (
            actions.MemorySet(environment="testing", key="k", value="5"),
            "memory set testing k '\"5\"'",
        ),
        (actions.MemorySet(environment="testing", key="k", value=-5), "memory set -- testing k -5"),
        (
            actions.AgentRegister(environment="testing", name="-x", type="--y"),
            "agent register --type=--y -- testing -x",
        ),
        (actions.BenchRun(names=("a", "b"), seconds=3.0), "bench run a b --seconds 3"),
    ],
)
def test_the_line_for_an_action_is_short(action: Action, line: str) -> None:
    assert shlex.join(render(action)) == line
    assert parse(shlex.split(line)) == action


def test_bytes_have_no_command_line() -> None:
    with pytest.raises(InvalidInput, match="bytes cannot be written"):
        render(actions.MemorySet(environment="testing", key="k", value=b"x"))


def test_a_size_is_exact_beyond_what_a_float_holds() -> None:
    size = next(p for p in parameters(ACTIONS["swarm.scale"]) if p.kind == "size")
    assert read(size, write(size, (1 << 60) + 1)) == (1 << 60) + 1


# --- completing -----------------------------------------------------------------------------


def words(line: str) -> list[str]:
    return [completion.word for completion in complete(line)]


def test_completion_follows_the_grammar() -> None:
    assert "swarm" in words("")
    assert words("sw") == ["swarm"]
    assert words("swarm ") == ["create", "list", "health", "scale", "terminate"]
    assert words("swarm te") == ["terminate"]
    assert words("swarm list ") == [*parameters(ACTIONS["swarm.list"])[0].choices, "--all"]
    assert words("queue list --state de") == ["delayed", "dead"]
    assert words("queue list --state=de") == ["--state=delayed", "--state=dead"]
    assert words("memory set testing k v --level t") == ["team"]
    assert words("swarm create testing ")[:2] == ["--agents", "--memory"]
    assert words("swarm create testing --agents 4 --a") == []
    assert words("acl grant a --actions read --ac") == ["--actions"]
    assert words("agent update a --n") == ["--name"]


@pytest.mark.parametrize(
    "line",
    ["nope ", "swarm nope ", "swarm list --nope ", "memory get 'op", "swarm create testing -- "],
)
def test_a_line_that_goes_nowhere_has_no_completions(line: str) -> None:
    assert complete(line) == []


def test_a_completion_carries_the_whole_line_and_help() -> None:
    [found] = complete("queue c")[:1]
    assert found == Completion("count", "Count messages by state.", "queue count ")


@settings(deadline=None)
@given(st.text(max_size=30) | any_action().map(lambda a: shlex.join(render(a))[:30]))
def test_completion_never_fails_and_goes_on_from_the_text(text: str) -> None:
    for completion in complete(text):
        assert completion.line.startswith(text)
        assert completion.word


# --- help -----------------------------------------------------------------------------------


def test_usage_tells_how_an_action_is_written() -> None:
    line = usage_line(ACTIONS["swarm.create"])
    assert line.startswith("swarmdeck swarm create ENVIRONMENT --agents N --memory SIZE [--name ")
    assert "[--env NAME[=VALUE]…] [--directory PATH] [--warm-up SECONDS]" in line
    assert line.endswith("[-- COMMAND…]")
    assert usage_line(ACTIONS["acl.grant"]).startswith("swarmdeck acl grant SUBJECT [--resource ")
    text = usage(ACTIONS["swarm.terminate"])
    assert "[--force]" in text
    assert "longest wait for running work (0 to 300) [300]" in text
    assert "kill its agents at once" in text


def test_every_action_has_help_of_its_own() -> None:
    for name, spec in ACTIONS.items():
        assert usage_line(spec) in usage(spec)
        assert spec.help.endswith(".") or ":" in spec.help
        assert name.replace(".", " ") in summary()
    for noun, verbs in nouns().items():
        assert all(f"{noun} {verb}" in usage_noun(noun) for verb in verbs)


def test_find_leaves_the_arguments_alone() -> None:
    assert find(["swarm", "list", "x"]) == (ACTIONS["swarm.list"], ["x"])
    assert find(["status", "x"]) == (ACTIONS["status"], ["x"])


def test_nearest_names() -> None:
    assert nearest("prod", ["testing", "production"]) == "production"
    assert nearest("qeue", ["queue", "swarm"]) == "queue"
    assert nearest("zzz", ["queue"]) == ""


def test_reading_a_command_loads_no_argument_parser() -> None:
    assert "argparse" not in vars(sys.modules["swarmdeck.engine.commandline"])
