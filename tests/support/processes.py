"""A consumer's processes in virtual time: each has a clock, a connection to its table, and a person's code.

A process that is killed does nothing more: what it had scheduled never runs, and nobody takes what it writes.
A frozen one does the same until it thaws. So whatever happens is what the outside would see of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from botocore.exceptions import ConnectionClosedError
from reactivex import Observable
from reactivex import operators as ops
from reactivex.disposable import Disposable, SerialDisposable
from reactivex.scheduler.scheduler import Scheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler
from support.table import MemoryTable, refusal

import rxddbstream as rxd
from rxddbstream.testing import SimulatedStream

NOTHING: Any = object()
PERIOD = 5.0  # seconds between two writes


class Boom(Exception):
    """What the person's code raises."""


class World(Protocol):
    """What a process meets.

    Attributes:
        clock_is_wrong_by: how far the local clock is behind.
        left: how many writes the table takes before it is throttled; None: any number.
        owner: the last process that has read its positions.
    """

    scheduler: TestScheduler
    sim: SimulatedStream
    table: MemoryTable
    clock_is_wrong_by: timedelta
    left: int | None
    owner: Process | None

    def take(self, process: Process, element: Any) -> None:
        """The person's code is through with it."""

    def wrong(self, what: str) -> None:
        """Something is, which is not to be raised where the library would hear of it."""


class OwnTime(Scheduler):
    """A process's scheduler."""

    def __init__(self, process: Process, slowness: float = 0.0) -> None:
        super().__init__()
        self._process = process
        self._slowness = slowness

    @property
    def now(self) -> Any:
        return self._process.world.scheduler.now - self._process.world.clock_is_wrong_by

    def schedule(self, action: Any, state: Any = None) -> Any:
        return self.schedule_relative(0.0, action, state)

    def schedule_absolute(self, duetime: Any, action: Any, state: Any = None) -> Any:
        return self.schedule_relative((self.to_datetime(duetime) - self.now).total_seconds(), action, state)

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> Any:
        def run(scheduler: Any, state: Any = None) -> Any:
            if self._process.is_dead:
                return None
            if self._process.is_frozen:  # looks again once a second
                return self._process.world.scheduler.schedule_relative(1.0, run, state)
            return action(self, state)

        due = max(0.0, self.to_seconds(duetime)) + self._slowness
        return self._process.world.scheduler.schedule_relative(due, run, state)


class Connection:
    """A process's connection to the table of checkpoints, which may be throttled."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.written_at = 0.0

    def __getattr__(self, operation: str) -> Any:
        process, world = self._process, self._process.world

        def call(**arguments: Any) -> Any:
            if process.is_dead:
                raise ConnectionClosedError(endpoint_url="http://localhost")
            if world.left == 0:
                raise refusal("ThrottlingException", operation)
            answer = getattr(world.table, operation)(**arguments)
            if operation == "query":
                self._has_read(arguments)
            elif operation != "describe_table":
                self._has_written(operation)
            return answer

        return call

    def _has_read(self, arguments: Any) -> None:
        process, world = self._process, self._process.world
        if arguments["ExpressionAttributeValues"][":prefix"]["S"].startswith("*claim"):
            return
        other, world.owner = world.owner, process
        if other not in (None, process) and not other.is_over:
            silence = world.scheduler.now.timestamp() - other.connection.written_at
            if silence < 3 * PERIOD - 0.01:
                world.wrong(f"one that lived was taken over, {silence} s after it wrote")

    def _has_written(self, operation: str) -> None:
        process, world = self._process, self._process.world
        has_given_up = operation == "delete_item"
        self.written_at = float("-inf") if has_given_up else world.scheduler.now.timestamp()
        if world.left is not None:
            world.left -= 1
        if operation == "transact_write_items" and world.owner is not process:
            world.wrong("one that was taken over has moved a position")


@dataclass
class Way:
    """How the person's code gets its elements.

    Attributes:
        operators: what stands before it.
        in_a_loop: by `iterate`; else by `subscribe`.
        in_an_operator: it is among the operators: RxPY tells nobody what an observer raises behind a timer.
    """

    operators: Callable[[Process], tuple[Any, ...]] = lambda process: ()
    in_a_loop: bool = False
    in_an_operator: bool = False


class Process:
    """One run of the consumer.

    Attributes:
        fuse: how many elements more the person's code takes before `ends_by` comes; None: any number.
        lingers: how many seconds pass in the middle of a dispose or an end, while all else goes on.
        given: what it has taken.
    """

    def __init__(self, world: World, way: Way) -> None:
        self.world = world
        self.time = OwnTime(self)
        self.slow_thread = OwnTime(self, slowness=0.7)
        self.is_dead = self.is_frozen = self._has_ended = False
        self.fuse: int | None = None
        self.ends_by: Callable[[Process], None] = Process.kill
        self.lingers = 0.0
        self.given: list[Any] = []
        self.newest: dict[str, int] = {}  # of each item, for whoever looks at the order
        self.error: BaseException | None = None
        self.connection = Connection(self)
        self._end = Subject[None]()
        self._loop: Any = None
        self._arrived, self._in_hand = 0, NOTHING
        self._subscription = SerialDisposable()
        self._start(way)

    def _start(self, way: Way) -> None:
        store = rxd.DynamoDBCheckpoints("positions", consumer="c", client=self.connection, period=PERIOD)
        store._clock = lambda: self.world.scheduler.now.timestamp()
        source = rxd.changes(
            self.world.sim.arn,
            client=self.world.sim.client,
            scheduler=self.time,
            start="trim_horizon",
            checkpoints=store,
        ).pipe(
            self._slow_to_dispose,
            *way.operators(self),
            ops.take_until(self._end),
            ops.do_action(on_completed=self._linger),
            self._slow_to_dispose,
        )
        if way.in_a_loop:
            self._loop = rxd.iterate(source.pipe(ops.do_action(self._arrive, self._over, self._over)))
        else:
            take = (lambda _: None) if way.in_an_operator else self.take
            self._subscription.disposable = source.subscribe(take, self._over, self._over)

    def _slow_to_dispose(self, source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            inner = source.subscribe(observer, scheduler=scheduler)

            def dispose() -> None:
                self._linger()
                inner.dispose()

            return Disposable(dispose)

        return Observable(subscribe)

    def _linger(self) -> None:
        self.world.scheduler.advance_by(self.lingers)  # does nothing, where the scheduler is what called

    def _over(self, error: BaseException | None = None) -> None:
        self._has_ended, self.error = True, self.error or error

    @property
    def is_over(self) -> bool:
        """Whether the person's code will get nothing more."""
        return self._has_ended and self._loop is None

    # The person's code

    def take(self, element: Any) -> None:
        if self.is_dead:
            return
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.fuse = None
                self.ends_by(self)
                return
        self.given.append(element)
        self.world.take(self, element)

    def _arrive(self, _: Any) -> None:
        self._arrived += 1

    def turn(self, times: int) -> None:
        """The loop comes back for the next element, as often as there is one."""
        while self._loop is not None and times and not (self.is_dead or self.is_frozen):
            times -= 1
            if self._in_hand is not NOTHING:
                element, self._in_hand = self._in_hand, NOTHING
                self.take(element)
            if self._loop is None or not (self._arrived or self._has_ended):
                return
            try:
                self._in_hand = next(self._loop)
                self._arrived -= 1
            except (StopIteration, Exception) as error:  # noqa: BLE001 - what it ended with
                self._over(None if isinstance(error, StopIteration) else error)
                self._loop = None

    # How it ends

    def kill(self) -> None:
        self.is_dead = True
        self.stop()  # which frees what it has in memory, and has no effect

    def stop(self) -> None:
        """Dispose, or break out of the loop, with an element in hand."""
        self._has_ended = True
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()
        self._subscription.dispose()

    def fail(self) -> None:
        if self._loop is None:
            raise Boom
        self.stop()  # an exception leaves the loop

    def end(self) -> None:
        """An operator ends the stream from inside."""
        self._end.on_next(None)
