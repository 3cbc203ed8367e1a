"""What a consumer that was away is told: of a loss, and of none where there is none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.checkpoints import Own, subscribed
from support.reading import Reader, ids

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.checkpoints.codec import from_text
from rxddbstream.errors import DataTrimmed
from rxddbstream.testing import SimulatedStream


def test_a_loss_is_told_once_also_by_short_runs(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    options = {"follow": False, "on_gap": "skip"}
    sim.put("a")
    assert subscribed(sim, scheduler, store, **options).error is None
    scheduler.advance_by(10)
    sim.put("lost"), sim.roll_over()
    scheduler.advance_by(30 * 3600)
    sim.put("b"), sim.roll_over()
    sim.put("c")
    runs = []
    for _ in range(2):
        reader = subscribed(sim, scheduler, store, **options)
        scheduler.advance_by(20)
        assert reader.completed
        gaps = [event for event in reader.events if isinstance(event, rxd.Gap)]
        runs.append(([change.keys["id"] for change in reader.changes], len(gaps)))
    # Of the shard that is gone, and of the one that came after it.
    assert runs == [(["b", "c"], 2), ([], 0)]


AWAY_TOO_LONG = 26 * 3600
SELDOM = rxd.Poll(fastest=60, slowest=600)


def gaps_of(reader: Reader) -> list[rxd.Gap]:
    return [event for event in reader.events if isinstance(event, rxd.Gap)]


@pytest.mark.parametrize("start", ["latest", "trim_horizon"])
@pytest.mark.parametrize("rolled_over", [False, True])
def test_who_had_read_nothing_yet_and_was_away_for_too_long_is_told_so_each_time(
    scheduler, start, rolled_over
):
    # A position that is a time, or the trim horizon, the service moves up in silence.
    sim, store = SimulatedStream(scheduler=scheduler, shards=2), Own()
    first = subscribed(sim, scheduler, store, start=start, poll=SELDOM)
    scheduler.advance_by(3600)
    first.subscription.dispose()
    sim.put("lost")
    if rolled_over:
        sim.roll_over()
    scheduler.advance_by(AWAY_TOO_LONG)
    sim.put("a")
    for _ in range(2):
        strict = subscribed(sim, scheduler, store, start=start)
        scheduler.advance_by(100)
        assert isinstance(strict.error, DataTrimmed)
        assert strict.changes == []
    lenient = subscribed(sim, scheduler, store, start=start, on_gap="skip")
    scheduler.advance_by(100)
    lenient.subscription.dispose()
    assert lenient.error is None
    assert lenient.ids == ids(sim.records[1:])
    assert gaps_of(lenient)
    again = subscribed(sim, scheduler, store, start=start)
    scheduler.advance_by(100)
    assert again.error is None
    assert gaps_of(again) == []


@pytest.mark.parametrize("hours_alive", [1, 30])
@pytest.mark.parametrize("start", ["latest", "trim_horizon"])
def test_who_was_away_for_less_than_a_day_is_told_of_no_gap_however_old_its_position(
    scheduler, start, hours_alive
):
    sim, store = SimulatedStream(scheduler=scheduler, shards=2), Own()
    first = subscribed(sim, scheduler, store, start=start, poll=SELDOM)
    scheduler.advance_by(hours_alive * 3600)
    first.subscription.dispose()
    written = [sim.put("a"), sim.put("b")]
    scheduler.advance_by(23 * 3600)
    again = subscribed(sim, scheduler, store, start=start)
    scheduler.advance_by(100)
    assert again.error is None
    assert sorted(again.ids) == sorted(ids(written))


def test_a_change_that_was_held_from_the_beginning_and_is_gone_is_a_gap(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    source = rxd.changes(
        sim.arn,
        client=sim.client,
        scheduler=scheduler,
        start="trim_horizon",
        checkpoints=store,
        poll=SELDOM,
    )
    holding = source.pipe(dops.hold()).subscribe()
    scheduler.advance_by(600)
    sim.put("held")
    scheduler.advance_by(23 * 3600)
    holding.dispose()
    scheduler.advance_by(2 * 3600)  # away for two hours, but the change is older than a day
    again = subscribed(sim, scheduler, store)
    scheduler.advance_by(60)
    assert isinstance(again.error, DataTrimmed)


def test_an_idle_consumer_writes_once_a_minute_when_it_was_alive(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler, shards=2), Own()
    reader = subscribed(sim, scheduler, store)
    scheduler.advance_by(10)
    saves, events = store.log.count("save"), len(reader.events)
    scheduler.advance_by(3600)
    assert 55 <= store.log.count("save") - saves <= 61
    assert len(reader.events) == events  # no news
    kept = from_text(store.kept["*seen"])
    assert timedelta(0) <= scheduler.now - kept.time <= timedelta(seconds=70)


def test_a_consumer_that_kept_no_sign_of_life_resumes_all_the_same(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    subscribed(sim, scheduler, store).subscription.dispose()
    del store.kept["*seen"]  # one of an earlier release
    sim.put("a")
    again = subscribed(sim, scheduler, store)
    scheduler.advance_by(100)
    assert again.ids == ids(sim.records)
    assert "*seen" in store.kept
