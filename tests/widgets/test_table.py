"""The table formats what is seen, keeps its cursor on a key, and gives way when it is narrow."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from textual.app import ComposeResult
from textual.message import Message

from swarmdeck.widgets import Column, DeckApp, VirtualTable
from swarmdeck.widgets.columns import fit_columns

EMPTY = "No agents.\nPress : and type  swarm create"


class Agent(NamedTuple):
    id: str
    done: int


def agents(*numbers: int) -> list[Agent]:
    return [Agent(f"agent-{n:06}", n) for n in numbers]


class Deck(DeckApp):
    """One table; it counts the cells it formats and keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.formatted: Counter[str] = Counter()
        self.heard: list[Message] = []
        self.table = VirtualTable(
            [
                Column("agent", self._counted, width=14, grow=1),
                Column(
                    "done", lambda a: str(a.done), 8, "right", priority=1, sort=lambda a: a.done,
                ),
                Column(
                    "note", lambda a: "漢字 " + "x" * (a.done % 9), 12, priority=2, style="muted"
                ),
            ],
            key=lambda a: a.id,
            title="Agents",
            empty=EMPTY,
        )  # fmt: skip

    def _counted(self, agent: Agent) -> str:
        self.formatted[agent.id] += 1
        return agent.id

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.focus()

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        self.heard.append(message)

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        self.heard.append(message)

    def on_virtual_table_marked(self, message: VirtualTable.Marked) -> None:
        self.heard.append(message)

    def heard_of(self, kind: type[Message]) -> list[Any]:
        """The messages of one kind, oldest first."""
        return [message for message in self.heard if isinstance(message, kind)]

    @property
    def rows(self) -> list[str]:
        """The body of the table as text."""
        inside = range(1, self.table.size.height - 1)
        strips = [self.table.render_line(y) for y in inside]
        return ["".join(s.text for s in strip)[2:-2].rstrip() for strip in strips]


async def test_the_cursor_has_a_marker_and_a_bar() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(1, 2, 3))
        await pilot.press("j")
        assert [row[:3].strip() for row in app.rows[1:4]] == ["", "▸", ""]
        barred = [s.text for s in app.table.render_line(3) if s.style.reverse]
        assert "agent-000002" in "".join(barred)
        assert not any(s.style.reverse for s in app.table.render_line(2))


@pytest.mark.parametrize(
    ("keys", "index"),
    [
        (("j", "j", "k"), 1),
        (("down", "up", "up"), 0),
        (("G",), 99),
        (("G", "g"), 0),
        (("end", "home"), 0),
        (("pagedown",), 7),
        (("pagedown", "pageup"), 0),
        (("ctrl+d",), 3),
        (("ctrl+d", "ctrl+u"), 0),
        (("G", "j"), 99),
    ],
)
async def test_keys_move_the_cursor(keys: tuple[str, ...], index: int) -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(*range(100)))
        await pilot.press(*keys)
        assert app.table.cursor_index == index
        assert any(row.startswith("▸") for row in app.rows)


async def test_enter_opens_the_row_under_the_cursor() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(1, 2))
        await pilot.press("j", "enter")
        await pilot.pause()
        moved, selected = app.heard
        assert isinstance(moved, VirtualTable.Moved)
        assert isinstance(selected, VirtualTable.Selected)
        assert (selected.key, selected.row.done) == ("agent-000002", 2)


async def test_the_cursor_stays_with_its_key() -> None:
    app = Deck()
    async with app.run_test(size=(60, 12)) as pilot:
        app.table.show(agents(*range(100, 200)))
        app.table.select("agent-000150")
        for numbers in (
            [*range(50, 100), *range(100, 200)],
            range(120, 200),
            [150, *range(160, 400)],
            sorted(range(100, 200), key=lambda n: n * 37 % 100),
        ):
            app.table.show(agents(*numbers))
            await pilot.pause()
            assert app.table.cursor_key == "agent-000150"
            assert "agent-000150" in next(row for row in app.rows if "▸" in row)


async def test_rows_that_come_above_change_nothing_on_the_screen() -> None:
    app = Deck()
    async with app.run_test(size=(60, 12)) as pilot:
        app.table.show(agents(*range(100, 200)))
        app.table.select("agent-000150")
        await pilot.press("j", "j", "j")
        before = app.rows
        app.table.show(agents(*range(200)))
        assert app.rows == before


async def test_a_removed_row_leaves_the_cursor_where_it_was() -> None:
    app = Deck()
    async with app.run_test(size=(60, 12)):
        app.table.show(agents(1, 2, 3, 4))
        app.table.select("agent-000003")
        app.table.show(agents(1, 2, 4))
        assert app.table.cursor_key == "agent-000004"
        app.table.show(agents(1))
        assert app.table.cursor_key == "agent-000001"
        app.table.show([])
        assert app.table.cursor_key is None
        assert app.table.cursor_row is None


async def test_an_empty_table_says_what_to_do() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show([])
        await pilot.press("j", "enter", "space", "G", "o", "O")
        assert [row.strip() for row in app.rows[2:4]] == EMPTY.split("\n")
        assert app.heard == []


async def test_marks_follow_their_rows_and_are_what_an_action_is_for() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(1, 2, 3, 4))
        assert [row.done for row in app.table.marked_rows()] == [1]
        await pilot.press("space", "j", "space")
        assert app.table.marks == {"agent-000001", "agent-000003"}
        assert [row[1] for row in app.rows[1:5]] == ["•", " ", "•", " "]
        app.table.show(agents(4, 3, 2))
        assert [row.done for row in app.table.marked_rows()] == [3]
        app.table.clear_marks()
        await pilot.pause()
        assert [m.marks for m in app.heard if isinstance(m, VirtualTable.Marked)][-1] == set()


async def test_sorting_keeps_the_cursor_on_its_key_and_says_the_column() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(30, 10, 20))
        await pilot.press("j", "o", "o")
        assert [row.split()[-3] for row in app.rows[1:4]] == ["10", "20", "30"]
        assert "done▲" in app.rows[0]
        await pilot.press("O")
        assert "done▼" in app.rows[0]
        assert app.table.cursor_key == "agent-000010"
        app.table.sort_by(None)
        assert [row.split()[-3] for row in app.rows[1:4]] == ["30", "10", "20"]
        with pytest.raises(KeyError):
            app.table.sort_by("nothing")


async def test_only_rows_on_the_screen_are_formatted() -> None:
    app = Deck()
    async with app.run_test(size=(60, 22)) as pilot:
        rows = agents(*range(100_000))
        app.table.show(rows)
        visible = app.table.page_rows
        assert 0 < sum(app.formatted.values()) <= visible
        for key, most in (("j", 2), ("k", 2), ("pagedown", visible + 2), ("G", visible + 1)):
            app.formatted.clear()
            await pilot.press(key)
            assert sum(app.formatted.values()) <= most, key
        app.formatted.clear()
        app.table.show(rows[100:])
        assert sum(app.formatted.values()) <= visible


async def test_narrow_screens_lose_the_least_important_columns_first() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(1))
        assert app.rows[0].split() == ["agent", "done", "note"]
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        assert app.rows[0].split() == ["agent", "done"]
        assert app.table.note == "1 of 1 · 1 column hidden"
        await pilot.resize_terminal(24, 10)
        await pilot.pause()
        assert app.rows[0].split() == ["agent"]


def test_columns_fill_the_room_they_have() -> None:
    columns = [
        Column("a", str, 10, grow=1),
        Column("b", str, 10, grow=3),
        Column("c", str, 5, priority=1),
    ]
    assert [width for _, width in fit_columns(columns, 71)] == [20, 40, 5]
    assert [width for _, width in fit_columns(columns, 24)] == [10, 10]
    assert [width for _, width in fit_columns(columns, 20)] == [8, 8]
    assert [width for _, width in fit_columns(columns, 1)] == [4, 4]


async def test_a_click_puts_the_cursor_and_a_second_one_opens() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(1, 2, 3))
        await pilot.click(app.table, offset=(5, 4))
        assert app.table.cursor_key == "agent-000003"
        await pilot.click(app.table, offset=(5, 3), times=2)
        await pilot.pause()
        assert isinstance(app.heard[-1], VirtualTable.Selected)
        await pilot.click(app.table, offset=(5, 8))
        assert app.table.cursor_key == "agent-000002"


# --- marks


async def test_a_range_is_marked_from_the_last_mark_to_the_cursor() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        app.table.show(agents(*range(9)))
        await pilot.press("j", "space", "j", "j", "v")
        assert app.table.marked_keys == [f"agent-{n:06}" for n in (1, 2, 3, 4)]
        await pilot.press("G", "ctrl+@")
        assert app.table.marks == {f"agent-{n:06}" for n in range(1, 9)}
        assert [row[1] for row in app.rows[1:10]] == [" ", *("•" * 8)]
        assert "8 marked" in app.table.note
        await pilot.press("U")
        assert app.table.marks == frozenset()
        await pilot.press("k", "v")
        assert app.table.marked_keys == ["agent-000007"], "nothing was marked to start from"
        await pilot.press("M")
        assert len(app.table.marks) == 9
        await pilot.pause()
        assert [len(m.marks) for m in app.heard_of(VirtualTable.Marked)][-1] == 9


async def test_a_range_goes_up_as_well_and_starts_at_a_row_unmarked_last() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        app.table.show(agents(*range(9)))
        app.table.select("agent-000005")
        await pilot.press("space", "g", "v")
        assert len(app.table.marks) == 6
        app.table.show(agents(*range(6, 9)))
        assert app.table.marks == frozenset()
        await pilot.press("v")
        assert app.table.marked_keys == ["agent-000006"], "the row it would start from is gone"


async def test_marks_that_go_with_their_rows_are_told() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        app.table.show(agents(*range(9)))
        await pilot.press("space", "space")
        app.heard.clear()
        app.table.show(agents(*range(1, 9)))
        await pilot.pause()
        (told,) = app.heard_of(VirtualTable.Marked)
        assert told.marks == {"agent-000001"}
        app.table.show(agents(*range(1, 9)))
        await pilot.pause()
        assert len(app.heard_of(VirtualTable.Marked)) == 1


# --- columns


class Wide(Deck):
    """Six columns, of which a narrow screen has room for some."""

    def __init__(self) -> None:
        super().__init__()
        self.table = VirtualTable(
            [Column(name, lambda a, n=name: f"{n}{a.done}", 10, priority=at)
             for at, name in enumerate(("id", "b", "c", "d", "e", "f"))],
            key=lambda a: a.id, title="Agents",
        )  # fmt: skip


async def test_wide_scrolls_the_columns_and_keeps_the_first() -> None:
    app = Wide()
    async with app.run_test(size=(43, 10)) as pilot:
        app.table.show(agents(1))
        heads = []
        for key in ("w", ">", ">", ">", ">", ">", "<", "w"):
            await pilot.press(key)
            heads.append("".join(app.rows[0].split()))
        assert heads == ["idbc", "idcd", "idde", "idef", "idef", "idef", "idde", "idbc"]
        assert app.table.note == "1 of 1 · 3 columns hidden"
        await pilot.press("shift+right")
        assert app.rows[1].split() == ["▸", "id1", "c1", "d1"]
        assert app.table.note == "1 of 1 · 1 ◂ columns ▸ 2"


async def test_columns_that_all_fit_do_not_scroll() -> None:
    app = Wide()
    async with app.run_test(size=(100, 10)) as pilot:
        app.table.show(agents(1))
        await pilot.press(">", "w", ">")
        assert app.rows[0].split() == ["id", "b", "c", "d", "e", "f"]
        assert app.table.note == "1 of 1"
        await pilot.resize_terminal(24, 10)
        await pilot.press(">", ">", ">", ">", ">", ">")
        assert app.rows[0].split() == ["id", "f"], "one beside the first, however narrow"


async def test_columns_are_chosen_by_name_in_the_order_given() -> None:
    app = Wide()
    async with app.run_test(size=(100, 10)):
        app.table.show(agents(1))
        app.table.choose_columns(["e", "b", "e"])
        assert app.rows[1].split() == ["▸", "e1", "b1"]
        assert app.table.columns_shown() == [
            ("e", True), ("b", True), ("id", False), ("c", False), ("d", False), ("f", False),
        ]  # fmt: skip
        with pytest.raises(KeyError, match="'x'"):
            app.table.choose_columns(["id", "x"])
        with pytest.raises(ValueError, match="at least one"):
            app.table.choose_columns([])
        assert app.rows[0].split() == ["e", "b"], "a refused choice changes nothing"
        app.table.choose_columns(None)
        assert all(shown for _, shown in app.table.columns_shown())


async def test_a_click_on_a_heading_sorts_by_it_and_then_the_other_way() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(20, 30, 10))
        at = app.rows[0].index("done") + 2
        for arrow, first in (("done▲", "10"), ("done▼", "30")):
            await pilot.click(app.table, offset=(at, 1))
            assert arrow in app.rows[0]
            assert first in app.rows[1]
        await pilot.click(app.table, offset=(2, 1))
        assert "done▼" in app.rows[0], "the gutter is no heading"


async def test_sorting_goes_on_after_its_column_was_put_away() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.show(agents(3, 1, 2))
        app.table.sort_by("done")
        app.table.choose_columns(["agent", "note"])
        assert [row.done for row in (app.table.cursor_row,) if row] == [3]
        await pilot.press("o")
        assert "agent▲" in app.rows[0]


# --- what a table says in place of rows, and rows that change one by one


async def test_the_text_of_an_empty_table_can_change() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)):
        app.table.show([])
        app.table.empty = "reading …"
        assert app.table.empty == "reading …"
        assert app.rows[2].strip() == "reading …"


async def test_rows_that_change_one_by_one_are_painted_together() -> None:
    app = Deck()
    async with app.run_test(size=(60, 22)) as pilot:
        rows = agents(*range(1_000))
        app.table.show(rows)
        app.formatted.clear()
        for done in range(5_000, 5_100):
            rows[3] = rows[3]._replace(done=done)
            app.table.changed(rows[3].id)
            app.table.changed(rows[900].id, "nobody")
        await pilot.pause()
        assert "5099" in app.rows[4]
        assert app.formatted == {"agent-000003": 1}
        rows[3] = rows[3]._replace(done=6_000)
        app.table.changed(rows[3].id)
        async with asyncio.timeout(10):
            while "6000" not in app.rows[4]:
                await pilot.pause(0.02)
        assert app.formatted == {"agent-000003": 2}


async def test_a_row_that_was_altered_where_it_is_shows_its_new_contents() -> None:
    app = Deck()
    async with app.run_test(size=(60, 10)) as pilot:
        row = SimpleNamespace(id="agent-1", done=1)
        app.table.show([row])
        row.done = 77
        app.table.changed("agent-1")
        await pilot.pause()
        assert "77" in app.rows[1]
