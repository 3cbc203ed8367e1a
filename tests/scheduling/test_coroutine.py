"""A coroutine on a scheduler: its waits, what wakes it, and when it is closed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from reactivex.disposable import Disposable
from reactivex.testing import TestScheduler
from support.interleaving import at_once

from rxddbstream.scheduling.coroutine import Stepper, Wait


class Process:
    """A coroutine that makes these waits; it notes the time of each step, and when it was closed."""

    def __init__(self, scheduler: TestScheduler, *waits: Wait, in_step: Callable[[], Any] = bool) -> None:
        self.scheduler = scheduler
        self.waits = waits
        self.in_step = in_step
        self.steps: list[float] = []
        self.is_closed = False
        self.ends: list[Any] = []
        self.stepper = Stepper(
            self._run(), scheduler, lambda: self.ends.append("completed"), self.ends.append
        )

    def _run(self) -> Generator[Wait, None, None]:
        try:
            for wait in self.waits:
                self.steps.append(self.scheduler.now.timestamp())
                self.in_step()
                yield wait
            self.steps.append(self.scheduler.now.timestamp())
        finally:
            self.is_closed = True


@pytest.fixture
def scheduler() -> TestScheduler:
    return TestScheduler()


def test_the_first_step_is_made_at_once_and_each_other_one_after_its_wait(scheduler):
    process = Process(scheduler, Wait(2.0), Wait(3.0))
    process.stepper.start()
    assert process.steps == [0.0]
    assert process.ends == []
    scheduler.advance_by(10)
    assert process.steps == [0.0, 2.0, 5.0]
    assert process.ends == ["completed"]


def test_what_it_raises_is_told(scheduler):
    error = ValueError("boom")

    def fail():
        if scheduler.now.timestamp() > 1:
            raise error

    process = Process(scheduler, Wait(2.0), Wait(3.0), in_step=fail)
    process.stepper.start()
    scheduler.advance_by(10)
    assert process.steps == [0.0, 2.0]
    assert process.ends == [error]


def test_a_wake_ends_a_wait_until_woken_once(scheduler):
    process = Process(scheduler, Wait(10.0, until_woken=True), Wait(10.0, until_woken=True))
    process.stepper.start()
    scheduler.advance_by(2)
    process.stepper.wake()
    scheduler.advance_by(1)
    assert process.steps == pytest.approx([0.0, 2.0], abs=0.01)
    scheduler.advance_to(11)  # when the wait that was cut short would have ended
    assert len(process.steps) == 2
    scheduler.advance_to(13)
    assert process.steps == pytest.approx([0.0, 2.0, 12.0], abs=0.01)


def test_a_wake_does_not_cut_any_other_wait_short_and_holds_for_the_next_one_that_it_may(scheduler):
    process = Process(scheduler, Wait(5.0), Wait(5.0, until_woken=True), Wait(5.0, until_woken=True))
    process.stepper.start()
    process.stepper.wake()
    scheduler.advance_by(20)
    assert process.steps == pytest.approx([0.0, 5.0, 5.0, 10.0], abs=0.01)


def test_a_wake_in_the_middle_of_a_step_is_not_lost(scheduler):
    process = Process(scheduler, Wait(5.0, until_woken=True), in_step=lambda: process.stepper.wake())
    process.stepper.start()
    scheduler.advance_by(1)
    assert process.ends == ["completed"]


def test_disposing_between_two_steps_closes_it_at_once(scheduler):
    process = Process(scheduler, Wait(1.0), Wait(1.0))
    process.stepper.start()
    scheduler.advance_by(1.5)
    process.stepper.dispose()
    assert process.is_closed
    scheduler.advance_by(10)
    assert process.steps == [0.0, 1.0]
    assert process.ends == []


def test_disposing_in_a_step_closes_it_after_that(scheduler):
    seen = []

    def dispose():
        process.stepper.dispose()
        seen.append(process.is_closed)

    process = Process(scheduler, Wait(1.0), Wait(1.0), in_step=dispose)
    process.stepper.start()
    assert seen == [False]
    assert process.is_closed
    scheduler.advance_by(10)
    assert process.steps == [0.0]
    assert process.ends == []


def test_disposing_twice_does_no_harm(scheduler):
    process = Process(scheduler, Wait(1.0))
    process.stepper.start()
    process.stepper.dispose()
    process.stepper.dispose()
    process.stepper.wake()
    scheduler.advance_by(10)
    assert process.steps == [0.0]


# --- with a second thread -------------------------------------------------------------------------


def _must_not_complete() -> None:
    pytest.fail("it has completed")


class Tasks:
    """A scheduler that is run by hand; any thread may schedule."""

    def __init__(self) -> None:
        self.tasks: list[tuple[float, Any, int]] = []

    def schedule_relative(self, delay: float, action: Any, number: int) -> Any:
        self.tasks.append((delay, action, number))
        return Disposable()

    def run(self, delay: float) -> None:
        """What was scheduled for after such a delay."""
        due = [task for task in self.tasks if task[0] == delay]
        self.tasks = [task for task in self.tasks if task[0] != delay]
        for _, action, number in due:
            action(self, number)


class Sleeper:
    """Counts its steps, after each of which it waits until woken; two at once would fail."""

    def __init__(self) -> None:
        self.scheduler = Tasks()
        self.steps = 0
        self.stepper = Stepper(self._run(), self.scheduler, _must_not_complete, pytest.fail)

    def _run(self) -> Generator[Wait, None, None]:
        while True:
            self.steps += 1
            yield Wait(1000.0, until_woken=True)


@pytest.mark.parametrize("first", ["step", "wake"])
def test_a_wake_beside_a_step_is_not_lost(first):
    def make():
        sleeper = Sleeper()

        def check():
            if sleeper.steps == 1:
                sleeper.scheduler.run(0.0)
            assert sleeper.steps == 2

        sides = sleeper.stepper.start, sleeper.stepper.wake
        return *(sides if first == "step" else reversed(sides)), check

    at_once(make)


@pytest.mark.parametrize("first", ["end", "wake"])
def test_a_wait_that_ends_while_it_is_cut_short_is_not_taken_for_two(first):
    def make():
        sleeper = Sleeper()
        sleeper.stepper.start()

        def end():
            sleeper.scheduler.run(1000.0)

        def wake():
            sleeper.stepper.wake()
            sleeper.scheduler.run(0.0)

        def check():
            # Where the wake was too late for the first wait, it holds for the second one.
            sleeper.scheduler.run(0.0)
            assert sleeper.steps in (2, 3)

        return *((end, wake) if first == "end" else (wake, end)), check

    at_once(make)


def test_a_wait_that_was_cut_short_and_is_on_its_way_to_a_thread_is_not_taken_for_the_next_step():
    def make():
        sleeper = Sleeper()
        sleeper.stepper.start()
        sleeper.stepper.wake()

        def check():
            assert sleeper.steps == 2
            assert [delay for delay, *_ in sleeper.scheduler.tasks] == [1000.0]

        return lambda: sleeper.scheduler.run(1000.0), lambda: sleeper.scheduler.run(0.0), check

    at_once(make)


def test_disposing_beside_a_step_closes_it_once_it_is_made():
    def make():
        closed = []

        def run():
            try:
                while True:
                    yield Wait(1.0)
            finally:
                closed.append(True)

        tasks = Tasks()
        stepper = Stepper(run(), tasks, _must_not_complete, pytest.fail)
        stepper.start()

        def check():
            assert closed == [True]

        return lambda: tasks.run(1.0), stepper.dispose, check

    at_once(make)
