"""Random shard trees, late listings, paging and interleavings, in virtual time."""

from __future__ import annotations

from datetime import timedelta

import hypothesis.strategies as st
from hypothesis import given
from support.histories import (
    begin,
    covers_the_hash_space,
    happen,
    happenings,
    histories,
    history,
    lags,
    several,
    short_lags,
    stale,
    streams,
)
from support.reading import assert_parents_first, by_item, ids, read


@several
@given(histories(), st.booleans(), streams, history, happenings, lags, lags)
def test_everything_is_delivered_once_and_in_order_from_trim_horizon(
    parents, orphaned, options, history, happenings, hidden, still_open
):
    scheduler, sim = begin(parents, orphaned, options, history)
    writes = covers_the_hash_space(sim)
    client = stale(sim, scheduler, hidden, still_open)
    reader = read(sim, scheduler, client=client, start="trim_horizon")
    for delay, what, number in happenings:
        if delay:
            scheduler.advance_by(delay)
        if writes:
            happen(sim, scheduler, what, number)
    scheduler.advance_by(600)

    assert reader.error is None
    assert sorted(reader.ids) == sorted(ids(sim.records))
    assert reader.by_item() == by_item(sim.records)
    assert_parents_first(reader.events, sim)
    assert set(reader.shards_opened()) == {shard.id for shard in sim.shards}
    reader.subscription.dispose()


@several
@given(histories(), streams, history, happenings, lags, lags)
def test_nothing_written_after_subscribing_to_latest_is_missed(
    parents, options, history, happenings, hidden, still_open
):
    scheduler, sim = begin(parents, False, options, history)
    before = len(sim.records)
    client = stale(sim, scheduler, hidden, still_open)
    reader = read(sim, scheduler, client=client, start="latest")
    for delay, what, number in happenings:
        happen(sim, scheduler, what, number)
        if delay:
            scheduler.advance_by(delay)
    scheduler.advance_by(600)

    assert reader.error is None
    after = ids(sim.records[before:])
    assert set(after) <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)
    if not options["listing_delay"] and not any(
        hidden[: len(parents)]
    ):  # a shard that was listed late is read from its beginning
        assert sorted(reader.ids) == sorted(after)
    for item, numbers in by_item(sim.records[before:]).items():
        assert [n for n in reader.by_item().get(item, []) if n in set(numbers)] == numbers
    passed_over = {shard.id for shard in sim.shards[: len(parents)]}
    assert_parents_first(reader.events, sim, passed_over)
    reader.subscription.dispose()


@several
@given(histories(), streams, history, happenings, short_lags, st.booleans())
def test_a_bounded_read_ends_with_everything_written_before(
    parents, options, history, happenings, still_open, busy
):
    scheduler, sim = begin(parents, False, options, history)
    for delay, what, number in happenings:
        happen(sim, scheduler, what, number)
        if delay:
            scheduler.advance_by(delay)
    scheduler.advance_by(60)
    before = ids(sim.records)
    client = stale(sim, scheduler, [], still_open)
    reader = read(sim, scheduler, client=client, start="trim_horizon", follow=False)
    for _ in range(100):
        if busy:  # somebody goes on writing
            sim.put("item-1")
        scheduler.advance_by(1)

    assert reader.error is None
    assert reader.completed
    assert set(before) <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)


@several
@given(histories(), streams, history, happenings, st.sampled_from([0.0, 5.0, 61.0, 1000.0]))
def test_a_start_in_time_delivers_what_was_written_since(parents, options, history, happenings, ago):
    scheduler, sim = begin(parents, False, options, history)
    for delay, what, number in happenings:
        happen(sim, scheduler, what, number)
        if delay:
            scheduler.advance_by(delay)
    since = scheduler.now - timedelta(seconds=ago)
    reader = read(sim, scheduler, start=timedelta(seconds=ago))
    sim.put("item-1")
    scheduler.advance_by(600)

    assert reader.error is None
    created = {r["eventID"]: r["dynamodb"]["ApproximateCreationDateTime"] for r in sim.records}
    # Rounded times stand for the whole unit they were rounded to.
    wanted = [id for id, at in created.items() if at >= since]
    assert set(wanted) <= set(reader.ids)
    assert all(created[id] > since - timedelta(minutes=1) for id in reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)
    reader.subscription.dispose()
