"""The base widget repaints what changed, shows focus without colour, and survives NO_COLOR."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import ComposeResult
from textual.geometry import Region

from swarmdeck import themes
from swarmdeck.widgets import DeckApp, FocusTile, LineWidget, Tile, line
from swarmdeck.widgets.gallery import Gallery
from swarmdeck.widgets.linewidget import Frame

HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J\u202e[bold red]x[/][@click=app.exit]y[/]\n\u200b"


class Watched(LineWidget):
    """Remembers what it asked to be repainted; None is everything."""

    def __init__(self, **options: Any) -> None:
        self.asked: list[Region | None] = []
        super().__init__(**options)

    def refresh(self, *regions: Region, **options: Any) -> Any:
        self.asked += regions or [None]
        return super().refresh(*regions, **options)


class One(DeckApp):
    def __init__(self, *widgets: LineWidget) -> None:
        super().__init__()
        self.widgets = widgets

    def compose(self) -> ComposeResult:
        yield from self.widgets


def text_of(widget: LineWidget) -> list[str]:
    height = widget.size.height
    return ["".join(s.text for s in widget.render_line(y)).rstrip() for y in range(height)]


async def test_only_the_changed_cells_are_repainted() -> None:
    widget = Watched()
    async with One(widget).run_test(size=(40, 4)) as pilot:
        widget.set_lines([line("queue 120"), line("agents 4")])
        await pilot.pause()
        widget.asked.clear()
        widget.set_lines([line("queue 129"), line("agents 4")])
        assert widget.asked == [Region(8, 0, 1, 1)]


async def test_equal_lines_repaint_nothing() -> None:
    widget = Watched(title="Host")
    async with One(widget).run_test(size=(40, 6)) as pilot:
        widget.set_lines([line("one"), line("two")])
        await pilot.pause()
        widget.asked.clear()
        widget.set_lines([line("one"), line("two")])
        widget.title = "Host"
        widget.note = ""
        assert widget.asked == []


async def test_a_changed_colour_repaints_the_text_it_is_on() -> None:
    widget = Watched()
    async with One(widget).run_test(size=(40, 2)) as pilot:
        widget.set_lines([line("state ", ("ready", "good"))])
        await pilot.pause()
        widget.asked.clear()
        widget.set_lines([line("state ", ("ready", "bad"))])
        assert widget.asked == [Region(6, 0, 5, 1)]


async def test_a_wide_glyph_is_repainted_whole() -> None:
    widget = Watched()
    async with One(widget).run_test(size=(20, 1)) as pilot:
        widget.set_lines([line("ab漢cd")])
        await pilot.pause()
        widget.asked.clear()
        widget.set_lines([line("abx cd")])
        assert widget.asked == [Region(2, 0, 2, 1)]


async def test_less_lines_blank_the_rest() -> None:
    widget = Watched()
    async with One(widget).run_test(size=(20, 3)) as pilot:
        widget.set_lines([line("one"), line("two"), line("three")])
        await pilot.pause()
        widget.set_lines([line("one")])
        assert text_of(widget) == ["one", "", ""]


@pytest.mark.parametrize("place", ["body", "title", "note"])
async def test_hostile_text_never_reaches_a_strip(place: str) -> None:
    tile = Tile(title=HOSTILE if place == "title" else "t")
    async with One(tile).run_test(size=(120, 4)):
        tile.set_lines([line((HOSTILE, "text"))] if place == "body" else [])
        tile.note = HOSTILE if place == "note" else ""
        shown = "".join(text_of(tile))
        assert all(character.isprintable() for character in shown)
        assert "[bold red]x[/][@click=app.exit]y[/]" in shown


async def test_markup_in_data_makes_no_link() -> None:
    tile = Tile(title="t")
    async with One(tile).run_test(size=(60, 4)):
        tile.set_lines([line("[@click=app.exit]y[/]")])
        assert not any(segment.style.meta for segment in tile.render_line(1))


async def test_focus_is_seen_without_colour() -> None:
    first, second = FocusTile(title="First"), FocusTile(title="Second")
    async with One(first, second).run_test(size=(40, 10)) as pilot:
        first.focus()
        await pilot.pause()
        assert text_of(first)[0].startswith("┍━ ▸ First ━")
        assert text_of(second)[0].startswith("┌─ Second ─")
        await pilot.press("tab")
        assert text_of(first)[0].startswith("┌─ First ─")
        assert text_of(second)[0].startswith("┍━ ▸ Second ━")


@pytest.mark.parametrize(
    ("frame", "inside"), [("none", (20, 6)), ("rule", (20, 5)), ("box", (16, 4))]
)
async def test_a_frame_takes_its_room(frame: Frame, inside: tuple[int, int]) -> None:
    tile = Tile(title="Title", frame=frame)
    async with One(tile).run_test(size=(20, 6)):
        tile.set_lines([line("x" * 30)] * 9)
        assert (tile.body_width, tile.body_height) == inside
        body = text_of(tile)[tile.body_top : tile.body_top + tile.body_height]
        assert all(row.count("x") == inside[0] for row in body)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (5, 2), (8, 1)])
async def test_no_size_is_too_small(size: tuple[int, int]) -> None:
    async with Gallery().run_test(size=size) as pilot:
        await pilot.resize_terminal(80, 24)
        await pilot.resize_terminal(*size)
        await pilot.pause()


@pytest.mark.parametrize("theme", themes.names())
async def test_every_widget_survives_no_color(monkeypatch: Any, theme: str) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Gallery(theme)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("j", "space", "colon", "tab", "escape")
        assert app.no_color
        for widget in app.query(LineWidget):
            # One line more than there is: a blank strip must have a style too.
            rows = [widget.render_line(y) for y in range(widget.size.height + 1)]
            assert all(segment.style is not None for row in rows for segment in row)


async def test_another_theme_repaints_in_its_colours() -> None:
    tile = Tile(title="Title")
    app = One(tile)
    async with app.run_test(size=(20, 4)) as pilot:
        tile.set_lines([line(("word", "bad"))])
        app.theme = "swarmdeck-light"
        await pilot.pause()
        drawn = app.screen._compositor.render_strips()[1]
        styles = {segment.text.strip(): segment.style for segment in drawn}
        assert styles["word"].color.name == themes.load("swarmdeck-light").bad
