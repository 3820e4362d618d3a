"""What the documents say can be followed: their links lead somewhere, their commands are commands.

A command line in a document is a line of a code block, or a code span, that begins with
`swarmdeck` or, for the console, with `:`. Words in capitals in it stand for something of the
reader's and are listed in `STAND_INS`; a line with one that is not listed there fails.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from swarmdeck import themes
from swarmdeck.console import commands
from swarmdeck.console.columns import Moment
from swarmdeck.console.keymap import packaged, parse_user_keymap
from swarmdeck.console.listings import LISTINGS
from swarmdeck.engine import alerts, commandline
from swarmdeck.engine.actions.health import PolicyName
from swarmdeck.engine.cli.options import OPTIONS_HELP, read_options
from swarmdeck.engine.cli.serve import read_words
from swarmdeck.engine.errors import SwarmDeckError

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

STAND_INS = {
    "AGENT": "dev_agent_1",
    "DIR": "data",
    "ENVIRONMENT": "development",
    "FILE": "report.svg",
    "GRANT": "dev_grant_1",
    "ID": "dev_swarm_1",
    "KEY": "user:1",
    "LEVEL": "info",
    "MESSAGE": "dev_msg_1",
    "NAME": "reviewer",
    "SECONDS": "10",
    "SWARM": "dev_swarm_1",
    "THEME": themes.DEFAULT,
    "VALUE": "1",
    "VIEW": "queue",
}
POLICIES = frozenset(get_args(PolicyName))
"""Words in capitals that are meant."""
PROCESSES = {"init", "serve"}
"""Commands that are processes of their own and no actions."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


class Line(NamedTuple):
    """A line that can be typed, and where it is written."""

    page: Path
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text}"


def _typed(text: str, begin: str) -> str:
    """What is to be typed, without prompt, comment and what a shell does with it."""
    text = text.strip().removeprefix("$ ")
    if not text.startswith(begin) or "…" in text:
        return ""
    return re.split(r"\s+(?:#\s|>\s|&$)", text)[0].strip()


def _lines(begin: str, page: Path) -> Iterator[Line]:
    source = page.read_text(encoding="utf-8")
    for language, body in FENCE.findall(source):
        if language not in {"python", "toml"}:
            yield from (
                Line(page, found) for text in body.split("\n") if (found := _typed(text, begin))
            )
    for span in SPAN.findall(FENCE.sub("", source)):
        if (found := _typed(span, begin)) and " " in found:
            yield Line(page, found)


def _filled(text: str) -> list[str]:
    """The words of a line with those in capitals filled in."""
    words = shlex.split(text)
    return [
        STAND_INS[word] if re.fullmatch(r"[A-Z][A-Z_]+", word) and word not in POLICIES else word
        for word in words
    ]


SHELL = [line for page in PAGES for line in _lines("swarmdeck", page)]
CONSOLE = [line for page in PAGES for line in _lines(":", page)]


def test_there_is_something_to_check() -> None:
    assert len(PAGES) > 20
    assert len(SHELL) > 50
    assert len(CONSOLE) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_picture_is_there(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [target.partition("#")[0] for target in LINK.findall(text)]
    own = [target for target in targets if target and "://" not in target]
    missing = [target for target in own if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("line", SHELL, ids=str)
def test_every_command_can_be_parsed(line: Line) -> None:
    _program, *words = _filled(line.text)
    options, command = read_options(words)
    if not command:
        commands.beginning(options.view, options.filter)
        return
    options.refuse_for_command()
    if command[0] == "serve":
        read_words(command[1:])
    elif command[0] in PROCESSES:
        assert len(command) == 1
    elif command in ([noun] for noun, verbs in commandline.nouns().items() if verbs):
        assert options.help or line.text.count(" ") == 1
    else:
        commandline.parse(command)


@pytest.mark.parametrize("line", CONSOLE, ids=str)
def test_every_line_of_the_console_asks_for_something(line: Line) -> None:
    intent = commands.read(shlex.join(_filled(line.text)) if _has_stand_in(line) else line.text)
    if isinstance(intent, commands.Tell):
        assert intent.word in {word.name for word in commands.WORDS}


def _has_stand_in(line: Line) -> bool:
    return any(word in STAND_INS for word in line.text.split())


@pytest.mark.parametrize("screen", commands.SCREENS)
def test_every_screen_has_a_page_with_a_picture(screen: str) -> None:
    text = (GUIDE / f"{screen}.md").read_text(encoding="utf-8")
    assert f"snapshots/console/{screen}-" in text
    assert f"({screen}.md)" in (GUIDE / "README.md").read_text(encoding="utf-8")


def test_every_option_is_explained_in_the_guide() -> None:
    guide = (GUIDE / "README.md").read_text(encoding="utf-8")
    options = re.findall(r"^  (--[a-z-]+)", OPTIONS_HELP, re.MULTILINE)
    assert len(options) > 5
    assert [option for option in options if not re.search(rf"`{option}\b", guide)] == []


def test_every_column_is_explained_on_the_page_of_its_screen() -> None:
    unsaid = {
        (screen, column.name)
        for screen in commands.SCREENS
        if screen in LISTINGS
        for column in LISTINGS[screen].columns(Moment())
        if not re.search(
            rf"\b{re.escape(column.name.strip('% '))}\b",
            (GUIDE / f"{screen}.md").read_text("utf-8"),
        )
    }
    assert not unsaid


def test_every_rule_of_alerts_is_explained() -> None:
    folder = Path(alerts.__file__).parent
    source = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    rules = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
    page = (GUIDE / "alerts.md").read_text(encoding="utf-8")
    assert len(rules) > 10
    assert [rule for rule in rules if f"| {rule} |" not in page] == []


def test_every_theme_is_named() -> None:
    guide = (GUIDE / "README.md").read_text(encoding="utf-8")
    assert [name for name in themes.names() if f"`{name}`" not in guide] == []


def test_the_theme_in_the_guide_is_one() -> None:
    guide = (GUIDE / "README.md").read_text(encoding="utf-8")
    (body,) = [body for _, body in FENCE.findall(guide) if "[environments]" in body]
    assert themes.parse("guide", body).dark


def test_the_keys_in_the_guide_are_a_file_of_keys() -> None:
    guide = (GUIDE / "README.md").read_text(encoding="utf-8")
    (body,) = [body for _, body in FENCE.findall(guide) if "[aliases]" in body]
    table = packaged().under(parse_user_keymap(body, "guide", packaged()))
    assert "f5" in {name for key in table.groups["everywhere"] for name in key.names}
    assert "swarm terminate {id}" not in {key.run for key in table.groups["swarms"]}


def test_a_wrong_line_is_found() -> None:
    with pytest.raises(SwarmDeckError):
        commandline.parse(_filled("swarmdeck queue recount")[1:])
    with pytest.raises(KeyError):
        _filled("swarmdeck queue show WHATEVER")
