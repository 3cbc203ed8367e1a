"""Event-time windows: which changes are in which, when they close, and what is held for them."""

from __future__ import annotations

import gc
import weakref
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import inf, nan
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.windows import open_count

from rxddbstream.errors import ConfigurationError
from rxddbstream.windows import folds
from rxddbstream.windows.base import Took
from rxddbstream.windows.definitions import session, sliding, tumbling

HOUR, DAY = 3600, 86400
collected = folds.fold(list, lambda items, item: [*items, item])


def seconds(results):
    """Results as (key, start, end, value), with seconds since the epoch."""
    return [(key, start.timestamp(), end.timestamp(), value) for key, start, end, value in results]


def windows_of(windower, *times, lateness=0.0, fold=collected, key="k"):
    """An operator's state after these changes, each of which is its own time."""
    windows = windower.windows(fold, lateness=lateness)
    for time in times:
        assert windows.add(key, time, time, "shard") in (Took.TAKEN, Took.HOLD)
    return windows


def spans(windower, *times, watermark=inf):
    """Start, end and changes of each window of these changes."""
    closed = windows_of(windower, *times).advance(watermark)
    return [(start, end, value) for _, start, end, value in seconds(closed.results)]


# --- which windows there are ---------------------------------------------------------------------


def test_tumbling_windows_are_one_after_the_other_and_half_open():
    # changes   0         59 60            120
    #           [    w0     )[     w1       )[
    assert spans(tumbling(60), 0, 59, 60, 120) == [(0, 60, [0, 59]), (60, 120, [60]), (120, 180, [120])]


def test_an_offset_moves_all_windows():
    # changes          0     29 30
    #          [-30     w     30)[     w
    expected = [(-30, 30, [0, 29]), (30, 90, [30])]
    assert spans(tumbling(60, offset=30), 0, 29, 30) == expected
    assert spans(tumbling(60, offset=-30), 0, 29, 30) == expected
    assert spans(tumbling(60, offset=150), 0, 29, 30) == expected


def test_sliding_windows_overlap():
    # change             25
    #           [0       w0      30)
    #                [10     w1       40)
    #                      [20     w2      50)
    assert spans(sliding(30, every=10), 25) == [(0, 30, [25]), (10, 40, [25]), (20, 50, [25])]


def test_sliding_windows_whose_size_is_no_multiple_of_every():
    # changes           25       35   40
    #           [0        w0         40)
    #                        [30        w1       70)
    assert spans(sliding(40, every=30), 25, 35, 40) == [(0, 40, [25, 35]), (30, 70, [35, 40])]


def test_sliding_by_its_size_is_tumbling():
    times = [0, 5, 9, 10, 19, 31]
    assert spans(sliding(10, every=10), *times) == spans(tumbling(10), *times)


def test_a_session_ends_with_a_pause():
    # changes   0   7    12          40
    #           [  session  22)      [  session  50)
    assert spans(session(10), 0, 7, 12, 40) == [(0, 22, [0, 7, 12]), (40, 50, [40])]


def test_a_change_a_whole_gap_later_begins_a_session():
    # changes   0        9.999      |  0         10
    #           [           19.999) |  [   10)   [    20)
    assert len(spans(session(10), 0, 9.999)) == 1
    assert len(spans(session(10), 0, 10)) == 2


def test_a_change_that_bridges_two_sessions_makes_them_one():
    # arrive    first        last      second
    # changes   0             8         16
    #           [10)                    [   26)
    #           [                       26)
    assert spans(session(10), 0, 16, 8) == [(0, 26, [0, 8, 16])]


@pytest.mark.parametrize("times", [[0, 7, 12, 17, 24], [24, 17, 12, 7, 0], [12, 24, 0, 17, 7]])
def test_a_session_is_cut_at_its_first_change_plus_max_whatever_arrives_first(times):
    # changes   0   7   12     17    24
    #           [  session  15)[   session   32)
    assert spans(session(10, max=15), *times) == [(0, 15, [0, 7, 12]), (17, 32, [17, 24])]


def test_a_max_smaller_than_the_gap():
    # changes   0   3    5     9
    #           [   5)   [   5 + 5)
    assert spans(session(60, max=5), 0, 3, 5, 9) == [(0, 5, [0, 3]), (5, 10, [5, 9])]


def test_each_key_has_its_own_windows():
    windows = session(10).windows(collected)
    for key, time in [("a", 0), ("b", 5), ("a", 9), ("b", 16)]:
        windows.add(key, time, time, "shard")
    assert open_count(windows) == 2
    results = seconds(windows.advance(inf).results)
    assert results == [("b", 5, 15, [5]), ("a", 0, 19, [0, 9]), ("b", 16, 26, [16])]


@pytest.mark.parametrize("windower", [tumbling(10), sliding(10, every=5), session(10)])
def test_results_come_by_end_then_start_then_first_arrival(windower):
    windows = windower.windows(collected)
    for key, time in [("z", 12), ("late key", 12), ("a", 3), ("b", 3), ("z", 3)]:
        windows.add(key, time, time, "shard")
    results = windows.advance(inf).results
    assert [(result.end, result.start) for result in results] == sorted(
        (result.end, result.start) for result in results
    )
    for end in {result.end for result in results}:
        keys = [result.key for result in results if result.end == end]
        order = ["z", "late key"] if "late key" in keys else ["a", "b", "z"]
        assert keys == [key for key in order if key in keys]


def test_of_two_sessions_with_the_same_bounds_the_one_that_began_to_arrive_first_is_first():
    windows = session(10).windows(collected)
    for key, time in [("one", 5), ("other", 0), ("other", 5), ("one", 0)]:
        windows.add(key, time, time, "shard")
    assert [result.key for result in windows.advance(inf).results] == ["one", "other"]


# --- what they are made of -----------------------------------------------------------------------


def test_sizes_are_seconds_or_a_timedelta():
    assert tumbling(timedelta(minutes=1)) == tumbling(60) == tumbling(60.0)
    assert sliding(timedelta(minutes=1), every=timedelta(seconds=10)) == sliding(60, every=10)
    assert session(timedelta(seconds=30), max=timedelta(hours=1)) == session(30, max=3600)


def test_how_long_a_window_is():
    made = [tumbling(60), sliding(60, every=10), session(30), session(30, max=90)]
    assert [windower.span for windower in made] == [60, 60, 30, 90]


@pytest.mark.parametrize(
    ("windower", "text"),
    [
        (tumbling(60), "tumbling(60)"),
        (tumbling(0.5), "tumbling(0.5)"),
        (tumbling(60, offset=90), "tumbling(60, offset=30)"),
        (sliding(60, 10), "sliding(60, every=10)"),
        (sliding(60, 10, offset=timedelta(seconds=-1)), "sliding(60, every=10, offset=9)"),
        (session(30), "session(30)"),
        (session(30, max=3600), "session(30, max=3600)"),
    ],
)
def test_they_read_as_they_are_written(windower, text):
    assert repr(windower) == text
    assert eval(text) == windower
    assert hash(eval(text)) == hash(windower)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tumbling(0), "tumbling: size must be a positive number of seconds, or a timedelta, not 0"),
        (lambda: tumbling(timedelta(0)), "tumbling: size must be a positive"),
        (lambda: tumbling(nan), "not nan"),
        (lambda: tumbling(inf), "not inf"),
        (lambda: tumbling(1e-7), "not 1e-07"),
        (lambda: tumbling(60, offset=inf), "tumbling: offset must be a number of seconds"),
        (lambda: sliding(60, every=-1), "sliding: every must be a positive"),
        (lambda: sliding(60, every=61), "every=61 must be at most size=60, or changes between two windows"),
        (lambda: session(-1), "session: gap must be a positive"),
        (lambda: session(10, max=0), "session: max must be a positive"),
        (lambda: tumbling(60).windows(collected, lateness=-1), "lateness must be 0 or more seconds"),
        (lambda: session(60).windows(collected, lateness=nan), "lateness must be 0 or more seconds"),
    ],
)
def test_what_cannot_work_is_refused(make, message):
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert message in str(refused.value)


# --- time ----------------------------------------------------------------------------------------


def test_bounds_are_aware_datetimes_in_utc():
    (result,) = windows_of(tumbling(60), 1_700_000_000.123).advance(inf).results
    assert result.start == datetime(2023, 11, 14, 22, 13, tzinfo=UTC)
    assert result.end == datetime(2023, 11, 14, 22, 14, tzinfo=UTC)
    assert result.start.tzinfo is UTC


@pytest.mark.parametrize("day", [datetime(2024, 3, 31), datetime(2024, 10, 27)])
def test_hours_are_hours_when_the_clocks_change(day):
    berlin = ZoneInfo("Europe/Berlin")
    begin = day.replace(tzinfo=berlin).timestamp()
    end = (day + timedelta(days=1)).replace(tzinfo=berlin).timestamp()
    hours = spans(tumbling(HOUR), *range(int(begin), int(end), 600))
    assert len(hours) == (23 if day.month == 3 else 25)
    assert all(len(changes) == 6 for _, _, changes in hours)
    assert all(one[1] == other[0] for one, other in pairwise(hours))


def test_a_day_from_midnight_in_another_zone():
    plus_two = datetime.fromisoformat("2024-06-01T00:00:00+02:00")
    days = tumbling(timedelta(days=1), offset=timedelta(hours=-2))
    ((start, end, _),) = spans(days, plus_two.timestamp(), plus_two.timestamp() + DAY - 1)
    assert (start, end) == (plus_two.timestamp(), plus_two.timestamp() + DAY)


@pytest.mark.parametrize("size", [1, 7, 60, 0.1, 0.3, 0.007, 1.1])
def test_times_in_milliseconds_are_in_the_right_window(size):
    step = round(size * 1000)
    for base in (0, 1_700_000_000_000, 4_000_000_000_000):
        milliseconds = range(base - 3 * step, base + 3 * step, max(1, step // 10))
        for start, end, changes in spans(tumbling(size), *(each / 1000 for each in milliseconds)):
            first = round(start * 1000)
            assert first % step == 0
            assert round(end * 1000) == first + step
            assert changes == [each / 1000 for each in milliseconds if first <= each < first + step]


def test_a_time_that_has_no_exact_float_begins_its_window():
    assert int(8.383 * 1e6) == 8_382_999
    assert spans(tumbling(8.383), 8.383) == [(8.383, 16.766, [8.383])]


def test_a_window_closes_at_its_very_end():
    for end in (0.3, 1_700_000_000.3):
        windows = windows_of(tumbling(0.1), end - 0.05)
        assert not windows.advance(end - 0.001).results
        assert len(windows.advance(end).results) == 1


def test_what_is_finer_than_a_microsecond_is_rounded_down():
    just_before = 60 - 1e-8
    assert spans(tumbling(60), just_before) == [(0, 60, [just_before])]
    assert spans(tumbling(60), 60, just_before) == [(0, 60, [just_before]), (60, 120, [60])]


def test_times_before_the_epoch():
    assert spans(tumbling(60), -1) == [(-60, 0, [-1])]


# --- late ----------------------------------------------------------------------------------------


def test_a_change_is_late_once_its_window_has_closed():
    windows = windows_of(tumbling(60), 10)
    windows.advance(59.999)
    assert windows.add("k", 20, 20, "shard") == Took.TAKEN
    windows.advance(60)
    assert windows.add("k", 59, 59, "shard") == Took.LATE
    assert windows.add("k", 60, 60, "shard") == Took.HOLD


def test_it_is_late_too_where_there_was_no_window():
    windows = tumbling(60).windows(collected)
    windows.advance(60)
    assert windows.add("k", 10, 10, "shard") == Took.LATE


def test_lateness_keeps_a_window_open():
    windows = windows_of(tumbling(60), 10, lateness=timedelta(seconds=5))
    assert not windows.advance(64.9).results
    assert windows.add("k", 20, 20, "shard") == Took.TAKEN
    assert seconds(windows.advance(65).results) == [("k", 0, 60, [10, 20])]
    assert windows.add("k", 30, 30, "shard") == Took.LATE


def test_a_late_change_counts_in_those_of_its_sliding_windows_that_are_open():
    # change            15
    #          [0       20)             closed
    #                [10      30)       open
    windows = sliding(20, every=10).windows(collected)
    windows.advance(20)
    assert windows.add("k", 15, 15, "shard") == Took.HOLD
    assert windows.add("k", 9, 9, "shard") == Took.LATE
    assert seconds(windows.advance(inf).results) == [("k", 10, 30, [15])]


def test_a_late_change_joins_a_session_that_is_open():
    # changes   0    8    16             watermark at 21
    #             5                      would have closed at 15, but joins
    windows = windows_of(session(10), 0, 8, 16)
    windows.advance(21)
    assert windows.add("k", 5, 5, "shard") == Took.TAKEN
    assert windows.add("other", 5, 5, "shard") == Took.LATE
    assert windows.add("k", -10, -10, "shard") == Took.LATE
    assert [value for *_, value in windows.advance(26).results] == [[0, 8, 16, 5]]
    assert windows.add("k", 10, 10, "shard") == Took.LATE


def test_a_late_change_may_be_the_first_of_an_open_session():
    windows = windows_of(session(10), 8, 16)
    windows.advance(21)
    assert windows.add("k", 0, 0, "shard") == Took.TAKEN
    assert windows.add("k", -8, -8, "shard").name == "TAKEN"  # and that one's neighbour
    assert seconds(windows.advance(26).results) == [("k", -8, 26, [8, 16, 0, -8])]


def test_a_late_change_joins_one_that_was_not_looked_at_yet():
    # change    16             watermark at 24; one at 12 alone would have closed at 22
    windows = windows_of(session(10), 16)
    windows.advance(24)
    assert windows.add("k", 12, 12, "shard") == Took.TAKEN
    assert seconds(windows.advance(26).results) == [("k", 12, 26, [16, 12])]


@pytest.mark.parametrize("lateness", [0, 5])
def test_a_change_without_a_session_is_late_once_its_own_would_have_closed(lateness):
    windows = session(10).windows(collected, lateness=lateness)
    windows.advance(20 + lateness)
    assert windows.add("k", 10, 10, "shard") == Took.LATE
    assert windows.add("k", 10.001, 10.001, "shard") == Took.HOLD


def test_a_late_change_that_would_move_a_cut_is_late():
    # changes     8    16                begun at 0, it would have ended at 15
    windows = windows_of(session(10, max=15), 8, 16)
    windows.advance(21)
    assert windows.add("k", 0, 0, "shard") == Took.LATE
    assert windows.add("k", 2, 2, "shard") == Took.TAKEN
    assert seconds(windows.advance(21).results) == [("k", 2, 17, [8, 16, 2])]


def test_the_watermark_does_not_go_back():
    windows = windows_of(tumbling(60), 70)
    windows.advance(60)
    windows.advance(10)
    assert windows.add("k", 10, 10, "shard") == Took.LATE


# --- what is kept --------------------------------------------------------------------------------


class Item:
    def __init__(self, time):
        self.time = time


@pytest.mark.parametrize("windower", [tumbling(60), sliding(60, every=25), session(30), session(30, max=40)])
def test_closed_windows_are_freed(windower):
    windows = windower.windows(folds.latest())
    alive = []
    for time in range(0, 6000, 10):
        item = Item(time)
        alive.append(weakref.ref(item))
        windows.add(f"key-{time}", time, item, "shard")
        windows.advance(time)
        assert open_count(windows) < 25
    del item
    windows.advance(inf)
    assert open_count(windows) == 0
    gc.collect()
    assert not [each for each in alive if each() is not None]


@pytest.mark.parametrize("windower", [session(30), session(10_000)])
def test_a_long_session_keeps_an_accumulator_and_what_is_not_settled(windower):
    windows = windower.windows(folds.count())
    alive = []
    for time in range(5000):
        item = Item(time)
        alive.append(weakref.ref(item))
        windows.add("k", time, item, "shard")
        windows.advance(time - 20)
    gc.collect()
    assert sum(each() is not None for each in alive) < 60
    assert [value for *_, value in windows.advance(inf).results] == [5000]


class Counted(str):
    """A key that counts how often it is looked up."""

    __slots__ = ()
    lookups = 0

    def __hash__(self):
        Counted.lookups += 1
        return super().__hash__()

    __eq__ = str.__eq__


@pytest.mark.parametrize("windower", [tumbling(60), sliding(60, every=30), session(30)])
def test_closing_a_window_looks_at_its_keys_alone(windower):
    windows = windower.windows(folds.count())
    windows.add(Counted("first"), 0, "item", "shard")
    for number in range(10_000):
        windows.add(Counted(number), 1000 + number / 1000, "item", "shard")
    before = Counted.lookups
    assert sum(result.value for result in windows.advance(500).results) in (1, 2)
    assert Counted.lookups - before < 10


def test_nothing_is_done_where_nothing_closes():
    windows = windows_of(tumbling(60), 10)
    assert windows.advance(20) is windows.advance(30)
    assert windows.advance(20) == ((), ())


def test_changes_that_come_backwards_do_not_make_the_index_grow():
    windows = session(10).windows(folds.count())
    for time in range(1000):
        windows.add("k", -time, "item", "shard")
    for time in range(100):
        windows.add("k", time * 9, "item", "shard")
        windows.advance(time * 9)
    assert len(windows._due) == open_count(windows) == 1


@pytest.mark.parametrize("windower", [tumbling(60), sliding(60, every=25), session(30)])
def test_a_stream_that_ends_closes_all(windower):
    windows = windows_of(windower, 0, 10)
    assert windows.advance(inf).results
    assert windows.advance(inf) == ((), ())
    assert windows.add("k", 0, 0, "shard") == Took.LATE


# --- what is held --------------------------------------------------------------------------------


def test_the_first_change_of_each_shard_is_held_until_the_window_was_emitted():
    # shard a    1h   2    3        61h
    # shard b    1h   5
    windows = tumbling(60).windows(folds.count())
    added = [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 5), ("a", 61)]
    held = [each for each in added if windows.add("k", each[1], each, each[0]) == Took.HOLD]
    assert held == [("a", 1), ("b", 1), ("a", 61)]
    assert windows.advance(60).release == [("a", 1), ("b", 1)]
    assert windows.advance(120).release == [("a", 61)]


def test_one_hold_is_enough_for_all_keys_of_a_shard():
    windows = tumbling(60).windows(folds.count())
    assert [windows.add(f"key-{number}", 1, number, "shard").name for number in range(3)] == [
        "HOLD",
        "TAKEN",
        "TAKEN",
    ]


def test_the_first_to_arrive_is_held_even_if_it_belongs_to_a_later_window():
    # arrive    61   59   62      rounding may turn two changes of a shard around
    windows = tumbling(60).windows(folds.count())
    assert [windows.add("k", time, time, "shard").name for time in (61, 59, 62)] == ["HOLD", "HOLD", "TAKEN"]
    assert windows.advance(60).release == [59]
    assert windows.advance(inf).release == [61]


def test_a_change_in_several_windows_is_held_once_until_the_last_of_them():
    # change 25      [0    30)[10   40)[20   50)
    windows = windows_of(sliding(30, every=10), 25, 26)
    assert [list(windows.advance(end).release) for end in (30, 40, 50)] == [[], [], [25]]


def test_a_session_holds_its_first_change_of_each_shard():
    windows = session(10).windows(folds.count())
    added = [("a", 0), ("b", 3), ("a", 7), ("b", 12), ("a", 40)]
    held = [each for each in added if windows.add("k", each[1], each, each[0]) == Took.HOLD]
    assert held == [("a", 0), ("b", 3), ("a", 40)]
    assert sorted(windows.advance(22).release) == [("a", 0), ("b", 3)]
    assert windows.advance(inf).release == [("a", 40)]


def test_an_endless_session_that_is_cut_does_not_hold_for_ever():
    windows = session(10, max=100).windows(folds.count())
    held = set()
    for time in range(0, 10_000, 5):
        if windows.add("k", time, time, "shard") == Took.HOLD:
            held.add(time)
        held -= set(windows.advance(time).release)
        assert min(held) >= time - 2 * 100


def test_a_long_session_keeps_nothing_of_readings_that_it_has_emitted():
    # One key, whose sessions are cut; a shard is read anew for each of them.
    windows = session(10, max=100).windows(folds.count())
    gone = []
    for time in range(0, 1000, 5):
        reading = Item(time // 100)
        gone.append(weakref.ref(reading))
        windows.add("k", time, time, reading)
        windows.advance(time)
    del reading
    gc.collect()
    assert sum(each() is not None for each in gone) <= 2 * 100 // 5


# --- against brute force -------------------------------------------------------------------------

BASE = 1_700_000_000_000  # milliseconds, as all numbers below


def bounds(windower, times):
    """The windows of one key's changes, by brute force: a list of (start, end)."""
    if hasattr(windower, "gap"):
        gap, longest = round(windower.gap * 1000), round((windower.max or 1e9) * 1000)
        found = []
        for time in sorted(times):
            if found and time < found[-1][1]:
                found[-1][1] = min(time + gap, found[-1][0] + longest)
            else:
                found.append([time, time + min(gap, longest)])
        return {(start, end) for start, end in found}
    size, offset = round(windower.size * 1000), round(windower.offset * 1000)
    every = round(getattr(windower, "every", windower.size) * 1000)
    found = set()
    for time in times:
        start = (time - offset) // every * every + offset
        while start + size > time:
            found.add((start, start + size))
            start -= every
    return found


def brute_force(windower, changes):
    """Results of (key, time, number) as {(key, start, end): numbers}."""
    by_key = defaultdict(list)
    for key, time, number in changes:
        by_key[key].append((time, number))
    return {
        (key, start, end): sorted(number for time, number in family if start <= time < end)
        for key, family in by_key.items()
        for start, end in bounds(windower, [time for time, _ in family])
    }


def by_window(results):
    found = {}
    for key, start, end, value in seconds(results):
        window = key, round(start * 1000), round(end * 1000)
        assert window not in found, "emitted twice"
        found[window] = sorted(number for _, _, number in value)
    return found


tenths = st.integers(1, 80).map(lambda number: number / 10)
windowers = st.one_of(
    st.builds(tumbling, tenths, offset=tenths),
    st.tuples(tenths, tenths, tenths).map(lambda args: sliding(max(args[:2]), min(args[:2]), args[2])),
    st.builds(session, tenths, max=st.none() | tenths),
)
latenesses = st.sampled_from([0.0, 0.5, 3.0, 10.0])
seeds = st.integers(0, 2**32)


class Held:
    """Plays the frontier: no change may be unheld while a window that is not emitted yet needs it."""

    def __init__(self, windows):
        self.windows = windows
        self.arrived = defaultdict(list)  # by shard, in order
        self.held, self.needed = set(), Counter()
        self.results = []

    def add(self, change, shard, windows=1):
        key, time, _ = change
        took = self.windows.add(key, time / 1000, change, shard)
        if took in (Took.TAKEN, Took.HOLD):
            self.arrived[shard].append(change)
            self.needed[change] += windows
            if took:
                self.held.add(change)
        self.check()
        return took

    def advance(self, watermark):
        closed = self.windows.advance(watermark / 1000)
        ends = [(result.end, result.start) for result in closed.results]
        assert ends == sorted(ends)
        for result in closed.results:
            self.results.append(result)
            self.check()
            self.needed.subtract(result.value)
        for change in closed.release:
            self.held.remove(change)  # once, and not before it was held
            self.check()
        return closed

    def frontier(self, shard):
        """How many of a shard's changes are done."""
        for place, change in enumerate(self.arrived[shard]):
            if change in self.held:
                return place
        return len(self.arrived[shard])

    def check(self):
        for shard, changes in self.arrived.items():
            assert not any(self.needed[change] > 0 for change in changes[: self.frontier(shard)])


def stream_of(random, shards=3, count=30):
    """Changes (key, time, number) of each shard, in order of time; whole seconds here and there."""
    numbers = iter(range(10**6))
    streams = {}
    for shard in range(random.randint(1, shards)):
        time, changes = BASE + random.randrange(3000), []
        for _ in range(random.randrange(count)):
            time += random.choice([0, 0, 1, 100, 700, 1000, 2500, 6000])
            if random.random() < 0.3:
                time -= time % 1000
                time = max([time, *(each[1] for each in changes)])
            changes.append((random.choice("abc"), time, next(numbers)))
        streams[f"shard-{shard}"] = changes
    return streams


@settings(max_examples=60, deadline=None)
@given(windowers, latenesses, seeds)
def test_shards_in_any_interleaving(windower, lateness, seed):
    random = Random(seed)
    streams = stream_of(random)
    held = Held(windower.windows(collected, lateness=lateness))
    expected = brute_force(windower, [change for changes in streams.values() for change in changes])
    progress = dict.fromkeys(streams, 0)
    left = {shard: list(changes) for shard, changes in streams.items() if changes}
    needed = Counter(
        number for numbers in expected.values() for number in numbers
    )  # in how many windows each change is
    while left:
        shard = random.choice(list(left))
        change = left[shard].pop(0)
        assert held.add(change, shard, needed[change[2]]) in (Took.TAKEN, Took.HOLD)
        progress[shard] = change[1] if left[shard] else inf
        if not left[shard]:
            del left[shard]
        for empty in streams.keys() - left.keys():
            progress[empty] = inf
        watermark = min(progress.values())
        if random.random() < 0.7 and watermark < inf:
            held.advance(watermark)
    held.advance(inf)
    assert by_window(held.results) == expected
    assert [result.end for result in held.results] == sorted(result.end for result in held.results)
    assert not held.held
    assert open_count(held.windows) == 0


@settings(max_examples=60, deadline=None)
@given(windowers, latenesses, seeds)
def test_any_order_of_arrival_that_the_lateness_allows(windower, lateness, seed):
    random = Random(seed)
    changes = [
        (random.choice("ab"), BASE + random.randrange(300) * 100, number)
        for number in range(random.randrange(40))
    ]
    expected = brute_force(windower, changes)
    needed = Counter(number for numbers in expected.values() for number in numbers)
    held = Held(windower.windows(collected, lateness=lateness))
    while changes:
        change = changes.pop(random.randrange(len(changes)))
        assert held.add(change, random.choice("st"), needed[change[2]]) in (Took.TAKEN, Took.HOLD)
        if changes and random.random() < 0.8:
            oldest = min(time for _, time, _ in changes)
            held.advance(oldest + lateness * 1000 - random.choice([0, 0, 1, 1000]))
    held.advance(inf)
    assert by_window(held.results) == expected
    assert not held.held


@settings(max_examples=60, deadline=None)
@given(windowers.filter(lambda windower: hasattr(windower, "size")), latenesses, seeds, st.booleans())
def test_late_changes_of_tumbling_and_sliding_windows(windower, lateness, seed, resumed):
    random = Random(seed)
    windows = windower.windows(collected, lateness=lateness)
    held = Held(windows)
    watermark = start = BASE + random.randrange(5000) if resumed else -inf
    if resumed:
        windows.resumed_at(start / 1000)
    expected = defaultdict(list)
    for number in range(random.randrange(60)):
        time = BASE + random.randrange(100) * 100
        fall_into = bounds(windower, [time])
        still_open = [each for each in fall_into if each[1] + lateness * 1000 > watermark]
        took = held.add(("k", time, number), random.choice("st"), len(still_open))
        if still_open:
            assert took in (Took.TAKEN, Took.HOLD)
        elif max(end for _, end in fall_into) + lateness * 1000 <= start:
            assert took == Took.REPLAYED
        else:
            assert took == Took.LATE
        for begin, end in still_open:
            expected["k", begin, end].append(number)
        if random.random() < 0.3:
            watermark = max(watermark, BASE + random.randrange(100) * 100)
            held.advance(watermark)
    held.advance(inf)
    assert by_window(held.results) == expected
    assert not held.held


@settings(max_examples=60, deadline=None)
@given(st.builds(session, tenths, max=st.none() | tenths), latenesses, seeds)
def test_late_changes_of_sessions(windower, lateness, seed):
    """Each is in one session or late, and it is late only when a session of its own would have closed."""
    random = Random(seed)
    held = Held(windower.windows(collected, lateness=lateness))
    longest = windower.max or 1e9
    watermark, taken = 0, []
    for number in range(random.randrange(60)):
        change = ("k", BASE + random.randrange(300) * 100, number)
        own_end = change[1] + round(min(windower.gap, longest) * 1000)
        took = held.add(change, random.choice("st"))
        if took == Took.LATE:
            assert own_end + lateness * 1000 <= watermark
        else:
            taken.append(number)
        if random.random() < 0.3:
            watermark = max(watermark, BASE + random.randrange(300) * 100)
            held.advance(watermark)
    held.advance(inf)
    assert sorted(number for result in held.results for *_, number in result.value) == taken
    for _, start, end, changes in seconds(held.results):
        times = [time for _, time, _ in changes]
        assert min(times) == round(start * 1000)
        assert max(times) < round(end * 1000)
        assert all(other - one < windower.gap * 1000 for one, other in pairwise(sorted(times)))
        assert end - start < longest + 0.0001
    assert not held.held


# --- after a restart -----------------------------------------------------------------------------


class Run:
    """One run of a consumer: goes on from what was kept, and keeps anew whenever windows were emitted."""

    def __init__(self, windower, lateness, streams, expected, kept):
        self.streams = streams
        self.watermark, self.begin = self.kept = kept
        windows = windower.windows(collected, lateness=lateness)
        windows.resumed_at(self.watermark / 1000)
        self.held = Held(windows)
        self.place, self.progress = dict(self.begin), dict.fromkeys(streams, -inf)
        self.needed = Counter(
            number
            for (_, _, end), numbers in expected.items()
            for number in numbers
            if end + lateness * 1000 > self.watermark
        )

    def step(self, random):
        """Read one change; false where there is none."""
        left = [shard for shard, changes in self.streams.items() if self.place[shard] < len(changes)]
        if not left:
            return False
        shard = random.choice(left)
        change = self.streams[shard][self.place[shard]]
        took = self.held.add(change, shard, self.needed[change[2]])
        assert took != Took.LATE
        if took == Took.REPLAYED:
            self.held.arrived[shard].append(change)
        self.place[shard] += 1
        self.progress[shard] = change[1]
        if random.random() < 0.5:
            reached = [self.progress[each] for each in left if self.place[each] < len(self.streams[each])]
            self.advance(max(self.watermark, min(reached, default=-inf)))
        return True

    def advance(self, watermark):
        self.watermark = watermark
        self.held.advance(watermark)
        done = {shard: begin + self.held.frontier(shard) for shard, begin in self.begin.items()}
        self.kept = watermark, done


@settings(max_examples=60, deadline=None)
@given(windowers.filter(lambda windower: not getattr(windower, "max", None)), latenesses, seeds)
def test_a_crash_anywhere_loses_and_repeats_no_window(windower, lateness, seed):
    random = Random(seed)
    streams = stream_of(random)
    expected = brute_force(windower, [change for changes in streams.values() for change in changes])
    kept, emitted = (-inf, dict.fromkeys(streams, 0)), []
    for _ in range(random.randint(1, 3)):
        run = Run(windower, lateness, streams, expected, kept)
        for _ in range(random.randrange(60)):
            run.step(random)
        kept = run.kept
        emitted += run.held.results
    last = Run(windower, lateness, streams, expected, kept)
    while last.step(random):
        pass
    last.advance(inf)
    assert by_window(emitted + last.held.results) == expected


@pytest.mark.parametrize("windower", [tumbling(10), sliding(10, every=5), session(10)])
def test_replayed_or_late(windower):
    # change    10                20)      kept at 20 or at 19, and now at 40
    for kept, took in [(20, Took.REPLAYED), (19, Took.LATE)]:
        windows = windower.windows(collected)
        windows.resumed_at(kept)
        windows.advance(40)
        assert windows.add("k", 10, 10, "shard") == took


@pytest.mark.parametrize("windower", [tumbling(10), session(10)])
def test_what_an_earlier_run_emitted_is_not_emitted_again(windower):
    # changes   3   8  |         21   28     the watermark was kept at 20
    windows = windower.windows(collected)
    windows.resumed_at(20)
    for time in (3, 8, 21):
        windows.add("k", time, time, "shard")
    assert windows.advance(20) == ((), ())
    windows.advance(21)
    windows.add("k", 28, 28, "shard")
    assert [value for *_, value in windows.advance(inf).results] == [[21, 28]]


def test_a_replayed_change_may_belong_to_a_session_that_was_not_emitted():
    # changes   0      8      16         kept at 20; a session of 0 alone would have been emitted
    #           [                26)
    windows = session(10).windows(collected)
    windows.resumed_at(20)
    for time in (0, 8, 16):
        assert windows.add("k", time, time, "shard") in (Took.TAKEN, Took.HOLD)
        assert windows.advance(20) == ((), ())
    assert seconds(windows.advance(26).results) == [("k", 0, 26, [0, 8, 16])]


def test_a_change_of_a_session_that_was_emitted_is_replayed_even_after_that():
    windows = session(10).windows(collected)
    windows.resumed_at(20)
    windows.advance(40)
    assert windows.add("k", 5, 5, "shard") == Took.REPLAYED
    assert windows.add("k", 25, 25, "shard") == Took.LATE


# --- folds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fold", "value"),
    [
        (folds.count(), 4),
        (folds.sum_of(lambda item: item), 9),
        (folds.minimum(lambda item: item), 1),
        (folds.maximum(lambda item: -item), -1),
        (folds.mean(lambda item: item), 2.25),
        (folds.latest(), 2),
        (folds.latest(by=lambda item: item), 4),
        (folds.distinct_count(lambda item: item % 2), 2),
        (folds.fold(str, lambda text, item: f"{text}{item}"), "4212"),
    ],
)
def test_folds(fold, value):
    assert fold.of([4, 2, 1, 2]) == value
    windows = tumbling(60).windows(fold)
    for item in [4, 2, 1, 2]:
        windows.add("k", 0, item, "shard")
    assert windows.advance(inf).results[0].value == value


def test_folds_do_not_share_what_they_change():
    windows = tumbling(60).windows(folds.distinct_count(lambda item: item))
    windows.add("a", 0, 1, "shard")
    windows.add("b", 0, 2, "shard")
    assert [result.value for result in windows.advance(inf).results] == [1, 1]


def test_numbers_as_dynamodb_has_them_are_summed_exactly():
    numbers = [Decimal("1E+125"), Decimal("1E-130"), Decimal("-1E+125")]
    assert folds.sum_of(lambda number: number).of(numbers) == Decimal("1E-130")
    assert folds.mean(lambda number: number).of([Decimal("0.1"), Decimal("0.2")]) == Decimal("0.15")


def test_of_equal_ones_the_latest_is_the_one_that_came_last():
    assert folds.latest(by=lambda item: item[0]).of([(1, "a"), (1, "b"), (0, "c")]) == (1, "b")


def test_none_is_a_value():
    assert folds.latest().of([1, None]) is None
