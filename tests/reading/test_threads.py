"""Real threads: how many there are, and that they end; Ctrl-C; observers that raise or are slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.scheduler import CurrentThreadScheduler
from reactivex.subject import Subject
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError
from rxddbstream.reading import delivery
from rxddbstream.reading.progress import Progress
from rxddbstream.scheduling.pool import TimerPoolScheduler
from rxddbstream.testing import SimulatedStream, build_shards

QUICK = rxd.Poll(fastest=0.01, slowest=0.05)


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rxddbstream")]


def test_a_thousand_shards_are_served_by_few_threads_that_end_when_disposed():
    sim = SimulatedStream(shards=1000)
    before = threading.active_count()
    opened = set()
    changes = []
    source = rxd.changes(sim.arn, client=sim.client, events=lambda event: opened.add(event.shard.id))
    subscription = source.subscribe(changes.append)
    for n in range(3000):
        sim.put(f"item-{n}")
    wait_until(lambda: len(changes) == 3000)
    assert len(opened) == 1000
    assert threading.active_count() - before <= 16 + 4
    begun = time.thread_time()
    subscription.dispose()
    assert time.thread_time() - begun < 0.2
    wait_until(lambda: not ours())


def test_dispose_returns_at_once_while_every_worker_is_held_up():
    sim = SimulatedStream(shards=50)
    held, release = threading.Event(), threading.Event()
    waited = []

    def observe(change):
        held.set()
        waited.append(release.wait(PATIENCE))

    subscription = rxd.changes(sim.arn, client=sim.client, poll=QUICK).subscribe(observe)
    for n in range(500):
        sim.put(f"item-{n}")
    assert held.wait(PATIENCE)
    subscription.dispose()
    release.set()
    wait_until(lambda: not ours())
    assert waited == [True]  # it was disposed first, and released then


def test_discovery_goes_on_behind_a_held_up_observer():
    sim = SimulatedStream(shards=20)
    release = threading.Event()
    opened = []
    source = rxd.changes(sim.arn, client=sim.client, poll=QUICK, start="trim_horizon", events=opened.append)
    subscription = source.subscribe(lambda change: release.wait(PATIENCE))
    for n in range(500):
        sim.put(f"item-{n}")
    wait_until(lambda: len(opened) >= 20)
    release.set()
    subscription.dispose()


class Boom(Exception):
    pass


@pytest.mark.parametrize("error", [Boom("no"), SystemExit(7)])
def test_what_an_observer_raises_ends_the_stream_and_reaches_on_error(error):
    sim = SimulatedStream(shards=4)
    seen, errors = [], []

    def observe(change):
        seen.append(change)
        if len(seen) == 3:
            raise error

    subscription = rxd.changes(sim.arn, client=sim.client, poll=QUICK).subscribe(observe, errors.append)
    for n in range(100):
        sim.put(f"item-{n}")
    wait_until(lambda: errors)
    assert errors == [error]
    calls = sim.calls["GetRecords"]
    wait_until(lambda: not ours())
    assert len(seen) == 3
    assert sim.calls["GetRecords"] - calls <= 16  # those that were under way
    subscription.dispose()


def counted(shards):
    """Raises downstream of the end of a shard."""
    return shards.pipe(ops.flat_map(lambda shard: shard.pipe(ops.count())))


@pytest.mark.parametrize("error", [Boom("no"), SystemExit(7)])
@pytest.mark.parametrize("downstream", [True, False])
def test_what_is_raised_at_a_shards_end_ends_the_stream_and_reaches_on_error(error, downstream):
    sim = SimulatedStream()
    sim.put("item")
    errors = []

    def fail(*_):
        raise error

    shards = rxd.shards(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    if downstream:
        subscription = counted(shards).subscribe(fail, errors.append)
    else:
        subscription = shards.subscribe(
            lambda shard: shard.subscribe(lambda _: None, errors.append, fail), errors.append
        )
    sim.roll_over()
    wait_until(lambda: errors)
    assert errors == [error]
    wait_until(lambda: not ours())
    subscription.dispose()


def test_a_system_exit_of_an_observer_of_shards_ends_the_stream_and_reaches_on_error():
    sim = SimulatedStream()
    errors = []

    def subscribe_to(shard):
        if shard.shard.parent_id is not None:
            raise SystemExit(7)
        shard.subscribe()

    subscription = rxd.shards(sim.arn, client=sim.client, poll=QUICK).subscribe(subscribe_to, errors.append)
    sim.roll_over()
    wait_until(lambda: errors)
    assert [repr(error) for error in errors] == ["SystemExit(7)"]
    wait_until(lambda: not ours())
    subscription.dispose()


def test_without_on_error_it_is_an_uncaught_exception_of_the_thread(monkeypatch):
    caught = []
    monkeypatch.setattr(threading, "excepthook", lambda args: caught.append(args.exc_value))
    sim = SimulatedStream()

    def observe(change):
        raise Boom

    subscription = rxd.changes(sim.arn, client=sim.client, poll=QUICK).subscribe(observe)
    sim.put("item")
    wait_until(lambda: caught)
    assert isinstance(caught[0], Boom)
    wait_until(lambda: not ours())
    subscription.dispose()


@pytest.mark.parametrize("error", [Boom("no"), SystemExit(7)])
def test_run_raises_what_the_observer_raised(error):
    sim = SimulatedStream()
    sim.put("item")

    def observe(change):
        raise error

    with pytest.raises(type(error)) as raised:
        rxd.run(rxd.changes(sim.arn, client=sim.client, start="trim_horizon"), observe)
    assert raised.value is error
    wait_until(lambda: not ours())


def test_run_raises_the_streams_error_and_an_operators():
    sim = SimulatedStream()
    sim.put("item")
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon")
    with pytest.raises(ZeroDivisionError):
        rxd.run(source.pipe(ops.map(lambda change: 1 / 0)))
    with pytest.raises(Boom):
        rxd.run(reactivex.throw(Boom()))
    wait_until(lambda: not ours())


def test_an_events_observer_that_raises_ends_the_stream():
    sim = SimulatedStream()

    def watch(event):
        raise Boom

    with pytest.raises(Boom):
        rxd.run(rxd.changes(sim.arn, client=sim.client, events=watch))
    events = Subject()
    kinds = []
    events.subscribe(lambda event: kinds.append(type(event).__name__))
    sim.put("item")
    source = rxd.changes(sim.arn, client=sim.client, events=events, start="trim_horizon", follow=False)
    rxd.run(source)
    assert kinds == ["ShardOpened", "ShardClosed"]


def test_a_subscribe_that_never_returns_holds_up_the_first_page_alone(monkeypatch):
    monkeypatch.setattr(delivery, "OPENING_PATIENCE", PATIENCE / 500)
    sim = SimulatedStream(page_size=1)
    for n in range(1000):
        sim.put(n)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", follow=False)
    seen, over = [], threading.Event()

    def subscribe(*_):
        with source.subscribe(seen.append, on_completed=over.set):
            assert over.wait(PATIENCE)

    CurrentThreadScheduler.singleton().schedule(subscribe)
    assert len(seen) == 1000


def test_disposing_inside_on_next_delivers_nothing_more():
    sim = SimulatedStream()
    for n in range(50):
        sim.put(f"item-{n}")
    seen = []
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon")
    rxd.run(source.pipe(ops.take(7)), seen.append)
    assert len(seen) == 7
    wait_until(lambda: not ours())


def test_a_slow_observer_slows_polling_down_and_memory_stays_flat():
    sim = SimulatedStream(shards=build_shards(8), page_size=100)
    for n in range(100_000):
        sim.put(f"item-{n % 1000}")
    most_ahead = 0
    count = 0
    peaks = []

    def observe(change):
        nonlocal count, most_ahead
        count += 1
        most_ahead = max(most_ahead, sim.calls["GetRecords"] - count // 100)
        if count % 100 == 0:
            time.sleep(0.0005)
        if count % 10_000 == 0:
            peaks.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        rxd.run(rxd.changes(sim.arn, client=sim.client, start="trim_horizon", follow=False), observe)
    finally:
        tracemalloc.stop()
    assert count == 100_000
    # A page a worker, the pages being delivered, and the last ones, which may be short.
    assert most_ahead <= 8 * 2 + 16 + 8 * 21
    assert max(peaks) - min(peaks) < 2_000_000


# --- a scheduler that ends -----------------------------------------------------------------------------


def subscribed(source, **options):
    told, begun = [], threading.Event()
    source.subscribe(lambda _: begun.set(), told.append, lambda: told.append("completed"), **options)
    return told, begun


@pytest.mark.parametrize("given", ["to changes", "to subscribe"])
def test_a_subscription_is_told_that_its_scheduler_was_shut_down(given):
    sim = SimulatedStream()
    sim.put("item")
    pool = TimerPoolScheduler()
    options = {"scheduler": pool} if given == "to changes" else {}
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK, **options)
    told, begun = subscribed(
        source.pipe(ops.map(lambda change: change)), **({} if options else {"scheduler": pool})
    )
    assert begun.wait(PATIENCE)
    pool.shutdown(wait=PATIENCE)
    wait_until(lambda: told)
    assert isinstance(told[0], ConfigurationError)
    assert "the scheduler was shut down while" in str(told[0])
    assert "the scheduler was shut down: nothing" in str(subscribed(source, scheduler=pool)[0][0])


def test_what_is_in_hand_when_a_scheduler_is_shut_down_is_not_waited_for_and_tells_it_afterwards():
    sim = SimulatedStream()
    sim.put("item")
    sim.put("item")
    in_hand, go_on, told, seen = threading.Event(), threading.Event(), [], []

    def observe(change):
        seen.append(change)
        in_hand.set()
        assert go_on.wait(PATIENCE)

    pool = TimerPoolScheduler()
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    source.subscribe(observe, told.append, scheduler=pool)
    assert in_hand.wait(PATIENCE)
    pool.shutdown()
    assert told == []
    go_on.set()
    wait_until(lambda: told)
    assert isinstance(told[0], ConfigurationError)
    assert len(seen) == 1


def test_observe_on_is_told_that_its_scheduler_was_shut_down():
    sim = SimulatedStream()
    for _ in range(20):
        sim.put("item")
    pool = TimerPoolScheduler(1)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    elsewhere = source.pipe(dops.observe_on(pool, max_pending=2))
    told, begun = subscribed(elsewhere)
    assert begun.wait(PATIENCE)
    pool.shutdown()
    assert "of observe_on was shut down while" in str(told[0])
    assert "of observe_on was shut down" in str(subscribed(elsewhere)[0][0])


def test_an_error_that_comes_after_a_page_was_delivered_ends_the_stream(monkeypatch):
    def fail(self, *_):
        raise ZeroDivisionError

    monkeypatch.setattr(Progress, "read", fail)
    sim = SimulatedStream()
    sim.put("item")
    told, _ = subscribed(rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK))
    wait_until(lambda: told)
    assert isinstance(told[0], ZeroDivisionError)


SCRIPT = """
    import os
    import rxddbstream as rxd
    from rxddbstream.testing import SimulatedStream
    sim = SimulatedStream(shards=100)
    print("ready", flush=True)
"""


def start_python(body):
    code = f"PATIENCE = {PATIENCE}\n" + textwrap.dedent(SCRIPT) + textwrap.dedent(body)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.system
def test_ctrl_c_on_a_blocked_main_thread_ends_the_process():
    process = start_python("""
        import threading
        try:
            rxd.run(rxd.changes(sim.arn, client=sim.client, events=lambda e: print("opened")))
        except KeyboardInterrupt:
            left = [t for t in threading.enumerate() if t.name.startswith("rxddbstream")]
            for thread in left:
                thread.join(PATIENCE)
            print("interrupted", [t.name for t in left if t.is_alive()])
    """)
    with process:
        assert process.stdout.readline() == "opened\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert out.splitlines()[-1] == "interrupted []"
    assert err == ""


@pytest.mark.system
def test_a_process_that_is_done_does_not_wait_for_a_subscription():
    process = start_python("""
        import time
        rxd.changes(sim.arn, client=sim.client).subscribe(print)
        time.sleep(0.3)
        print("done")
    """)
    with process:
        assert process.stdout.readline() == "done\n"
        assert process.wait(PATIENCE) == 0


def test_one_page_is_fetched_while_another_one_is_delivered_and_no_more():
    sim = SimulatedStream(page_size=10)
    for n in range(50):
        sim.put("item", n=n)
    release, seen = threading.Event(), []

    def observe(change):
        seen.append(change.new_image["n"])
        release.wait(PATIENCE)

    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    with source.subscribe(observe):
        wait_until(lambda: sim.calls["GetRecords"] == 2)
        time.sleep(0.2)
        assert sim.calls["GetRecords"] == 2
        assert len(seen) == 1
        release.set()
        wait_until(lambda: len(seen) == 50)
    assert seen == list(range(50))


def test_a_page_that_was_fetched_ahead_is_dropped_when_the_observer_raises():
    sim = SimulatedStream(page_size=10)
    for n in range(50):
        sim.put("item", n=n)
    seen = []

    def observe(change):
        wait_until(lambda: sim.calls["GetRecords"] >= 2)
        seen.append(change)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        rxd.run(rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK), observe)
    assert len(seen) == 1


def test_fetching_overlaps_delivering():
    sim = SimulatedStream(page_size=10)
    for n in range(100):
        sim.put("item", n=n)
    delivered = []

    def observe(change):
        delivered.append(change)
        pages = (len(delivered) + 9) // 10
        wait_until(lambda: sim.calls["GetRecords"] > pages)  # or the next page is never asked for

    rxd.run(rxd.changes(sim.arn, client=sim.client, start="trim_horizon").pipe(ops.take(100)), observe)
    assert len(delivered) == 100


def test_behind_a_held_up_observer_there_is_one_page_a_worker_and_one_more_at_the_most():
    sim = SimulatedStream(shards=40, page_size=10)
    for n in range(4000):
        sim.put(f"item-{n}")
    held, release = threading.Event(), threading.Event()

    def observe(change):
        held.set()
        release.wait(PATIENCE)

    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    with source.subscribe(observe):
        assert held.wait(PATIENCE)
        time.sleep(0.3)
        assert source.statistics().records / 10 <= 16 + 1
        release.set()


@pytest.mark.system
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_scheduler_that_was_made_before_a_fork_says_so():
    process = start_python("""
        import warnings
        warnings.simplefilter("ignore")
        pool = rxd.TimerPoolScheduler(2)
        subscription = rxd.changes(sim.arn, client=sim.client, scheduler=pool).subscribe(print)
        if os.fork():
            os.wait()
            subscription.dispose()
        else:
            source = rxd.changes(sim.arn, client=sim.client, scheduler=pool)
            source.subscribe(print, lambda error: print("told", error))
            try:
                pool.schedule(print)
            except RuntimeError as error:
                print("raised", error)
            os._exit(0)
    """)
    with process:
        out, err = process.communicate(timeout=PATIENCE)
    told, raised = out.splitlines()
    assert told.startswith("told the scheduler was made before this process was forked")
    assert raised.startswith("raised the scheduler was made before this process was forked")
    assert err == ""
