"""Dialogs: a form for an action, and the question before something is destroyed.

A dialog returns its answer when it is dismissed; it runs nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input

from ...engine.actions import Action, ActionSpec
from ...engine.errors import InvalidInput
from ...engine.parameters import Parameter, parameters
from ...engine.views import TokenView
from ...widgets import Column, ConfirmPlan, Line, LineWidget, VirtualTable, line
from ...widgets.format import moment as written
from .. import forms, wording
from ..commands import line_of
from ..forms import Checked
from ..help import Entry
from ..plans import Plan
from .safeinput import SafeInput

_MOST_CELLS: Final = 92
_FRAME_CELLS: Final = 4
_OBJECTS: Final = {"environment", "id", "key", "subject"}


class ChoiceField(LineWidget, can_focus=True):
    """One of some words: left and right, or the first letter, change it."""

    DEFAULT_CSS = "ChoiceField { height: 1; width: 28; }"
    ground: ClassVar[str] = "surface"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", "Before", show=False),
        Binding("right,space", "turn(1)", "Next", show=False),
    ]

    class Changed(Message):
        """Another word was chosen."""

    def __init__(self, choices: Sequence[str], value: str) -> None:
        super().__init__()
        self._choices = choices
        self.value = value if value in choices else choices[0]

    def layout_lines(self) -> Sequence[Line]:
        shown = {"": wording.DASH, "true": "yes", "false": "no"}.get(self.value, self.value)
        if self.has_focus:
            return (line(("◂ ", "accent bold"), (shown, "cursor reverse"), (" ▸", "accent bold")),)
        return (line("  ", shown),)

    def action_turn(self, step: int) -> None:
        at = self._choices.index(self.value)
        self._choose(self._choices[(at + step) % len(self._choices)])

    def on_key(self, event: events.Key) -> None:
        letter = event.character or ""
        if not event.is_printable or letter == " ":
            return
        event.stop()
        at = self._choices.index(self.value)
        order = [*self._choices[at + 1 :], *self._choices[: at + 1]]
        found = next((word for word in order if word.startswith(letter.lower())), None)
        if found is not None:
            self._choose(found)

    def _choose(self, value: str) -> None:
        self.value = value
        self.rebuild()
        self.post_message(self.Changed())


class FormField(Horizontal):
    """A field of an action: its name, where it is entered, and what is wrong or allowed."""

    DEFAULT_CSS = """
    FormField { height: 1; }
    FormField > .label { width: 18; }
    FormField > .note { width: 1fr; margin: 0 0 0 1; }
    FormField > Input { width: 28; }
    """

    def __init__(self, parameter: Parameter, text: str) -> None:
        super().__init__()
        self.parameter = parameter
        options = forms.choices(parameter)
        self.entry: ChoiceField | Input = (
            ChoiceField(options, text)
            if options
            else SafeInput(
                text,
                select_on_focus=False,
                compact=True,
                password=parameter.kind == "secret",
            )
        )
        if isinstance(self.entry, Input):
            self.entry.cursor_blink = False
        self._label = LineWidget(classes="label")
        self._note = LineWidget(classes="note")

    @property
    def text(self) -> str:
        return self.entry.value

    def compose(self) -> ComposeResult:
        yield self._label
        yield self.entry
        yield self._note

    def show(self, error: str) -> None:
        """What is wrong with the field, else what it takes."""
        needed = "*" if self.parameter.required else " "
        name = self.parameter.label.lstrip("-").lower().replace("-", " ")
        focused = self.entry.has_focus
        style = "title bold" if focused else "text"
        self._label.set_lines((line((needed, "accent"), (f" {name}", style)),))
        if error and error != "needed":
            self._note.set_lines((line((f"✗ {error}", "bad")),))
        else:
            self._note.set_lines((line((forms.note(self.parameter), "muted")),))


class Dialog(ModalScreen[Any]):
    """A box over the screen, which stays to be seen."""

    DEFAULT_CSS = """
    Dialog { align: center middle; }
    Dialog > Vertical { width: 92; max-width: 96%; height: auto; max-height: 96%;
        background: $background; border: round $accent; padding: 0 1; }
    Dialog LineWidget { height: auto; }
    Dialog Input { padding: 0 1; background: $surface; }
    Dialog Input:focus { background-tint: $accent 20%; }
    Dialog VerticalScroll { height: auto; max-height: 12; }
    """

    class Ready(Message):
        """The dialog takes keys from now on; `early` came before. Not `heeds_early`: none of those
        typed until now is meant for it."""

        def __init__(self, early: Sequence[events.Key], *, heeds_early: bool) -> None:
            super().__init__()
            self.early = early
            self.heeds_early = heeds_early

    heeds_early = True

    def __init__(self) -> None:
        super().__init__()
        self.ready = False
        self.early: list[events.Key] = []

    def begin(self, first: Widget | None) -> None:
        """Focus the first field and take keys."""
        if first is not None:
            self.set_focus(first)
        self.ready = True
        self.post_message(self.Ready(self.early, heeds_early=self.heeds_early))


class FormScreen(Dialog):
    """The fields of an action. Dismissed with the action, or None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False),
        Binding("enter", "submit", "Run", show=False, priority=True),
        Binding("tab,down", "field(1)", "Next", show=False, priority=True),
        Binding("shift+tab,up", "field(-1)", "Before", show=False, priority=True),
    ]

    def __init__(self, spec: ActionSpec, given: Mapping[str, str], error: str = "") -> None:
        super().__init__()
        self._spec = spec
        self._error = error
        self._tried = False
        texts = forms.initial(spec, given)
        self._fields = [FormField(p, texts[p.field]) for p in parameters(spec)]
        self._head = LineWidget()
        self._foot = LineWidget()

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self._head
            with VerticalScroll(can_focus=False) as scroll:
                scroll.show_vertical_scrollbar = False
                yield from self._fields
            yield self._foot

    def on_mount(self) -> None:
        name = self._spec.name.replace(".", " ")
        self._head.styles.height = 3
        self._head.set_lines(((), line((f" {name}", "title bold"), f"   {self._spec.help}"), ()))
        self._foot.styles.height = 5
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Focus the first field that is still to be filled, else the first behind those that only
        say what the action is about."""
        empty = [field for field in self._fields if field.parameter.required and not field.text]
        behind = [field for field in self._fields if field.parameter.field not in _OBJECTS]
        first = next(iter(empty or behind or self._fields), None)
        self.begin(first.entry if first is not None else None)
        self._show()

    def _read(self) -> Checked:
        return forms.read_form(self._spec, {f.parameter.field: f.text for f in self._fields})

    def _show(self) -> None:
        checked = self._read()
        for field in self._fields:
            error = checked.errors.get(field.parameter.field, "")
            field.show("needed " if error == "needed" and self._tried else error)
        focused = next((field for field in self._fields if field.entry.has_focus), None)
        wrong = self._complaint(checked, focused)
        self._foot.set_lines(
            (
                (),
                line((f" {focused.parameter.help}" if focused else "", "text")),
                line((f" ✗ {wrong}" if wrong else "", "bad")),
                self._command(checked),
                line((" enter ", "accent bold"), "run   ", ("tab ", "accent bold"), "next   ",
                     ("esc ", "accent bold"), "leave"),
            )
        )  # fmt: skip

    def _complaint(self, checked: Checked, focused: FormField | None) -> str:
        """What is wrong, in full: with the field that is filled in, else with the whole."""
        beside = checked.errors.get(focused.parameter.field, "") if focused is not None else ""
        if beside and beside != "needed":
            return beside
        return checked.errors.get("", "") or ("" if self._tried else self._error)

    def _command(self, checked: Checked) -> Line:
        if checked.action is None:
            missing = [f.parameter.label for f in self._fields
                       if f.parameter.field in checked.errors]  # fmt: skip
            return line((f" still open: {', '.join(missing)}" if missing else "", "muted"))
        try:
            return line((" $ ", "muted"), (line_of(checked.action), "accent"))
        except InvalidInput as error:
            return line((f" {error.message}", "muted"))

    def on_input_changed(self) -> None:
        self._show()

    def on_choice_field_changed(self) -> None:
        self._show()

    def on_descendant_focus(self) -> None:
        self._show()

    def action_field(self, step: int) -> None:
        """To the next field at once: the key behind this one is for it."""
        if step > 0:
            self.focus_next()
        else:
            self.focus_previous()

    def action_submit(self) -> None:
        """Behind the letters that still wait for the field they were typed into."""
        (self.focused or self).call_later(self._submit)

    def _submit(self) -> None:
        checked = self._read()
        self._tried = True
        if checked.action is not None:
            self.dismiss(checked.action)
            return
        self._show()
        wrong = next((f for f in self._fields if f.parameter.field in checked.errors), None)
        if wrong is not None:
            wrong.entry.focus()

    def action_leave(self) -> None:
        self.dismiss(None)


class ConfirmScreen(Dialog):
    """What an action will touch, and the question. Dismissed with True only for a clear yes, with
    the plan's other way where that was chosen.

    The key that asked never answers: yes is `y`, or where the plan wants it a word typed in full.
    What the engine would refuse cannot be confirmed.
    """

    heeds_early = False  # a yes must answer what was seen

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer(False)", "No", show=False),
        # Also while the word is typed: the list is to be read before it is agreed to.
        Binding("down", "scroll(1)", "Down", show=False),
        Binding("up", "scroll(-1)", "Up", show=False),
        Binding("pagedown", "scroll(10)", "Page down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", show=False),
    ]

    def __init__(self, plan: Plan, action: Action | None = None) -> None:
        super().__init__()
        self._plan = plan
        self._text = ConfirmPlan(
            plan.question,
            plan.touches,
            refused=plan.refused,
            command="" if action is None else line_of(action),
            words=plan.words,
        )
        self._wanted = (plan.secret,) if plan.secret else plan.words
        self._typed = SafeInput(select_on_focus=False, compact=True, password=bool(plan.secret))
        self._typed.cursor_blink = False
        self._foot = LineWidget()

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self._text
            if self._wanted:
                yield self._typed
            yield self._foot

    def on_mount(self) -> None:
        self._foot.styles.height = 2
        self._show_keys()
        focused: Widget = self._typed if self._wanted else self._text
        self.call_after_refresh(self._begin, focused)

    def on_resize(self) -> None:
        """As much of the plan as there is room for; the rest is scrolled to."""
        size = self.app.size
        width = min(_MOST_CELLS, size.width * 96 // 100) - _FRAME_CELLS
        beside = 4 + bool(self._wanted)  # the edges of the box, the keys, the typed word
        most = size.height * 96 // 100 - beside
        self._text.styles.height = max(1, min(most, self._text.height_for(width)))

    def action_scroll(self, lines: int) -> None:
        """Read on in a plan that is longer than the screen."""
        self._text.action_scroll_by(lines)

    def _begin(self, focused: Widget) -> None:
        self.begin(focused)

    def _show_keys(self, wrong: bool = False) -> None:
        if self._wanted:
            what = "the same" if self._plan.secret else "the word"
            other = f"   or type {self._plan.instead}" if self._plan.instead else ""
            keys = line((" enter ", "accent bold"), f"yes, when it is right{other}   ",
                        ("esc ", "accent bold"), "no")  # fmt: skip
            hint = line((f"  ✗ that is not {what}; nothing was done", "bad")) if wrong else ()
            self._foot.set_lines((hint, keys))
        elif self._plan.refused:
            self._foot.set_lines(((), line((" esc ", "accent bold"), "nothing was done")))
        else:
            other = self._plan.instead
            ways = [(f" {other[0]} ", "accent bold"), (f"{other}  ", "text")] if other else []
            keys = line(*ways, (" y ", "accent bold"), "yes   ", ("n, esc ", "accent bold"), "no")
            self._foot.set_lines(((), keys))

    def on_key(self, event: events.Key) -> None:
        if not self._wanted and event.character and event.character == self._plan.instead[:1]:
            event.stop()
            self.dismiss(self._plan.instead)
        elif not self._wanted and event.character in {"y", "Y", "n", "N"}:
            event.stop()
            yes = event.character in {"y", "Y"}
            if not (yes and self._plan.refused):
                self.dismiss(yes)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        typed = message.value if self._plan.secret else message.value.strip()
        if typed in self._wanted:
            self.dismiss(True)
        elif typed and typed == self._plan.instead:
            self.dismiss(typed)
        else:
            self._show_keys(wrong=True)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class TokenScreen(Dialog):
    """A new token, shown this once and kept nowhere. Dismissed with True to copy it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer(False)", "Leave", show=False),
        Binding("y", "answer(True)", "Copy", show=False),
    ]

    def __init__(self, token: TokenView) -> None:
        super().__init__()
        self._text = LineWidget()
        self._text.can_focus = True
        self._token = token

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self._text

    def on_mount(self) -> None:
        lines = (
            (),
            line((f" Token of {self._token.agent}", "title bold")),
            (),
            line(("  ", "text"), (self._token.token, "accent bold")),
            (),
            line(f"  Valid until {written(self._token.expires_at_us)}. Shown this once: only its "),
            line("  hash is kept."),
            (),
            line((" y ", "accent bold"), "copy and leave   ", ("esc ", "accent bold"), "leave"),
        )
        self._text.styles.height = len(lines)
        self._text.set_lines(lines)
        self.call_after_refresh(self.begin, self._text)

    def action_answer(self, copy: bool) -> None:
        self.dismiss(copy)


class PaletteScreen(Dialog):
    """Every command by name and help; typing narrows. Dismissed with the chosen line, or None."""

    DEFAULT_CSS = """
    PaletteScreen VirtualTable { height: 14; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False),
        Binding("down,ctrl+n", "move(1)", "Down", show=False),
        Binding("up", "move(-1)", "Up", show=False),
        Binding("pagedown", "move(12)", "Page down", show=False),
        Binding("pageup", "move(-12)", "Page up", show=False),
    ]

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self._entries = entries
        self._typed = SafeInput(placeholder="part of a name or of what it does", compact=True)
        self._typed.cursor_blink = False
        self._table: VirtualTable[Entry] = VirtualTable(
            (
                Column("command", lambda entry: entry.line, width=20, style="accent"),
                Column("what it does", lambda entry: entry.help, width=30, grow=1),
                Column("key", lambda entry: entry.key, width=4),
            ),
            lambda entry: entry.line,
            empty="No command has that.",
        )
        self._table.can_focus = False

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self._typed
            yield self._table

    def on_mount(self) -> None:
        self._table.show(self._entries)
        self.call_after_refresh(self.begin, self._typed)

    def on_input_changed(self, message: Input.Changed) -> None:
        words = message.value.casefold().split()
        found = [each for each in self._entries if all(word in each.searched for word in words)]
        # A name that begins with what was typed is meant more often than one that contains it.
        begun = " ".join(words)
        self._table.show(sorted(found, key=lambda each: not each.line.startswith(begun)))
        self._table.action_first()

    def on_input_submitted(self) -> None:
        row = self._table.cursor_row
        self.dismiss(row.line if row is not None else None)

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        self.dismiss(message.row.line)

    def action_move(self, rows: int) -> None:
        self._table.action_move(rows)

    def action_leave(self) -> None:
        self.dismiss(None)
