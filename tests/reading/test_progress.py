"""How far a reading has come: who waits for whom, and that threads which tell it at once lose nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.interleaving import at_once

from rxddbstream.errors import ConfigurationError
from rxddbstream.model.origin import WindowOperator
from rxddbstream.model.position import AtTime, TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.model.times import SETTLING
from rxddbstream.protocol.beginning import Beginning
from rxddbstream.protocol.lineage import Ready
from rxddbstream.reading.progress import ALIGNMENT, Progress
from rxddbstream.reading.statistics import Counts

BEGAN = datetime.fromtimestamp(1_000_000, UTC)
BEGINNING = Beginning(TrimHorizon(), BEGAN, BEGAN)
MINUTES = WindowOperator("minutes", "minutes", 60.0, 0.0)


def at(seconds):
    return BEGAN + timedelta(seconds=seconds)


def nobody():
    """Who is told the end."""


def opened(*names, alignment=None):
    progress = Progress(Counts(), alignment)
    open_shards(progress, *names)
    return progress


def open_shards(progress, *names, position=None):
    progress.opened([Ready(Shard(name), position or TrimHorizon()) for name in names], BEGINNING, BEGAN)


# --- who waits for whom ---------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "waits"), [(60.0, False), (60.001, True)])
def test_a_shard_waits_once_it_is_ahead_of_the_slowest_by_more_than_the_alignment(ahead, waits):
    progress = opened("fast", "slow", alignment=60.0)
    progress.read("slow", at(0), 0.0)
    progress.read("fast", at(ahead), 0.0)
    assert progress.must_wait("fast", pytest.fail) == waits
    assert not progress.must_wait("slow", pytest.fail)


def test_a_shard_that_waits_goes_on_as_soon_as_the_slowest_is_as_close_as_the_alignment():
    progress = opened("fast", "slow", alignment=60.0)
    progress.read("slow", at(0), 0.0)
    progress.read("fast", at(100), 0.0)
    gone_on = []
    assert progress.must_wait("fast", lambda: gone_on.append("fast"))
    progress.read("slow", at(39), 0.0)
    assert gone_on == []
    progress.read("slow", at(40), 0.0)
    assert gone_on == ["fast"]
    progress.read("slow", at(41), 0.0)
    assert gone_on == ["fast"]


def test_no_shard_waits_where_nothing_is_aligned():
    progress = opened("fast", "slow")
    progress.read("fast", at(1_000_000), 0.0)
    assert not progress.must_wait("fast", pytest.fail)


def test_shards_wait_for_the_slowest_no_more_when_the_last_window_operator_has_gone():
    progress = opened("fast", "slow")
    progress.begin_windows(MINUTES)
    stops = [progress.listen(lambda _: None, nobody), progress.listen(lambda value: None, nobody)]
    progress.read("slow", at(0), 0.0)
    progress.read("fast", at(ALIGNMENT + 1), 0.0)
    gone_on = []
    assert progress.must_wait("fast", lambda: gone_on.append("fast"))
    stops[0]()
    assert gone_on == []
    assert progress.must_wait("fast", lambda: gone_on.append("fast again"))
    stops[1]()
    assert gone_on == ["fast", "fast again"]
    assert not progress.must_wait("fast", pytest.fail)


def test_an_alignment_of_ones_own_stays_when_the_windows_have_gone():
    progress = opened("fast", "slow", alignment=10.0)
    progress.begin_windows(MINUTES)
    stop = progress.listen(lambda _: None, nobody)
    progress.read("slow", at(0), 0.0)
    progress.read("fast", at(11), 0.0)
    assert progress.must_wait("fast", pytest.fail)
    stop()
    assert progress.must_wait("fast", pytest.fail)


def test_the_watermark_stays_while_it_is_held_and_shards_that_are_read_wait_for_each_other_alone():
    progress = opened("fast", "slow", alignment=60.0)
    told, gone_on = [], []
    progress.read("slow", at(0), 0.0)
    progress.read("fast", at(1), 0.0)
    progress.hold(True)
    stop = progress.listen(told.append, lambda: None)
    progress.read("fast", at(100), 0.0)
    assert progress.must_wait("fast", lambda: gone_on.append("fast"))
    progress.read("slow", at(50), 0.0)
    assert gone_on == ["fast"]
    assert told == [at(0).timestamp()]
    assert progress.watermark == at(0)
    progress.hold(False)
    assert told == [at(0).timestamp(), at(50).timestamp()]
    assert progress.watermark == at(50)
    stop()


# --- told by several threads at once --------------------------------------------------------------

TOLD = {
    "read": lambda progress: progress.read("a", at(10), 0.0),
    "caught up": lambda progress: progress.caught_up("a", at(10 + SETTLING)),
    "ended": lambda progress: progress.ended("a", expects_children=False),
    "no child": lambda progress: progress.expect_no_child("a"),
    "opened": lambda progress: open_shards(progress, "c", position=AtTime(at(3))),
}


@pytest.mark.parametrize("first", TOLD)
def test_a_shard_that_is_found_at_that_moment_holds_the_watermark(first):
    def make():
        progress = opened("a", "b")
        progress.read("a", at(1), 0.0)
        progress.read("b", at(5), 0.0)
        if first == "no child":
            progress.ended("a", expects_children=True)

        def check():
            found = progress.watermark
            for name in "ab":
                if name in progress.lag:
                    progress.read(name, at(1000), 0.0)
            assert progress.watermark == found  # until the new one has come as far
            if first == "opened":
                progress.read("c", at(1000), 0.0)
            progress.read("new", at(100), 0.0)
            assert progress.watermark == at(100)

        return lambda: TOLD[first](progress), lambda: open_shards(progress, "new"), check

    at_once(make)


def test_a_shard_that_is_to_wait_at_the_moment_at_which_the_others_catch_up_goes_on():
    def make():
        progress = opened("fast", "slow", alignment=60.0)
        progress.read("slow", at(0), 0.0)
        progress.read("fast", at(100), 0.0)
        went = []

        def ask():
            if not progress.must_wait("fast", lambda: went.append("on")):
                went.append("at once")

        def check():
            assert len(went) == 1

        return ask, lambda: progress.read("slow", at(50), 0.0), check

    at_once(make)


def test_who_begins_to_listen_at_the_moment_at_which_the_watermark_moves_is_told_of_it():
    def make():
        progress = opened("a")
        progress.read("a", at(1), 0.0)
        told = []

        def check():
            assert max(told) == at(2).timestamp()

        return lambda: progress.listen(told.append, nobody), lambda: progress.read("a", at(2), 0.0), check

    at_once(make)


def test_who_begins_to_listen_at_the_moment_at_which_the_reading_ends_is_told_of_it():
    def make():
        progress = opened("a")
        ended = []

        def check():
            assert ended

        return lambda: progress.listen(bool, lambda: ended.append(True)), progress.end, check

    at_once(make)


def test_a_shard_that_waits_goes_on_once_when_two_others_catch_up_at_once():
    def make():
        progress = opened("fast", "slow", "slower", alignment=60.0)
        for name, seconds in ("slow", 0), ("slower", 0), ("fast", 100):
            progress.read(name, at(seconds), 0.0)
        gone_on = []
        assert progress.must_wait("fast", lambda: gone_on.append("fast"))
        progress.read("slower", at(50), 0.0)

        def check():
            assert gone_on == ["fast"]

        return lambda: progress.read("slow", at(50), 0.0), lambda: progress.read("slower", at(51), 0.0), check

    at_once(make)


def test_of_two_operators_of_one_name_that_begin_at_once_one_is_refused():
    def make():
        progress = Progress(Counts(), keeps_checkpoints=True)
        refused = []

        def begin():
            try:
                progress.begin_windows(MINUTES)
            except ConfigurationError as error:
                refused.append(error)

        def check():
            assert len(refused) == 1

        return begin, begin, check

    at_once(make)


def test_of_windows_that_are_emitted_at_once_the_later_end_is_kept():
    def make():
        progress = Progress(Counts(), keeps_checkpoints=True)

        def check():
            assert progress.emitted == {"minutes": 120.0}

        return (
            lambda: progress.emitted_windows("minutes", 60.0),
            lambda: progress.emitted_windows("minutes", 120.0),
            check,
        )

    at_once(make)
