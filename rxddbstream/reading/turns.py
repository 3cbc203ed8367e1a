"""Whose turn it is to call the service."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from reactivex import abc

from rxddbstream.protocol.pacing import CallBudget, Poll
from rxddbstream.scheduling.clock import SteadyClock


class Turns:
    """Lets the shards of one subscription take turns, from any thread.

    Attributes:
        scheduler: where the shards are polled.
        clock: its time.
    """

    def __init__(self, poll: Poll, scheduler: abc.SchedulerBase, clock: SteadyClock) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self._budget: CallBudget[Callable[[], None]] | None = None
        if poll.calls_per_second is not None:
            self._budget = CallBudget(poll.calls_per_second)
        self._pages_in_hand = 0
        self._lock = threading.Lock()  # guards these two; never held while calling out

    def take(self, call: Callable[[], None], lag: float) -> None:
        """Make a GetRecords call for a shard that is `lag` seconds behind, when the budget allows it."""
        budget = self._budget
        if budget is None:
            call()
            return
        with self._lock:
            wait = budget.join(call, lag, self.clock.seconds())
        # The turn may be another shard's by then. So disposing a shard must not cancel it.
        self.scheduler.schedule_relative(wait, self._call_next)

    def _call_next(self, _: abc.SchedulerBase, state: Any = None) -> None:
        budget = self._budget
        assert budget is not None
        with self._lock:
            call = budget.next()
        call()

    @contextlib.contextmanager
    def in_hand(self) -> Iterator[bool]:
        """While a page is being delivered, or waits for it; whether it is the only one."""
        with self._lock:
            self._pages_in_hand += 1
            is_only_page = self._pages_in_hand == 1
        try:
            yield is_only_page
        finally:
            with self._lock:
                self._pages_in_hand -= 1
