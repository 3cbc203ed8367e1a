"""Seconds that never go back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from rxddbstream.scheduling.clock import SteadyClock


def test_a_steady_clock_goes_on_when_the_wall_clock_is_set_back_and_follows_it_forward() -> None:
    wall = iter((100.0, 101.0, 51.0, 52.0, 112.0, 52.0, 53.0))
    clock = SteadyClock(lambda: next(wall))
    assert [clock.seconds() for _ in range(7)] == [100.0, 101.0, 101.0, 102.0, 162.0, 162.0, 163.0]


def test_threads_that_ask_at_once_have_a_step_back_counted_once() -> None:
    # A wall clock that jumps between noon and midnight: twice the same leap, and the clock would run off.
    wall = cycle((1000.0, 0.0))
    clock = SteadyClock(lambda: next(wall))
    with ThreadPoolExecutor(4) as pool:
        times = [list(part) for part in pool.map(lambda _: [clock.seconds() for _ in range(1000)], range(4))]
    assert all(part == sorted(part) for part in times)
    assert clock.seconds() <= 1000.0 * (4 * 1000 // 2 + 1)
