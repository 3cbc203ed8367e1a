"""Positions as text: there and back, in order, and nothing taken for a position that is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxddbstream.checkpoints.codec import SHARD_END, from_text, from_texts, to_text, to_texts
from rxddbstream.model.position import After, AtTime, Latest, TrimHorizon
from rxddbstream.protocol.beginning import Kept

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
# Of 21 to 40 digits, with leading zeros where the number is shorter.
sequence_numbers = st.one_of(
    st.integers(10**20, 10**40 - 1).map(str),
    st.integers(0, 10**21 - 1).map(lambda number: str(number).zfill(21)),
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=zones).map(AtTime)


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (TrimHorizon(), "0 TRIM_HORIZON"),
        (AtTime(NOON), "0 AT_TIMESTAMP 2026-01-31T12:00:00+00:00"),
        (After("1" + "0" * 20), "1 AFTER_SEQUENCE_NUMBER " + "0" * 19 + "1" + "0" * 20),
        (After("9" * 40), "1 AFTER_SEQUENCE_NUMBER " + "9" * 40),
        (None, "2 SHARD_END"),
    ],
)
def test_the_texts_are_these_for_ever(position, text):
    assert to_text(position) == text
    assert from_text(text) == position


@given(sequence_numbers)
def test_a_sequence_number_comes_back_as_it_was(number):
    assert from_text(to_text(After(number))) == After(number)


@given(times)
def test_a_time_comes_back_as_it_was(time):
    assert from_text(to_text(time)) == time


@given(sequence_numbers, sequence_numbers)
def test_texts_sort_as_sequence_numbers_do(one, other):
    assert (to_text(After(one)) < to_text(After(other))) == (int(one) < int(other))


@given(sequence_numbers, times)
def test_a_start_sorts_before_any_sequence_number_and_that_before_the_end(number, time):
    for start in (TrimHorizon(), time):
        assert to_text(start) < to_text(After(number)) < SHARD_END


@pytest.mark.parametrize("digits", range(21, 41))
def test_every_length_of_a_sequence_number(digits):
    shortest, longest = After("1" + "0" * (digits - 1)), After("9" * digits)
    assert from_text(to_text(shortest)) == shortest
    assert from_text(to_text(longest)) == longest
    assert to_text(shortest) < to_text(longest)
    if digits < 40:
        assert to_text(longest) < to_text(After("1" + "0" * digits))


def test_a_number_that_is_shorter_than_a_sequence_number_is_filled_up():
    """The service takes none of fewer than 21 digits; stand-ins count from 1."""
    assert from_text(to_text(After("7"))) == After("7".zfill(21))


def test_latest_is_another_place_each_time():
    with pytest.raises(ValueError, match="keep the time"):
        to_text(Latest())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0 ",
        "3 SHARD_END",
        "2 SHARD_END ",
        "2 shard_end",
        "0 LATEST",
        "0 TRIM_HORIZON ",
        "0 AT_TIMESTAMP ",
        "0 AT_TIMESTAMP noon",
        "0 AT_TIMESTAMP 2026-01-31T12:00:00",  # no zone: whose noon?
        "1 AFTER_SEQUENCE_NUMBER ",
        "1 AFTER_SEQUENCE_NUMBER -1",
        "1 AFTER_SEQUENCE_NUMBER 1.5",
        "1 AFTER_SEQUENCE_NUMBER 12 3",
        "1 AFTER_SEQUENCE_NUMBER 12\n",
        "2 AFTER_SEQUENCE_NUMBER 123",
        "123456789012345678901",
    ],
)
def test_what_is_no_position(text):
    with pytest.raises(ValueError):  # noqa: PT011 - a time's is Python's own
        from_text(text)


@given(st.text(max_size=80))
def test_any_text_is_a_position_or_a_value_error(text):
    try:
        position = from_text(text)
    except ValueError:
        return
    assert from_text(to_text(position)) == position


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5).filter(
    lambda name: not name.startswith("*")  # those keys are ours
)
moments = times.map(lambda at: at.time)


@given(
    st.builds(
        Kept,
        start=st.none() | times | st.just(TrimHorizon()),
        began=st.none() | moments,
        seen=st.none() | moments,
        windows=st.dictionaries(names, st.integers(0, 4 * 10**9).map(float)),
        shards=st.dictionaries(names, st.none() | times | sequence_numbers.map(After)),
    )
)
def test_what_is_kept_comes_back_as_it_was(kept):
    assert from_texts(to_texts(kept)) == kept


def test_the_keys_are_these_for_ever_and_in_the_order_in_which_they_are_written():
    kept = Kept(
        start=TrimHorizon(),
        began=NOON,
        seen=NOON,
        windows={"hourly": NOON.timestamp()},
        shards={"shard-1": None},
    )
    noon = "0 AT_TIMESTAMP 2026-01-31T12:00:00+00:00"
    assert list(to_texts(kept).items()) == [
        ("*start", "0 TRIM_HORIZON"),
        ("*began", noon),
        ("*emitted hourly", noon),
        ("shard-1", "2 SHARD_END"),
        ("*seen", noon),
    ]


def test_the_watermark_that_earlier_versions_kept_of_windows_is_known():
    kept = from_texts({"*windows hourly": "0 AT_TIMESTAMP 2026-01-31T12:00:00+00:00"})
    assert kept == Kept(watermarks={"hourly": NOON.timestamp()})
