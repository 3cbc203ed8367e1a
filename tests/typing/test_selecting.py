"""What type checkers infer of the operators that select changes; see `test_public_face`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, assert_type

from reactivex import Observable
from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.testing import SimulatedStream


def changes() -> Observable[rxd.Change]:
    return rxd.changes("orders", client=SimulatedStream().client)


def test_filters_keep_the_type() -> None:
    assert_type(changes().pipe(dops.where({"eventName": ["INSERT"]})), Observable[rxd.Change])
    assert_type(changes().pipe(dops.changed()), Observable[rxd.Change])
    assert_type(changes().pipe(dops.changed("status", ("lines", 0, "net.weight"))), Observable[rxd.Change])
    assert_type(changes().pipe(dops.distinct_event(), dops.hold()), Observable[rxd.Change])
    assert_type(changes().pipe(dops.distinct_event(60.0, max_events=10)), Observable[rxd.Change])


def test_a_diff() -> None:
    diffs = changes().pipe(dops.where({"eventName": ["MODIFY"]}), dops.diff())
    assert_type(diffs, Observable[dops.Diff])

    def never_run(diff: dops.Diff) -> None:
        assert_type(diff.change, rxd.Change)
        assert_type(diff.added, Mapping[str, Any])
        assert_type(diff.changed, Mapping[str, tuple[Any, Any]])

    assert callable(never_run)
    assert_type(diffs.pipe(dops.release()), Observable[dops.Diff])


def test_a_table() -> None:
    def letter(change: rxd.Change) -> str:
        return str(change.keys["id"])[0]

    assert_type(changes().pipe(dops.latest_by_key()), Observable[Mapping[Any, rxd.Change]])
    by_letter = changes().pipe(dops.latest_by_key(key=letter, ttl=timedelta(hours=1)))
    assert_type(by_letter, Observable[Mapping[str, rxd.Change]])
    assert_type(by_letter.pipe(ops.map(len)), Observable[int])
