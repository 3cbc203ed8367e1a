"""Random shard trees and what happens to them: strategies for Hypothesis, and how to play them out."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from reactivex.testing import TestScheduler
from support.reading import StaleListing

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
