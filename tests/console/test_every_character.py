"""Every code point that must not reach a terminal as it is, and every form of markup, through every
panel: what the compositor would send holds none of them, and no style but the theme's.

A host answers whatever is asked with sample views in which every text is hostile, many rows at a
time on a terminal large enough to show all of them.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import pytest

from swarmdeck.console import bridge
from swarmdeck.console.places import Place
from swarmdeck.console.plans import Plan
from swarmdeck.console.screens.dialogs import ConfirmScreen, FormScreen
from swarmdeck.engine import actions, views
from swarmdeck.engine.actions import Action, spec_of
from swarmdeck.engine.errors import InvalidInput, Unavailable
from swarmdeck.engine.events import AgentChanged, Progress, Sampled
from swarmdeck.widgets.palette import load_palette

IDENT: Final = "dev_agent_00000001"
SWARM: Final = "dev_swarm_7m2pz0tb"
LARGE: Final = (150, 140)
TALL: Final = (200, 260)
ROWS: Final = 113
PIECE_CELLS: Final = 14
SUBJECTS: Final = 12
COLUMN: Final = 8
TOASTED: Final = 40
FIELDS: Final = ("key", "value", "actor", "namespace", "level")
PULLS: Final = 2

# Categories that act, break lines or hide; and what draws nothing though it is a letter or a mark
# (Default_Ignorable_Code_Point of Unicode). A list of its own, not the one that is tested.
CATEGORIES: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
INVISIBLE: Final = (
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x3164, 0xFFA0}
    | set(range(0x180B, 0x1810))
    | set(range(0xFE00, 0xFE10))
    | set(range(0xFFF0, 0xFFF9))
    | set(range(0xE0000, 0xE1000))
)
EVERY: Final = [
    code
    for code in range(sys.maxunicode + 1)
    if code in INVISIBLE or unicodedata.category(chr(code)) in CATEGORIES
]
FORBIDDEN: Final = frozenset(map(chr, EVERY))
RESERVED: Final = [code for code in EVERY if unicodedata.category(chr(code)) == "Cn"]
"""What Unicode sets aside to be invisible and has not given a meaning yet."""
HIDDEN: Final = sorted(set(EVERY) - set(RESERVED))

MARKUP: Final = (
    "[bold]b[/bold]", "[b]b[/]", "[/]", "[/bold]", "[[b]]", r"\[b]", "[]", "[", "]", "[b", "[ b ]x",
    "[#fe01dc]x[/]", "[on #01fedc]x", "[red on blue]x", "[rgb(1,2,3)]x", "[$error]x[/$error]",
    "[reverse blink]x[/]", "[not dim]x", "[u]x[/u]", "[strike]x", "[link=http://x.y]x",
    "[link='file:///x']x", "[@click=app.quit]x[/]", "[@click=app.quit()]x", "[@click='quit']x",
    "[@enter=app.quit]x", "[@mouse.down=quit]x", ":skull:", "&lt;b&gt;", "**b** `c`", "{b} %s",
)  # fmt: skip
SEQUENCES: Final = (
    "\x1b[31mx", "\x1b[2J\x1b[H", "\x1b[?1049l", "\x1b[6n", "\x1b[c", "\x1b[!p", "\x1b[5i",
    "\x1b]0;t\x07", "\x1b]8;;http://x.y\x1b\\x", "\x1b]8;id=1;file:///x\x07x", "\x1b]52;c;eA==\x07",
    "\x1b]9;n\x07", "\x1b]1337;File=:eA==\x07", "\x1bP+q544e\x1b\\", "\x1bPq#0~\x1b\\",
    "\x1b_Gf=24;AAAA\x1b\\", "\x1b^p\x1b\\", "\x1bXs\x1b\\", "\x1bc", "\x1b(0x", "\x1bN", "\x0ex",
    "\x9b31mx", "\x9d52;c;eA==\x9c", "\x90q\x9c", "\x9fG\x9c", "\x9ep\x9c", "\x98s\x9c", "\x85x",
    "\r\x1b[K", "a\x08b", "a\nb", "a\tb", "\x07", "\x1b", "\x1b[200~:q\r\x1b[201~",
)  # fmt: skip
INKS: Final = {"#fe01dc", "#01fedc", "#010203", "#ff0000", "#0000ff"}
"""Colours that some of these ask for and no theme has."""


def form_of(code: int) -> str:
    """How a hidden character is to be seen."""
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"<{code:04X}>"


def pieces(codes: Sequence[int], most: int) -> Iterator[str]:
    """Texts that take at most so many cells each, with all the code points in them."""
    piece, room = "", most
    for code in codes:
        cells = len(form_of(code))
        if cells > room:
            yield piece
            piece, room = "", most
        piece, room = piece + chr(code), room - cells
    yield piece


CODE_POINTS: Final = tuple(pieces(HIDDEN, PIECE_CELLS))
FORMS: Final = (*MARKUP, *SEQUENCES)
PLAIN: Final = tuple(f"plain {n}" for n in range(ROWS))


def chunks() -> list[Sequence[str]]:
    """What is shown at a time."""
    texts = (*FORMS, *CODE_POINTS)
    return [texts[start : start + ROWS] for start in range(0, len(texts), ROWS)]


# What the console finds its way by: ids, enumerations, and what is drawn from a table of marks.
KEPT: Final = frozenset({"id", "environment", "swarm", "state", "severity", "effect", "level"})


def tainted(view: Any, texts: Sequence[str]) -> Any:
    """The view with the first of the texts for every text in it, and all of them in its lists."""
    if isinstance(view, str):
        return texts[0]
    if isinstance(view, dict):
        return {text: text for text in texts}
    if isinstance(view, (list, tuple)) and view and isinstance(view[0], (str, msgspec.Struct)):
        return type(view)(tainted(view[0], [text]) for text in texts)
    if not isinstance(view, msgspec.Struct):
        return view
    changed = {
        name: tainted(getattr(view, name), texts)
        for name in view.__struct_fields__
        if name not in KEPT and not (name == "name" and isinstance(view, views.EnvironmentView))
    }
    return msgspec.structs.replace(view, **changed)


def numbered(row: Any, number: int) -> Any:
    """The row with an id of its own; the first keeps the one that is looked for."""
    own: dict[str, Any] = {}
    if hasattr(row, "id") and number:
        own["id"] = f"{row.id.rpartition('_')[0]}_{number:08d}"
    if hasattr(row, "sequence"):
        own["sequence"] = number
    return msgspec.structs.replace(row, **own) if own else row


def rows_of(samples: Sequence[Any], texts: Sequence[str]) -> list[Any]:
    """A row for each text, whose every text is that one."""
    return [
        numbered(tainted(samples[0], [text]), number) if not isinstance(samples[0], str) else text
        for number, text in enumerate(texts)
    ]


def overview_of(fakes: Any, texts: Sequence[str]) -> views.Overview:
    seen = fakes.busy()
    swarm = next(each for each in seen.swarms if each.id == SWARM)
    agent = next(each for each in seen.agents if each.swarm == SWARM)
    agent = msgspec.structs.replace(agent, id=IDENT, reason=" ", teams=("a",))
    swarm = msgspec.structs.replace(swarm, reason=" ", command=("a",))
    return msgspec.structs.replace(
        seen,
        engine=tainted(seen.engine, texts),
        host=tainted(seen.host, texts),
        environments=tuple(tainted(each, texts) for each in seen.environments),
        swarms=tuple(rows_of([swarm], texts)),
        agents=tuple(rows_of([agent], texts)),
        benchmarks=tuple(rows_of(seen.benchmarks, texts)),
    )


def matrix_of(fakes: Any, action: actions.AclMatrix, texts: Sequence[str]) -> views.MatrixView:
    sample = fakes.samples.matrix(action)
    subjects = rows_of(sample.subjects, texts[:SUBJECTS])
    cells = (views.CellView(rights="rw-", rule="level"),) * len(subjects)
    row = sample.rows[0]
    rows = [msgspec.structs.replace(tainted(row, [text]), cells=cells) for text in texts]
    return msgspec.structs.replace(sample, subjects=tuple(subjects), rows=tuple(rows), more=False)


def hostile(fakes: Any) -> Any:
    """A host whose answers are made of its `texts`."""

    class Host(fakes.FakeHost):  # type: ignore[misc, name-defined]
        texts: Sequence[str] = PLAIN
        pulls = 0

        async def run(self, action: Action, on_progress: Any = None) -> Any:
            if isinstance(action, actions.Status):
                self.pulls += 1
                return self.overview
            if isinstance(action, actions.AclMatrix):
                return matrix_of(fakes, action, self.texts)
            answer = await super().run(action, on_progress)
            if not isinstance(answer, list):
                return tainted(answer, self.texts)
            first = getattr(action, "offset", 0)
            limit = getattr(action, "limit", len(self.texts))
            return rows_of(answer, self.texts)[first : first + limit]

        def say(self, texts: Sequence[str], *, overview: bool = True) -> None:
            self.texts = texts
            if overview:
                self.overview = overview_of(fakes, texts)

    return Host(overview_of(fakes, PLAIN[:8]))


class Seen:
    """What the compositor has sent so far, checked as it comes."""

    def __init__(self, deck: Any) -> None:
        self.deck = deck
        self.text = ""
        self.inks = inks_of(deck.app.theme)

    def look(self, *, plain: bool = False) -> None:
        """Nothing forbidden, and no style but the theme's; those of a `plain` screen are."""
        inks = self.check()
        if plain:
            self.inks |= inks
        assert inks <= self.inks, inks - self.inks

    def check(self) -> set[Any]:
        """Nothing forbidden, no link, no action, nothing that only markup asks for. The colours."""
        segments = set(sent(self.deck.app))
        text = "".join(text for text, _ in segments)
        assert not [f"{ord(each):04X}" for each in FORBIDDEN.intersection(text)]
        styles = {style for _, style in segments if style is not None}
        for style in styles:
            assert style.link is None
            assert not any(name.startswith("@") for name in style.meta), style.meta
            assert not {style.blink, style.overline, style.italic, style.strike} - {None, False}
        inks = {ink for style in styles for ink in (style.color, style.bgcolor)}
        assert not INKS & {ink.name.lower() for ink in inks if ink is not None}
        assert self.deck.app.is_running
        self.text += text
        return inks

    def unseen(self) -> list[str]:
        """Of what was fed, all that was nowhere to be seen."""
        points = (
            f"{code:04X}"
            for code in HIDDEN
            if form_of(code) not in self.text and json.dumps(chr(code))[1:-1] not in self.text
        )
        return [*points, *(text for text in MARKUP if text[:COLUMN] not in self.text)]


def sent(app: Any) -> Iterator[tuple[str, Any]]:
    """Every piece of text the terminal would be sent, with its style."""
    for screen in (*app._background_screens, app.screen):
        for strip in screen._compositor.render_strips():
            yield from ((segment.text, segment.style) for segment in strip)


def inks_of(theme: str) -> set[Any]:
    palette = load_palette(theme)
    return {palette.style(token).color for token in palette.theme.tokens()}


async def shown(deck: Any) -> None:
    """Wait until what the host says now is on the screen, its second page included."""
    deck.host.pulls = 0
    for pulls in range(1, PULLS + 1):
        deck.app.refresh_soon()
        await deck.until(lambda pulls=pulls: deck.host.pulls >= pulls)
    await deck.pilot.pause()


PLACES: Final = {
    "overview": Place("overview"),
    **{name: Place(name) for name in ("swarms", "agents", "queue", "memory", "access", "bench")},
    **{name: Place(name) for name in ("audit", "log", "alerts", "health", "tree")},
    "explain": Place("explain", "dev_msg_00000001"),
    "as": Place("as", IDENT),
    "swarm": Place("swarm", SWARM),
    "agent": Place("agent", IDENT),
    "records": Place("records", "development"),
    "message": Place("message", "dev_msg_00000001"),
    "logs": Place("logs", IDENT),
    "health": Place("answer", action=actions.SwarmHealth(id=SWARM)),
    "dead": Place("answer", action=actions.QueueDead()),
    "who": Place("who"),
    "record": Place("record"),
}
SHARED: Final = {"overview", "memory", "access", "bench", "explain", "message", "health", "as"}
"""Where several parts share the height."""
BREAKS: Final = {f"{code:04X}" for code in HIDDEN if len(f"a{chr(code)}b".splitlines()) > 1}
"""What begins a new line of an agent's output, and is no more to be seen."""
OF_THE_OVERVIEW: Final = {
    "overview",
    "swarms",
    "agents",
    "memory",
    "tree",
    "swarm",
    "agent",
    "access",
    "health",
}
ABOUT_A_RECORD: Final = {"who", "record"}


async def go(deck: Any, fakes: Any, name: str, size: tuple[int, int] = LARGE) -> Seen:
    """To a place, on a terminal of that size, with plain texts in it."""
    place = PLACES[name]
    if name in ABOUT_A_RECORD:
        place = msgspec.structs.replace(place, row=fakes.record(1))
    if name != "overview":
        deck.app.visit(place)
        await deck.pilot.pause()
    await deck.pilot.resize_terminal(*size)
    await shown(deck)
    seen = Seen(deck)
    seen.look(plain=True)
    return seen


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulls follow one another without a pause."""
    monkeypatch.setattr(bridge, "GAP_S", 0.0)


@pytest.mark.parametrize("name", PLACES)
async def test_no_code_point_and_no_markup_acts(fakes: Any, name: str) -> None:
    async with fakes.console(host=hostile(fakes)) as deck:
        seen = await go(deck, fakes, name, TALL if name in SHARED else LARGE)
        for texts in chunks():
            deck.host.say(texts, overview=name in OF_THE_OVERVIEW)
            with deck.app.batch_update():  # what is painted is asked for below
                await shown(deck)
                seen.look()
        unseen = [each for each in seen.unseen() if not (name == "logs" and each in BREAKS)]
        assert not unseen, "not shown, so nothing is proved of it"


async def test_what_unicode_only_sets_aside_is_shown_too(fakes: Any) -> None:
    async with fakes.console(host=hostile(fakes)) as deck:
        seen = await go(deck, fakes, "logs", TALL)
        deck.host.say(tuple(pieces(RESERVED, 180)))
        await shown(deck)
        seen.look()
        assert not [code for code in RESERVED if form_of(code) not in seen.text]


@pytest.mark.parametrize("name", ["queue", "records", "audit"])
async def test_the_row_in_full_beside_its_table(fakes: Any, name: str) -> None:
    async with fakes.console(host=hostile(fakes), size=(240, 40)) as deck:
        seen = await go(deck, fakes, name, (240, 40))
        for texts in chunks():
            deck.host.say([" ".join(texts)])
            await shown(deck)
            await deck.until(lambda: "In full" in deck.text)
            seen.look()


async def test_dialogs(fakes: Any) -> None:
    """A question, its word, and every field of forms, also those with hostile texts in them."""
    async with fakes.console(host=hostile(fakes)) as deck:
        for text in several():
            for dialog in (
                ConfirmScreen(Plan(text, (text, text), (text,), "")),
                ConfirmScreen(Plan(text, (text,), (), text)),
                FormScreen(spec_of(actions.MemorySet), dict.fromkeys(FIELDS, text), text),
            ):
                await deck.app.push_screen(dialog)
                await deck.pilot.pause()
                harmless(deck)
                deck.app.pop_screen()


async def test_toasts_and_the_ends_of_operations(fakes: Any) -> None:
    async with fakes.console(host=hostile(fakes), size=(120, 400), notifications=True) as deck:
        for texts in chunks():
            for start in range(0, len(texts), TOASTED):
                text = "\n".join(texts[start : start + TOASTED])
                deck.app.clear_notifications()
                deck.app.say_error(InvalidInput(text, hint=text))
                deck.app.say(text, text)
                await deck.until(lambda: len(deck.app.screen.query("Toast")) == 2)
                await deck.pilot.pause()
                harmless(deck)


async def test_what_is_told_while_it_happens(fakes: Any) -> None:
    """Events, progress, a running benchmark and why the engine was lost."""
    async with fakes.console(host=hostile(fakes), size=(200, 60)) as deck:
        for text in (*FORMS, *CODE_POINTS):
            deck.app._on_event(AgentChanged(IDENT, text, None, text))
        await deck.pilot.pause()
        harmless(deck)
        deck.app.visit(Place("bench"))
        for texts in chunks():
            text = "".join(texts)
            deck.app._on_event(Sampled("op", text, 0.1, 1.0, 1.0, 1.0))
            operation = deck.app.operations.begin(actions.Demo(agents=1, files=10), lambda: None)
            operation.advance(Progress("op", "demo", 0.5, text))
            deck.app.show_foot()
            await deck.pilot.pause()
            harmless(deck)
            deck.app.operations.end(operation)
        deck.host.failures[actions.Status] = Unavailable("".join(FORMS), hint="".join(CODE_POINTS))
        deck.app.refresh_soon()
        await deck.pilot.pause()
        harmless(deck)


async def test_crumbs_titles_and_errors_in_place_of_rows(fakes: Any) -> None:
    async with fakes.console(host=hostile(fakes), size=(600, 12)) as deck:
        for text in several():
            for query in (actions.QueueList, actions.MemoryGet):
                deck.host.failures[query] = Unavailable(text, hint=text)
            for name in ("who", "queue", "record"):
                row = None if name == "queue" else fakes.record(1, key=text)
                deck.app.go(Place(name, row=row))
                await shown(deck)
                harmless(deck)


async def test_what_is_typed_pasted_and_offered(fakes: Any) -> None:
    async with fakes.console(host=hostile(fakes), size=(200, 40)) as deck:
        for prompt in ("colon", "slash"):
            await deck.press("2", prompt)
            for texts in chunks():
                deck.app.focused.insert("".join(texts))
                await deck.pilot.pause()
                harmless(deck)
                await deck.press("enter", prompt)
                harmless(deck)
            await deck.press("escape")


def several() -> list[str]:
    """All of it in few long texts, each cut nowhere before its end is seen."""
    texts = (*FORMS, *CODE_POINTS)
    return [" ".join(texts[start : start + 32]) for start in range(0, len(texts), 32)]


def harmless(deck: Any) -> None:
    """One look at a screen whose texts are hostile from the start."""
    Seen(deck).check()
