"""`run`, `iterate`, `aiterate`: they begin at once, acknowledge late, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.scheduler import ImmediateScheduler
from reactivex.subject import ReplaySubject, Subject
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.checkpoints import acknowledgement
from rxddbstream.checkpoints.codec import from_text
from rxddbstream.checkpoints.frontier import Frontier
from rxddbstream.checkpoints.holding import defer
from rxddbstream.errors import AccessDenied
from rxddbstream.model.change import Change
from rxddbstream.model.position import After, TrimHorizon
from rxddbstream.scheduling.queue import BoundedQueue, Ended
from rxddbstream.testing import SimulatedStream

QUICK = rxd.Poll(fastest=0.01, slowest=0.05)


class Boom(Exception):
    pass


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rxddbstream")]


class SlowStore(rxd.MemoryCheckpoints):
    """Its last write takes a while."""

    closed = False

    def close(self, stream):
        time.sleep(0.1)
        self.closed = True


@pytest.fixture
def sim():
    return SimulatedStream()


@pytest.fixture
def store():
    return SlowStore(period=0.01, count=1)


@pytest.fixture
def source(sim, store):
    """All of the stream's changes, with checkpoints."""
    return rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, poll=QUICK)


def done(sim, store):
    """How many changes count as done, by what is kept."""
    position = from_text(store.load(sim.arn)[sim.shards[0].id])
    assert position is not None
    numbers = [record["dynamodb"]["SequenceNumber"] for record in sim.records]
    return numbers.index(position.sequence_number) + 1 if isinstance(position, After) else 0


def write(sim, count):
    for n in range(count):
        sim.put(n)


def write_once_subscribed(sim, count):
    """At the third poll; nothing can be disposed while `subscribe` has not returned."""

    def hook(operation, arguments):
        if sim.calls["GetRecords"] == 3 and not sim.records:
            write(sim, count)

    sim.before_call = hook


# --- run -------------------------------------------------------------------------------------------


def test_run_returns_after_the_last_checkpoint_on_completion(sim, store):
    write(sim, 5)
    seen = []
    source = rxd.changes(
        sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, poll=QUICK, follow=False
    )
    rxd.run(source, seen.append)
    assert store.closed
    assert len(seen) == 5
    assert done(sim, store) == 5
    wait_until(lambda: not ours())


def test_run_returns_after_the_last_checkpoint_on_an_error(sim, store, source):
    write(sim, 5)
    seen = []

    def observe(change):
        seen.append(change)
        if len(seen) == 3:
            raise Boom

    with pytest.raises(Boom):
        rxd.run(source, observe)
    assert store.closed
    assert done(sim, store) == 2
    wait_until(lambda: not ours())


def test_run_returns_after_the_last_checkpoint_when_an_operator_has_enough(sim, store, source):
    write_once_subscribed(sim, 5)
    rxd.run(source.pipe(ops.take(3)))
    assert store.closed
    assert done(sim, store) == 2  # take(3) ends it inside the third one's on_next
    wait_until(lambda: not ours())


def test_run_raises_what_an_observer_raised_on_a_timers_thread(sim, monkeypatch):
    # source  -x-------
    # buffer  -----[x]-     on the thread of the timer; the source hears nothing of it
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    write(sim, 1)

    def observe(buffer):
        raise Boom

    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    with pytest.raises(Boom):
        rxd.run(source.pipe(ops.buffer_with_time(0.05)), observe)
    wait_until(lambda: not ours())


def test_run_raises_what_subscribing_raises():
    def subscribe(observer, scheduler):
        raise Boom

    with pytest.raises(Boom):
        rxd.run(reactivex.create(subscribe))
    with pytest.raises(AttributeError, match=r"'NoneType' object has no attribute '(subscribe|pipe)'"):
        rxd.run(None)
    wait_until(lambda: not ours())


def test_run_without_an_observer_waits_for_the_end():
    seen = []
    rxd.run(reactivex.timer(0.01).pipe(ops.do_action(seen.append)))
    assert seen == [0]


# --- iterate ---------------------------------------------------------------------------------------


def test_iterate_subscribes_at_once(sim):
    changes = rxd.iterate(rxd.changes(sim.arn, client=sim.client, poll=QUICK))
    record = sim.put("written after iterate() has returned")
    assert next(changes).record == record
    changes.close()
    wait_until(lambda: not ours())


def test_iterate_gives_all_in_order_and_ends():
    assert list(rxd.iterate(reactivex.range(5000), max_pending=3)) == list(range(5000))
    assert list(rxd.iterate(reactivex.empty())) == []
    wait_until(lambda: not ours())


def test_a_loop_over_a_source_that_is_quiet_for_long_waits_on(monkeypatch):
    # source  -0------------------1-|
    # waits    |--- 1 s ---|---         each of which may end with nothing
    take, waits = BoundedQueue.take, []

    def wait_in_vain_first(pending, timeout):
        waits.append(timeout)
        if len(waits) % 2:
            raise queue.Empty
        return take(pending, timeout)

    monkeypatch.setattr(BoundedQueue, "take", wait_in_vain_first)
    assert list(rxd.iterate(reactivex.of(0, 1))) == [0, 1]
    assert len(waits) == 6


def test_leaving_by_break_disposes_and_the_change_it_was_left_at_is_not_done(sim, store, source):
    write(sim, 10)
    for number, _ in enumerate(rxd.iterate(source), start=1):
        if number == 4:
            break
    wait_until(lambda: not ours())
    assert store.closed
    assert done(sim, store) == 3


def test_leaving_by_an_exception_disposes_and_the_change_it_was_left_at_is_not_done(sim, store, source):
    write(sim, 10)
    with pytest.raises(Boom):  # noqa: PT012
        for number, _ in enumerate(rxd.iterate(source), start=1):
            if number == 4:
                raise Boom
    wait_until(lambda: not ours())
    assert done(sim, store) == 3


@pytest.mark.parametrize("taken", [0, 2])
def test_close_disposes(sim, store, source, taken):
    write(sim, 10)
    changes = rxd.iterate(source, max_pending=1)
    for _ in range(taken):
        next(changes)
    changes.close()
    wait_until(lambda: not ours())
    assert done(sim, store) == max(0, taken - 1)
    assert list(changes) == []


@pytest.fixture
def small_heap():
    """Collecting garbage takes no notice of what is there already; a failed test can leave 57 s of it."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_an_iterator_that_nobody_has_any_more_disposes(small_heap, source, sim):
    write(sim, 10)
    changes = rxd.iterate(source)
    next(changes)
    del changes
    gc.collect()
    wait_until(lambda: not ours())


def test_the_next_loop_goes_on_where_the_last_one_was_left(sim, source):
    write(sim, 10)
    seen = []
    for _ in range(3):
        for change in rxd.iterate(source):
            seen.append(int(change.keys["id"]))
            if len(seen) % 4 == 0:
                break
    assert seen == [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9]


def test_what_waits_when_the_source_has_enough_is_done_once_the_loop_had_it(sim, store, source):
    # source   -xxxxx|              take(5) ends at once
    # for      -x-----x-----x-----x-----x-|
    # done      0     1     2     3     4      the fifth when take(5) returns, which is too late
    write(sim, 10)
    positions = [change.origin.position for change in rxd.iterate(source.pipe(ops.take(5)))]
    assert isinstance(positions[-1], After)
    assert store.closed
    assert done(sim, store) == 4


def test_buffers_are_done_when_the_loop_comes_back(sim, store, source):
    write(sim, 10)
    held = source.pipe(dops.hold(), ops.buffer_with_count(2))
    for number, _ in enumerate(rxd.iterate(held.pipe(dops.release())), start=1):
        if number == 3:
            break
    assert done(sim, store) == 4


def test_the_streams_error_comes_after_what_is_pending():
    seen = []
    failing = reactivex.concat(reactivex.of(1, 2, 3), reactivex.throw(Boom()))
    with pytest.raises(Boom):
        seen.extend(rxd.iterate(failing))
    assert seen == [1, 2, 3]
    wait_until(lambda: not ours())


@pytest.mark.parametrize("error", [queue.Empty(), Ended(None), SystemExit(3), KeyboardInterrupt()])
def test_an_error_is_raised_whatever_its_kind(error):
    source = Subject()
    numbers = rxd.iterate(source)
    source.on_error(error)
    with pytest.raises(type(error)) as raised:
        next(numbers)
    assert raised.value is error


def test_a_source_that_fails(sim, source):
    write(sim, 3)
    changes = rxd.iterate(source)
    assert next(changes).record == sim.records[0]
    sim.script("GetRecords", "AccessDeniedException")
    seen = []
    with pytest.raises(AccessDenied):
        seen.extend(changes)
    assert [change.record for change in seen] == sim.records[1:]
    wait_until(lambda: not ours())


def test_the_source_waits_when_max_pending_wait():
    put, ahead = [], []
    source = reactivex.range(2000).pipe(ops.do_action(put.append))
    for seen, _ in enumerate(rxd.iterate(source, max_pending=10), start=1):
        ahead.append(len(put) - seen)
    assert len(put) == 2000
    assert max(ahead) <= 10 + 1  # and the one that waits for room


def test_a_source_that_gives_all_of_it_while_it_is_being_subscribed_to():
    """On the loop's own thread, where waiting for room would be waiting for itself."""
    at_once = reactivex.from_iterable(range(5000), scheduler=ImmediateScheduler())
    assert list(rxd.iterate(at_once, max_pending=1)) == list(range(5000))
    replayed = ReplaySubject()
    for number in range(5000):
        replayed.on_next(number)
    replayed.on_completed()
    assert list(rxd.iterate(replayed)) == list(range(5000))


def test_a_loop_may_feed_its_own_source():
    source, seen = Subject(), []
    numbers = rxd.iterate(source, max_pending=1)
    source.on_next(0)
    for number in numbers:
        seen.append(number)
        if number < 9:
            source.on_next(number + 1)
        else:
            source.on_completed()
    assert seen == list(range(10))


def test_what_iterate_cannot_subscribe_to_leaves_nothing_behind():
    with pytest.raises(AttributeError, match=r"'NoneType' object has no attribute '(subscribe|pipe)'"):
        next(rxd.iterate(None))
    with pytest.raises(ValueError, match="max_pending"):
        rxd.iterate(reactivex.of(1), max_pending=0)
    wait_until(lambda: not ours())


def test_two_loops_over_the_same_source_are_two_subscriptions(sim):
    write(sim, 3)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    one, other = rxd.iterate(source), rxd.iterate(source)
    pairs = [(next(one), next(other)) for _ in range(3)]
    assert all(first.record == second.record for first, second in pairs)
    one.close()
    other.close()


def test_the_error_of_a_handler_names_the_place_of_its_change(sim):
    sim.put("secret")

    def observe(change):
        raise Boom

    with pytest.raises(Boom) as caught:
        rxd.run(rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK), observe)
    (note,) = caught.value.__notes__
    record = sim.records[0]["dynamodb"]
    assert note == (
        f"It was raised when change {record['SequenceNumber']} of shard {sim.shards[0].id} was delivered."
    )


# --- the queue itself ------------------------------------------------------------------------------


def delivering(frontier, put, number):
    """What a delivery does with a change: it is done when `on_next` has returned."""
    change = Change({"dynamodb": {"SequenceNumber": str(10**20 + number)}}, "shard-1", frontier)
    frontier.current = change
    with acknowledgement.delivering(frontier):
        put(change)
    frontier.done = change


def test_a_change_that_is_dropped_because_the_taker_has_gone_is_not_done():
    """The taker goes first, the source is disposed after it: what comes between the two is lost, not done."""
    one, other = (Frontier(TrimHorizon()) for _ in range(2))
    pending = BoundedQueue(max_pending=1, defer=defer)
    delivering(one, pending.put, 1)  # the queue is full now
    thread = threading.Thread(target=delivering, args=(other, pending.put, 1), daemon=True)
    thread.start()  # waits for room, or finds the taker gone
    pending.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    delivering(other, pending.put, 2)
    assert one.position == other.position == TrimHorizon()


def test_an_element_that_is_done_after_the_taker_has_gone_is_not_released():
    frontier = Frontier(TrimHorizon())
    pending = BoundedQueue(max_pending=1, defer=defer)
    delivering(frontier, pending.put, 1)
    _, done = pending.take()
    pending.close()
    done()
    assert frontier.position == TrimHorizon()


# --- aiterate --------------------------------------------------------------------------------------


def test_aiterate_gives_all_in_order_and_ends():
    async def main():
        return [number async for number in rxd.aiterate(reactivex.range(3000), max_pending=3)]

    assert asyncio.run(main()) == list(range(3000))
    wait_until(lambda: not ours())


def test_the_event_loop_goes_on_while_aiterate_waits_for_a_change(sim):
    async def main():
        opened = asyncio.Event()
        loop = asyncio.get_running_loop()
        source = rxd.changes(
            sim.arn,
            client=sim.client,
            start="trim_horizon",
            poll=QUICK,
            events=lambda event: loop.call_soon_threadsafe(opened.set),
        )

        async def write_later():
            await opened.wait()  # another task makes progress, or nothing is ever written
            await asyncio.to_thread(sim.put, "item")

        writing = asyncio.create_task(write_later())
        async with contextlib.aclosing(rxd.aiterate(source)) as changes:
            async with asyncio.timeout(PATIENCE):
                change = await anext(changes)
            await writing
        assert change.keys["id"] == "item"

    asyncio.run(main())
    wait_until(lambda: not ours())


def test_the_event_loop_goes_on_while_aiterate_subscribes_and_disposes():
    subscribing, may_subscribe = threading.Event(), threading.Event()
    disposing, may_dispose = threading.Event(), threading.Event()

    def subscribe(observer, scheduler):
        subscribing.set()
        assert may_subscribe.wait(PATIENCE)
        observer.on_next(1)

        def dispose():
            disposing.set()
            assert may_dispose.wait(PATIENCE)

        return dispose

    async def let(reached, go):
        while not reached.is_set():
            await asyncio.sleep(0.001)
        go.set()

    async def main():
        helpers = [
            asyncio.create_task(let(subscribing, may_subscribe)),
            asyncio.create_task(let(disposing, may_dispose)),
        ]
        async with contextlib.aclosing(rxd.aiterate(reactivex.create(subscribe))) as numbers:
            async for number in numbers:
                assert number == 1
                break
        await asyncio.gather(*helpers)

    asyncio.run(main())


def test_aclosing_disposes_and_the_change_the_loop_was_left_at_is_not_done(sim, store, source):
    write(sim, 10)

    async def main():
        async with contextlib.aclosing(rxd.aiterate(source)) as changes:
            number = 0
            async for _ in changes:
                number += 1
                if number == 4:
                    break
        wait_until(lambda: not ours())
        assert store.closed

    asyncio.run(main())
    assert done(sim, store) == 3


def test_an_async_iterator_that_nobody_has_any_more_disposes(small_heap, sim, source):
    write(sim, 10)

    async def main():
        async for _ in rxd.aiterate(source):
            break
        gc.collect()
        async with asyncio.timeout(PATIENCE):
            while ours():
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_asyncio_run_disposes_what_was_left_open(sim, source):
    write(sim, 10)
    kept = []

    async def main():
        kept.append(rxd.aiterate(source))
        await anext(kept[0])

    asyncio.run(main())
    wait_until(lambda: not ours())


async def take_for_ever(source, seen):
    async for element in rxd.aiterate(source):
        seen.append(element)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_cancelling_during_the_very_first_waits(turns, sim, source):
    async def main():
        task = asyncio.create_task(take_for_ever(source, []))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        wait_until(lambda: not ours())

    asyncio.run(main())


def test_cancelling_while_it_subscribes_does_not_wait_for_a_call_that_hangs():
    subscribing, free, disposed = threading.Event(), threading.Event(), threading.Event()
    waited = []

    def subscribe(observer, scheduler):
        subscribing.set()
        waited.append(free.wait(PATIENCE))
        return disposed.set

    async def main():
        task = asyncio.create_task(take_for_ever(reactivex.create(subscribe), []))
        await asyncio.to_thread(subscribing.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    free.set()
    assert disposed.wait(PATIENCE)  # what comes of it in the end is disposed at once
    assert waited == [True]  # it was cancelled first, and freed then


def test_cancelling_twice_still_disposes(sim, store, source):
    write(sim, 10)

    async def main():
        seen = []
        task = asyncio.create_task(take_for_ever(source, seen))
        while not seen:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until(lambda: not ours())
    assert store.closed


def test_asyncio_timeout_ends_a_loop_that_waits(sim, source):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await take_for_ever(source, [])
        wait_until(lambda: not ours())

    asyncio.run(main())


def test_aiterate_raises_the_streams_error_after_what_is_pending():
    seen = []
    failing = reactivex.concat(reactivex.of(1, 2, 3), reactivex.throw(Boom()))
    with pytest.raises(Boom):
        asyncio.run(take_for_ever(failing, seen))
    assert seen == [1, 2, 3]
    wait_until(lambda: not ours())


@pytest.mark.parametrize("error", [queue.Empty(), Ended(None)])
def test_aiterate_raises_an_error_whatever_its_kind(error):
    with pytest.raises(type(error)):
        asyncio.run(take_for_ever(reactivex.throw(error), []))


def test_aiterate_raises_what_subscribing_raises():
    with pytest.raises(AttributeError, match=r"'NoneType' object has no attribute '(subscribe|pipe)'"):
        asyncio.run(take_for_ever(None, []))
    wait_until(lambda: not ours())


def test_aiterate_is_bounded():
    put, ahead = [], []

    async def main():
        source = reactivex.range(2000).pipe(ops.do_action(put.append))
        seen = 0
        async for _ in rxd.aiterate(source, max_pending=10):
            seen += 1
            ahead.append(len(put) - seen)

    asyncio.run(main())
    assert len(put) == 2000
    assert max(ahead) <= 10 + 1  # and the one that waits for room


def test_two_async_loops_share_an_event_loop(sim):
    write(sim, 50)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)

    async def take(count):
        return [change.record async for change in rxd.aiterate(source.pipe(ops.take(count)))]

    async def main():
        return await asyncio.gather(take(50), take(30))

    one, other = asyncio.run(main())
    assert one == sim.records
    assert other == sim.records[:30]


# --- Ctrl-C ----------------------------------------------------------------------------------------

SCRIPT = """
    import threading
    import rxddbstream as rxd
    from rxddbstream.testing import SimulatedStream

    class Store(rxd.MemoryCheckpoints):
        def close(self, stream):
            print("closed", len(self.load(stream)), flush=True)

    sim = SimulatedStream()
    sim.put("a")
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=Store())
    def left():
        ours = [thread for thread in threading.enumerate() if thread.name.startswith("rxddbstream")]
        for thread in ours:
            thread.join({patience})
        return [thread.name for thread in ours if thread.is_alive()]
    try:
        {body}
    except KeyboardInterrupt:
        print("interrupted", left(), flush=True)
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
@pytest.mark.parametrize(
    "body",
    [
        "for change in rxd.iterate(source): print('blocked', flush=True)",
        "rxd.run(source, lambda change: print('blocked', flush=True))",
    ],
    ids=["iterate", "run"],
)
def test_ctrl_c_ends_a_process_that_waits_for_a_change(body):
    code = textwrap.dedent(SCRIPT).replace("{body}", body).replace("{patience}", str(PATIENCE))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout.readline() == "blocked\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert out.splitlines() == ["closed 4", "interrupted []"]
    assert err == ""
    assert process.returncode == 0
