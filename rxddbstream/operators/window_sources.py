"""What feeds one window operator: whose watermark it waits for, and what comes again of readings that ended.

A reading that keeps checkpoints has changes in open windows that are not done. It has ended:

    all was read      they come again if the stream is read anew with these checkpoints
    it was cut short  they come again, in a reading that follows, or in the next run

What comes again must be taken out of the windows first. That can be done where all that is in them comes
again: they are dropped, and filled anew. Where other streams have a share, no window can be right any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Set
from functools import partial
from math import inf

from reactivex.disposable import CompositeDisposable, Disposable

from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change
from rxddbstream.model.origin import EventTime, Origin, WindowOperator
from rxddbstream.model.times import microseconds


class Sources:
    """The readings that feed one window operator. Callers take turns, but for `expect` and `is_over`.

    Args:
        known: the operator.
        advance: is told of a reading's watermark.
        ended: is told that one is over.

    Attributes:
        watermarks: of each reading that goes on; minus infinity before it is known.
    """

    def __init__(
        self,
        known: WindowOperator,
        advance: Callable[[EventTime, float], object],
        ended: Callable[[], object],
    ) -> None:
        self.watermarks: dict[EventTime | None, float] = {}
        self.listening = CompositeDisposable()
        self._known = known
        self._advance = advance
        self._ended = ended
        self._expected: deque[EventTime] = deque()
        self._over: deque[EventTime] = deque()
        self._subscriptions: dict[EventTime, CompositeDisposable] = {}
        self._streams: set[EventTime] = set()  # read whole, and not a shard of them
        self._begun: set[EventTime] = set()
        self._shards: set[Origin] = set()  # that have fed it, and have not ended
        self._cut: dict[EventTime, str] = {}  # those that were cut short, and their stream
        self._read: dict[EventTime, str] = {}  # those that were read to their end

    def expect(self, event_time: EventTime) -> None:
        """A stream was subscribed to: no window closes before its watermark is known. From any thread."""
        self._expected.append(event_time)
        self._listen(event_time)

    @property
    def has_news(self) -> bool:
        """Whether a reading has ended, and `take_out` has something to do."""
        return bool(self._over)

    def take_in(self) -> None:
        """Wait for the streams that were subscribed to."""
        while self._expected:
            event_time = self._expected.popleft()
            self._streams.add(event_time)
            self.watermarks.setdefault(event_time, -inf)

    def take_out(self) -> None:
        """Wait no more for the readings that have ended."""
        self.take_in()
        while self._over:
            event_time = self._over.popleft()
            self._shards = {each for each in self._shards if each.event_time is not event_time}
            self.watermarks.pop(event_time, None)
            self._streams.discard(event_time)
            subscription = self._subscriptions.pop(event_time, None)
            if subscription is not None:
                self.listening.remove(subscription)
            stream = event_time.kept_of
            if stream is not None:  # also one that nothing has come of yet: in the next run it will
                ended = self._cut if event_time.comes_again else self._read
                ended[event_time] = stream
            self._begun.discard(event_time)

    def drops(self, shares: Set[EventTime | None]) -> bool:
        """Whether windows in which these have a share are filled anew, since all of it comes again."""
        if not shares <= self._cut.keys():
            return False
        if not self.watermarks:
            self._cut.clear()  # whatever comes is filled into new windows
        return bool(shares)

    def begin(self, event_time: EventTime) -> float | None:
        """The first change of a reading has come, or its first watermark; up to which end it had emitted.

        Raises:
            ConfigurationError: another operator on the same reading has the name, and checkpoints are kept.
        """
        self.take_in()
        self.watermarks.setdefault(event_time, -inf)
        emitted = event_time.begin_windows(self._known)
        self._begun.add(event_time)
        subscription = self._subscriptions.get(event_time) or self._listen(event_time)
        subscription.add(Disposable(partial(event_time.end_windows, self._known)))
        return emitted

    def has_begun(self, event_time: EventTime) -> bool:
        """Whether `begin` was called for it."""
        return event_time in self._begun

    def read_before(self, event_time: EventTime) -> set[EventTime]:
        """Earlier readings that this one takes up again, with the same checkpoints; told once."""
        stream, found = event_time.kept_of, set()
        for ended in (self._cut, self._read):
            for each in [each for each, of in ended.items() if of == stream and each is not event_time]:
                del ended[each]
                found.add(each)
        return found

    @property
    def any_begun(self) -> bool:
        """Whether there is a reading of which something has come."""
        return bool(self._begun)

    def is_fed_by(self, reading: Origin) -> bool:
        """Whether a change has come of this reading of a shard."""
        return reading in self._shards

    def fed_by(self, reading: Origin) -> None:
        """One has, and checkpoints are kept of it."""
        self._shards.add(reading)

    def drops_shards(self, held: Callable[[], Iterable[Change]]) -> bool:
        """Whether what is held is all of shards that were cut short, one by one; see `drops`."""
        cut = {each for each in self._shards if each.is_cut}
        if not cut or not all(change.origin in cut for change in held()):
            return False
        if cut == self._shards:
            self._shards.clear()
        return True

    def check(self) -> None:
        """Windows are to be emitted.

        Raises:
            ConfigurationError: a stream or a shard was cut short, and its part of them comes in the next run.
        """
        for stream in self._cut.values():
            raise _in_part(f"stream {stream}")
        self._shards = {each for each in self._shards if not each.is_read}
        for each in self._shards:
            if each.is_cut and each.event_time is not None:
                raise _in_part(f"a shard of stream {each.event_time.kept_of}")

    def is_cut_short(self, held: Iterable[Change]) -> bool:
        """Whether this is no reading's own end, so that what is held comes again."""
        shards = {
            change.origin.event_time
            for change in held
            if change.origin is not None and not change.origin.is_read
        }
        return bool(self._cut) or any(
            each is not None and each.comes_again and (each in self._streams or each in shards)
            for each in self.watermarks
        )

    def emitted(self, end: float) -> None:
        """All windows that end by then have been emitted."""
        for each in list(self.watermarks):
            if each is not None:
                each.emitted_windows(self._known.name, end)

    def resumed_at(self, emitted: float | None) -> float:
        """At which watermark what ended by then had closed."""
        return -inf if emitted is None else (microseconds(emitted) + microseconds(self._known.lateness)) / 1e6

    def _listen(self, event_time: EventTime) -> CompositeDisposable:
        subscription = CompositeDisposable()
        self._subscriptions[event_time] = subscription
        self.listening.add(subscription)
        stop = event_time.listen(partial(self._advance, event_time), partial(self._is_over, event_time))
        subscription.add(Disposable(stop))
        return subscription

    def _is_over(self, event_time: EventTime) -> None:
        self._over.append(event_time)
        self._ended()


def counted_twice(stream: str | None) -> ConfigurationError:
    """What is to be told where a stream is read again, and others have a share in the windows."""
    return ConfigurationError(
        f"stream {stream} is read again, while others that are merged before these windows go "
        "on: its changes that are in open windows come again, and would be counted twice. Put what "
        "subscribes again, such as ops.retry(), behind the merge"
    )


def _in_part(what: str) -> ConfigurationError:
    """What is to be told where windows would be emitted without what was cut short."""
    return ConfigurationError(
        f"{what} has ended early, while others that are merged before these windows go on: what it "
        "had in them comes again in the next run, and windows of the others alone would be wrong. Put what "
        "ends it, or handles its error, behind the merge"
    )
