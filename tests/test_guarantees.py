"""What README.md and the docs promise, one test each: its docstring is the promise, word for word.

So none of it can change, or come to be, without a test that knows of it. The rooms' tests look closer.
"""

from __future__ import annotations

import re
import sys
import threading
import tomllib
from datetime import timedelta
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.checkout import DOCS, README, ROOT
from support.reading import Mortal, Reader, by_item, read
from support.table import MemoryTable

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import CheckpointLocked, DataTrimmed, StreamDisabled
from rxddbstream.testing import SimulatedStream

BEGAN = 1_700_000_000.0


@pytest.fixture
def scheduler() -> TestScheduler:
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    return scheduler


@pytest.fixture
def sim(scheduler: TestScheduler) -> SimulatedStream:
    return SimulatedStream("orders", scheduler=scheduler, shards=2)


def words(text: str) -> str:
    return " ".join(text.split())


def promises() -> list[str]:
    return [words(value.__doc__) for name, value in vars(sys.modules[__name__]).items() if is_promise(name)]


def is_promise(name: str) -> bool:
    return name.startswith("test_") and name not in (
        "test_each_guarantee_of_the_readme_has_a_test",
        "test_what_is_promised_here_stands_in_the_docs",
    )


def test_each_guarantee_of_the_readme_has_a_test() -> None:
    section = README.read_text().split("## What it guarantees, and what not")[1].split("\n## ")[0]
    guarantees = {words(each) for each in re.split(r"^\* ", section, flags=re.MULTILINE) if each.strip()}
    assert len(guarantees) >= 8
    assert guarantees - set(promises()) == set()


def test_what_is_promised_here_stands_in_the_docs() -> None:
    pages = [words(page.read_text()) for page in (README, DOCS / "checkpoints.md", DOCS / "faults.md")]
    assert [each for each in promises() if not any(each in page for page in pages)] == []


# README.md


def test_order(sim, scheduler):
    """An item's changes come in the order in which they were made, also when its shard splits. Changes of
    different items come in no particular order."""
    reader = read(sim, scheduler)
    for number in range(60):
        sim.put(f"item-{number % 4}", n=number)
        if number in (20, 40):
            sim.split(next(shard.id for shard in sim.shards if not shard.is_closed))
        scheduler.advance_by(1)
    scheduler.advance_by(30)
    assert len(reader.changes) == 60
    assert reader.by_item() == by_item(sim.records)


def test_at_least_once(sim, scheduler):
    """With checkpoints, every change comes at least once. After a crash some come again. There is no
    exactly-once: what an observer does must bear being done twice."""
    kept, runs = rxd.MemoryCheckpoints(), []
    for number in range(40):
        if number % 13 == 0:  # in the middle of a period
            store = Mortal(kept)
            runs.append(read(sim, scheduler, start="trim_horizon", checkpoints=store))
        sim.put(f"item-{number}")
        scheduler.advance_by(1)
        if number % 13 == 12:
            store.alive = False
            runs[-1].subscription.dispose()
    scheduler.advance_by(10)
    came = [each for run in runs for each in run.ids]
    assert set(came) == {record["eventID"] for record in sim.records}
    assert len(came) > len(set(came))


def test_latest(sim, scheduler):
    """`start="latest"`, the default, means what is written after `subscribe` has returned, however late the
    service answers. `"trim_horizon"` is all that the service still has; a datetime or a timedelta is what
    was written since."""
    sim.put("long ago")
    scheduler.advance_by(600)
    sim.put("lately")
    scheduler.advance_by(60)
    since = scheduler.now.astimezone() - timedelta(seconds=120)
    sim.script("DescribeStream", *["InternalServerError"] * 3)
    starts: list[dict[str, Any]] = [{}, *({"start": each} for each in ("latest", "trim_horizon", since))]
    readers = [read(sim, scheduler, **start) for start in [*starts, {"start": timedelta(seconds=120)}]]
    sim.put("new")
    scheduler.advance_by(60)
    names = [{change.keys["id"] for change in reader.changes} for reader in readers]
    assert names[:3] == [{"new"}, {"new"}, {"long ago", "lately", "new"}]
    assert names[3:] == [{"lately", "new"}] * 2


def test_a_gap(sim, scheduler):
    """DynamoDB keeps a change for 24 hours. What a consumer did not read by then is lost. The library cannot
    bring it back; it says so: with a `Gap` event, and by ending the stream with an error unless told to go
    on."""
    store = rxd.MemoryCheckpoints()
    options = {"start": "trim_horizon", "checkpoints": store}
    sim.put("before")
    with read(sim, scheduler, **options).subscription:
        scheduler.advance_by(10)
    sim.put("lost")
    scheduler.advance_by(25 * 3600)
    sim.put("left")
    for on_gap in ("raise", "skip"):
        reader = read(sim, scheduler, on_gap=on_gap, **options)
        scheduler.advance_by(30)
        reader.subscription.dispose()
        assert any(isinstance(event, rxd.Gap) for event in reader.events)
        assert isinstance(reader.error, DataTrimmed if on_gap == "raise" else type(None))
    assert [change.keys["id"] for change in reader.changes] == ["left"]


def test_a_slow_observer():
    """A slow observer slows the reading down; nothing is piled up for it. When it stays too slow, the 24
    hours run out."""
    sim, in_hand, go_on = SimulatedStream(page_size=1), threading.Event(), threading.Event()
    for number in range(100):
        sim.put("item", n=number)

    def observe(_: rxd.Change) -> None:
        in_hand.set()
        go_on.wait(30)

    poll = rxd.Poll(fastest=0.001, slowest=0.002)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=poll)
    subscription = source.subscribe(observe)
    try:
        assert in_hand.wait(30)
        go_on.wait(0.3)  # for as long, nothing more is asked for than a page ahead
        assert sim.calls["GetRecords"] <= 2
    finally:
        subscription.dispose()
        go_on.set()


def test_windows(sim, scheduler):
    """With checkpoints, a stop or a crash loses no window by event time, and has none emitted in part. After
    a crash, those of the last seconds are emitted again. A change that comes after its windows have closed
    is late: it is counted, and goes to whom `late=` names."""
    kept, emitted, late = rxd.MemoryCheckpoints(), [], []
    windows = dops.fold_window(dops.tumbling(5), fold=dops.count(), late=late.append)
    stores = [Mortal(kept) for _ in range(3)]
    for store, crashes in zip(stores, (True, False, False), strict=True):
        source = rxd.changes(
            sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon", checkpoints=store
        )
        with source.pipe(windows).subscribe(emitted.append):
            for _ in range(33):
                sim.put(f"item-{len(sim.records)}")
                scheduler.advance_by(1)
            store.alive = not crashes
    starts = [window.start.timestamp() for window in emitted]
    assert sorted(set(starts)) == [BEGAN + 5 * n for n in range(len(set(starts)))]
    assert len(set(starts)) >= 18
    assert {window.value for window in emitted} == {5}
    assert late == []

    backwards = ops.buffer_with_count(2), ops.flat_map(lambda two: two[::-1])
    stream = rxd.changes(sim.arn, client=sim.client, scheduler=scheduler, start="latest")
    with stream.pipe(*backwards, windows).subscribe(lambda _: None):
        for name in ("too late", "in time"):
            sim.put(name)
            scheduler.advance_by(20)
    assert [change.keys["id"] for change in late] == ["too late"]
    assert stream.statistics().late == 1


def test_one_process(sim, scheduler):
    """One process reads all shards of a stream. Several cannot share them out yet."""
    table = MemoryTable()
    for number in range(8):
        sim.put(f"item-{number}")
    readers = []
    for _ in range(2):
        store = rxd.DynamoDBCheckpoints("positions", consumer="mailer", client=table)
        store._clock = lambda: scheduler.now.timestamp()
        readers.append(read(sim, scheduler, start="trim_horizon", checkpoints=store))
        scheduler.advance_by(30)
    assert sorted(readers[0].ids) == sorted(record["eventID"] for record in sim.records)
    assert {change.shard_id for change in readers[0].changes} == {shard.id for shard in sim.shards}
    assert isinstance(readers[1].error, CheckpointLocked)
    assert readers[1].changes == []


def test_dependencies():
    """It depends on `boto3`, `reactivex` (6.1 or later) and `msgspec`."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split("[<>=]", need)[0] for need in needs} == {"boto3", "reactivex", "msgspec"}
    assert any(need.startswith("reactivex>=6.1") for need in needs)


# docs/faults.md


def test_what_may_pass(sim, scheduler):
    """What may pass is tried again, without end, and told as an event. `Poll(give_up_after=seconds)` sets an
    end."""
    sim.put("a")
    sim.script("GetRecords", *["InternalServerError"] * 500)
    patient = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(2 * 3600)
    assert (patient.error, len(patient.changes)) == (None, 1)
    assert any(isinstance(event, rxd.Retrying) for event in patient.events)
    patient.subscription.dispose()
    sim.script("DescribeStream", *["InternalServerError"] * 500)
    impatient = read(sim, scheduler, poll=rxd.Poll(give_up_after=60))
    scheduler.advance_by(120)
    assert impatient.error is not None


def test_what_will_not_pass(sim, scheduler):
    """What will not pass ends the stream at once: `on_error` gets a `StreamError`, whose message names the
    stream or the shard and says what to do."""
    sim.put("a")
    reader = read(sim, scheduler, start="trim_horizon")
    sim.disable()
    scheduler.advance_by(60)
    assert isinstance(reader.error, StreamDisabled)
    assert sim.arn in str(reader.error)
    assert "enable a stream" in str(reader.error)
    assert len(reader.changes) == 1


# docs/checkpoints.md


def rest(sim: SimulatedStream, scheduler: TestScheduler, store: rxd.MemoryCheckpoints) -> list[str]:
    """What the next run gets."""
    scheduler.advance_by(1)
    reader = Reader(sim, scheduler, {"checkpoints": store})
    scheduler.advance_by(30)
    reader.subscription.dispose()
    return [change.keys["id"] for change in reader.changes]


def of_three(sim: SimulatedStream, scheduler: TestScheduler, store: rxd.MemoryCheckpoints) -> Any:
    for name in ("a", "b", "c"):
        sim.put_into(sim.shards[0].id, name)
    return rxd.changes(
        sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon", checkpoints=store
    )


@pytest.mark.parametrize("raises", [False, True])
def test_done(sim, scheduler, raises):
    """A change is done when the observer's `on_next` has returned. What a `filter` drops is done as well.
    When `on_next` raises, the stream ends, and neither that change nor any after it in its shard is done."""
    store, errors = rxd.MemoryCheckpoints(), []

    def observe(change: rxd.Change) -> None:
        if raises and change.keys["id"] == "b":
            raise ValueError("no more")

    source = of_three(sim, scheduler, store).pipe(ops.filter(lambda change: change.keys["id"] != "a"))
    with source.subscribe(observe, errors.append):
        scheduler.advance_by(10)
    assert [str(error) for error in errors] == (["no more"] if raises else [])
    assert rest(sim, scheduler, store) == (["b", "c"] if raises else [])


def test_the_last_one_before_a_dispose(sim, scheduler):
    """The last change is not done when the subscription is disposed from inside its `on_next`. So it comes
    again after `ops.take(n)`, and after `break` in a `for` loop over `rxd.iterate`: there a change is done
    when the loop comes back for the next one."""
    for way in ("take", "break"):
        store = rxd.MemoryCheckpoints()
        source = of_three(sim, scheduler, store)
        if way == "take":
            with source.pipe(ops.take(2)).subscribe(lambda _: None):
                scheduler.advance_by(10)
        else:
            loop = rxd.iterate(source)
            scheduler.advance_by(10)
            assert [next(loop).keys["id"] for _ in range(2)] == ["a", "b"]
            loop.close()
        assert rest(sim, scheduler, store)[:2] == ["b", "c"]


def test_what_waits_in_a_queue(sim, scheduler):
    """So do `dops.observe_on`, `rxd.iterate` and `rxd.aiterate` with what waits in their queues, whatever it
    is: they hold the change that was being delivered when it came, the changes of a list, also where the list
    was mapped to something else, those of a window."""
    store, seen = rxd.MemoryCheckpoints(), []
    names = of_three(sim, scheduler, store).pipe(ops.map(lambda change: change.keys["id"]))
    other_thread = TestScheduler()  # which has not come to it yet
    with names.pipe(dops.observe_on(other_thread)).subscribe(seen.append):
        scheduler.advance_by(20)
    assert seen == []
    assert rest(sim, scheduler, store) == ["a", "b", "c"]


def test_start_is_for_the_first_time(sim, scheduler):
    """`start` is for the first time alone. Later runs go on from the checkpoints, whatever `start` says."""
    store = rxd.MemoryCheckpoints()
    with of_three(sim, scheduler, store).subscribe(lambda _: None):
        scheduler.advance_by(10)
    sim.put("d")
    again = read(sim, scheduler, start="trim_horizon", checkpoints=store)
    scheduler.advance_by(10)
    assert [change.keys["id"] for change in again.changes] == ["d"]
