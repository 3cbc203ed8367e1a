"""TimerPoolScheduler: order, time, cancelling, threads, faults and the end."""

import doctest
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.disposable import Disposable, MultipleAssignmentDisposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from support.waiting import PATIENCE, wait_until

from rxddbstream.scheduling import pool as module
from rxddbstream.scheduling.pool import TimerPoolScheduler


@pytest.fixture
def pool():
    with TimerPoolScheduler(workers=4, name="test-pool") as scheduler:
        yield scheduler
    assert threads_of("test-pool") == []


def threads_of(name):
    return sorted(t.name for t in threading.enumerate() if t.name.startswith(name))


def flush(scheduler):
    """Return when everything that was ready before has been started."""
    reached = threading.Event()
    scheduler.schedule(lambda *_: reached.set())
    assert reached.wait(PATIENCE)


def occupy(scheduler, workers):
    """Keep that many workers busy until the event that comes back is set."""
    release = threading.Event()
    barrier = threading.Barrier(workers + 1)

    def block(*_):
        barrier.wait(PATIENCE)
        release.wait(PATIENCE)

    for _ in range(workers):
        scheduler.schedule(block)
    barrier.wait(PATIENCE)
    return release


class Hooked(list):
    """What has reached threading.excepthook."""

    def __call__(self, args):
        self.append((args.exc_type, str(args.exc_value), args.thread.name))


@pytest.fixture
def hooked(monkeypatch):
    hook = Hooked()
    monkeypatch.setattr(threading, "excepthook", hook)
    return hook


class TestOrderAndTime:
    def test_ready_actions_run_first_in_first_out(self):
        with TimerPoolScheduler(workers=1) as scheduler:
            seen = []
            release = occupy(scheduler, 1)
            for n in range(1000):
                scheduler.schedule(lambda _, state: seen.append(state), n)
            release.set()
            flush(scheduler)
        assert seen == list(range(1000))

    def test_equal_due_times_keep_their_order(self, monkeypatch):
        with TimerPoolScheduler(workers=1) as scheduler:
            seen = []
            frozen = time.monotonic()
            with monkeypatch.context() as patch:
                patch.setattr(module.time, "monotonic", lambda: frozen)
                for n in range(200):
                    scheduler.schedule_relative(0.05, lambda _, state: seen.append(state), n)
            wait_until(lambda: len(seen) == 200)
        assert seen == list(range(200))

    def test_due_times_decide_not_the_order_of_scheduling(self):
        with TimerPoolScheduler(workers=1) as scheduler:
            seen = []
            for n in (3, 1, 2):
                scheduler.schedule_relative(n * 0.1, lambda _, state: seen.append(state), n)
            wait_until(lambda: len(seen) == 3)
        assert seen == [1, 2, 3]

    @pytest.mark.parametrize("delay", [0.1, timedelta(seconds=0.1)])
    def test_relative(self, pool, delay):
        ran = threading.Event()
        started = time.monotonic()
        pool.schedule_relative(delay, lambda *_: ran.set())
        assert ran.wait(PATIENCE)
        assert time.monotonic() - started >= 0.1

    @pytest.mark.parametrize("kind", [lambda due: due, datetime.timestamp])
    def test_absolute(self, pool, kind):
        ran = threading.Event()
        started = time.monotonic()
        pool.schedule_absolute(kind(pool.now + timedelta(seconds=0.2)), lambda *_: ran.set())
        assert ran.wait(PATIENCE)
        # A wall clock may be adjusted by a little meanwhile.
        assert time.monotonic() - started >= 0.1

    def test_what_is_overdue_runs_at_once_and_without_the_timer(self, pool):
        ran = threading.Semaphore(0)
        pool.schedule(lambda *_: ran.release())
        pool.schedule_relative(-5, lambda *_: ran.release())
        pool.schedule_relative(timedelta(0), lambda *_: ran.release())
        pool.schedule_absolute(pool.now - timedelta(days=1), lambda *_: ran.release())
        for _ in range(4):
            assert ran.acquire(timeout=PATIENCE)
        assert "test-pool-timer" not in threads_of("test-pool")

    def test_an_earlier_timer_wakes_the_timer_thread(self, pool):
        ran = threading.Event()
        pool.schedule_relative(3600, lambda *_: None)
        time.sleep(0.05)  # now the thread waits for the far one
        pool.schedule_relative(0.05, lambda *_: ran.set())
        assert ran.wait(PATIENCE)

    @pytest.mark.parametrize("far", [1e12, float("inf"), timedelta.max])
    def test_a_due_time_beyond_every_platform_limit(self, pool, far):
        pool.schedule_relative(far, lambda *_: None)
        ran = threading.Event()
        pool.schedule_relative(0.01, lambda *_: ran.set())
        assert ran.wait(PATIENCE)

    def test_periodic_hands_the_state_on_and_stops(self, pool):
        seen = []
        enough = threading.Event()

        def count(state):
            seen.append(state)
            if state == 3:
                enough.set()
            return state + 1

        periodic = pool.schedule_periodic(0.01, count, 0)
        assert enough.wait(PATIENCE)
        periodic.dispose()
        time.sleep(0.05)
        ended_with = len(seen)
        time.sleep(0.1)
        assert seen == list(range(ended_with))

    def test_now_is_the_wall_clock_in_utc(self, pool):
        assert abs(pool.now - datetime.now(UTC)) < timedelta(seconds=5)
        assert pool.now.utcoffset() == timedelta(0)


class TestCancelling:
    def test_before_due(self, pool):
        seen = []
        cancelled = pool.schedule_relative(0.05, lambda *_: seen.append("cancelled"))
        kept = threading.Event()
        pool.schedule_relative(0.1, lambda *_: kept.set())
        cancelled.dispose()
        cancelled.dispose()
        assert kept.wait(PATIENCE)
        flush(pool)
        assert seen == []

    def test_when_ready_but_not_yet_started(self):
        with TimerPoolScheduler(workers=1) as scheduler:
            seen = []
            release = occupy(scheduler, 1)
            waiting = scheduler.schedule(lambda *_: seen.append("cancelled"))
            waiting.dispose()
            release.set()
            flush(scheduler)
        assert seen == []

    @pytest.mark.parametrize("delay", [3600.0, 0.0])
    def test_a_cancelled_action_is_not_kept_alive(self, delay):
        class Resource:
            pass

        with TimerPoolScheduler(workers=1) as scheduler:
            release = occupy(scheduler, 1)
            resource = Resource()
            gone = weakref.ref(resource)
            scheduled = scheduler.schedule_relative(delay, lambda *_, kept=resource: None, resource)
            del resource
            gc.collect()
            assert gone() is not None
            scheduled.dispose()
            gc.collect()
            assert gone() is None
            release.set()

    def test_an_action_that_has_run_is_not_kept_alive(self, pool):
        class Resource:
            pass

        resource = Resource()
        gone = weakref.ref(resource)
        scheduled = pool.schedule(lambda *_, kept=resource: Disposable(lambda: kept), resource)
        del resource
        wait_until(lambda: scheduled._result is not None)
        assert gone() is not None  # through what the action returned
        scheduled.dispose()
        wait_until(lambda: gc.collect() is not None and gone() is None)

    @pytest.mark.parametrize("delay", [0.0, 0.01])
    def test_idle_threads_keep_nothing_alive(self, pool, delay):
        returned = Disposable()
        gone = weakref.ref(returned)
        ran = threading.Event()

        def action(*_):
            nonlocal returned
            result, returned = returned, None
            ran.set()
            return result

        pool.schedule_relative(delay, action)
        assert ran.wait(PATIENCE)
        wait_until(lambda: gone() is None)

    def test_what_the_action_returned_is_disposed_with_it(self, pool):
        disposed = threading.Event()
        scheduled = pool.schedule(lambda *_: Disposable(disposed.set))
        flush(pool)
        wait_until(lambda: scheduled._result is not None)
        assert not disposed.is_set()
        scheduled.dispose()
        assert disposed.is_set()

    def test_what_the_action_returns_after_it_was_cancelled_is_disposed_at_once(self, pool):
        disposed, started, finish = threading.Event(), threading.Event(), threading.Event()

        def action(*_):
            started.set()
            finish.wait(PATIENCE)
            return Disposable(disposed.set)

        scheduled = pool.schedule(action)
        assert started.wait(PATIENCE)
        scheduled.dispose()
        assert not disposed.is_set()
        finish.set()
        assert disposed.wait(PATIENCE)

    def test_cancelled_timers_do_not_fill_the_heap(self, pool):
        for _ in range(20):
            for _ in range(2000):
                pool.schedule_relative(3600, lambda *_: None).dispose()
            wait_until(lambda: len(pool._timer._heap) <= 200)

    def test_compaction_loses_no_live_timer(self, pool):
        seen = Counter()
        for n in range(300):
            pool.schedule_relative(0.3, lambda _, state: seen.update([state]), n)
            for _ in range(20):
                pool.schedule_relative(3600, lambda *_: None).dispose()
        wait_until(lambda: len(seen) == 300)
        assert set(seen.values()) == {1}

    def test_cancelling_from_many_threads_while_timers_fall_due(self, pool):
        ran = Counter()
        scheduled = [
            pool.schedule_relative(n % 50 / 1000, lambda _, n: ran.update([n]), n) for n in range(4000)
        ]
        threads = [
            threading.Thread(target=lambda k=k: [d.dispose() for d in scheduled[k::4]]) for k in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        wait_until(lambda: all(ran[n] for n in range(3, 4000, 4)))
        assert set(ran.values()) == {1}

    def test_fifty_thousand_reschedules_then_dispose(self):
        with TimerPoolScheduler(workers=2) as scheduler:
            tick = MultipleAssignmentDisposable()
            polls = 0
            enough = threading.Event()

            def poll(scheduler, _):
                nonlocal polls
                polls += 1
                if polls == 50_000:
                    enough.set()
                tick.disposable = scheduler.schedule(poll)

            tick.disposable = scheduler.schedule(poll)
            assert enough.wait(PATIENCE)
            tick.dispose()
            flush(scheduler)


class TestThreads:
    def test_none_before_the_first_schedule_and_no_more_than_the_work_needs(self):
        scheduler = TimerPoolScheduler(workers=8, name="test-lazy")
        assert threads_of("test-lazy") == []
        ran = threading.Event()
        scheduler.schedule_relative(0.01, lambda *_: ran.set())
        assert ran.wait(PATIENCE)
        assert threads_of("test-lazy") == ["test-lazy-timer", "test-lazy-worker-0"]
        release = occupy(scheduler, 8)
        scheduler.control.schedule(lambda *_: None)
        assert len(threads_of("test-lazy")) == 10
        assert all(t.daemon for t in threading.enumerate() if t.name.startswith("test-lazy"))
        release.set()
        scheduler.shutdown(wait=PATIENCE)
        assert threads_of("test-lazy") == []

    def test_at_least_one_worker(self):
        with pytest.raises(ValueError, match="at least one worker"):
            TimerPoolScheduler(workers=0)

    def test_a_thousand_shards_on_eight_workers_are_all_polled(self):
        with TimerPoolScheduler(workers=8, name="test-many") as scheduler:
            polls = Counter()
            most = 0

            def poll(scheduler, shard):
                polls[shard] += 1  # only this shard's action touches this key
                scheduler.schedule_relative(0.05, poll, shard)

            for shard in range(1000):
                scheduler.schedule(poll, shard)
                scheduler.control.schedule(lambda *_: None)

            def all_polled():
                nonlocal most
                most = max(most, len(threads_of("test-many")))
                return len(polls) == 1000 and min(polls.copy().values()) >= 5

            wait_until(all_polled)
        assert most <= 8 + 2

    def test_there_is_time_to_poll_five_thousand_shards_once_a_second_each_in_its_turn(self):
        polled = []

        def poll(scheduler, shard):
            polled.append(shard)
            scheduler.schedule_relative(1.0, poll, shard)

        with TimerPoolScheduler(workers=64, name="test-late") as scheduler:
            began = time.process_time()  # however busy the machine is with something else
            for shard in range(5000):
                scheduler.schedule_relative(shard / 5000, poll, shard)
            wait_until(lambda: len(polled) >= 15_000)
            taken = time.process_time() - began
            threads = len(threads_of("test-late"))
        assert taken < len(polled) / 5000
        turns = Counter(polled[:15_000]).values()
        assert sum(2 <= count <= 4 for count in turns) > 0.99 * 5000
        assert threads <= 64 + 1

    @pytest.mark.parametrize("lane", ["control", "writing"])
    def test_busy_workers_do_not_delay_a_lane_of_its_own(self, pool, lane):
        release = occupy(pool, 4)
        ran = threading.Semaphore(0)
        waiting = threading.Event()
        pool.schedule(lambda *_: waiting.set())
        getattr(pool, lane).schedule(lambda *_: ran.release())
        getattr(pool, lane).schedule_relative(0.02, lambda *_: ran.release())
        getattr(pool, lane).schedule_periodic(0.02, lambda _: ran.release())
        for _ in range(5):
            assert ran.acquire(timeout=PATIENCE)
        assert not waiting.is_set()
        release.set()
        assert waiting.wait(PATIENCE)

    @pytest.mark.parametrize("lane", ["control", "writing"])
    def test_a_busy_lane_of_its_own_does_not_delay_the_others(self, pool, lane):
        release = occupy(getattr(pool, lane), 1)
        flush(pool)
        flush(pool.writing if lane == "control" else pool.control)
        release.set()

    def test_an_action_is_given_the_lane_it_runs_on(self, pool):
        given = []
        on = []

        def action(scheduler, again):
            given.append(scheduler)
            on.append(threading.current_thread().name)
            if again:
                scheduler.schedule_relative(0.01, action, False)

        pool.control.schedule(action, True)
        wait_until(lambda: len(given) == 2)
        pool.schedule(action, False)
        wait_until(lambda: len(given) == 3)
        assert isinstance(pool.control, PeriodicScheduler)
        assert given == [pool.control, pool.control, pool]
        assert on == ["test-pool-control-0"] * 2 + ["test-pool-worker-0"]

    def test_a_system_out_of_threads_slows_down_but_goes_on(self, pool, monkeypatch):
        flush(pool)
        release = occupy(pool, 1)

        def refuse(_):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            ran = threading.Event()
            pool.schedule(lambda *_: ran.set())
            with pytest.raises(RuntimeError, match="new thread"):
                pool.control.schedule(lambda *_: None)
        release.set()
        assert ran.wait(PATIENCE)
        flush(pool.control)


class TestFaults:
    @pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt("broken")])
    def test_an_escaped_exception_reaches_the_hook_and_the_worker_lives(self, hooked, error):
        with TimerPoolScheduler(workers=1, name="test-fault") as scheduler:

            def fail(*_):
                raise error

            scheduler.schedule(fail)
            scheduler.schedule_relative(0.01, fail)
            scheduler.control.schedule(fail)
            wait_until(lambda: len(hooked) == 3)
            flush(scheduler)
            flush(scheduler.control)
            assert len(threads_of("test-fault")) == 3
        lanes = [f"test-fault-{lane}-0" for lane in ("control", "worker", "worker")]
        assert sorted(hooked) == [(type(error), "broken", lane) for lane in lanes]

    def test_a_broken_hook_does_not_end_the_worker(self, monkeypatch):
        def broken(_):
            raise LookupError("the hook")

        last_resort = []
        monkeypatch.setattr(threading, "excepthook", broken)
        monkeypatch.setattr(sys, "excepthook", lambda *args: last_resort.append(args[0]))
        with TimerPoolScheduler(workers=1) as scheduler:
            scheduler.schedule(lambda *_: 1 / 0)
            flush(scheduler)
        assert last_resort == [LookupError]

    def test_a_failing_periodic_action_ends_alone(self, pool, hooked):
        pool.schedule_periodic(0.01, lambda _: 1 / 0)
        wait_until(lambda: hooked)
        time.sleep(0.05)
        assert [kind for kind, *_ in hooked] == [ZeroDivisionError]


class TestTheEnd:
    def test_drops_what_is_pending(self):
        scheduler = TimerPoolScheduler(workers=1, name="test-end")
        release = occupy(scheduler, 1)
        seen = []
        ready = scheduler.schedule(lambda *_: seen.append("ready"))
        timed = scheduler.schedule_relative(0.01, lambda *_: seen.append("timed"))
        control = scheduler.control.schedule_relative(3600, lambda *_: seen.append("control"))
        scheduler.shutdown()
        release.set()
        scheduler.shutdown(wait=PATIENCE)
        assert threads_of("test-end") == []
        assert seen == []
        assert ready.is_disposed
        assert timed.is_disposed
        assert control.is_disposed

    def test_wakes_idle_threads_at_once(self):
        scheduler = TimerPoolScheduler(workers=16, name="test-idle")
        occupy(scheduler, 16).set()
        scheduler.schedule_relative(3600, lambda *_: None)
        flush(scheduler.control)
        assert len(threads_of("test-idle")) == 18
        scheduler.shutdown(wait=1)
        assert threads_of("test-idle") == []

    def test_schedule_afterwards_is_a_no_op(self, pool):
        pool.shutdown()
        seen = []
        for lane in (pool, pool.control):
            for scheduled in (
                lane.schedule(lambda *_: seen.append(1)),
                lane.schedule_relative(0.01, lambda *_: seen.append(2)),
                lane.schedule_absolute(lane.now, lambda *_: seen.append(3)),
            ):
                assert scheduled.is_disposed
                scheduled.dispose()
            lane.schedule_periodic(0.01, lambda _: seen.append(4)).dispose()
        time.sleep(0.05)
        assert seen == []
        assert threads_of("test-pool") == []

    def test_an_action_may_shut_its_own_pool_down(self, pool):
        ended = threading.Event()

        def end(scheduler, _):
            pool.shutdown(wait=PATIENCE)  # does not wait for itself
            scheduler.schedule(end)
            ended.set()

        pool.schedule(end)
        assert ended.wait(PATIENCE / 2)

    def test_waits_no_longer_than_it_was_told(self):
        scheduler = TimerPoolScheduler(workers=3)
        release = occupy(scheduler, 3)
        started = time.monotonic()
        scheduler.shutdown(wait=0.1)
        assert 0.1 <= time.monotonic() - started < PATIENCE  # which its workers wait
        release.set()

    def test_before_anything_was_scheduled(self):
        scheduler = TimerPoolScheduler(name="test-idle")
        scheduler.shutdown(wait=1)
        scheduler.shutdown(wait=1)
        assert threads_of("test-idle") == []
        assert scheduler.unusable == "was shut down"

    def test_racing_schedules_neither_run_late_nor_raise(self):
        for _ in range(20):
            scheduler = TimerPoolScheduler(workers=4, name="test-race")

            def poll(scheduler, delay):
                scheduler.schedule_relative(delay, poll, delay)

            for n in range(50):
                scheduler.schedule(poll, n % 3 / 1000)
            scheduler.shutdown(wait=PATIENCE)
            assert threads_of("test-race") == []
            assert scheduler._ready.qsize() == 1  # the mark of the end, nothing behind it

    @pytest.mark.system
    def test_a_process_exits_at_once(self):
        code = """if True:
            import threading, time
            from rxddbstream.scheduling.pool import TimerPoolScheduler
            scheduler = TimerPoolScheduler()
            busy = threading.Event()
            scheduler.schedule(lambda *_: (busy.set(), time.sleep(3600)))
            scheduler.schedule_relative(3600, lambda *_: None)
            scheduler.control.schedule_relative(3600, lambda *_: None)
            busy.wait()
        """
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        assert done.stderr == ""


class TestWithReactivex:
    def test_interval(self, pool):
        source = reactivex.interval(0.01, scheduler=pool).pipe(ops.take(3), ops.to_list())
        assert source.run() == [0, 1, 2]

    def test_buffer_with_time(self, pool):
        source = reactivex.interval(0.01, scheduler=pool).pipe(
            ops.take(20), ops.buffer_with_time(0.05, scheduler=pool), ops.to_list()
        )
        buffers = source.run()
        assert [n for buffer in buffers for n in buffer] == list(range(20))
        assert len(buffers) > 1

    def test_timeout_is_cancelled_by_values(self, pool):
        source = reactivex.interval(0.01, scheduler=pool).pipe(
            ops.take(20), ops.timeout(5.0, scheduler=pool), ops.count()
        )
        assert source.run() == 20

    def test_dispose_of_a_subscription_stops_the_ticks(self, pool):
        seen = []
        subscription = reactivex.interval(0.005, scheduler=pool).subscribe(seen.append)
        wait_until(lambda: len(seen) >= 3)
        subscription.dispose()
        time.sleep(0.05)
        ended_with = len(seen)
        time.sleep(0.05)
        assert len(seen) == ended_with


def test_the_examples_in_the_docstrings():
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def test_a_shutdown_tells_each_whatever_one_of_them_raises():
    pool, told = TimerPoolScheduler(2), []

    def fail(number):
        told.append(number)
        raise ValueError(number)

    for number in range(5):
        pool.before_shutdown(partial(fail, number))
    with pytest.raises(ValueError, match=r"[0-4]") as caught:
        pool.shutdown(wait=1.0)
    assert sorted(told) == [0, 1, 2, 3, 4]
    assert caught.value.args == (told[0],)
    assert pool.unusable == "was shut down"
    pool.schedule(lambda *_: told.append("late"))
    assert "late" not in told
