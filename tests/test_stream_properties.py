"""Random shard trees, late listings, paging and interleavings, in virtual time."""

from __future__ import annotations

from datetime import timedelta

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from reactivex.testing import TestScheduler
from reading import StaleListing, assert_parents_first, by_item, ids, read

from rxddbstream.testing import SimulatedStream, build_shards

# What happens while somebody reads: (seconds since the last happening, what).
happenings = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.3, 1.0, 4.0, 30.0, 90.0]),
        st.sampled_from(["put", "put", "put", "remove", "split", "roll over one", "roll over all"]),
        st.integers(0, 11),
    ),
    max_size=40,
)


@st.composite
def histories(draw: st.DrawFn) -> list[int | None]:
    """Parents before children: each shard's parent, as an index, or None."""
    size = draw(st.integers(1, 10))
    parents: list[int | None] = []
    children: dict[int, int] = {}
    for index in range(size):
        free = [parent for parent in range(index) if children.get(parent, 0) < 2]
        parent = draw(st.sampled_from([None, *free]))
        if parent is not None:
            children[parent] = children.get(parent, 0) + 1
        parents.append(parent)
    return parents


streams = st.fixed_dictionaries(
    {
        "page_size": st.sampled_from([1, 3, 1000]),
        "listing_page_size": st.sampled_from([1, 2, 100]),
        "listing_delay": st.sampled_from([0.0, 0.5, 20.0]),
        "empty_pages": st.sampled_from([0, 1, 7]),
        "records_with_last_page": st.booleans(),
        "supports_shard_filter": st.booleans(),
        "supports_at_timestamp": st.booleans(),
        "whole_second_times": st.booleans(),
    }
)

several = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def begin(parents, orphaned, options, history):
    scheduler = TestScheduler()
    scheduler.advance_to(1_000_000.0)
    shards = build_shards(len(parents), parents)
    if orphaned:  # the oldest shard is trimmed; its children name a parent that is gone
        shards = shards[1:] or shards
    sim = SimulatedStream(scheduler=scheduler, shards=shards, **options)
    for which, key in history:
        shard = sim.shards[which % len(sim.shards)]
        sim.put_into(shard.id, f"{shard.id}/{key}")
    scheduler.advance_by(120)
    return scheduler, sim


def happen(sim, scheduler, what, number):
    open_shards = [shard for shard in sim.shards if not shard.is_closed]
    match what:
        case "put":
            sim.put(f"item-{number}", n=number)
        case "remove":
            sim.remove(f"item-{number}")
        case "split":
            sim.split(open_shards[number % len(open_shards)].id)
        case "roll over one":
            sim.roll_over(open_shards[number % len(open_shards)].id)
        case "roll over all":
            sim.roll_over()


def stale(sim, scheduler, hidden, still_open):
    now = scheduler.now.timestamp()
    shards = [shard.id for shard in sim.shards]
    return StaleListing(
        sim,
        scheduler,
        hidden={shard: now + lag for shard, lag in zip(shards, hidden, strict=False)},
        still_open={shard: now + lag for shard, lag in zip(shards, still_open, strict=False)},
    )


def covers_the_hash_space(sim):
    # A history without its root may leave a range of keys without an open shard.
    open_shards = sorted((s.low, s.high) for s in sim.shards if not s.is_closed)
    edges = [0, *(high for _, high in open_shards)]
    return (
        all(low == edge for (low, _), edge in zip(open_shards, edges, strict=False)) and edges[-1] == 2**128
    )


# For the shards of the history: how late they are listed, and how long a closed one is listed as open.
lags = st.lists(st.sampled_from([0.0, 0.0, 1.0, 70.0]), min_size=10, max_size=10)
short_lags = st.lists(st.sampled_from([0.0, 0.0, 1.0, 5.0]), max_size=20)
history = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=20)


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
