"""Windows over several streams, and over a stream that is read anew while others go on."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex
from botocore.exceptions import ClientError
from reactivex import operators as ops
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError
from rxddbstream.testing import SimulatedStream

BEGAN = 1_000_020.0  # the start of a minute
WINDOWERS = {"tumbling": dops.tumbling(10), "sliding": dops.sliding(20, every=10), "session": dops.session(9)}


class Two:
    """Two streams, whose shards have the same names; each with a store."""

    def __init__(self) -> None:
        self.scheduler = TestScheduler()
        self.scheduler.advance_to(BEGAN)
        self.sims = [SimulatedStream(name, scheduler=self.scheduler) for name in ("orders", "returns")]
        self.stores = [rxd.MemoryCheckpoints(), rxd.MemoryCheckpoints()]

    def sources(self) -> list[Any]:
        return [
            rxd.changes(
                sim.arn,
                client=sim.client,
                scheduler=self.scheduler,
                start="trim_horizon",
                checkpoints=store,
            )
            for sim, store in zip(self.sims, self.stores, strict=True)
        ]

    def write(self, numbers: range, fails_at: int | None = None) -> None:
        for number in numbers:
            if number == fails_at:
                error: Any = {"Error": {"Code": "UnrecognizedClientException", "Message": "no"}}
                self.sims[0].script("GetRecords", ClientError(error, "GetRecords"))
            for sim in self.sims:
                sim.put(f"{sim.table_name} {number}")
            self.scheduler.advance_by(1)

    def left(self) -> set[str]:
        """What the stores do not say is done."""
        names: set[str] = set()
        for source in self.sources():
            with source.subscribe(lambda change: names.add(change.keys["id"])):
                self.scheduler.advance_by(10)
        return names


def names_in(windower: Any) -> Any:
    return dops.fold_window(windower, seed=tuple, fold=lambda names, change: (*names, change.keys["id"]))


def note(emitted: set[str]) -> Any:
    return lambda window: emitted.update(window.value)


def of(names: tuple[str, ...], numbers: range) -> set[str]:
    return {f"{name} {number}" for name in names for number in numbers}


@pytest.mark.parametrize("windower", WINDOWERS.values(), ids=WINDOWERS)
def test_each_stream_is_held_though_their_shards_have_the_same_names(windower):
    two, emitted = Two(), set()
    with reactivex.merge(*two.sources()).pipe(names_in(windower)).subscribe(note(emitted)):
        two.write(range(26))
    assert two.left() | emitted == of(("orders", "returns"), range(26))


@pytest.mark.parametrize("windower", WINDOWERS.values(), ids=WINDOWERS)
def test_what_is_read_anew_beside_another_stream_is_held_again(windower):
    two, emitted = Two(), set()
    orders, returns = two.sources()
    merged = reactivex.merge(orders.pipe(ops.retry()), returns)
    with merged.pipe(names_in(windower)).subscribe(note(emitted), scheduler=two.scheduler):
        two.write(range(28), fails_at=23)
    assert two.left() | emitted == of(("orders", "returns"), range(28))


def test_a_retry_of_all_streams_counts_each_change_once():
    two, counts = Two(), []
    windows = dops.fold_window(dops.tumbling(10), fold=dops.count())
    merged = reactivex.merge(*two.sources()).pipe(ops.retry())
    with merged.pipe(windows).subscribe(counts.append, scheduler=two.scheduler):
        two.write(range(60), fails_at=25)
    assert [window.value for window in counts] == [20] * len(counts)
    assert len(counts) == 5


def test_a_retry_of_one_of_several_is_refused_since_what_was_held_would_count_twice():
    # As docs/windows.md says: nobody can take out of a window what it has folded, and the other goes on.
    two, emitted, errors = Two(), set(), []
    orders, returns = two.sources()
    merged = reactivex.merge(orders.pipe(ops.retry()), returns).pipe(names_in(dops.tumbling(10)))
    with merged.subscribe(note(emitted), errors.append, scheduler=two.scheduler):
        two.write(range(60), fails_at=25)
    [error] = errors
    assert isinstance(error, ConfigurationError)
    assert "behind the merge" in str(error)
    assert two.left() | emitted == of(("orders", "returns"), range(60))
