"""Random trees, faults and crashes, in virtual time: nothing is lost, and little comes twice."""

from __future__ import annotations

import logging

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings
from support.histories import begin, covers_the_hash_space, happen, histories, history, lags, stale
from support.reading import Mortal, Reader, ids

import rxddbstream as rxd
from rxddbstream.testing import Faults

PERIOD = Mortal.period


@pytest.fixture(scope="module", autouse=True)
def no_log():
    """Thousands of faults make as many lines."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


faults = st.builds(
    Faults,
    seed=st.integers(0, 1000),
    throttle=st.sampled_from([0.0, 0.1, 0.3]),
    server_error=st.sampled_from([0.0, 0.1]),
    reset=st.sampled_from([0.0, 0.1]),
    timeout=st.sampled_from([0.0, 0.1]),
    truncate=st.sampled_from([0.0, 0.1, 0.3]),
    expire_after=st.sampled_from([None, 0.5, 60.0]),
)

streams = st.fixed_dictionaries(
    {
        "page_size": st.sampled_from([1, 3, 1000]),
        "listing_delay": st.sampled_from([0.0, 20.0]),
        "empty_pages": st.sampled_from([0, 2]),
        "records_with_last_page": st.booleans(),
        "supports_shard_filter": st.booleans(),
        "supports_at_timestamp": st.booleans(),
        "faults": faults,
    }
)

happenings = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.3, 2.0, 7.0, 90.0]),
        st.sampled_from(["put", "put", "put", "remove", "split", "roll over all", "crash", "stop"]),
        st.integers(0, 11),
    ),
    max_size=40,
)


class Consumer:
    """One consumer in several runs."""

    def __init__(self, sim, scheduler, client, start):
        self._begin = lambda store: Reader(sim, scheduler, {"start": start, "checkpoints": store}, client)
        self._scheduler = scheduler
        self._kept = rxd.MemoryCheckpoints()
        self._delivered_at: dict[str, float] = {}
        self.runs: list[Reader] = []
        self._crashes: list[float] = []
        self._start_run()

    def crash(self):
        self._store.alive = False
        self._end_run()
        self._crashes.append(self._scheduler.now.timestamp())
        self._start_run()

    def stop(self):
        self._end_run()
        self._start_run()

    def _start_run(self):
        self._store = Mortal(self._kept)
        self.runs.append(self._begin(self._store))

    def _end_run(self):
        self.runs[-1].subscription.dispose()
        self.check_run()

    def check_run(self):
        """What this run delivered again was last delivered in the period before a crash."""
        run = self.runs[-1]
        assert run.error is None
        for event_id in run.ids:
            before = self._delivered_at.get(event_id)
            assert before is None or any(at - PERIOD <= before <= at for at in self._crashes)
        self._delivered_at.update(zip(run.ids, run.times, strict=True))

    @property
    def delivered(self):
        return set(self._delivered_at)


# Four calls in five fail, and ten cut answers in a row were taken for the end of a closed shard.
CUT_ANSWERS = {
    "parents": [None, None, None, 0, 3, None, None, None, None],
    "options": {
        "page_size": 1,
        "listing_delay": 20.0,
        "empty_pages": 0,
        "records_with_last_page": False,
        "supports_shard_filter": False,
        "supports_at_timestamp": True,
        "faults": Faults(seed=4, throttle=0.3, reset=0.1, timeout=0.1, truncate=0.3, expire_after=0.5),
    },
    "history": [(0, 3), (0, 3), (6, 2), (8, 0)],
    "happenings": [
        (0.0, "put", 4),
        (0.0, "remove", 3),
        (2.0, "put", 10),
        (0.3, "split", 6),
        (0.3, "remove", 8),
        (0.3, "split", 5),
        (0.3, "put", 4),
        (0.0, "crash", 6),
        (0.0, "put", 2),
        (7.0, "roll over all", 9),
        (0.0, "roll over all", 5),
        (2.0, "split", 10),
        (0.3, "crash", 11),
        (0.3, "put", 9),
        (90.0, "put", 0),
        (0.0, "put", 3),
        (2.0, "crash", 8),
        (7.0, "put", 6),
        (0.0, "roll over all", 5),
    ],
    "hidden": [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    "start": "trim_horizon",
}


@pytest.mark.system
@pytest.mark.timeout(900)  # to find the smallest failing case takes minutes, and must not be interrupted
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(**CUT_ANSWERS)
@given(histories(), streams, history, happenings, lags, st.sampled_from(["trim_horizon", "latest"]))
def test_nothing_is_lost_and_little_comes_twice(parents, options, history, happenings, hidden, start):
    scheduler, sim = begin(parents, False, options, history)
    before = 0 if start == "trim_horizon" else len(sim.records)
    consumer = Consumer(sim, scheduler, stale(sim, scheduler, hidden, []), start)
    if start == "latest":
        # With calls that fail, the end of the stream is marked when the first ones have passed.
        scheduler.advance_by(600)
        before = len(sim.records)
    assert covers_the_hash_space(sim)
    for delay, what, number in happenings:
        match what:
            case "crash":
                consumer.crash()
            case "stop":
                consumer.stop()
            case _:
                happen(sim, scheduler, what, number)
        if delay:
            scheduler.advance_by(delay)
    written = set(ids(sim.records[before:]))
    for _ in range(1000):  # minutes: nine calls in ten may fail
        scheduler.advance_by(60)
        if written <= consumer.delivered | set(consumer.runs[-1].ids):
            break
    consumer.stop()

    assert written <= consumer.delivered
    order = {record["eventID"]: n for n, record in enumerate(sim.records)}
    for run in consumer.runs:
        assert len(set(run.ids)) == len(run.ids)
        for item in by_item_ids(run.records).values():
            assert item == sorted(item, key=order.__getitem__)
    consumer.runs[-1].subscription.dispose()


def by_item_ids(records):
    items = {}
    for record in records:
        items.setdefault(str(record["dynamodb"]["Keys"]), []).append(record["eventID"])
    return items
