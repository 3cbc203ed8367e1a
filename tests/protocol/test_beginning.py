"""Where a run begins: what "latest" means, and what an earlier run has kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rxddbstream.model.position import After, AtTime, Latest, TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.beginning import Beginning, Kept

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MORNING = NOON - timedelta(hours=3)

OPEN, CLOSED = Shard("open"), Shard("closed", ending_sequence_number="7")
SHARDS = [CLOSED, OPEN]


def test_latest_is_the_time_of_the_first_listing_wherever_it_must_be_named_again() -> None:
    beginning = Beginning.of(Latest(), Kept(), SHARDS, NOON)
    assert beginning.start == Latest()
    assert beginning.fixed(Latest()) == AtTime(NOON)


@pytest.mark.parametrize("position", [TrimHorizon(), After("7"), AtTime(MORNING)])
def test_all_other_positions_name_their_place_themselves(position) -> None:
    assert Beginning.of(Latest(), Kept(), SHARDS, NOON).fixed(position) is position


def test_a_first_listing_that_came_late_makes_latest_the_time_of_subscribing() -> None:
    beginning = Beginning.of(Latest(), Kept(), SHARDS, NOON).answered_late(timedelta(seconds=90))
    subscribed = NOON - timedelta(seconds=90)
    assert (beginning.start, beginning.began) == (AtTime(subscribed), subscribed)
    # By then it may not have been closed: what it has since is to be read, and its loss to be told.
    assert not beginning.closed_before


def test_what_was_closed_is_known_where_the_late_listing_took_no_time() -> None:
    beginning = Beginning.of(Latest(), Kept(), SHARDS, NOON).answered_late(timedelta())
    assert beginning.start == AtTime(NOON)
    assert set(beginning.closed_before) == {"closed"}


@pytest.mark.parametrize("start", [TrimHorizon(), AtTime(MORNING)])
def test_a_late_listing_is_none_to_other_starts(start) -> None:
    beginning = Beginning.of(start, Kept(), SHARDS, NOON)
    assert beginning.answered_late(timedelta(seconds=90)) == beginning


def test_what_was_kept_comes_before_what_is_asked_for() -> None:
    kept = Kept(start=AtTime(MORNING), began=MORNING, seen=NOON - timedelta(minutes=5))
    beginning = Beginning.of(Latest(), kept, SHARDS, NOON)
    assert (beginning.start, beginning.began, beginning.listed_at) == (AtTime(MORNING), MORNING, NOON)
    assert not beginning.closed_before  # it may have been open when the consumer began


def test_a_first_run_knows_what_was_closed_before_it() -> None:
    assert set(Beginning.of(TrimHorizon(), Kept(), SHARDS, NOON).closed_before) == {"closed"}


def test_a_first_run_keeps_what_latest_means_for_every_shard() -> None:
    first = Beginning.of(Latest(), Kept(), SHARDS, NOON).to_keep(SHARDS, {"open": Latest()})
    assert first == Kept(start=AtTime(NOON), began=NOON, shards={"closed": None, "open": AtTime(NOON)})


def test_any_other_start_needs_no_position_of_its_shards() -> None:
    first = Beginning.of(TrimHorizon(), Kept(), SHARDS, NOON).to_keep(SHARDS, {"open": TrimHorizon()})
    assert first == Kept(start=TrimHorizon(), began=NOON)


def test_shards_of_which_something_may_have_been_missed_since_the_last_run() -> None:
    shards = [
        Shard("stopped in"),
        Shard("ended", ending_sequence_number="7"),
        Shard("came since", parent_id="ended"),
        Shard("waits", parent_id="stopped in"),  # is no older than what its parent still has
    ]
    kept = Kept(
        began=MORNING, seen=MORNING, shards={"stopped in": After("7"), "ended": None, "gone": After("3")}
    )
    beginning = Beginning.of(Latest(), kept, shards, NOON)
    assert beginning.last_answers.keys() == {"stopped in", "ended", "came since", "gone"}
    assert set(beginning.last_answers.values()) == {MORNING}


def test_a_consumer_that_was_never_seen_has_no_last_answers() -> None:
    assert Beginning.of(TrimHorizon(), Kept(shards={"open": After("7")}), SHARDS, NOON).last_answers == {}
