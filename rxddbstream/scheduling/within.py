"""Who is to be told of the sources that are subscribed to: in the scheduler, which RxPY hands on to them all.

An operator may have to know what it reads before anything comes. Between it and its sources are others, such
as `merge`, that subscribe later or on another thread, and again after an error. They all pass on the
scheduler that they were given::

    source.subscribe(observer, scheduler=Within(scheduler, tell))       the operator
    tell_of(something, scheduler)                                       the source, in its `subscribe`
    scheduler = plain(scheduler)                                        what it was without
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from reactivex import abc
from reactivex.scheduler import TimeoutScheduler


class Within(abc.SchedulerBase):
    """A scheduler that also says who is to be told of the sources.

    Where there is none, it counts as false, as None does: then operators take one of their own.

    Args:
        scheduler: what was given to the operator.
        tell: is called with what a source says of itself, on the thread that subscribes to it.
    """

    def __init__(self, scheduler: abc.SchedulerBase | None, tell: Callable[[Any], object]) -> None:
        self._scheduler = scheduler
        self._tell = tell

    def __bool__(self) -> bool:
        return bool(self._scheduler)

    @property
    def now(self) -> datetime:
        return self._any.now

    def schedule(self, action: Any, state: Any = None) -> abc.DisposableBase:
        return self._any.schedule(action, state)

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> abc.DisposableBase:
        return self._any.schedule_relative(duetime, action, state)

    def schedule_absolute(self, duetime: Any, action: Any, state: Any = None) -> abc.DisposableBase:
        return self._any.schedule_absolute(duetime, action, state)

    @classmethod
    def to_seconds(cls, value: datetime | timedelta | float) -> float:
        return TimeoutScheduler.to_seconds(value)

    @classmethod
    def to_datetime(cls, value: datetime | timedelta | float) -> datetime:
        return TimeoutScheduler.to_datetime(value)

    @classmethod
    def to_timedelta(cls, value: datetime | timedelta | float) -> timedelta:
        return TimeoutScheduler.to_timedelta(value)

    @property
    def _any(self) -> abc.SchedulerBase:
        scheduler = plain(self)
        return scheduler if scheduler is not None else TimeoutScheduler.singleton()


def plain(scheduler: abc.SchedulerBase | None) -> abc.SchedulerBase | None:
    """The scheduler alone."""
    while isinstance(scheduler, Within):
        scheduler = scheduler._scheduler
    return scheduler


def replaced(
    given: abc.SchedulerBase | None, scheduler: abc.SchedulerBase | None
) -> abc.SchedulerBase | None:
    """Another scheduler, with who is to be told according to the given one."""
    if not isinstance(given, Within):
        return scheduler
    return Within(replaced(given._scheduler, scheduler), given._tell)


def tell_of(source: object, given: abc.SchedulerBase | None) -> None:
    """Tell all operators above of this source."""
    while isinstance(given, Within):
        given._tell(source)
        given = given._scheduler
