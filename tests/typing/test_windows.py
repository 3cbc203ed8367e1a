"""What type checkers infer of windows; read by mypy --strict and pyright, and run by pytest."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import assert_type

from reactivex import Observable
from reactivex import operators as ops
from reactivex.subject import Subject

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.testing import SimulatedStream


def changes() -> Observable[rxd.Change]:
    return rxd.changes("orders", client=SimulatedStream().client)


def product(change: rxd.Change) -> str:
    return str((change.new_image or {})["product"])


def amount(change: rxd.Change) -> Decimal:
    return Decimal((change.new_image or {})["amount"])


def quantity(change: rxd.Change) -> int:
    return int((change.new_image or {})["quantity"])


def test_a_ready_fold_by_key() -> None:
    counts = changes().pipe(dops.fold_window(dops.tumbling(60), key=product, fold=dops.count()))
    assert_type(counts, Observable[dops.WindowResult[str, int]])
    without_pipe = dops.fold_window(dops.tumbling(60), key=product, fold=dops.count())(changes())
    assert_type(without_pipe, Observable[dops.WindowResult[str, int]])


def test_without_a_key_it_is_none() -> None:
    counts = changes().pipe(dops.fold_window(dops.sliding(60, every=10), fold=dops.count()))
    assert_type(counts, Observable[dops.WindowResult[None, int]])
    windows = changes().pipe(dops.window(dops.session(30)))
    assert_type(windows, Observable[dops.Window[None]])


def test_what_a_getter_returns_is_the_value() -> None:
    total = dops.sum_of(amount)
    sums = changes().pipe(dops.fold_window(dops.tumbling(60), key=product, fold=total))
    assert_type(sums, Observable[dops.WindowResult[str, Decimal]])
    least = changes().pipe(dops.fold_window(dops.tumbling(60), fold=dops.minimum(quantity)))
    assert_type(least, Observable[dops.WindowResult[None, int]])
    means = changes().pipe(dops.fold_window(dops.tumbling(60), fold=dops.mean(quantity)))
    assert_type(means, Observable[dops.WindowResult[None, float]])
    products = changes().pipe(dops.fold_window(dops.tumbling(60), fold=dops.distinct_count(product)))
    assert_type(products, Observable[dops.WindowResult[None, int]])


def test_the_key_is_what_its_function_returns() -> None:
    by_both = dops.fold_window(
        dops.tumbling(60), key=lambda change: (product(change), quantity(change)), fold=dops.count()
    )
    assert_type(changes().pipe(by_both), Observable[dops.WindowResult[tuple[str, int], int]])


def test_a_fold_of_ones_own() -> None:
    def add(total: Decimal, change: rxd.Change) -> Decimal:
        return total + amount(change)

    sums = changes().pipe(dops.fold_window(dops.tumbling(60), key=product, seed=Decimal, fold=add))
    assert_type(sums, Observable[dops.WindowResult[str, Decimal]])
    of_all = changes().pipe(dops.fold_window(dops.tumbling(60), seed=Decimal, fold=add))
    assert_type(of_all, Observable[dops.WindowResult[None, Decimal]])


def test_a_result() -> None:
    result = dops.WindowResult("tea", datetime.min, datetime.max, 1)
    key, start, end, value = result
    assert_type(key, str)
    assert_type(start, datetime)
    assert_type(end, datetime)
    assert_type(value, int)
    assert_type(result.value, int)


def test_a_window_is_an_observable_of_changes() -> None:
    windows = changes().pipe(dops.window(dops.tumbling(60), product))
    assert_type(windows, Observable[dops.Window[str]])

    def numbered(window: dops.Window[str]) -> Observable[tuple[str, int]]:
        def with_key(number: int) -> tuple[str, int]:
            return window.key, number

        return window.pipe(ops.count(), ops.map(with_key))

    assert_type(windows.pipe(ops.flat_map(numbered)), Observable[tuple[str, int]])


def test_late_takes_a_function_and_an_observer() -> None:
    # No assert: what is tested is that a type checker takes both, and that neither is refused.
    late: Subject[rxd.Change] = Subject()
    for observer in (late, print):
        dops.fold_window(dops.tumbling(60), fold=dops.count(), late=observer)
