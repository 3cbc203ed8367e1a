"""Whatever a consumer's processes come to: what counts as done was handled to its end, nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.processes import Boom, Process, Way
from support.table import MemoryTable

import rxddbstream as rxd
import rxddbstream.checkpoints.dynamodb
from rxddbstream import operators as dops
from rxddbstream.checkpoints.codec import from_text
from rxddbstream.errors import CheckpointLocked
from rxddbstream.model.position import After, AtTime
from rxddbstream.testing import SimulatedStream

BEGAN = 1_700_000_000.0
PARTS = 2  # of the items; each has windows of its own

skews = st.sampled_from([-240, 0, 240]).map(lambda seconds: timedelta(seconds=seconds))
pauses = st.sampled_from([0.0, 0.3, 2.0, 6.0, 20.0])


def part_of(change: rxd.Change) -> int:
    return int(change.keys["id"]) % PARTS


def id_of(change: rxd.Change) -> str:
    return change.event_id


class Written(NamedTuple):
    """A change, as it was written.

    Attributes:
        number: in which order.
        time: when, in seconds, by the service's clock.
    """

    number: int
    item: str
    time: float


def ids_in(element: Any) -> list[str]:
    match element:
        case rxd.Change():
            return [element.event_id]
        case list():
            return [each for part in element for each in ids_in(part)]
    return [element]


class Crashes(RuleBasedStateMachine):
    """A stream, a table of checkpoints, and one or two processes of a consumer."""

    ways: dict[str, Way]
    way: Way

    def begin(self, sim: dict[str, Any]) -> None:
        self.scheduler = TestScheduler()
        self.scheduler.advance_to(BEGAN)
        self.sim = SimulatedStream(scheduler=self.scheduler, **sim)
        self.table = MemoryTable()
        self.clock_is_wrong_by = timedelta(0)
        self.left: int | None = None
        self.owner: Process | None = None
        self.processes: list[Process] = []
        self.wrongs: list[str] = []
        self.written: dict[str, Written] = {}  # by event ID
        self.handled: set[str] = set()
        self.start_one()

    def wrong(self, what: str) -> None:
        self.wrongs.append(what)

    def start_one(self) -> None:
        """As a supervisor does, where none is left."""
        for process in [each for each in self.processes if each.is_over]:
            self.processes.remove(process)
            if not isinstance(process.error, Boom | CheckpointLocked | None):
                self.wrong(f"ended with {process.error!r}")
        if not self.processes:
            self.processes.append(Process(self, self.way))

    @property
    def running(self) -> list[Process]:
        return [process for process in self.processes if not (process.is_frozen or process.is_over)]

    # What happens

    @rule(what=st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.4, 3.0])), min_size=1))
    def write(self, what: list[tuple[int, float]]) -> None:
        for item, pause in what:
            record = self.sim.put(str(item))
            time = record["dynamodb"]["ApproximateCreationDateTime"].timestamp()
            self.written[record["eventID"]] = Written(len(self.written), str(item), time)
            self.scheduler.advance_by(pause)

    @rule(number=st.integers(0, 5), split=st.booleans())
    def reshape(self, number: int, split: bool) -> None:
        shards = [shard for shard in self.sim.shards if not shard.is_closed]
        shard = shards[number % len(shards)]
        if split and len(shards) < 5:
            self.sim.split(shard.id)
        else:
            self.sim.roll_over(shard.id)

    @rule(pause=pauses)
    def wait(self, pause: float) -> None:
        self.scheduler.advance_by(pause)

    @rule(left=st.none() | st.integers(0, 3))
    def throttle(self, left: int | None) -> None:
        """The table takes so many writes more."""
        self.left = left

    @rule(by=skews)
    def set_the_clock(self, by: timedelta) -> None:
        self.clock_is_wrong_by = by

    @precondition(lambda self: self.running)
    @rule(times=st.integers(0, 5))
    def turn(self, times: int) -> None:
        for process in self.running:
            process.turn(times)
        self.start_one()

    @precondition(lambda self: self.running)
    @rule(
        how=st.sampled_from([Process.kill, Process.stop, Process.end]),
        lingers=st.sampled_from([0.0, 0.0, 1.0, 8.0]),
    )
    def end(self, how: Any, lingers: float) -> None:
        process = self.running[0]
        process.lingers = lingers
        how(process)
        process.turn(0)
        self.start_one()

    @precondition(lambda self: self.running)
    @rule(
        how=st.sampled_from([Process.kill, Process.stop, Process.end, Process.fail]), fuse=st.integers(0, 5)
    )
    def end_inside(self, how: Any, fuse: int) -> None:
        """In the middle of an element that is to come."""
        process = self.running[0]
        process.ends_by, process.fuse = how, fuse

    @precondition(lambda self: len(self.processes) == 1)
    @rule()
    def start_another(self) -> None:
        self.processes.append(Process(self, self.way))

    @rule()
    def freeze(self) -> None:
        self.processes[0].is_frozen = True

    @rule()
    def thaw(self) -> None:
        for process in self.processes:
            process.is_frozen = False

    # What always holds

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.wrongs
        self.start_one()

    @invariant()
    def what_counts_as_done_was_handled(self) -> None:
        for (_, key), item in self.table.items.items():
            shard_id = key.removeprefix(f"{self.sim.arn}/")
            if shard_id.startswith("*"):
                continue
            kept = from_text(item["position"]["S"])
            for record in self.sim.records_of(shard_id):
                number = int(record["dynamodb"]["SequenceNumber"])
                if kept is None or (isinstance(kept, After) and number <= int(kept.sequence_number)):
                    assert record["eventID"] in self.handled

    def go_on(self) -> None:
        for process in self.processes:
            process.fuse = None
            process.turn(1000)
        self.scheduler.advance_by(5)
        self.start_one()

    def teardown(self) -> None:
        """Once all is well again, all is handled before long."""
        if not hasattr(self, "sim"):
            return
        self.left = None
        self.thaw()
        for _ in range(60):  # what crashed is waited for, and what failed is tried again
            self.go_on()
            if self.processes == [self.owner] and self.handled == set(self.written):
                break
        for _ in range(8):  # what comes again comes, and is kept as done
            self.go_on()
        self.nothing_is_wrong()
        assert self.handled == set(self.written)
        [process] = self.processes
        process.turn(1000)
        process.stop()
        self.what_counts_as_done_was_handled()
        last = Process(self, self.way)
        self.scheduler.advance_by(30)
        if not self.way.in_a_loop:  # whose last element comes again
            assert not any(last.given)  # but for empty lists
        last.stop()
        assert not self.wrongs


def streams(**more: Any) -> Any:
    return st.fixed_dictionaries(
        {
            "shards": st.integers(1, 3),
            "page_size": st.sampled_from([1, 2, 1000]),
            "records_with_last_page": st.booleans(),
            "ahead": skews,
            **more,
        }
    )


CHANGES = {
    "changes": Way(),
    "numbers": Way(lambda process: (ops.map(id_of),)),
    "in another thread": Way(lambda process: (dops.observe_on(process.slow_thread, max_pending=2),)),
    "lists": Way(
        lambda process: (
            dops.hold(),
            ops.buffer_with_time_or_count(3.0, 3, scheduler=process.time),
            ops.do_action(process.take),
            dops.release(),
        ),
        in_an_operator=True,
    ),
    "in a loop": Way(in_a_loop=True),
    "numbers in a loop": Way(lambda process: (ops.map(id_of),), in_a_loop=True),
}


class Changes(Crashes):
    """The consumer takes changes, or what was made of them."""

    @initialize(sim=streams(empty_pages=st.sampled_from([0, 2])), way=st.sampled_from(list(CHANGES)))
    def begin_with(self, sim: dict[str, Any], way: str) -> None:
        self.way = CHANGES[way]
        self.begin(sim)

    def take(self, process: Process, element: Any) -> None:
        for each in ids_in(element):
            number, item, _ = self.written[each]
            before = process.newest.get(item, -1)
            if number <= before:
                self.wrong(f"change {number} of item {item} came after {before}")
            process.newest[item] = number
            self.handled.add(each)


class Windows(NamedTuple):
    """A windower, and what it is to make of times in their order: from and to which they belong together."""

    windower: Any
    right: Callable[[list[float]], list[tuple[float, float]]]


def tens(times: list[float]) -> list[tuple[float, float]]:
    starts = dict.fromkeys(time // 10 * 10 for time in times)
    return [(start, start + 10) for start in starts]


def without_a_gap(times: list[float]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for time in times:
        start = found.pop()[0] if found and time < found[-1][1] else time
        found.append((start, time + 4))
    return found


WINDOWS = {
    "tumbling": Windows(dops.tumbling(10), tens),
    "session": Windows(dops.session(4), without_a_gap),
}
RESULTS = {
    "windows": Way(lambda process: (process.world.windows(process),)),
    "in another thread": Way(
        lambda process: (
            process.world.windows(process),
            dops.observe_on(process.slow_thread, max_pending=2),
        )
    ),
    "in a loop": Way(lambda process: (process.world.windows(process),), in_a_loop=True),
}


class Windowed(Crashes):
    """The consumer takes the windows of each part of the items."""

    @initialize(sim=streams(), way=st.sampled_from(list(RESULTS)), windows=st.sampled_from(list(WINDOWS)))
    def begin_with(self, sim: dict[str, Any], way: str, windows: str) -> None:
        self.way = RESULTS[way]
        self.kind = WINDOWS[windows]
        self.lateness = 0.0
        self.emitted: set[tuple[int, float]] = set()
        self.begin(sim)

    @rule(lateness=st.sampled_from([0.0, 0.0, 7.0]))
    def change_the_lateness(self, lateness: float) -> None:
        """For the next process."""
        self.lateness = lateness

    def windows(self, process: Process) -> Any:
        def late(change: rxd.Change) -> None:
            self.wrong(f"change {self.written[change.event_id]} was late")

        return dops.fold_window(
            self.kind.windower,
            key=part_of,
            seed=tuple,
            fold=lambda ids, change: (*ids, change.event_id),
            lateness=self.lateness,
            late=late,
        )

    def right(self) -> dict[tuple[int, float, float], list[str]]:
        """The changes of each window: of its part, from its start to its end."""
        found = {}
        for part in range(PARTS):
            mine = {each: w.time for each, w in self.written.items() if int(w.item) % PARTS == part}
            for start, end in self.kind.right(sorted(mine.values())):
                ids = [each for each, time in mine.items() if start <= time < end]
                found[part, start, end] = sorted(ids)
        return found

    def take(self, process: Process, element: Any) -> None:
        key, start, end, ids = element
        right = self.right().get((key, start.timestamp(), end.timestamp()))
        if sorted(ids) != right:
            self.wrong(f"the window of {key} from {start} to {end} has {sorted(ids)}, and not {right}")
        self.handled.update(ids)
        self.emitted.add((key, start.timestamp()))

    @invariant()
    def what_counts_as_emitted_was(self) -> None:
        for (_, key), item in self.table.items.items():
            if "/*emitted " in key:
                kept = from_text(item["position"]["S"])
                assert isinstance(kept, AtTime)
                for part, start, end in self.right():
                    assert end > kept.time.timestamp() or (part, start) in self.emitted


@pytest.fixture(autouse=True)
def one_item_a_transaction(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that a save may be cut between any two; and no log of thousands of faults."""
    monkeypatch.setattr(rxddbstream.checkpoints.dynamodb, "_A_TRANSACTION", 1)
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("machine", [Changes, Windowed])
def test_nothing_is_lost_whatever_the_processes_come_to(machine: type[Crashes]) -> None:
    # More examples with --hypothesis-profile=thorough.
    run_state_machine_as_test(machine, settings=settings(suppress_health_check=list(HealthCheck)))
