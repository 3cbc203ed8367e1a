"""What the shards of one subscription share: how they are read, whose turn it is to call, who is told."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from reactivex import abc

from rxddbstream.aws.client import StreamClient
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.errors import DataTrimmed
from rxddbstream.model.events import Gap
from rxddbstream.model.shard import Shard
from rxddbstream.protocol import pacing
from rxddbstream.protocol.beginning import Beginning
from rxddbstream.protocol.bounds import End
from rxddbstream.reading.events import EventSink
from rxddbstream.reading.progress import Progress

OnGap = Literal["raise", "skip"]

log = logging.getLogger("rxddbstream")


@dataclass(slots=True)
class Reading:
    """What the shards of one subscription share.

    Attributes:
        client: the stream.
        scheduler: where polls run.
        poll: how often.
        beginning: where the run begins.
        end: where a bounded read ends; None reads on.
        on_gap: what to do when changes were lost.
        events: who is told.
        ended: to be called when a shard was read to its end and all of it was delivered; and whether a
            bounded read stopped short of its end.
        fail: ends the subscription with an error that no shard's observer can be told.
        jitter: random numbers in [0, 1).
        progress: how far the subscription has come.
        writer: of the checkpoints, if any are kept.
    """

    client: StreamClient
    scheduler: abc.SchedulerBase
    poll: pacing.Poll
    beginning: Beginning
    end: End | None
    on_gap: OnGap
    events: EventSink
    ended: Callable[[Shard, bool], None]
    fail: Callable[[Any], None]
    jitter: Callable[[], float]
    progress: Progress
    writer: Writer | None = None
    _budget: pacing.CallBudget[Callable[[], None]] | None = field(init=False, default=None)
    _pages_in_hand: int = field(init=False, default=0)
    _clock: pacing.SteadyClock = field(init=False, default_factory=pacing.SteadyClock)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)  # guards these three

    def __post_init__(self) -> None:
        if self.poll.calls_per_second is not None:
            self._budget = pacing.CallBudget(self.poll.calls_per_second)

    def in_turn(self, call: Callable[[], None], lag: float) -> None:
        """Make a GetRecords call for a shard that is so many seconds behind, when the budget allows it."""
        budget = self._budget
        if budget is None:
            call()
            return
        with self._lock:
            now = self._clock.seconds(self.scheduler.now.timestamp())
            wait = budget.join(call, lag, now)
        # The turn may be another shard's by then. So disposing a shard must not cancel it.
        self.scheduler.schedule_relative(wait, self._take_turn)

    def _take_turn(self, _: abc.SchedulerBase, state: Any = None) -> None:
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

    def report(self, gap: Gap) -> DataTrimmed | None:
        """Tell of a loss; the error to end with, None to go on."""
        self.events.emit(gap)
        message = f"shard {gap.shard_id} of {self.client.arn}: changes were lost: {gap.reason}"
        if self.on_gap == "skip":
            log.warning("%s", message)
            return None
        if self.writer is not None:
            self.writer.stop_sign_of_life()  # so that each later run says it again
        return DataTrimmed(
            f"{message}. Pass on_gap='skip' to go on with what is left; a consumer must not be away for "
            "longer than the 24 hours that the service keeps changes",
            gap.shard_id,
            gap.after,
        )
