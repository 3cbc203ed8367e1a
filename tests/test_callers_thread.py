"""`run` calls on the thread that called it, whatever the operators; time-based ones have their turn there."""

from __future__ import annotations

import contextvars
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler
from support.waiting import wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.scheduling.caller import CallerScheduler
from rxddbstream.testing import SimulatedStream

QUICK = rxd.Poll(fastest=0.01, slowest=0.05)
COUNT = 20
FEW = {"debounce", "windows", "windows of each shard"}  # of which one element comes before long


POOL = rxd.TimerPoolScheduler(4, name="mine")


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("rxddbstream")]


def stream(sim: SimulatedStream, **options: Any) -> Observable[rxd.Change]:
    return rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK, **options)


def per_shard(sim: SimulatedStream) -> Observable[rxd.Change]:
    found = rxd.shards(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    return found.pipe(ops.flat_map(lambda shard: shard))


def as_it_is(sim: SimulatedStream) -> Observable[Any]:
    return stream(sim)


PIPELINES: dict[str, Callable[[SimulatedStream], Observable[Any]]] = {
    "changes": as_it_is,
    "checkpoints": lambda sim: stream(sim, checkpoints=rxd.MemoryCheckpoints()),
    "a pool of one's own": lambda sim: stream(sim, scheduler=POOL),
    "shards": per_shard,
    "merged": lambda sim: reactivex.merge(stream(sim), stream(SimulatedStream())),
    "concat": lambda sim: reactivex.concat(reactivex.of(1), stream(sim)),
    "share": lambda sim: stream(sim).pipe(ops.share()),
    "publish": lambda sim: stream(sim).pipe(ops.publish(lambda each: each.pipe(ops.map(lambda it: it)))),
    "retry": lambda sim: failing_once(stream(sim)).pipe(ops.retry()),
    "group_by": lambda sim: stream(sim).pipe(
        ops.group_by(lambda it: it.keys["id"]), ops.flat_map(lambda it: it)
    ),
    "buffer_with_time": lambda sim: stream(sim).pipe(ops.buffer_with_time(0.02)),
    "debounce": lambda sim: stream(sim).pipe(ops.debounce(0.02)),
    "delay": lambda sim: stream(sim).pipe(ops.delay(0.02)),
    "timeout": lambda sim: reactivex.never().pipe(ops.timeout(0.05, stream(sim))),
    "windows": lambda sim: stream(sim).pipe(dops.fold_window(dops.tumbling(0.001), fold=dops.count())),
    "windows of each shard": lambda sim: rxd.shards(
        sim.arn, client=sim.client, start="trim_horizon", poll=QUICK
    ).pipe(
        ops.flat_map(
            lambda shard: shard.pipe(
                dops.fold_window(dops.tumbling(0.001), fold=dops.count(), name=shard.shard.id)
            )
        )
    ),
    "interval": lambda sim: reactivex.interval(0.01),
}


def failing_once(source: Observable[Any]) -> Observable[Any]:
    attempts = iter([reactivex.throw(ValueError())])
    return reactivex.defer(lambda _: next(attempts, source))


@pytest.mark.parametrize("name", PIPELINES)
def test_everything_is_observed_on_the_thread_that_called_run(name: str) -> None:
    sim, threads = SimulatedStream(shards=2), []
    for number in range(COUNT):
        sim.put(number)
    source = PIPELINES[name](sim).pipe(ops.do_action(lambda _: threads.append(threading.get_ident())))
    enough = 1 if name in FEW else 10
    rxd.run(source.pipe(ops.take(enough)), lambda _: threads.append(threading.get_ident()))
    assert len(threads) >= 2 * enough
    assert set(threads) == {threading.get_ident()}
    wait_until(lambda: not ours())


def test_the_connection_and_the_context_of_whoever_called_are_there() -> None:
    sim, database = SimulatedStream(), sqlite3.connect(":memory:")
    database.execute("CREATE TABLE figure (changes INTEGER, who TEXT)")
    who = contextvars.ContextVar("who", default="nobody")
    who.set("the caller")
    sim.put("a")
    windows = stream(sim).pipe(dops.fold_window(dops.tumbling(0.001), fold=dops.count()), ops.take(1))
    rxd.run(windows, lambda it: database.execute("INSERT INTO figure VALUES (?, ?)", (it.value, who.get())))
    assert database.execute("SELECT * FROM figure").fetchall() == [(1, "the caller")]


def test_what_waits_for_a_time_has_its_turn_between_two_changes_of_a_page() -> None:
    # changes           -a---b---c---d---e---f---g-      each takes a while; one page has them all
    # buffer_with_time  -----[ab]----[cd]----[ef]--
    sim, handled = SimulatedStream(), []
    for number in range(100):
        sim.put(number)
    slowly = stream(sim).pipe(ops.do_action(lambda change: time.sleep(0.01)))
    rxd.run(slowly.pipe(ops.buffer_with_time(0.05), ops.take(1)), handled.append)
    assert 0 < len(handled[0]) < 50


def test_an_operator_with_a_scheduler_of_its_own_goes_on_there() -> None:
    sim, threads = SimulatedStream(), []
    sim.put("a")
    scheduler = EventLoopScheduler()
    rxd.run(
        stream(sim).pipe(ops.take(1), dops.observe_on(scheduler)),
        lambda _: threads.append(threading.get_ident()),
    )
    scheduler.dispose()
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


def test_a_run_inside_of_another_ones_handler() -> None:
    outer, inner, seen = SimulatedStream(), SimulatedStream(), []
    outer.put("a")
    inner.put("b")

    def handle(change: rxd.Change) -> None:
        seen.append(change.keys["id"])
        rxd.run(stream(inner).pipe(ops.take(1)), lambda it: seen.append(it.keys["id"]))
        seen.append("over")

    rxd.run(stream(outer).pipe(ops.take(1)), handle)
    assert seen == ["a", "b", "over"]


def test_a_run_on_another_thread_than_the_main_one() -> None:
    sim, threads = SimulatedStream(), []
    sim.put("a")
    thread = threading.Thread(
        target=lambda: rxd.run(stream(sim).pipe(ops.take(1)), lambda _: threads.append(threading.get_ident()))
    )
    thread.start()
    thread.join()
    assert threads == [thread.ident]


def test_what_a_time_based_operators_function_raises_comes_out_of_run() -> None:
    def fail(_: Any) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        rxd.run(reactivex.never().pipe(ops.timeout(0.01, reactivex.of(1)), ops.do_action(fail)))


@pytest.mark.parametrize("grace", [-1, float("nan"), timedelta(seconds=-1)])
def test_a_grace_that_is_no_time_is_refused(grace: Any) -> None:
    from rxddbstream.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="grace="):
        rxd.run(reactivex.of(1), grace=grace)


class TestTheScheduler:
    def test_who_calls_is_let_go_when_nobody_serves_any_more(self) -> None:
        with rxd.TimerPoolScheduler(2) as pool:
            caller, seen = CallerScheduler(pool), []
            let_go = threading.Event()

            def call(*_: object) -> None:
                caller.call(lambda: seen.append("run"))
                let_go.set()

            pool.schedule(call)
            wait_until(lambda: caller._calls)
            caller.close()
            assert let_go.wait(10)
            caller.call(lambda: seen.append("here"))  # on the thread itself nobody need wait
            assert seen == ["here"]

    def test_an_exception_comes_out_of_serve_and_lets_who_called_go(self) -> None:
        with rxd.TimerPoolScheduler(2) as pool:
            caller, let_go = CallerScheduler(pool), threading.Event()

            def fail() -> None:
                raise ValueError("mine")

            def call(*_: object) -> None:
                caller.call(fail)
                let_go.set()

            pool.schedule(call)
            with pytest.raises(ValueError, match="mine"):
                caller.serve()
            assert let_go.wait(10)
            caller.close()
