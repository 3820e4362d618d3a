"""The command bar: typing, completing, recalling, and never running what was pasted."""

from __future__ import annotations

import pytest
from textual import events
from textual.app import ComposeResult
from textual.message import Message

from swarmdeck.engine.commandline import complete
from swarmdeck.widgets import CommandBar, DeckApp


class Deck(DeckApp):
    BINDINGS = [("x", "spoil")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.bar = CommandBar(complete, history=["status", "swarm list"])
        self.heard: list[Message] = []
        self.spoiled = False

    def compose(self) -> ComposeResult:
        yield self.bar

    def on_mount(self) -> None:
        self.bar.focus()

    def action_spoil(self) -> None:
        self.spoiled = True

    def on_command_bar_submitted(self, message: CommandBar.Submitted) -> None:
        self.heard.append(message)

    def on_command_bar_cancelled(self, message: CommandBar.Cancelled) -> None:
        self.heard.append(message)

    @property
    def lines(self) -> list[str]:
        return ["".join(s.text for s in self.bar.render_line(y)).rstrip() for y in range(2)]


async def test_what_is_typed_is_handed_over_and_remembered() -> None:
    app = Deck()
    async with app.run_test(size=(60, 4)) as pilot:
        await pilot.press(*"doctor x ", "enter")
        assert not app.spoiled
        assert [type(message) for message in app.heard] == [CommandBar.Submitted]
        assert app.heard[0].text == "doctor x"
        assert app.bar.history[-1] == "doctor x"


async def test_enter_on_nothing_and_escape_leave() -> None:
    app = Deck()
    async with app.run_test(size=(60, 4)) as pilot:
        await pilot.press("space", "enter", "escape")
        await pilot.pause()
        assert [type(message) for message in app.heard] == [CommandBar.Cancelled] * 2
        assert app.bar.history == ["status", "swarm list"]


async def test_the_cursor_is_a_reversed_cell() -> None:
    app = Deck()
    async with app.run_test(size=(60, 4)) as pilot:
        await pilot.press("a", "b", "left")
        cursor = [s.text for s in app.bar.render_line(1) if s.style.reverse]
        assert cursor == ["b"]
        assert not any(s.style.blink for s in app.bar.render_line(1))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (("home", "X"), "Xone two"),
        (("left", "X"), "one twXo"),
        (("backspace",), "one tw"),
        (("home", "delete"), "ne two"),
        (("ctrl+w",), "one "),
        (("ctrl+w", "ctrl+w"), ""),
        (("left", "left", "left", "ctrl+k"), "one "),
        (("left", "left", "left", "ctrl+u"), "two"),
        (("home", "backspace", "end", "delete"), "one two"),
    ],
)
async def test_editing_keys(keys: tuple[str, ...], text: str) -> None:
    app = Deck()
    async with app.run_test(size=(60, 4)) as pilot:
        app.bar.open("one two")
        await pilot.press(*keys)
        assert app.bar.text == text


async def test_history_comes_back_and_so_does_what_was_being_typed() -> None:
    app = Deck()
    async with app.run_test(size=(60, 4)) as pilot:
        seen = []
        await pilot.press("d", "o")
        for key in ("up", "up", "up", "down", "down", "down"):
            await pilot.press(key)
            seen.append(app.bar.text)
        assert seen == ["swarm list", "status", "status", "swarm list", "do", "do"]


async def test_candidates_are_shown_with_their_meaning_and_chosen_in_turn() -> None:
    app = Deck()
    async with app.run_test(size=(100, 4)) as pilot:
        await pilot.press(*"swarm ")
        verbs = [candidate.word for candidate in complete("swarm ")]
        assert len(verbs) > 2
        assert app.lines[0].split()[: len(verbs)] == verbs
        await pilot.press("tab", "tab")
        assert app.bar.text == f"swarm {verbs[1]} "
        assert complete("swarm ")[1].help[:20] in app.lines[0]
        await pilot.press("shift+tab", "shift+tab")
        assert app.bar.text == f"swarm {verbs[-1]} "


async def test_the_only_candidate_is_taken_for_good() -> None:
    app = Deck()
    async with app.run_test(size=(100, 4)) as pilot:
        await pilot.press(*"swarm term", "tab")
        assert app.bar.text == "swarm terminate "
        assert "terminate" not in app.lines[0].split()[:1]


async def test_pasted_text_is_typed_but_not_run() -> None:
    app = Deck()
    async with app.run_test(size=(60, 4)) as pilot:
        app.bar.post_message(events.Paste("swarm\nlist\x1b[2J\r\u202e"))
        await pilot.pause()
        assert app.bar.text == "swarm list[2J"
        assert app.heard == []


async def test_a_long_line_shows_the_place_of_the_cursor() -> None:
    app = Deck()
    async with app.run_test(size=(30, 4)) as pilot:
        app.bar.open("x" * 100 + "end")
        await pilot.pause()
        assert app.lines[1].endswith("end")
        assert app.lines[1].startswith(" :x")


async def test_many_candidates_scroll_with_the_chosen_one() -> None:
    app = Deck()
    async with app.run_test(size=(30, 4)) as pilot:
        app.bar.open()
        words = [candidate.word for candidate in complete("")]
        assert len(words) > 6
        for word in words:
            await pilot.press("tab")
            assert word in app.lines[0].split()


async def test_a_prompt_of_another_kind_and_its_placeholder() -> None:
    app = Deck()
    async with app.run_test(size=(40, 4)):
        app.bar.open(prompt="/", placeholder="filter, !inverse")
        assert app.lines[1] == " /  filter, !inverse".replace("/  ", "/ ")
