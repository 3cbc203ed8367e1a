"""How long to wait."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxddbstream.errors import ConfigurationError
from rxddbstream.protocol.pacing import BACKOFF_BASE, BACKOFF_CEILING, CallBudget, Poll, backoff


def test_a_page_with_records_is_followed_by_the_next_call_at_once() -> None:
    assert Poll().after_empty_pages(0) == 0.0


def test_the_wait_begins_at_the_fastest_and_grows_to_the_slowest() -> None:
    poll = Poll(fastest=1.0, slowest=5.0)

    assert [poll.after_empty_pages(count) for count in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]


def test_a_fixed_pace_stays_the_same() -> None:
    poll = Poll(fastest=2.0, slowest=2.0)

    assert {poll.after_empty_pages(count) for count in range(1, 100)} == {2.0}


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 10**9))
def test_a_wait_never_shrinks_and_stays_in_its_bounds(one: float, other: float, count: int) -> None:
    poll = Poll(fastest=min(one, other), slowest=max(one, other))

    assert poll.fastest <= poll.after_empty_pages(count) <= poll.after_empty_pages(count + 1) <= poll.slowest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fastest": 0}, "fastest=0"),
        ({"fastest": -1}, "fastest=-1"),
        ({"fastest": 6.0}, "fastest=6.0, slowest=5.0"),
        ({"slowest": 0.1}, "slowest=0.1"),
        ({"fastest": math.nan}, "fastest=nan"),
        ({"slowest": math.nan}, "slowest=nan"),
        ({"calls_per_second": 0}, "calls_per_second must be positive, not 0"),
        ({"calls_per_second": -2.5}, "calls_per_second must be positive, not -2.5"),
    ],
)
def test_paces_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Poll(**arguments)


def test_a_budget_gives_out_evenly_spaced_turns() -> None:
    budget = CallBudget[str](calls_per_second=4)

    assert [budget.join("a", 0.0, now=100.0) for _ in range(4)] == [0.0, 0.25, 0.5, 0.75]
    assert budget.join("a", 0.0, now=100.5) == 0.5


def test_turns_that_nobody_took_are_not_saved_up() -> None:
    budget = CallBudget[str](calls_per_second=4)
    budget.join("a", 0.0, now=100.0)

    assert [budget.join("a", 0.0, now=200.0), budget.join("a", 0.0, now=200.0)] == [0.0, 0.25]


def test_every_other_turn_goes_to_who_is_furthest_behind_and_the_rest_in_order() -> None:
    budget = CallBudget[str](calls_per_second=1)
    for who, lag in [("quiet 1", 0.0), ("an hour", 3600.0), ("quiet 2", 0.0), ("a day", 86400.0)]:
        budget.join(who, lag, now=0.0)

    assert [budget.next() for _ in range(4)] == ["a day", "quiet 1", "an hour", "quiet 2"]


def test_a_backlog_does_not_keep_the_others_from_their_turns() -> None:
    budget = CallBudget[str](calls_per_second=1)
    for quiet in range(10):
        budget.join(f"quiet {quiet}", 0.0, now=0.0)
    turns = []
    for _ in range(30):
        budget.join("backlog", 3600.0, now=0.0)
        turns.append(budget.next())

    assert {f"quiet {quiet}" for quiet in range(10)} <= set(turns)
    assert turns.count("backlog") >= 15


def test_a_budget_does_not_grow_while_some_are_always_behind() -> None:
    budget = CallBudget[str](calls_per_second=1)
    for _ in range(10_000):
        budget.join("backlog", 3600.0, now=0.0)
        budget.join("quiet", 0.0, now=0.0)
        budget.next()
        budget.next()

    assert len(budget._furthest) < 100


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 1000), st.lists(st.floats(0, 0.5), min_size=2, max_size=50))
def test_no_two_turns_come_closer_than_the_budget_allows(
    calls_per_second: float, pauses: list[float]
) -> None:
    budget, now, turns = CallBudget[str](calls_per_second), 1000.0, []
    for pause in pauses:
        now += pause
        turns.append(now + budget.join("a", 0.0, now))

    gaps = [later - sooner for sooner, later in pairwise(turns)]
    assert min(gaps) >= 1 / calls_per_second - 1e-6


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1e6) | st.none(), max_size=60))
def test_each_that_joins_has_one_turn(steps: list[float | None]) -> None:
    budget, joined, had = CallBudget[int](calls_per_second=1), [], []
    for number, lag in enumerate(steps):
        if lag is not None:
            budget.join(number, lag, now=0.0)
            joined.append(number)
        elif len(had) < len(joined):
            had.append(budget.next())
    had += [budget.next() for _ in range(len(joined) - len(had))]

    assert sorted(had) == joined


def test_backoff_doubles_up_to_the_ceiling() -> None:
    waits = [backoff(attempt, jitter=1.0, base=1.0, ceiling=10.0) for attempt in range(1, 7)]

    assert waits == [1, 2, 4, 8, 10, 10]


def test_backoff_has_full_jitter() -> None:
    assert backoff(3, jitter=0.0) == 0.0
    assert backoff(3, jitter=0.5) == pytest.approx(BACKOFF_BASE * 4 / 2)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_backoff_never_overflows_or_exceeds_its_ceiling(attempt: int, jitter: float) -> None:
    assert 0 <= backoff(attempt, jitter) <= BACKOFF_CEILING
