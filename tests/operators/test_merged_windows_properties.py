"""Whatever becomes of merged streams: each window has its changes, or they are late, or it is refused."""

from __future__ import annotations

import logging

import hypothesis.strategies as st
import reactivex
from hypothesis import HealthCheck, given, settings
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError
from rxddbstream.testing import SimulatedStream

BEGAN = 1_000_020.0  # the start of a minute
SIZE = 20


def failing_at(count):
    """It fails at its so manieth change, once."""
    left = [count]

    def fail(change):
        left[0] -= 1
        if left[0] == 0:
            raise KeyError("in passing")

    return ops.do_action(fail)


def merged(first, second, signal, number):
    return reactivex.merge(first, second)


def ended_behind(first, second, signal, number):
    return reactivex.merge(first, second).pipe(dops.take_until(signal))


def ended_before(first, second, signal, number):
    return reactivex.merge(first.pipe(dops.take_until(signal)), second.pipe(dops.take_until(signal)))


def so_many(first, second, signal, number):
    return reactivex.merge(first, second).pipe(ops.take(number))


def so_many_of_one(first, second, signal, number):
    return reactivex.merge(first.pipe(ops.take(number)), second)


def one_is_retried(first, second, signal, number):
    return reactivex.merge(first.pipe(failing_at(number), ops.retry()), second)


def both_are_retried(first, second, signal, number):
    return reactivex.merge(first, second).pipe(failing_at(number), ops.retry())


def an_error_is_handled(first, second, signal, number):
    return reactivex.merge(first, second.pipe(failing_at(number), ops.catch(reactivex.empty())))


def it_is_read_twice(first, second, signal, number):
    return reactivex.merge(first, second).pipe(dops.take_until(signal), ops.repeat(2))


SHAPES = [
    merged,
    ended_behind,
    ended_before,
    so_many,
    so_many_of_one,
    one_is_retried,
    both_are_retried,
    an_error_is_handled,
    it_is_read_twice,
]


class Consumer:
    """Runs of one consumer, who writes windows under their start."""

    def __init__(self, shards):
        self.scheduler = TestScheduler()
        self.scheduler.advance_to(BEGAN)
        self.sims = [
            SimulatedStream(name, scheduler=self.scheduler, shards=shards) for name in ("orders", "returns")
        ]
        self.stores = [rxd.MemoryCheckpoints() for _ in self.sims]
        self.written, self.late, self.errors = {}, set(), []
        self.count = 0

    def write(self, result):
        self.written[result.start.timestamp()] = set(result.value)

    def run(self, shape, number, doings):
        sources = [
            rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
            for sim, store in zip(self.sims, self.stores, strict=True)
        ]
        windows = dops.fold_window(
            dops.tumbling(SIZE),
            fold=dops.Fold(list, lambda ids, change: [*ids, change.keys["id"]], tuple),
            late=lambda change: self.late.add(change.keys["id"]),
        )
        signal = Subject()
        pipeline = shape(*sources, signal, number).pipe(windows)
        with pipeline.subscribe(self.take, self.errors.append, scheduler=self.scheduler):
            for which, pause in doings:
                for sim in self.sims if which == "both" else [self.sims[which]] if which in (0, 1) else []:
                    self.put(sim)
                if which == "end":
                    signal.on_next(None)
                if which == "roll over":
                    for sim in self.sims:
                        sim.roll_over()
                self.scheduler.advance_by(pause)

    def put(self, sim):
        self.count += 1
        sim.put(f"{sim.table_name} {self.count}")

    def take(self, result):
        assert len(set(result.value)) == len(result.value), "counted twice"
        self.write(result)

    @property
    def truth(self):
        windows = {}
        for record in (record["dynamodb"] for sim in self.sims for record in sim.records):
            start = record["ApproximateCreationDateTime"].timestamp() // SIZE * SIZE
            windows.setdefault(start, set()).add(record["Keys"]["id"]["S"])
        return windows


doings = st.lists(
    st.tuples(
        st.sampled_from(["both", "both", 0, 1, "end", "roll over"]), st.sampled_from([0, 0.5, 1, 3, 11, 30])
    ),
    max_size=20,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(SHAPES), st.integers(1, 15), doings), min_size=1, max_size=4),
    st.integers(1, 2),
)
def test_each_window_has_its_changes_whatever_becomes_of_its_streams(runs, shards):
    logging.disable(logging.WARNING)
    consumer = Consumer(shards)
    for shape, number, doings in runs:
        consumer.run(shape, number, doings)
    consumer.run(merged, 0, [("both", 1)] * 5 + [("none", 300)])
    logging.disable(logging.NOTSET)

    assert {type(error) for error in consumer.errors} <= {ConfigurationError}
    found = set().union(*consumer.written.values())
    for start, expected in consumer.truth.items():
        assert consumer.written.get(start, set()) == expected - (consumer.late - found)
