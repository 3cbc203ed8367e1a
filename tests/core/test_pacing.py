"""How long to wait."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxddbstream.core.pacing import BACKOFF_BASE, BACKOFF_CEILING, CallBudget, Poll, backoff
from rxddbstream.errors import ConfigurationError


def test_a_page_with_records_is_followed_by_the_next_call_at_once() -> None:
    assert Poll().after_empty_pages(0) == 0.0


def test_the_wait_begins_at_the_fastest_and_grows_to_the_slowest() -> None:
    poll = Poll(fastest=1.0, slowest=5.0)

    assert [poll.after_empty_pages(count) for count in (1, 2, 3, 4, 5, 6)] == [1, 1.5, 2.25, 3.375, 5, 5]


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
    budget = CallBudget(calls_per_second=4)

    assert [budget.wait(now=100.0) for _ in range(4)] == [0.0, 0.25, 0.5, 0.75]
    assert budget.wait(now=100.5) == 0.5


def test_turns_that_nobody_took_are_not_saved_up() -> None:
    budget = CallBudget(calls_per_second=4)
    budget.wait(now=100.0)

    assert [budget.wait(now=200.0), budget.wait(now=200.0)] == [0.0, 0.25]


def test_without_a_limit_nobody_waits() -> None:
    budget = CallBudget(None)

    assert [budget.wait(now=100.0) for _ in range(3)] == [0.0, 0.0, 0.0]


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 1000), st.lists(st.floats(0, 0.5), min_size=2, max_size=50))
def test_no_two_turns_come_closer_than_the_budget_allows(
    calls_per_second: float, pauses: list[float]
) -> None:
    budget, now, turns = CallBudget(calls_per_second), 1000.0, []
    for pause in pauses:
        now += pause
        turns.append(now + budget.wait(now))

    gaps = [later - sooner for sooner, later in pairwise(turns)]
    assert min(gaps) >= 1 / calls_per_second - 1e-6


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
