"""The matrix of rights: the cursor stays with its cell, subjects scroll beside their records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual import on
from textual.app import ComposeResult
from textual.pilot import Pilot

from swarmdeck.engine.views import CellView, MatrixRow, MatrixView, SubjectView
from swarmdeck.widgets import AclMatrix, DeckApp

RIGHTS = ("rwd", "r--", "---")


def subject(number: int) -> SubjectView:
    ident = f"dev_agent_{number:02}"
    return SubjectView(id=ident, name=f"agent {number:02}", swarm=None, teams=(), role="agent")


def matrix(records: list[str], subjects: int = 3, *, more: bool = False) -> MatrixView:
    people = tuple(map(subject, range(subjects)))
    rows = tuple(
        MatrixRow(
            key=key,
            namespace="default",
            level="team",
            owner="dev_agent_00",
            team=None,
            cells=tuple(CellView(rights=RIGHTS[x % 3], rule="level") for x in range(subjects)),
        )
        for key in records
    )
    return MatrixView(environment="development", subjects=people, rows=rows, more=more)


class One(DeckApp):
    def __init__(self, view: MatrixView) -> None:
        super().__init__()
        self.view = view
        self.asked: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        yield AclMatrix(title="Rights", frame="rule", empty="Nothing here.\nn  stores a record")

    def on_mount(self) -> None:
        widget = self.query_one(AclMatrix)
        widget.show(self.view)
        widget.focus()

    @on(AclMatrix.Selected)
    def note(self, message: AclMatrix.Selected) -> None:
        self.asked.append((message.row.key, message.subject.id))


@asynccontextmanager
async def open_(
    view: MatrixView, size: tuple[int, int] = (80, 12)
) -> AsyncIterator[tuple[One, AclMatrix, Pilot[object]]]:
    app = One(view)
    async with app.run_test(size=size) as pilot:
        yield app, app.query_one(AclMatrix), pilot


def text(widget: AclMatrix) -> list[str]:
    rows = (widget.render_line(y) for y in range(widget.size.height))
    return ["".join(segment.text for segment in row).rstrip() for row in rows]


async def test_a_cell_says_in_letters_what_is_allowed() -> None:
    async with open_(matrix(["plan", "log"])) as (_, widget, _pilot):
        assert [word for word in text(widget)[2].split() if set(word) <= set("rwd-▐")] == [
            "▐rwd", "r--", "---",
        ]  # fmt: skip


async def test_keys_move_over_records_and_subjects_and_enter_asks_why() -> None:
    async with open_(matrix(["a", "b", "c"])) as (app, widget, pilot):
        await pilot.press("j", "l", "l", "l", "enter")
        assert app.asked == [("b", "dev_agent_02")]
        assert widget.cursor_cell is not None
        assert widget.cursor_cell.rights == "---"
        await pilot.press("G", "h", "enter", "g", "enter")
        assert app.asked[1:] == [("c", "dev_agent_01"), ("a", "dev_agent_01")]


async def test_the_cursor_stays_with_its_record_and_its_subject() -> None:
    async with open_(matrix(["b", "c", "d"])) as (_, widget, pilot):
        await pilot.press("j", "l")
        widget.show(matrix(["a", "b", "bb", "c", "d"], subjects=5))
        assert widget.cursor_row is not None
        assert widget.cursor_row.key == "c"
        assert widget.cursor_subject is not None
        assert widget.cursor_subject.id == "dev_agent_01"
        widget.show(matrix(["a"], subjects=1))
        assert widget.cursor_row.key == "a"


async def test_subjects_scroll_and_the_records_stay() -> None:
    async with open_(matrix(["plan"], subjects=74)) as (_, widget, pilot):
        await pilot.press(*["l"] * 40)
        rows = text(widget)
        assert "agent 40" in rows[1]
        assert "plan" in rows[2]
        assert "subject 41 of 74" in rows[0]


async def test_an_empty_matrix_says_what_to_do_and_takes_every_key() -> None:
    async with open_(matrix([], subjects=0)) as (app, widget, pilot):
        await pilot.press("j", "k", "l", "h", "g", "G", "ctrl+d", "enter", "pageup")
        assert "n  stores a record" in "\n".join(text(widget))
        assert widget.cursor_cell is None
        assert not app.asked


async def test_records_without_subjects_are_shown() -> None:
    async with open_(matrix(["plan"], subjects=0)) as (app, widget, pilot):
        await pilot.press("l", "enter")
        assert "plan" in "\n".join(text(widget))
        assert not app.asked


async def test_a_click_takes_the_cell_and_a_second_one_asks() -> None:
    async with open_(matrix(["a", "b", "c"])) as (app, widget, pilot):
        await pilot.click(AclMatrix, offset=(50, 3), times=2)
        assert widget.cursor_row is not None
        assert widget.cursor_row.key == "b"
        assert app.asked == [("b", "dev_agent_01")]


async def test_more_records_than_were_read_are_announced() -> None:
    async with open_(matrix(["a", "b"], more=True)) as (_, widget, _pilot):
        assert "1 of 2+" in text(widget)[0]
