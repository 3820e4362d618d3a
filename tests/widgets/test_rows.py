"""Rows of a table: pages that come, grow old and are given up; keys found where they went."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.widgets.rows import LazyRows, PagedRows, PlainRows, follow


def pages(total: int | None = None, capacity: int = 4) -> PagedRows[str]:
    """Pages of ten rows whose keys they are themselves."""
    rows: PagedRows[str] = PagedRows(str, page_rows=10, capacity=capacity)
    if total is not None:
        rows.set_total(total)
    return rows


def page(number: int, prefix: str = "", size: int = 10) -> list[str]:
    return [f"{prefix}{number * 10 + at}" for at in range(size)]


def test_pages_and_sequences_are_told_apart() -> None:
    assert isinstance(pages(), LazyRows)
    assert isinstance(PlainRows((), str), LazyRows)
    for rows in ([], (), range(3), "abc"):
        assert not isinstance(rows, LazyRows)


def test_a_page_that_is_not_here_is_wanted_and_its_rows_are_none() -> None:
    rows = pages(45)
    assert rows.wants(5, 25) == (0, 1, 2)
    rows.put(1, page(1))
    assert rows.wants(5, 25) == (0, 2)
    assert [rows.get(at) for at in (9, 10, 19, 20)] == [None, "10", "19", None]
    assert rows.wants(40, 90) == (4,), "nothing beyond the end"
    assert rows.get(-1) is None
    assert rows.get(45) is None
    assert rows.index_of("13") == 13
    assert rows.index_of("3") is None


def test_the_first_page_of_an_unknown_listing_is_wanted() -> None:
    rows = pages()
    assert (len(rows), rows.exact) == (0, False)
    assert rows.wants(0, 30) == (0,)
    rows.put(0, [])
    assert (len(rows), rows.exact) == (0, True)
    assert rows.wants(0, 30) == ()


def test_without_a_count_the_end_is_found_by_reading_on() -> None:
    rows = pages()
    rows.put(0, page(0))
    assert (len(rows), rows.exact) == (10, False)
    assert rows.wants(0, 5) == ()
    assert rows.wants(0, 9) == (1,)
    rows.put(1, page(1, size=3))
    assert (len(rows), rows.exact) == (13, True)
    assert rows.wants(0, 30) == ()


def test_a_listing_that_ends_with_a_full_page_ends_there() -> None:
    rows = pages()
    rows.put(0, page(0))
    rows.put(1, [])
    assert (len(rows), rows.exact) == (10, True)
    rows.expire()
    assert rows.exact
    rows.put(0, page(0))
    assert rows.wants(0, 9) == (1,), "there may be more by now"


def test_an_empty_page_far_out_leaves_the_end_to_the_pages_before_it() -> None:
    rows = pages(45)
    rows.put(3, [])
    assert (len(rows), rows.exact) == (30, False)


def test_pages_beyond_capacity_leave_by_when_they_were_wanted() -> None:
    rows = pages(100, capacity=3)
    for number in range(3):
        rows.put(number, page(number))
    rows.wants(0, 9)
    rows.put(7, page(7))
    assert [rows.get(at) for at in (0, 10, 20, 70)] == ["0", None, "20", "70"]
    assert rows.index_of("11") is None


def test_a_refresh_keeps_the_rows_until_the_new_ones_come() -> None:
    rows = pages(20)
    rows.put(0, page(0))
    rows.put(1, page(1))
    rows.expire()
    assert rows.wants(0, 18) == (0, 1)
    assert rows.get(4) == "4"
    rows.put(0, page(0, "new "))
    assert rows.wants(0, 18) == (1,)
    assert (rows.get(4), rows.get(14)) == ("new 4", "14")
    assert len(rows) == 20


def test_of_a_row_on_an_old_and_a_new_page_the_new_one_counts() -> None:
    rows = pages(20)
    rows.put(0, page(0))
    rows.put(1, page(1))
    rows.expire()
    rows.put(0, ["14", *page(0)[:9]])
    rows.wants(10, 19)
    assert rows.index_of("14") == 0
    rows.put(0, page(0))
    assert rows.index_of("14") == 14


def test_a_shorter_total_forgets_what_lay_beyond_it() -> None:
    rows = pages(40)
    for number in range(4):
        rows.put(number, page(number))
    rows.set_total(15)
    assert list(rows.loaded(0, 99)) == [(at, str(at)) for at in range(15)]
    rows.set_total(40, exact=False)
    assert rows.get(17) is None
    assert rows.index_of("17") is None
    assert rows.wants(0, 39) == (1, 2, 3, 4), "and perhaps one more"


def test_a_row_beyond_the_known_end_shows_that_there_are_more() -> None:
    rows = pages(10)
    rows.put(1, page(1))
    assert (len(rows), rows.exact) == (20, False)


def test_clear_forgets_everything() -> None:
    rows = pages(20)
    rows.put(0, page(0))
    rows.clear()
    assert (len(rows), rows.get(0), rows.wants(0, 9)) == (0, None, (0,))


def test_loaded_rows_come_in_order_with_their_index() -> None:
    rows = pages(50)
    rows.put(3, page(3))
    rows.put(0, page(0))
    assert [at for at, _ in rows.loaded(8, 31)] == [8, 9, 30, 31]
    assert list(rows.loaded(12, 20)) == []


@pytest.mark.parametrize(("number", "size"), [(-1, 3), (0, 11)])
def test_a_page_that_cannot_be_is_refused(number: int, size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        pages(40).put(number, ["row"] * size)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_a_page_and_the_store_of_pages_have_a_size(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        PagedRows(str, page_rows=sizes[0], capacity=sizes[1])
    with pytest.raises(ValueError, match="-1"):
        pages(-1)


@given(st.data())
def test_pages_never_show_a_row_at_another_index(data: st.DataObject) -> None:
    total = data.draw(st.integers(0, 60))
    rows = pages(total, capacity=2)
    for _ in range(data.draw(st.integers(0, 12))):
        number = data.draw(st.integers(0, 6))
        rows.put(number, [str(at) for at in range(number * 10, min(number * 10 + 10, total))])
        wanted = rows.wants(0, 60)
        assert len(rows) <= total
        for at in range(70):
            row = rows.get(at)
            assert row in (None, str(at))
            if at < len(rows):
                assert (row is None) == (at // 10 in wanted)
            if row is not None:
                assert rows.index_of(row) == at


class Counting:
    """A key function that knows how many rows were looked at."""

    calls = 0

    def __call__(self, row: int) -> str:
        self.calls += 1
        return str(row)


def test_a_row_that_stayed_is_found_with_one_look() -> None:
    key = Counting()
    rows = PlainRows(range(1_000_000), key)
    assert follow(rows, key, "500000", 500_000) == 500_000
    assert key.calls == 1


def test_a_row_is_found_near_its_old_place_without_a_look_at_all() -> None:
    key = Counting()
    rows = PlainRows(range(100, 1_000_000), key)
    assert rows.follow({"500000": 500_000, "500700": 500_700}) == {
        "500000": 499_900,
        "500700": 500_600,
    }
    assert key.calls < 3_000


def test_many_rows_that_are_gone_take_two_passes_at_most() -> None:
    key = Counting()
    rows = PlainRows(range(10_000), key)
    gone = {f"gone {n}": n * 100 for n in range(100)}
    assert rows.follow({"9999": 0, **gone}) == {"9999": 9_999}
    assert key.calls < 2 * 10_000 + 20 * 2_100


@given(
    st.lists(st.integers(0, 40), unique=True),
    st.dictionaries(st.integers(0, 45).map(str), st.integers(0, 60)),
    st.sampled_from([None, False, True]),
)
def test_every_key_is_found_where_it_is(
    rows: Sequence[int], places: dict[str, int], descending: bool | None
) -> None:
    plain = PlainRows(rows, str)
    if descending is not None:
        plain.sort(lambda row: row, descending=descending)
        rows = sorted(rows, reverse=descending)
    assert [plain.get(at) for at in range(len(rows))] == list(rows)
    assert list(plain.loaded(2, 5)) == list(enumerate(rows))[2:6]
    expected = {key: rows.index(int(key)) for key in places if int(key) in rows}
    assert plain.follow(places) == expected
    assert plain._scan(set(places)) == expected if places else True


def test_a_sorted_view_shows_what_its_sequence_holds_now() -> None:
    source = [3, 1, 2]
    rows = PlainRows(source, str)
    rows.sort(lambda row: row)
    assert [rows.get(at) for at in range(4)] == [1, 2, 3, None]
    source[1] = 9
    assert rows.get(0) == 9
    rows.sort(None)
    assert rows.get(0) == 3
    assert rows.index_of("2") == 2
