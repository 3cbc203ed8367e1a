"""hold, release, observe_on: what is kept for later, or for another thread, is not done before that.

In the drawings `x` is a change, `#` an error, and `done` how far the shard may be checkpointed.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler, ImmediateScheduler
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler
from support.interleaving import at_once
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.checkpoints.codec import from_text
from rxddbstream.errors import HeldTooLate
from rxddbstream.model.position import After
from rxddbstream.testing import SimulatedStream


class Boom(Exception):
    pass


class World:
    """A stream of one shard in virtual time, and how far its consumer is done."""

    def __init__(self):
        self.scheduler = TestScheduler()
        self.scheduler.advance_to(1_000_000.0)
        self.sim = SimulatedStream(scheduler=self.scheduler)
        self.store = rxd.MemoryCheckpoints(period=1.0, count=1)
        self.seen = []
        self.errors = []
        self.completed = False
        self.source = rxd.changes(
            self.sim.arn,
            client=self.sim.client,
            scheduler=self.scheduler,
            checkpoints=self.store,
            poll=rxd.Poll(fastest=0.5, slowest=1.0),
        )

    def read(self, *operators, on_next=None):
        def complete():
            self.completed = True

        return self.source.pipe(*operators).subscribe(
            on_next or self.seen.append, self.errors.append, complete
        )

    def write(self, count=1, then=5.0):
        for _ in range(count):
            self.sim.put("item")
        self.scheduler.advance_by(then)

    @property
    def done(self):
        """How many changes count as done, by what is kept."""
        position = from_text(self.store.load(self.sim.arn)[self.sim.shards[0].id])
        if not isinstance(position, After):
            return 0
        numbers = [record["dynamodb"]["SequenceNumber"] for record in self.sim.records]
        return numbers.index(position.sequence_number) + 1


@pytest.fixture
def world():
    return World()


# --- hold and release ------------------------------------------------------------------------------


def test_without_hold_a_buffer_is_done_before_anybody_has_seen_it(world):
    # source   -50x---------50x----------
    # buffer   -------------[100]--------
    # done     -50----------100----------   a crash at 50 would lose them: that is why hold() is there
    world.read(ops.buffer_with_count(100))
    world.write(50)
    assert world.seen == []
    assert world.done == 50


def test_a_buffer_is_done_when_it_was_released(world):
    # source    -99x----1x--------50x-----
    # hold()    -99x----1x--------50x-----
    # buffer    --------[100]-------------
    # release() --------[100]-------------
    # done      -0------100-------100-----
    world.read(dops.hold(), ops.buffer_with_count(100), dops.release())
    world.write(99)
    assert world.done == 0
    world.write(1)
    assert [len(buffer) for buffer in world.seen] == [100]
    assert world.done == 100
    world.write(50)
    assert world.done == 100
    world.write(151)
    assert world.done == 300


def test_a_buffer_is_not_done_while_its_observer_has_it(world):
    # buffer    --------[xx]--------
    # on_next           |---|
    # done      -0----------2-------
    positions = []
    world.read(
        dops.hold(),
        ops.buffer_with_count(2),
        dops.release(),
        on_next=lambda buffer: positions.append(buffer[0].origin.position),
    )
    world.write(2)
    assert not isinstance(positions[0], After)
    assert world.done == 2


def test_release_of_a_change_where_it_was_held(world):
    # hold()    -x-x-x---
    # release() -x-x-x---
    # done      -1-2-3---
    world.read(dops.hold(), dops.release())
    world.write(3)
    assert len(world.seen) == 3
    assert world.done == 3


def test_release_of_nested_lists(world):
    # buffer    ---[xx]---[xx]---------
    # buffer    ----------[[xx], [xx]]-
    # done      -0--------4------------
    world.read(dops.hold(), ops.buffer_with_count(2), ops.buffer_with_count(2), dops.release())
    world.write(3)
    assert world.done == 0
    world.write(2)
    assert world.done == 4


def test_release_of_what_an_element_was_made_from(world):
    # map       ---{count: 2, of: [xx]}---
    # done      -0-2----------------------
    world.read(
        dops.hold(),
        ops.buffer_with_count(2),
        ops.map(lambda buffer: {"count": len(buffer), "of": buffer}),
        dops.release(lambda element: element["of"]),
    )
    world.write(2)
    assert world.seen[0]["count"] == 2
    assert world.done == 2


def test_a_window_is_done_when_it_has_completed(world):
    # window    +--x-x-x|+-x------
    # count     --------3---------
    # done      -0------3--3------
    log = []
    world.read(
        dops.hold(),
        ops.window_with_count(3),
        dops.release(),
        ops.flat_map(lambda window: window.pipe(ops.map(log.append), ops.count())),
        on_next=lambda count: log.append((count, log[0].origin.position)),
    )
    world.write(2)
    assert world.done == 0
    world.write(2)
    count, position = log[3]
    assert count == 3
    assert not isinstance(position, After)  # it has been counted before it was done
    assert world.done == 3


def test_a_window_of_which_only_the_beginning_is_wanted_is_done_at_its_end_too(world):
    # window    +--x-x-x|
    # first     ---x|
    # done      -0-----3
    world.read(
        dops.hold(),
        ops.window_with_count(3),
        dops.release(),
        ops.flat_map(lambda window: window.pipe(ops.first())),
    )
    world.write(2)
    assert world.done == 0
    world.write(4)
    assert len(world.seen) == 2
    assert world.done == 6


def test_a_window_that_has_completed_is_forgotten(world):
    class Result:
        """What a window is of; it can be looked for."""

    source, known = Subject(), []
    source.pipe(ops.window_with_count(2), dops.release()).subscribe(lambda window: window.subscribe())
    for _ in range(10):
        result = Result()
        known.append(weakref.ref(result))
        source.on_next(result)
    del result
    gc.collect()
    assert [each() for each in known] == [None] * 10


def test_a_window_that_nobody_wants_is_done_at_its_end(world):
    world.read(dops.hold(), ops.window_with_count(3), dops.release(), ops.ignore_elements())
    world.write(5)
    assert world.done == 3


def test_release_passes_windows_on_as_they_are(world):
    # group_by  +(key: item)--x-x-------     a group has a key, and goes on having it
    world.read(
        dops.hold(),
        ops.group_by(lambda change: change.keys["id"]),
        dops.release(),
        ops.map(lambda group: group.key),
    )
    world.write(1)
    assert world.seen == ["item"]


def test_disposing_with_a_window_open_stops_all_calls(world):
    subscription = world.read(dops.hold(), ops.window_with_count(3), dops.release())
    world.write(1)
    subscription.dispose()
    calls = world.sim.calls.total()
    world.scheduler.advance_by(100)
    assert world.sim.calls.total() == calls
    assert world.done == 0


def test_an_async_map_that_ends_out_of_order(world):
    # hold()    -x1--x2--x3-------------
    # async     ---------x2---x3---x1---
    # done      -0-------0----0----3----
    futures = {}

    def start(change):
        future = futures[change.sequence_number] = Future()
        return reactivex.from_future(future).pipe(ops.map(lambda _: change))

    world.read(dops.hold(), ops.flat_map(start), dops.release())
    world.write(3)
    first, second, third = futures.values()
    second.set_result(None)
    third.set_result(None)
    world.scheduler.advance_by(5)
    assert len(world.seen) == 2
    assert world.done == 0
    first.set_result(None)
    world.scheduler.advance_by(5)
    assert len(world.seen) == 3
    assert world.done == 3


def test_delays_out_of_order(world):
    # hold()    -x1-x2---------------
    # delay     ----------x2-----x1--      10 s for the first, 3 s for the second
    # done      -0--------0------2---
    delays = iter([10.0, 3.0])
    world.read(
        dops.hold(),
        ops.flat_map(
            lambda change: reactivex.just(change).pipe(ops.delay(next(delays), scheduler=world.scheduler))
        ),
        dops.release(),
    )
    world.write(2, then=5.0)
    assert len(world.seen) == 1
    assert world.done == 0
    world.scheduler.advance_by(10.0)
    assert world.done == 2


def test_an_async_step_that_fails_is_not_done(world):
    # hold()    -x1--x2--x3---
    # async     -x1--#
    # done      -1------------
    def work(change):
        if len(world.seen) == 1:
            return reactivex.throw(Boom())
        return reactivex.just(change)

    world.read(dops.hold(), ops.flat_map(work), dops.release())
    world.write(3)
    assert [type(error) for error in world.errors] == [Boom]
    assert world.done == 1


def test_an_operator_that_fails_behind_release_is_not_done(world):
    # buffer    -[xx]-[xx]----
    # map       -[xx]-#
    # done      -2------------
    def work(buffer):
        if world.seen:
            raise Boom
        return buffer

    world.read(dops.hold(), ops.buffer_with_count(2), dops.release(), ops.map(work))
    world.write(5)
    assert [type(error) for error in world.errors] == [Boom]
    assert world.done == 2


def test_hold_behind_a_buffer_is_too_late(world):
    # buffer    -[xxx]---
    # hold()    -#
    world.read(ops.buffer_with_count(3), dops.hold(), dops.release())
    world.write(3)
    assert world.seen == []
    assert isinstance(world.errors[0], HeldTooLate)
    place = f"change {world.sim.records[0]['dynamodb']['SequenceNumber']} of shard {world.sim.shards[0].id}"
    assert str(world.errors[0]).startswith(f"a list of 3 changes (the first: {place}) was handed over before")


def test_hold_behind_a_delay_is_too_late_and_says_what_to_do(world):
    # source    -x-------
    # delay     ------x--
    # hold()    ------#
    world.read(ops.delay(3.0, scheduler=world.scheduler), dops.hold(), dops.release())
    world.write(1, then=10.0)
    assert world.seen == []
    (error,) = world.errors
    assert isinstance(error, HeldTooLate)
    place = f"change {world.sim.records[0]['dynamodb']['SequenceNumber']} of shard {world.sim.shards[0].id}"
    assert str(error).startswith(f"{place} was handed over before it was held")
    assert "put hold() before" in str(error)
    calls = world.sim.calls.total()
    world.scheduler.advance_by(100)
    assert world.sim.calls.total() == calls


def test_a_filter_before_hold_needs_no_care(world):
    # source    -a-b-a-b-----
    # filter    -a---a-------
    # buffer    -----[aa]----
    # done      -----3-4-----
    kept = iter([True, False, True, False])
    world.read(ops.filter(lambda change: next(kept)), dops.hold(), ops.buffer_with_count(2), dops.release())
    world.write(2)
    assert world.done == 0
    world.write(2)
    assert world.done == 4


def test_a_filter_behind_hold_keeps_all_that_follows_from_being_done(world):
    # hold()    -a-b-a-b-----
    # filter    ---b-a-b-----
    # release() ---b-a-b-----
    # done      -0-----------     which is why it belongs before hold()
    kept = iter([False, True, True, True])
    world.read(dops.hold(), ops.filter(lambda change: next(kept)), dops.release())
    world.write(4)
    assert len(world.seen) == 3
    assert world.done == 0


def test_two_holds_need_two_releases(world):
    # hold()    -x-x---
    # hold()    -x-x---
    # release() -x-x---     done: 0
    # release() -x-x---     done: 2
    world.read(dops.hold(), dops.hold(), dops.release())
    world.write(2)
    assert world.done == 0

    twice = World()
    twice.read(dops.hold(), dops.hold(), dops.release(), dops.release())
    twice.write(2)
    assert twice.done == 2


def test_hold_and_release_without_checkpoints_do_nothing():
    scheduler = TestScheduler()
    sim = SimulatedStream(scheduler=scheduler)
    seen, errors = [], []
    rxd.changes(sim.arn, client=sim.client, scheduler=scheduler).pipe(
        ops.buffer_with_count(2), dops.hold(), dops.release()
    ).subscribe(seen.append, errors.append)
    sim.put("a")
    sim.put("b")
    scheduler.advance_by(5)
    assert len(seen) == 1
    assert errors == []


def test_the_next_run_gets_what_was_held(world):
    # first run   -5x---[xxx]--dispose
    # second run               -xx---
    subscription = world.read(dops.hold(), ops.buffer_with_count(3), dops.release())
    world.write(5)
    subscription.dispose()
    again = []
    world.source.subscribe(again.append)
    world.scheduler.advance_by(5)
    assert [change.record for change in again] == world.sim.records[3:]


# --- observe_on, in virtual time -------------------------------------------------------------------


def test_observe_on_goes_on_in_order(world):
    # source      -5x------3x---
    # observe_on  -5x------3x---
    # done        -5-------8----
    world.read(dops.observe_on(world.scheduler))
    world.write(5)
    world.write(3)
    assert [change.record for change in world.seen] == world.sim.records
    assert world.done == 8


def test_a_page_that_is_larger_than_the_queue_does_not_block_the_only_thread(world):
    """There is nobody else who could make room: the thread that puts is the one that takes."""
    world.read(dops.observe_on(world.scheduler, max_pending=3))
    world.write(100)
    assert len(world.seen) == 100
    assert world.done == 100


def test_what_waits_is_not_done(world):
    # source      -3x----------------
    # observe_on  ----------3x-------     on a scheduler that has not got to it yet
    # done        -0--------3--------
    later = TestScheduler()
    world.read(dops.observe_on(later))
    world.write(3)
    assert world.seen == []
    assert world.done == 0
    later.advance_by(1)
    world.scheduler.advance_by(5)
    assert len(world.seen) == 3
    assert world.done == 3


def test_what_is_being_observed_is_not_done(world):
    positions = []
    world.read(
        dops.observe_on(world.scheduler), on_next=lambda change: positions.append(change.origin.position)
    )
    world.write(3)
    assert [isinstance(position, After) for position in positions] == [False, True, True]
    assert world.done == 3


def test_an_observer_that_raises_ends_it_and_nothing_past_it_is_done(world):
    # source      -10x-----
    # on_next     -x-x-#
    # done        -2-------
    def observe(change):
        world.seen.append(change)
        if len(world.seen) == 3:
            raise Boom

    world.read(dops.observe_on(world.scheduler), on_next=observe)
    world.write(10)
    assert len(world.seen) == 3
    assert [type(error) for error in world.errors] == [Boom]
    assert world.done == 2
    calls = world.sim.calls.total()
    world.scheduler.advance_by(100)
    assert world.sim.calls.total() == calls


def test_an_operator_behind_observe_on_that_fails_is_not_done(world):
    def work(change):
        if len(world.seen) == 2:
            raise Boom
        return change

    world.read(dops.observe_on(world.scheduler), ops.map(work))
    world.write(10)
    assert [type(error) for error in world.errors] == [Boom]
    assert world.done == 2


def test_observe_on_of_buffers_counts_its_own_hold(world):
    # hold()      -xx------
    # buffer      --[xx]---
    # observe_on  --[xx]---     done: 0, the user's own hold is still there
    # release()   --[xx]---     done: 2
    world.read(dops.hold(), ops.buffer_with_count(2), dops.observe_on(world.scheduler))
    world.write(2)
    assert world.done == 0

    released = World()
    released.read(dops.hold(), ops.buffer_with_count(2), dops.observe_on(released.scheduler), dops.release())
    released.write(2)
    assert released.done == 2


def test_hold_behind_observe_on_is_not_too_late(world):
    world.read(dops.observe_on(world.scheduler), dops.hold(), ops.buffer_with_count(2), dops.release())
    world.write(3)
    assert world.errors == []
    assert world.done == 2


@pytest.mark.parametrize("max_pending", [1, 2, 1000])
@pytest.mark.parametrize(("end", "last"), [(reactivex.empty(), "completed"), (reactivex.throw(Boom()), Boom)])
def test_the_end_comes_after_what_is_pending(end, last, max_pending):
    # source      -1-2-3-|          -1-2-3-#
    # observe_on  -1-2-3-|          -1-2-3-#
    scheduler = TestScheduler()
    log = []
    source = reactivex.concat(reactivex.of(1, 2, 3), end)
    source.pipe(dops.observe_on(scheduler, max_pending=max_pending)).subscribe(
        log.append, lambda error: log.append(type(error)), lambda: log.append("completed")
    )
    assert log == []
    scheduler.advance_by(1)
    assert log == [1, 2, 3, last]


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt(), StopIteration()])
def test_whatever_the_source_ends_with_is_passed_on(error):
    scheduler = TestScheduler()
    source, errors = Subject(), []
    source.pipe(dops.observe_on(scheduler)).subscribe(on_error=errors.append)
    source.on_error(error)
    scheduler.advance_by(1)
    assert errors == [error]


def test_disposing_drops_what_is_pending():
    scheduler = TestScheduler()
    source, seen = Subject(), []
    subscription = source.pipe(dops.observe_on(scheduler)).subscribe(seen.append)
    source.on_next(1)
    subscription.dispose()
    source.on_next(2)
    scheduler.advance_by(1)
    assert seen == []
    assert source.observers == []


def test_observe_on_the_same_thread_at_once():
    seen = []
    reactivex.range(5000).pipe(dops.observe_on(ImmediateScheduler(), max_pending=1)).subscribe(seen.append)
    assert seen == list(range(5000))


def test_an_observer_may_feed_its_own_source():
    # source      -1-----------
    # on_next     -1-2-3-...-9     each puts the next one in
    source, seen = Subject(), []

    def observe(number):
        seen.append(number)
        if number < 9:
            source.on_next(number + 1)
            source.on_next(9)

    source.pipe(dops.observe_on(ImmediateScheduler(), max_pending=1)).subscribe(observe)
    source.on_next(1)
    assert seen[:2] == [1, 2]
    assert seen.count(9) == 9


def test_a_scheduler_that_takes_nothing_ends_the_subscription():
    scheduler = EventLoopScheduler()
    scheduler.dispose()
    source, errors = Subject(), []
    source.pipe(dops.observe_on(scheduler)).subscribe(on_error=errors.append)
    source.on_next(1)
    assert len(errors) == 1
    assert source.observers == []


class ByHand:
    """A scheduler whose tasks are run by hand; any thread may add one."""

    now = datetime.now(UTC)

    def __init__(self):
        self.tasks = []

    def schedule(self, action, state=None):
        self.tasks.append(action)

    def run(self):
        self.tasks.pop(0)(self)


class Observed:
    """What goes through observe_on, from any thread."""

    def __init__(self):
        self.scheduler, self.seen, self.busy = ByHand(), [], threading.Lock()

        def subscribe(observer, _=None):
            self.put = observer.on_next

        reactivex.create(subscribe).pipe(dops.observe_on(self.scheduler)).subscribe(self._take, pytest.fail)

    def _take(self, number):
        assert self.busy.acquire(blocking=False), "two at a time"
        self.seen.append(number)
        self.busy.release()

    def run_all(self):
        while self.scheduler.tasks:
            self.scheduler.run()


def test_there_is_no_task_while_there_is_nothing_to_observe():
    observed = Observed()
    assert observed.scheduler.tasks == []
    for number in range(3):
        observed.put(number)
        assert len(observed.scheduler.tasks) == 1
        observed.scheduler.run()
        assert observed.scheduler.tasks == []
    assert observed.seen == [0, 1, 2]


@pytest.mark.parametrize("first", ["the observer", "the source"])
def test_what_comes_when_the_observer_is_about_to_be_idle_is_observed(first):
    def make():
        observed = Observed()
        observed.put(1)

        def check():
            observed.run_all()
            assert observed.seen == [1, 2]

        sides = observed.scheduler.run, lambda: observed.put(2)
        return *(sides if first == "the observer" else reversed(sides)), check

    at_once(make)


def test_two_threads_that_put_at_once_have_one_task_between_them():
    def make():
        observed = Observed()

        def check():
            assert len(observed.scheduler.tasks) == 1
            observed.run_all()
            assert sorted(observed.seen) == [1, 2]

        return lambda: observed.put(1), lambda: observed.put(2), check

    at_once(make)


@pytest.mark.parametrize("max_pending", [0, -1])
def test_a_queue_that_holds_nothing_is_refused(max_pending):
    errors = []
    reactivex.of(1).pipe(dops.observe_on(TestScheduler(), max_pending=max_pending)).subscribe(
        on_error=errors.append
    )
    assert isinstance(errors[0], ValueError)


# --- observe_on, on threads ------------------------------------------------------------------------


@pytest.fixture(params=["event loop", "pool"])
def threads(request):
    if request.param == "event loop":
        scheduler = EventLoopScheduler()
        yield scheduler
        scheduler.dispose()
    else:
        with rxd.TimerPoolScheduler(4) as scheduler:
            yield scheduler


def feed(source, numbers, log=None):
    """Put numbers into a Subject on a thread of its own, and complete it."""

    def work():
        for number in numbers:
            source.on_next(number)
            if log is not None:
                log.append(number)
        source.on_completed()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("max_pending", [1, 7, 1000])
def test_order_one_at_a_time_and_the_end(threads, max_pending):
    source, seen, over = Subject(), [], threading.Event()
    busy = threading.Lock()

    def observe(number):
        assert busy.acquire(blocking=False)
        seen.append(number)
        busy.release()

    source.pipe(dops.observe_on(threads, max_pending=max_pending)).subscribe(
        observe, lambda error: over.set(), over.set
    )
    thread = feed(source, range(3000))
    assert over.wait(PATIENCE)
    assert seen == list(range(3000))
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_producer_is_never_further_ahead_than_the_queue_is_long(threads):
    source, put, ahead, over = Subject(), [], [], threading.Event()
    seen = 0

    def observe(number):
        nonlocal seen
        ahead.append(len(put) - seen)
        seen += 1

    observed = source.pipe(dops.observe_on(threads, max_pending=10))
    observed.subscribe(observe, on_completed=over.set)
    feed(source, range(2000), put)
    assert over.wait(PATIENCE)
    assert max(ahead) <= 10 + 1  # and the one that is being observed


@pytest.fixture
def held_up(threads):
    """A producer that waits for room, since the observer does not return."""
    source, put, free = Subject(), [], threading.Event()
    subscription = source.pipe(dops.observe_on(threads, max_pending=5)).subscribe(
        lambda number: free.wait(2 * PATIENCE)
    )
    thread = feed(source, range(100), put)
    wait_until(lambda: len(put) == 6)  # one is being observed, five wait
    yield subscription, thread, put
    subscription.dispose()
    free.set()


def test_dispose_frees_a_producer_that_waits(held_up):
    subscription, thread, _ = held_up
    subscription.dispose()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_producer_that_waits_stays_where_it_is(held_up):
    _, thread, put = held_up
    thread.join(0.05)
    assert thread.is_alive()
    assert put == list(range(6))


def test_dispose_frees_a_producer_that_has_come_to_the_end(threads):
    source, free = Subject(), threading.Event()
    subscription = source.pipe(dops.observe_on(threads)).subscribe(lambda number: free.wait(2 * PATIENCE))
    thread = feed(source, range(3))
    thread.join(0.05)
    assert thread.is_alive()  # it waits until the observer has all of it
    subscription.dispose()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    free.set()


def test_an_observer_that_raises_frees_the_producer(threads):
    source, errors = Subject(), []

    def observe(number):
        raise SystemExit(number)

    source.pipe(dops.observe_on(threads, max_pending=1)).subscribe(observe, errors.append)
    thread = feed(source, range(100))
    thread.join(PATIENCE)
    assert not thread.is_alive()
    wait_until(lambda: errors)
    assert [error.code for error in errors] == [0]


def test_a_source_that_ends_while_it_is_being_subscribed_to(threads):
    over = threading.Event()
    reactivex.range(5000).pipe(dops.observe_on(threads, max_pending=10)).subscribe(on_completed=over.set)
    assert over.wait(PATIENCE)


def test_two_in_a_row_are_both_drained_before_the_source_has_ended():
    source, seen = Subject(), []
    with rxd.TimerPoolScheduler(1, name="one") as one, rxd.TimerPoolScheduler(1, name="two") as two:
        source.pipe(dops.observe_on(one), dops.observe_on(two, max_pending=1)).subscribe(seen.append)
        feed(source, range(100)).join(PATIENCE)
        assert seen == list(range(100))


def test_what_is_handed_over_is_kept_although_the_source_ends_before_it_is_observed(threads):
    # source      -3x-|                    take(3)
    # observe_on  ------x------x------x|
    # done        -0----1------2------2    the third is done once take(3), which ends within it, returns
    sim, store, seen = SimulatedStream(), rxd.MemoryCheckpoints(), []

    def write_once_subscribed(operation, arguments):
        if sim.calls["GetRecords"] == 3 and not sim.records:
            for n in range(10):
                sim.put(n)

    sim.before_call = write_once_subscribed
    poll = rxd.Poll(fastest=0.01, slowest=0.05)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, poll=poll)
    rxd.run(source.pipe(ops.take(3), dops.observe_on(threads, max_pending=1)), seen.append)
    assert len(seen) == 3
    position = from_text(store.load(sim.arn)[sim.shards[0].id])
    assert position == After(seen[1].sequence_number)


def test_a_stream_on_real_threads_is_observed_in_order_and_all_of_it_is_done(threads):
    sim, store = SimulatedStream(shards=4), rxd.MemoryCheckpoints()
    for n in range(2000):
        sim.put(n % 50)
    seen = []
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
    rxd.run(source.pipe(dops.observe_on(threads, max_pending=50), ops.take(2000)), seen.append)
    numbers = {}
    for change in seen:
        numbers.setdefault(change.shard_id, []).append(int(change.sequence_number))
    assert len(seen) == 2000
    assert all(shard == sorted(shard) for shard in numbers.values())


def test_an_event_loop_is_not_blocked_and_gets_everything_in_order():
    source, seen = Subject(), []

    async def main():
        over = asyncio.Event()
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        loop_thread = threading.get_ident()

        def observe(number):
            assert threading.get_ident() == loop_thread
            seen.append(number)

        source.pipe(dops.observe_on(scheduler, max_pending=10)).subscribe(observe, on_completed=over.set)
        feed(source, range(1000))
        async with asyncio.timeout(PATIENCE):
            await over.wait()

    asyncio.run(main())
    assert seen == list(range(1000))


def test_disposing_in_the_event_loop_frees_a_producer_that_waits():
    source, put = Subject(), []

    async def main():
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        subscription = source.pipe(dops.observe_on(scheduler, max_pending=2)).subscribe(lambda number: None)
        thread = feed(source, range(1000), put)
        wait_until(lambda: len(put) == 2)  # nothing is taken: this blocks the loop
        subscription.dispose()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    asyncio.run(main())


def test_a_loop_that_was_closed_ends_the_subscription():
    loop = asyncio.new_event_loop()
    source, errors = Subject(), []
    source.pipe(dops.observe_on(AsyncIOThreadSafeScheduler(loop))).subscribe(on_error=errors.append)
    loop.close()
    source.on_next(1)
    assert [(type(error), type(error.__cause__)) for error in errors] == [
        (rxd.errors.ConfigurationError, RuntimeError)
    ]


def test_a_function_of_release_that_raises_reaches_on_error_from_any_thread():
    # A subject stands for a timer: whoever calls its on_next has no use for an exception.
    source, errors = Subject(), []
    source.pipe(dops.release(lambda element: element.nothing)).subscribe(on_error=errors.append)
    source.on_next([])

    assert [type(error) for error in errors] == [AttributeError]
