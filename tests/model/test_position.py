"""What people write as `start=` becomes a position, or an error that says what to write."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxddbstream.errors import ConfigurationError
from rxddbstream.model.position import After, AtTime, Latest, TrimHorizon, resolve

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("start", ["latest", "LATEST", " Latest "])
def test_latest_by_name(start: str) -> None:
    assert resolve(start, NOW) == Latest()


@pytest.mark.parametrize("start", ["trim_horizon", "trim-horizon", "TRIM_HORIZON", "Trim-Horizon"])
def test_trim_horizon_by_name(start: str) -> None:
    assert resolve(start, NOW) == TrimHorizon()


@pytest.mark.parametrize(
    ("start", "ago"),
    [
        ("15m", timedelta(minutes=15)),
        ("2h30m", timedelta(hours=2, minutes=30)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("1.5h", timedelta(minutes=90)),
        ("0.25s", timedelta(milliseconds=250)),
        ("0s", timedelta()),
        (" 15m ", timedelta(minutes=15)),
        (timedelta(hours=3), timedelta(hours=3)),
        (timedelta(), timedelta()),
    ],
)
def test_how_long_ago(start: str | timedelta, ago: timedelta) -> None:
    assert resolve(start, NOW) == AtTime(NOW - ago)


@pytest.mark.parametrize(
    "start",
    [
        "2026-01-31T11:00:00Z",
        "2026-01-31T12:00:00+01:00",
        "2026-01-31 11:00+00:00",
        datetime(2026, 1, 31, 11, tzinfo=UTC),
        datetime(2026, 1, 31, 16, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_a_point_in_time_is_turned_to_utc(start: str | datetime) -> None:
    position = resolve(start, NOW)

    assert position == AtTime(datetime(2026, 1, 31, 11, tzinfo=UTC))
    assert isinstance(position, AtTime)
    assert position.time.tzinfo is UTC


def test_now_is_no_future() -> None:
    assert resolve(NOW, NOW) == AtTime(NOW)


@pytest.mark.parametrize(
    "start",
    [
        NOW + timedelta(microseconds=1),
        timedelta(seconds=-1),
        "2026-01-31T12:00:01Z",
        "2026-01-31T12:00-01:00",
    ],
)
def test_the_future_is_refused(start: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"start=2026-01-31T.* lies in the future"):
        resolve(start, NOW)


@pytest.mark.parametrize("start", [datetime(2026, 1, 1), "2026-01-01", "2026-01-01T10:00"])
def test_a_time_without_a_zone_is_refused_with_what_to_write(start: Any) -> None:
    with pytest.raises(ConfigurationError, match="has no time zone: write it with its offset"):
        resolve(start, NOW)


@pytest.mark.parametrize("start", ["", "soon", "-15m", "15", "15 m", "15M", "15m ago", "m", "1.m", "latest!"])
def test_text_that_is_no_position_is_refused_with_what_to_write(start: str) -> None:
    with pytest.raises(ConfigurationError, match="use latest, trim-horizon, a time such as") as caught:
        resolve(start, NOW)

    assert repr(start) in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("start", [None, 15, 1.5, b"latest", date(2026, 1, 1), ["latest"]])
def test_what_is_no_position_is_refused_with_what_to_pass(start: Any) -> None:
    with pytest.raises(ConfigurationError, match="use 'latest', 'trim_horizon', an aware datetime"):
        resolve(start, NOW)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.integers(0, 50), st.integers(0, 90), st.integers(0, 90))
def test_the_parts_of_a_duration_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    ago = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)

    assert resolve(f"{days}d{hours}h{minutes}m{seconds}s", NOW) == AtTime(NOW - ago)
    assert resolve(f"{seconds}s{minutes}m{hours}h{days}d", NOW) == AtTime(NOW - ago)


@pytest.mark.parametrize(
    ("start", "created_at", "included"),
    [
        ("12:00:30.500", "12:00:30.500", True),
        ("12:00:30.500", "12:00:30.499", False),
        ("12:00:30.500", "12:00:31", True),
        ("12:00:30.500", "12:00:30", True),  # may have been made at 30.9
        ("12:00:30.500", "12:00:29", False),
        ("12:00:30.500", "12:00:00", True),  # may have been made at 59
        ("12:00:30.500", "11:59:00", False),
        ("12:00:00", "12:00:00", True),
        ("12:00:00", "11:59:59.999", False),
    ],
)
def test_a_rounded_time_stands_for_its_whole_unit(start: str, created_at: str, included: bool) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-01-31T{text}+00:00")

    assert AtTime(at(start)).includes(at(created_at)) is included


seconds = st.floats(0, 86400, allow_nan=False).map(lambda s: NOW + timedelta(seconds=s))


@settings(max_examples=200, deadline=None)
@given(seconds, seconds, st.sampled_from(["none", "milliseconds", "seconds", "minutes"]))
def test_nothing_made_at_or_after_the_start_is_left_out_however_the_service_rounds(
    start: datetime, made_at: datetime, rounding: str
) -> None:
    rounded = {
        "none": made_at,
        "milliseconds": made_at.replace(microsecond=made_at.microsecond // 1000 * 1000),
        "seconds": made_at.replace(microsecond=0),
        "minutes": made_at.replace(second=0, microsecond=0),
    }[rounding]
    # A service that keeps milliseconds is asked for milliseconds.
    asked = start.replace(microsecond=start.microsecond // 1000 * 1000)

    included = AtTime(asked).includes(rounded)

    if made_at >= asked:
        assert included
    if made_at < asked - timedelta(minutes=1):
        assert not included


def test_positions_are_values() -> None:
    assert len({Latest(), Latest(), TrimHorizon(), After("1"), After("1"), AtTime(NOW), AtTime(NOW)}) == 4
    assert After("1") != After("2")


@pytest.mark.parametrize(
    "start",
    [
        "9999999d",
        "99999999999d",
        "1" * 400 + "d",
        timedelta.max,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_a_start_beyond_the_calendar_is_refused(start):
    with pytest.raises(ConfigurationError):
        resolve(start, datetime(2026, 1, 1, tzinfo=UTC))
