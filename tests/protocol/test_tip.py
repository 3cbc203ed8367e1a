"""When a shard's reading is at its tip, by itself: each bound, and what moves the reading on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rxddbstream.model.times import SETTLING
from rxddbstream.protocol.tip import (
    EMPTY_PAGES_AT_END,
    EMPTY_PAGES_AT_TIP,
    EMPTY_PAGES_WHEN_LATE,
    EMPTY_PAGES_WHEN_NEAR,
    EMPTY_PAGES_WHEN_QUIET,
    NEAR,
    QUIET_FOR,
    Tip,
)

SETTLED = timedelta(seconds=SETTLING)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)
DAY = timedelta(days=1)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def empty(tip: Tip, pages: int, over: float = 0.0) -> None:
    """So many empty pages, at equal distances from noon on."""
    for page in range(pages):
        tip.empty_page(at(over * page / max(1, pages - 1)))


@pytest.mark.parametrize(("ago", "is_seen"), [(NEAR, True), (NEAR + MOMENT, False)])
def test_a_reading_that_begins_near_the_present_is_at_the_tip(ago: timedelta, is_seen: bool) -> None:
    assert Tip(NOON - ago, NOON).is_seen == is_seen
    assert not Tip(None, NOON).is_seen


@pytest.mark.parametrize(("ago", "is_seen"), [(NEAR, True), (NEAR + MOMENT, False)])
def test_a_change_that_was_made_just_now_is_at_the_tip(ago: timedelta, is_seen: bool) -> None:
    tip = Tip(None, NOON)
    tip.records(NOON - DAY, NOON - ago, NOON)
    assert tip.is_seen == is_seen
    assert tip.read_up_to == NOON - ago


@pytest.mark.parametrize(("before", "is_seen"), [(SETTLED, True), (SETTLED + MOMENT, False)])
def test_a_change_of_before_an_empty_page_shows_that_it_was_not_at_the_tip(
    before: timedelta, is_seen: bool
) -> None:
    tip = Tip(NOON, NOON)
    tip.empty_page(at(30))
    tip.records(at(30) - before, at(40), at(100))
    assert tip.is_seen == is_seen


def test_changes_that_do_not_say_when_they_were_made_tell_nothing_of_the_tip() -> None:
    for tip in (Tip(NOON, NOON), Tip(None, NOON)):
        was_seen, read_up_to = tip.is_seen, tip.read_up_to
        tip.records(None, None, at(100))
        assert (tip.is_seen, tip.read_up_to) == (was_seen, read_up_to)


def test_many_empty_pages_are_taken_for_the_tip_after_a_while() -> None:
    quick, few, enough = (Tip(None, NOON) for _ in range(3))
    empty(quick, EMPTY_PAGES_AT_TIP, over=QUIET_FOR.total_seconds() - 0.001)
    empty(few, EMPTY_PAGES_AT_TIP - 1, over=60)
    empty(enough, EMPTY_PAGES_AT_TIP, over=QUIET_FOR.total_seconds())
    assert [tip.is_seen for tip in (quick, few, enough)] == [False, False, True]
    assert enough.read_up_to == NOON + QUIET_FOR - SETTLED


def test_a_guess_ends_a_bounded_read_later_than_a_tip_that_is_known() -> None:
    for tip, pages in (
        (Tip(NOON, NOON), EMPTY_PAGES_WHEN_NEAR),
        (Tip(None, NOON), EMPTY_PAGES_AT_END),
        (Tip(NOON - DAY, NOON), EMPTY_PAGES_AT_END),
    ):
        empty(tip, pages - 1, over=60)
        assert not tip.is_end
        tip.empty_page(at(61))
        assert tip.is_end


def test_a_change_that_was_made_just_now_puts_an_end_to_the_guess() -> None:
    tip = Tip(None, NOON)
    empty(tip, EMPTY_PAGES_AT_TIP, over=60)
    tip.records(at(61), at(61), at(62))
    for _ in range(EMPTY_PAGES_WHEN_NEAR):
        assert not tip.is_end
        tip.empty_page(at(63))
    assert tip.is_end


def test_at_the_tip_a_shard_is_quiet_after_some_empty_pages_over_some_time_and_read_up_to_then() -> None:
    quick, few, enough = (Tip(NOON, NOON) for _ in range(3))
    empty(quick, 100, over=QUIET_FOR.total_seconds() - 0.001)
    empty(few, EMPTY_PAGES_WHEN_QUIET - 1, over=60)
    empty(enough, EMPTY_PAGES_WHEN_QUIET, over=QUIET_FOR.total_seconds())
    assert [tip.is_quiet for tip in (quick, few, enough)] == [False, False, True]
    assert [tip.read_up_to for tip in (quick, few)] == [NOON, NOON]
    enough.empty_page(at(60))
    assert enough.read_up_to == at(60) - SETTLED


def test_a_reading_whose_iterator_expired_is_not_at_the_tip_and_asks_at_once_for_a_while() -> None:
    tip = Tip(NOON, NOON)
    empty(tip, 50, over=900)
    tip.iterator_expired()
    assert not tip.is_seen
    assert not tip.is_quiet
    for page in range(EMPTY_PAGES_WHEN_LATE):
        tip.empty_page(at(1000 + page))
        assert tip.idle_steps(in_a_hurry=False) == 0
    tip.empty_page(at(1010))
    assert tip.idle_steps(in_a_hurry=False) > 0


def test_the_wait_grows_with_the_time_at_the_tip_and_slower_where_that_is_not_known() -> None:
    known, unknown = Tip(NOON, NOON), Tip(None, NOON)
    steps: list[tuple[int, int]] = []
    for seconds in (0, 1, 2, 4, 8, 16, 32):
        for tip in (known, unknown):
            tip.empty_page(at(seconds))
        steps.append((known.idle_steps(in_a_hurry=False), unknown.idle_steps(in_a_hurry=False)))
        assert known.idle_steps(in_a_hurry=True) == 0
    assert steps == [(1, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 3)]


def test_behind_an_old_change_it_asks_at_once_until_so_many_pages_were_empty() -> None:
    tip = Tip(None, NOON)
    tip.records(NOON - DAY, NOON - DAY, NOON)
    for page in range(EMPTY_PAGES_AT_TIP):
        assert tip.idle_steps(in_a_hurry=False) == 0
        tip.empty_page(at(page / 1000))
    assert tip.idle_steps(in_a_hurry=False) == 0
    tip.empty_page(at(1))
    assert tip.idle_steps(in_a_hurry=False) > 0
