"""`CommandBar`: one line to type a command in, with history and completion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from .cells import Line, Span, clean, width_of
from .linewidget import LineWidget

MOST_HISTORY: Final = 200
MOST_CHARACTERS: Final = 4096


class Candidate(Protocol):
    """A way to complete the text: the word to show, what it means, and the whole text up to the
    cursor with it, ready for the next word."""

    @property
    def word(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def line(self) -> str: ...


class CommandBar(LineWidget, can_focus=True):
    """Two lines: the candidates with the meaning of the chosen one, and the input below. Its
    cursor is a reversed cell that does not blink.

    `complete` is called with the text up to the cursor at every edit, so it must be quick.
    """

    DEFAULT_CSS = "CommandBar { height: 2; }"
    ground: ClassVar[str] = "surface"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Run", show=False, id="command.submit"),
        Binding("escape", "cancel", "Leave", show=False, id="command.cancel"),
        Binding("up", "recall(-1)", "Earlier", show=False, id="command.earlier"),
        Binding("down", "recall(1)", "Later", show=False, id="command.later"),
        Binding("tab", "choose(1)", "Complete", show=False, id="command.complete"),
        Binding("shift+tab", "choose(-1)", "Complete back", show=False, id="command.back"),
        Binding("left", "step(-1)", "Left", show=False),
        Binding("right", "step(1)", "Right", show=False),
        Binding("home,ctrl+a", "edge(0)", "To the start", show=False),
        Binding("end,ctrl+e", "edge(1)", "To the end", show=False),
        Binding("backspace", "erase(-1)", "Delete left", show=False),
        Binding("delete", "erase(1)", "Delete right", show=False),
        Binding("ctrl+w", "erase_word", "Delete the word", show=False),
        Binding("ctrl+u", "cut(0)", "Delete to the start", show=False),
        Binding("ctrl+k", "cut(1)", "Delete to the end", show=False),
    ]

    class Submitted(Message):
        """Enter: `text` without the blanks around it. Nothing is sent for an empty line."""

        def __init__(self, bar: CommandBar, text: str) -> None:
            super().__init__()
            self.bar = bar
            self.text = text

        @property
        def control(self) -> CommandBar:
            return self.bar

    class Cancelled(Message):
        """Escape, or enter on an empty line."""

        def __init__(self, bar: CommandBar) -> None:
            super().__init__()
            self.bar = bar

        @property
        def control(self) -> CommandBar:
            return self.bar

    class Edited(Submitted):
        """The text changed: for filters that follow the typing."""

    def __init__(
        self,
        complete: Callable[[str], Sequence[Candidate]],
        *,
        prompt: str = ":",
        history: Sequence[str] = (),
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(id=id)
        self.history = list(history)
        self._complete = complete
        self._prompt = prompt
        self._text = ""
        self._at = 0
        self._draft = ""
        self._recalled = len(self.history)
        self._candidates: Sequence[Candidate] = ()
        self._chosen = -1
        self._placeholder = ""

    @property
    def text(self) -> str:
        """What is typed."""
        return self._text

    def open(self, text: str = "", prompt: str = ":", placeholder: str = "") -> None:
        """Begin anew with `text`. `placeholder` is shown while nothing is typed."""
        self._prompt, self._placeholder = prompt, placeholder
        self._recalled = len(self.history)
        self._draft = ""
        self._set(text, len(text), tell=False)

    def layout_lines(self) -> Sequence[Line]:
        """Candidates, then the input."""
        return [self._menu(), self._input()]

    def _menu(self) -> Line:
        """The candidates around the chosen one, then its meaning."""
        room = self.body_width - 2
        spans: list[Span] = [(" ", "text")]
        first = self._first_shown(room)
        for at, candidate in enumerate(self._candidates[first:], first):
            word = f" {clean(candidate.word)} "
            if width_of(word) > room:
                spans.append(("…", "muted"))
                return tuple(spans)
            room -= width_of(word)
            spans.append((word, "cursor reverse" if at == self._chosen else "accent"))
        if self._candidates:
            spans.append((f"  {self._candidates[max(0, self._chosen)].help}", "muted"))
        return tuple(spans)

    def _first_shown(self, room: int) -> int:
        """The first candidate of the page that holds the chosen one."""
        first = used = 0
        for at, candidate in enumerate(self._candidates[: self._chosen + 1]):
            need = width_of(clean(candidate.word)) + 2
            if used + need > room and at:
                first, used = at, 0
            used += need
        return first

    def _input(self) -> Line:
        before, after = self._text[: self._at], self._text[self._at :]
        room = max(1, self.body_width - width_of(self._prompt) - 3)
        while before and width_of(before) > room:
            before = before[max(1, (width_of(before) - room) // 2) :]
        under, rest = (after[0], after[1:]) if after else (" ", "")
        if not self._text:
            rest = self._placeholder
        return (
            (f" {self._prompt}", "accent bold"),
            (before, "text"),
            (under, "cursor reverse" if self.has_focus else "text"),
            (rest, "text" if self._text else "muted"),
        )

    def _set(self, text: str, at: int, *, tell: bool = True) -> None:
        self._text = text[:MOST_CHARACTERS]
        self._at = max(0, min(at, len(self._text)))
        self._candidates = self._complete(self._text[: self._at])
        self._chosen = -1
        self.rebuild()
        if tell:
            self.post_message(self.Edited(self, self._text))

    def insert(self, text: str) -> None:
        """Put text in at the cursor; line breaks become blanks, other controls are dropped."""
        text = "".join(c for c in " ".join(text.split("\n")) if c.isprintable())
        whole = self._text[: self._at] + text + self._text[self._at :]
        self._set(whole, self._at + len(text))

    def on_key(self, event: events.Key) -> None:
        """Printable keys are typed; no binding of a screen below sees them."""
        if event.is_printable and event.character:
            event.stop()
            event.prevent_default()
            self.insert(event.character)

    def on_paste(self, event: events.Paste) -> None:
        """Pasted text is typed, never run."""
        event.stop()
        self.insert(event.text)

    def action_submit(self) -> None:
        """Hand the text over."""
        text = self._text.strip()
        if not text:
            self.action_cancel()
            return
        if not self.history or self.history[-1] != text:
            self.history.append(text)
            del self.history[:-MOST_HISTORY]
        self._recalled = len(self.history)
        self.post_message(self.Submitted(self, text))

    def action_cancel(self) -> None:
        """Give up."""
        self.post_message(self.Cancelled(self))

    def action_recall(self, step: int) -> None:
        """Earlier and later commands; what was being typed comes after the latest."""
        if self._recalled == len(self.history):
            self._draft = self._text
        at = max(0, min(len(self.history), self._recalled + step))
        if at != self._recalled:
            self._recalled = at
            text = self._draft if at == len(self.history) else self.history[at]
            self._set(text, len(text))

    def action_choose(self, step: int) -> None:
        """Take the next candidate; the only one is taken for good."""
        candidates = self._candidates
        if not candidates:
            return
        after = self._text[self._at :]
        if len(candidates) == 1:
            line = candidates[0].line
            self._set(line + after, len(line))
            return
        first = 0 if step > 0 else len(candidates) - 1
        chosen = first if self._chosen < 0 else (self._chosen + step) % len(candidates)
        line = candidates[chosen].line
        self._text, self._at, self._chosen = line + after, len(line), chosen
        self.rebuild()
        self.post_message(self.Edited(self, self._text))

    def action_step(self, step: int) -> None:
        """Move the cursor."""
        self._set(self._text, self._at + step, tell=False)

    def action_edge(self, end: int) -> None:
        """To the start or the end."""
        self._set(self._text, len(self._text) * end, tell=False)

    def action_erase(self, step: int) -> None:
        """Delete the character left (-1) or right (1) of the cursor."""
        start, end = sorted((self._at, max(0, self._at + step)))
        self._set(self._text[:start] + self._text[end:], start)

    def action_erase_word(self) -> None:
        """Delete the word before the cursor."""
        before = self._text[: self._at].rstrip()
        start = before.rfind(" ") + 1
        self._set(self._text[:start] + self._text[self._at :], start)

    def action_cut(self, side: int) -> None:
        """Delete everything before (0) or after (1) the cursor."""
        if side:
            self._set(self._text[: self._at], self._at)
        else:
            self._set(self._text[self._at :], 0)
