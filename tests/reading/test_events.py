"""Events reach their observer one at a time, from whatever thread they come."""

from __future__ import annotations

import threading
import time

import pytest
from reactivex import Observer
from support.waiting import PATIENCE

from rxddbstream.errors import ServiceUnavailable
from rxddbstream.model.events import Event, Gap, Retrying, Throttled
from rxddbstream.reading.events import MOST_WAITING, EventSink


def event(number: int) -> Event:
    return Gap("shard-1", None, str(number))


def number_of(event: Event) -> int:
    assert isinstance(event, Gap)
    return int(event.reason)


def unexpected(error: Exception) -> None:
    raise AssertionError(f"reported as failed: {error!r}")


def test_a_function_is_told() -> None:
    told: list[Event] = []
    sink = EventSink(told.append, unexpected)

    sink.emit(event(1))
    sink.emit(event(2))

    assert told == [event(1), event(2)]


def test_an_observer_is_told_by_on_next_alone() -> None:
    told: list[object] = []
    observer = Observer(told.append, lambda error: told.append(error), lambda: told.append("completed"))

    EventSink(observer, unexpected).emit(event(1))

    assert told == [event(1)]


def test_nobody_is_told_without_an_observer() -> None:
    EventSink(None, unexpected).emit(event(1))


def test_events_of_many_threads_come_one_at_a_time_all_of_them_and_in_each_threads_order() -> None:
    told: list[int] = []
    inside = 0
    most_inside = 0

    def tell(event: Event) -> None:
        nonlocal inside, most_inside
        inside += 1
        most_inside = max(most_inside, inside)
        if len(told) % 50 == 0:
            time.sleep(0.001)  # let the others run into it
        told.append(number_of(event))
        inside -= 1

    sink = EventSink(tell, unexpected)
    start = threading.Barrier(8)

    def emit(thread: int) -> None:
        start.wait()
        for number in range(200):
            sink.emit(event(thread * 1000 + number))

    threads = [threading.Thread(target=emit, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most_inside == 1
    for thread in range(8):
        assert [number % 1000 for number in told if number // 1000 == thread] == list(range(200))


def test_nobody_waits_for_an_observer_that_is_busy() -> None:
    told: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def tell(event: Event) -> None:
        told.append(number_of(event))
        entered.set()
        assert go_on.wait(PATIENCE)

    sink = EventSink(tell, unexpected)
    busy = threading.Thread(target=sink.emit, args=(event(1),))
    busy.start()
    assert entered.wait(PATIENCE)

    sink.emit(event(2))  # returns, though the observer does not

    assert told == [1]
    go_on.set()
    busy.join()
    assert told == [1, 2]


def test_failures_in_passing_do_not_pile_up_behind_an_observer_that_blocks() -> None:
    told: list[Event] = []
    entered, go_on = threading.Event(), threading.Event()

    def tell(event: Event) -> None:
        told.append(event)
        entered.set()
        assert go_on.wait(PATIENCE)

    sink = EventSink(tell, unexpected)
    busy = threading.Thread(target=sink.emit, args=(event(0),))
    busy.start()
    assert entered.wait(PATIENCE)
    for number in range(MOST_WAITING):
        for kind in (Retrying, Throttled):
            sink.emit(kind("shard-1", ServiceUnavailable("500"), number, 0.1))
    sink.emit(event(1))

    go_on.set()
    busy.join()
    assert len(told) == 1 + MOST_WAITING + 1
    assert told[-1] == event(1)


def test_an_observer_may_emit_and_is_told_of_that_next() -> None:
    told: list[str] = []

    def tell(happened: Event) -> None:
        number = number_of(happened)
        told.append(f"{number} begins")
        if number == 1:
            sink.emit(event(2))
            sink.emit(event(3))
        told.append(f"{number} ends")

    sink = EventSink(tell, unexpected)
    sink.emit(event(1))
    sink.emit(event(4))

    assert told == [f"{number} {what}" for number in (1, 2, 3, 4) for what in ("begins", "ends")]


@pytest.mark.parametrize("as_observer", [False, True])
def test_a_failing_observer_is_reported_once_and_told_no_more(as_observer: bool) -> None:
    told: list[int] = []
    failures: list[Exception] = []

    def tell(event: Event) -> None:
        told.append(number_of(event))
        if len(told) == 2:
            raise ValueError("broken")

    sink = EventSink(Observer(tell) if as_observer else tell, failures.append)
    for number in range(5):
        sink.emit(event(number))

    assert told == [0, 1]
    assert [repr(failure) for failure in failures] == ["ValueError('broken')"]


def test_what_an_observer_emitted_before_it_failed_is_dropped() -> None:
    told: list[int] = []
    failures: list[Exception] = []

    def tell(happened: Event) -> None:
        told.append(number_of(happened))
        sink.emit(event(2))
        raise ValueError("broken")

    sink = EventSink(tell, failures.append)
    sink.emit(event(1))

    assert told == [1]
    assert len(failures) == 1


def test_whoever_hears_of_the_failure_may_emit() -> None:
    told: list[int] = []

    def fail(happened: Event) -> None:
        told.append(number_of(happened))
        raise ValueError("broken")

    sink = EventSink(fail, lambda error: sink.emit(event(2)))
    sink.emit(event(1))

    assert told == [1]
