"""What a change knows of the reading that it came from.

Operators meet the reading here, and know no more of it: they hold and release a change by its origin, and ask
it for the watermark. So neither side imports the other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import ClassVar, NamedTuple, Protocol


class Numbered(Protocol):
    """What is delivered, as far as its place in the shard goes: a `Change`."""

    @property
    def sequence_number(self) -> str: ...


class WindowOperator(NamedTuple):
    """What a reading knows of a window operator on it. Sizes are seconds.

    Attributes:
        name: what is kept under; it says which windows they are, so that others have another one.
        formerly: the name under which earlier versions kept the watermark.
        span: from a window's start to its end.
        lateness: how long a window stays open after its end.
    """

    name: str
    formerly: str
    span: float
    lateness: float


class EventTime(Protocol):
    """How far a subscription has come in event time, for window operators: its `Progress`.

    Watermarks are seconds since the epoch.
    """

    def begin_windows(self, operator: WindowOperator) -> float | None:
        """There is a window operator.

        Returns:
            Up to which end an earlier run had emitted its windows; None where that was not kept.

        Raises:
            ConfigurationError: there is another of this name, and checkpoints are kept: what one of them had
                emitted would count as emitted by both.
        """

    def end_windows(self, operator: WindowOperator) -> None:
        """There is that window operator no more; another one may take its name."""

    def emitted_windows(self, name: str, end: float) -> None:
        """All windows that end by then have been emitted, and their observer has returned."""

    def listen(self, listener: Callable[[float], object], ended: Callable[[], object]) -> Callable[[], None]:
        """Have the watermark told whenever it has moved on, and now, from any thread; what ends that.

        Args:
            ended: called when the reading is over, and its watermark moves no more.
        """
        ...

    @property
    def comes_again(self) -> bool:
        """Whether what is held of a reading that is over comes again: it was cut short, with checkpoints."""
        ...

    @property
    def kept_of(self) -> str | None:
        """The ARN of the stream whose checkpoints are kept; None where none are, or none were loaded yet."""
        ...

    def was_late(self) -> None:
        """A change came after its windows had closed."""


class Origin:
    """The reading of one shard. No checkpoints are kept of this one: what is held in it makes no difference.

    Attributes:
        is_kept: whether it does make one.
        event_time: how far the whole subscription has come; None in a test of a single shard.
        current: the change that is being delivered; set by whoever delivers.
        done: the last change whose `on_next` has returned; set by whoever delivers.
        is_read: whether the shard was read to its end, and all of it was delivered.
        is_cut: whether it is read no more, and was not read to its end.
        latest: when the changes in hand can have been made at the latest, in seconds since the epoch: no
            change is made after the answer that has it.
    """

    __slots__ = ("current", "done", "event_time", "is_cut", "is_read", "latest")

    is_kept: ClassVar[bool] = False

    def __init__(self, event_time: EventTime | None = None) -> None:
        self.event_time = event_time
        self.current: Numbered | None = None
        self.done: Numbered | None = None
        self.is_read = self.is_cut = False
        self.latest = inf

    def hold(self, change: Numbered) -> bool:
        """Keep a change from being checkpointed until it is released; False when it is too late for that."""
        return True

    def hold_back(self, change: Numbered) -> bool:
        """The same, also of one that is done, as long as no checkpoint can say so."""
        return True

    def defer(self) -> Callable[[], None]:
        """Hold the change that is being delivered; what releases it."""
        return nothing

    def release(self, change: Numbered) -> None:
        """Take back one hold of the change."""

    def acknowledge(self) -> None:
        """The current change is done, although its `on_next` has not returned yet."""
        self.done = self.current


def nothing() -> None:
    """What releases what was not held."""
