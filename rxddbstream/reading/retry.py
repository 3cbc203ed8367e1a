"""Whether a failed call is made again, after how long, and who is told.

Only a `TransientError` is: which errors of botocore are one stands in `aws/errors.py`. The loops that make
the call again are in `calls.py`, for discovery, and in `polling.py`.
"""

from __future__ import annotations

import logging
import random

from rxddbstream.errors import Throttled as Throttling
from rxddbstream.errors import TransientError
from rxddbstream.model.events import Retrying, Throttled
from rxddbstream.protocol.pacing import Poll, backoff
from rxddbstream.reading.events import EventSink
from rxddbstream.reading.statistics import Counts
from rxddbstream.scheduling.clock import SteadyClock

log = logging.getLogger("rxddbstream")


class Failures:
    """Failures of one call in a row.

    Args:
        poll: says when to give up.
        clock: the time of the subscription.
        counts: where retries are counted.
        events: is told of each.
        shard_id: the shard that is called about; None of a call about the stream.
    """

    def __init__(
        self, poll: Poll, clock: SteadyClock, counts: Counts, events: EventSink, shard_id: str | None = None
    ) -> None:
        self._give_up_after = poll.give_up_after
        self._clock = clock
        self._counts = counts
        self._events = events
        self._shard_id = shard_id
        self._count = 0
        self._since = 0.0

    def forget(self) -> None:
        """The call was answered."""
        self._count = 0

    def delay_after(self, error: TransientError) -> float | None:
        """The call has failed: seconds to wait before the next try, of which it tells; None to give up."""
        now = self._clock.seconds()
        if not self._count:
            self._since = now
        self._count += 1
        if self._give_up_after is not None and now - self._since >= self._give_up_after:
            return None
        delay = backoff(self._count, random.random())
        self._counts.retried()
        log.warning("%s; attempt %d, the next in %.2f s", error, self._count, delay)
        kind = Throttled if isinstance(error, Throttling) else Retrying
        self._events.emit(kind(self._shard_id, error, self._count, delay))
        return delay
