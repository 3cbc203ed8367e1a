"""Windows as operators: on a stream, by its watermark, over splits, faults, crashes and restarts."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal

import hypothesis.strategies as st
import pytest
import reactivex
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from reactivex import operators as ops
from reactivex.disposable import SerialDisposable
from reactivex.subject import Subject
from reactivex.testing import TestScheduler
from support.reading import Mortal

import rxddbstream as rxd
import rxddbstream.reading.outlet
from rxddbstream import operators as dops
from rxddbstream.checkpoints.frontier import Frontier
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.errors import ConfigurationError, HeldTooLate, StreamDisabled
from rxddbstream.model.times import SETTLING
from rxddbstream.reading.progress import Progress
from rxddbstream.testing import Faults, SimulatedStream

BEGAN = 1_000_020.0  # the start of a minute


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    return scheduler


def changes_of(sim, scheduler, **options):
    options = {"start": "trim_horizon", "scheduler": scheduler, **options}
    return rxd.changes(sim.arn, client=sim.client, **options)


def by_id(change):
    return change.keys["id"]


def made(key, time, number=0, **attributes):
    """A change made by hand."""
    item = {"id": {"S": key}} | {name: {"N": str(value)} for name, value in attributes.items()}
    record = {
        "eventName": "INSERT",
        "dynamodb": {
            "Keys": {"id": {"S": key}},
            "NewImage": item,
            "ApproximateCreationDateTime": datetime.fromtimestamp(time, UTC),
            "SequenceNumber": str(10**21 + number),
        },
    }
    return rxd.Change(record, "shard-1")


def minutes(result):
    return (result.key, result.start.minute, result.value)


# --- what comes out -----------------------------------------------------------------------------


def test_changes_made_by_hand_close_windows_by_their_own_time():
    #   0         60        120
    #   [a  b  a  )[a       )[b
    source = reactivex.of(made("a", 0), made("b", 10), made("a", 59.9), made("a", 60), made("b", 130))
    results = []
    source.pipe(dops.fold_window(dops.tumbling(60), key=by_id, fold=dops.count())).subscribe(results.append)

    assert [minutes(result) for result in results] == [("a", 0, 2), ("b", 0, 1), ("a", 1, 1), ("b", 2, 1)]


def test_a_window_is_an_observable_of_its_changes():
    windows = []

    def collect(window):
        seen = []
        window.subscribe(seen.append, on_completed=lambda: seen.append("completed"))
        windows.append((window.key, window.start, window.end, seen))

    changes = [made("a", 5), made("b", 10), made("a", 70)]
    reactivex.of(*changes).pipe(dops.window(dops.tumbling(60), by_id)).subscribe(collect)

    minute = [datetime.fromtimestamp(60 * n, UTC) for n in range(3)]
    assert windows == [
        ("a", minute[0], minute[1], [changes[0], "completed"]),
        ("b", minute[0], minute[1], [changes[1], "completed"]),
        ("a", minute[1], minute[2], [changes[2], "completed"]),
    ]


def test_a_window_of_all_keys_has_none():
    results = []
    changes = reactivex.of(made("a", 5), made("b", 10))
    changes.pipe(dops.fold_window(dops.tumbling(60), fold=dops.count())).subscribe(results.append)

    assert [(result.key, result.value) for result in results] == [(None, 2)]


@pytest.mark.parametrize(
    ("windower", "expected"),
    [
        (dops.tumbling(60), [(0, 60, 5), (60, 120, 3), (120, 180, 9)]),
        (
            dops.sliding(60, every=30),
            [(-30, 30, 2), (0, 60, 5), (30, 90, 6), (60, 120, 3), (90, 150, 9), (120, 180, 9)],
        ),
        (dops.session(45), [(10, 115, 8), (130, 175, 9)]),
    ],
)
def test_the_windowers(windower, expected):
    #   10    50    70             130
    #   2     3     3              9
    changes = [made("a", 10, n=2), made("a", 50, n=3), made("a", 70, n=3), made("a", 130, n=9)]
    results = []
    reactivex.from_iterable(changes).pipe(
        dops.fold_window(windower, key=by_id, fold=dops.sum_of(lambda change: change.new_image["n"]))
    ).subscribe(results.append)

    assert [(r.start.timestamp(), r.end.timestamp(), r.value) for r in results] == expected


def test_a_fold_of_ones_own():
    results = []
    changes = reactivex.of(made("a", 5), made("b", 10), made("a", 15))
    changes.pipe(
        dops.fold_window(dops.tumbling(60), seed=list, fold=lambda keys, change: [*keys, by_id(change)])
    ).subscribe(results.append)

    assert [result.value for result in results] == [["a", "b", "a"]]


def test_late_changes_go_to_their_observer_are_counted_and_end_nothing():
    late, results = [], []
    changes = reactivex.of(made("a", 5), made("a", 130), made("a", 50), made("a", 140))
    changes.pipe(
        dops.fold_window(dops.tumbling(60), key=by_id, fold=dops.count(), late=late.append)
    ).subscribe(results.append)

    assert [minutes(result) for result in results] == [("a", 0, 1), ("a", 2, 2)]
    assert [change.timestamp for change in late] == [50]


def test_late_changes_go_to_an_rx_observer_as_well():
    late, seen = Subject(), []
    late.subscribe(seen.append)
    changes = reactivex.of(made("a", 5), made("a", 130), made("a", 50))
    changes.pipe(dops.fold_window(dops.tumbling(60), fold=dops.count(), late=late)).subscribe(lambda _: None)

    assert [change.timestamp for change in seen] == [50]


def test_the_first_late_change_that_nobody_gets_is_warned_of(caplog):
    changes = reactivex.of(made("a", 5), made("a", 130), made("a", 50), made("a", 40))
    changes.pipe(dops.fold_window(dops.tumbling(60), fold=dops.count())).subscribe(lambda _: None)

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "came after its windows had closed" in record.getMessage()


def test_lateness_keeps_windows_open():
    results = []
    changes = reactivex.of(made("a", 5), made("a", 119), made("a", 50), made("a", 120), made("a", 55))
    changes.pipe(dops.fold_window(dops.tumbling(60), fold=dops.count(), lateness=60)).subscribe(
        results.append
    )

    assert [(result.start.minute, result.value) for result in results] == [(0, 2), (1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": dops.count(), "seed": int}, "seed= goes with a function"),
        ({"fold": lambda total, change: total}, "seed=None must be a function"),
        ({"fold": lambda total, change: total, "seed": 0}, "seed=0 must be a function"),
        ({"fold": dops.count(), "lateness": -1}, "lateness"),
    ],
)
def test_what_cannot_work_is_refused_at_once(options, message):
    with pytest.raises(ConfigurationError, match=message):
        dops.fold_window(dops.tumbling(60), **options)


def test_an_error_of_the_source_passes_and_closes_no_window():
    results, errors = [], []
    source = reactivex.concat(reactivex.of(made("a", 5)), reactivex.throw(ValueError("no more")))
    source.pipe(dops.fold_window(dops.tumbling(60), fold=dops.count())).subscribe(
        results.append, errors.append
    )

    assert results == []
    assert [str(error) for error in errors] == ["no more"]


# --- on a stream --------------------------------------------------------------------------------


def test_a_stream_that_has_gone_quiet_closes_its_windows(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    results = []
    windows = dops.fold_window(dops.tumbling(60), key=by_id, fold=dops.count())
    with changes_of(sim, scheduler).pipe(windows).subscribe(results.append):
        sim.put("a")
        scheduler.advance_by(59)
        assert results == []
        scheduler.advance_by(15)

    assert [(result.key, result.value) for result in results] == [("a", 1)]


def test_windows_close_behind_a_filter_that_lets_nothing_more_pass(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    results = []
    pipeline = [
        ops.filter(lambda change: change.keys["id"] == "wanted"),
        dops.fold_window(dops.tumbling(60), fold=dops.count()),
    ]
    with changes_of(sim, scheduler).pipe(*pipeline).subscribe(results.append):
        sim.put("wanted")
        for n in range(100):
            sim.put(f"other-{n}")
            scheduler.advance_by(1)

    assert [result.value for result in results] == [1]


def test_a_backlog_read_after_an_outage_lands_in_its_own_minutes(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=4)
    for n in range(600):
        sim.put(f"o-{n}", n=n)
        scheduler.advance_by(1)
    results = []
    windows = dops.fold_window(dops.tumbling(60), fold=dops.count())
    with changes_of(sim, scheduler).pipe(windows).subscribe(results.append):
        scheduler.advance_by(120)

    assert [result.value for result in results] == [60] * 10
    assert [result.start.timestamp() for result in results] == [BEGAN + 60 * n for n in range(10)]


def test_late_changes_are_told_in_the_statistics(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    stream = changes_of(sim, scheduler)
    backwards = ops.buffer_with_count(2), ops.flat_map(lambda two: reactivex.from_iterable(two[::-1]))
    windows = dops.fold_window(dops.tumbling(1), fold=dops.count())
    with stream.pipe(*backwards, windows).subscribe(lambda _: None):
        sim.put("a")
        scheduler.advance_by(10)
        sim.put("b")
        scheduler.advance_by(10)

    assert stream.statistics().late == 1


def test_a_bounded_read_closes_all_windows_at_its_end(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    sim.put("a")
    results, completed = [], []
    windows = dops.fold_window(dops.tumbling(3600), fold=dops.count())
    changes_of(sim, scheduler, follow=False).pipe(windows).subscribe(
        results.append, on_completed=lambda: completed.append(True)
    )
    scheduler.advance_by(60)

    assert [result.value for result in results] == [1]
    assert completed


def test_an_observer_that_raises_at_a_closing_window_ends_the_stream_with_its_error(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    errors = []

    def refuse(result):
        raise ValueError("no more")

    store = rxd.MemoryCheckpoints()
    windows = dops.fold_window(dops.tumbling(60), fold=dops.count())
    changes_of(sim, scheduler, checkpoints=store).pipe(windows).subscribe(refuse, errors.append)
    sim.put("a")
    scheduler.advance_by(120)
    calls = sim.calls["GetRecords"]
    scheduler.advance_by(120)

    assert [str(error) for error in errors] == ["no more"]
    assert sim.calls["GetRecords"] == calls
    assert not any(text.startswith("1 AFTER") for text in store.load(sim.arn).values())


@pytest.mark.parametrize("windower", [dops.tumbling(60), dops.session(10)])
@pytest.mark.parametrize("broken", ["step", "result"])
def test_a_fold_that_raises_ends_the_stream_with_its_error(scheduler, windower, broken):
    sim = SimulatedStream(scheduler=scheduler)
    errors = []

    def fail(*_):
        raise ValueError("no more")

    functions = {"seed": int, "step": lambda total, change: total + 1, "result": lambda total: total}
    fold = dops.Fold(**{**functions, broken: fail})
    windows = dops.fold_window(windower, fold=fold)
    changes_of(sim, scheduler).pipe(windows).subscribe(lambda _: None, errors.append)
    sim.put("a")
    scheduler.advance_by(120)
    calls = sim.calls["GetRecords"]
    scheduler.advance_by(120)

    assert [str(error) for error in errors] == ["no more"]
    assert sim.calls["GetRecords"] == calls


def test_two_streams_close_their_windows_by_the_slower_one(scheduler):
    fast, slow = SimulatedStream("fast", scheduler=scheduler), SimulatedStream("slow", scheduler=scheduler)
    slow.script("GetRecords", None, *["ThrottlingException"] * 40)  # some 330 s
    results = []
    both = reactivex.merge(changes_of(fast, scheduler), changes_of(slow, scheduler))
    slow.put("a")
    with both.pipe(dops.fold_window(dops.tumbling(60), fold=dops.count())).subscribe(results.append):
        fast.put("b")
        scheduler.advance_by(5)
        slow.put("c")
        scheduler.advance_by(60)
        assert results == []
        scheduler.advance_by(900)

    assert [result.value for result in results] == [3]


def test_windows_behind_a_buffer_cannot_be_held(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    errors = []
    backwards = ops.buffer_with_count(2), ops.flat_map(reactivex.from_iterable)
    windows = dops.fold_window(dops.tumbling(60), fold=dops.count())
    changes_of(sim, scheduler, checkpoints=rxd.MemoryCheckpoints()).pipe(*backwards, windows).subscribe(
        lambda _: None, errors.append
    )
    sim.put("a")
    sim.put("b")
    scheduler.advance_by(5)

    assert [type(error) for error in errors] == [HeldTooLate]


@pytest.mark.parametrize("aligned", [True, False])
def test_a_shard_that_runs_ahead_waits_for_the_others(scheduler, aligned):
    # The same 1,000 s in both, with ten times as many changes in the second: it is read ten times slower.
    sim = SimulatedStream(scheduler=scheduler, shards=2, page_size=10)
    for n in range(1000):
        sim.put_into(sim.shards[1].id, "b")
        if n % 10 == 0:
            sim.put_into(sim.shards[0].id, "a")
        scheduler.advance_by(1)
    newest = dict.fromkeys((shard.id for shard in sim.shards), BEGAN)
    apart, results = [], []

    def note(change):
        newest[change.shard_id] = change.timestamp
        apart.append(max(newest.values()) - min(newest.values()))

    windows = dops.fold_window(dops.tumbling(60), key=by_id, fold=dops.count()) if aligned else ops.map(id)
    with changes_of(sim, scheduler).pipe(ops.do_action(note), windows).subscribe(results.append):
        scheduler.advance_by(300)

    assert len(apart) == 1100
    a_page = 100  # of the first shard's, in seconds
    assert (max(apart) <= 60 + a_page) is aligned


# --- restarts -----------------------------------------------------------------------------------


class Consumer:
    """A windowed aggregation in several runs."""

    def __init__(self, sim, scheduler, windower):
        self.sim, self.scheduler, self.windower = sim, scheduler, windower
        self.store = rxd.MemoryCheckpoints()
        self.results = []  # (time, result)
        self.crashes = []
        self.late = []
        self.errors = []
        self.start()

    def start(self):
        self.mortal = Mortal(self.store)
        windows = dops.fold_window(
            self.windower,
            key=by_id,
            fold=dops.sum_of(lambda change: change.new_image["n"]),
            late=self.late.append,
        )
        self.subscription = SerialDisposable()
        stream = changes_of(self.sim, self.scheduler, checkpoints=self.mortal)
        self.subscription.disposable = stream.pipe(windows).subscribe(self.take, self.errors.append)

    def take(self, result):
        self.results.append((self.scheduler.now.timestamp(), result))

    def crash(self):
        self.mortal.alive = False
        self.crashes.append(self.scheduler.now.timestamp())
        self.stop()

    def stop(self):
        self.subscription.dispose()
        self.start()


def oracle(records, size):
    """Tumbling windows by brute force."""
    totals = defaultdict(Decimal)
    for record in records:
        detail = record["dynamodb"]
        time = detail["ApproximateCreationDateTime"].timestamp()
        key = (detail["Keys"]["id"]["S"], time // size * size)
        totals[key] += Decimal(detail["NewImage"]["n"]["N"])
    return dict(totals)


happenings = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 3.0, 11.0, 40.0]),
        st.sampled_from(["put", "put", "put", "put", "split", "roll over", "crash", "stop"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    happenings,
    st.integers(1, 3),
    st.sampled_from([2, 1000]),
    st.sampled_from([None, Faults(seed=3, throttle=0.2, reset=0.1, expire_after=60)]),
    st.sampled_from([0.0, 3.0]),
)
def test_the_union_of_all_runs_is_what_brute_force_says(happenings, shards, page_size, faults, delay):
    logging.disable(logging.WARNING)
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    sim = SimulatedStream(
        scheduler=scheduler, shards=shards, page_size=page_size, faults=faults, listing_delay=delay
    )
    consumer = Consumer(sim, scheduler, dops.tumbling(20))
    for pause, what, number in happenings:
        open_shards = [shard for shard in sim.shards if not shard.is_closed]
        match what:
            case "put":
                sim.put(f"item-{number}", n=number + 1)
            case "split":
                sim.split(open_shards[number % len(open_shards)].id)
            case "roll over":
                sim.roll_over()
            case "crash":
                consumer.crash()
            case "stop":
                consumer.stop()
        if pause:
            scheduler.advance_by(pause)
    scheduler.advance_by(600)
    consumer.subscription.dispose()
    logging.disable(logging.NOTSET)

    assert consumer.errors == []
    assert consumer.late == []
    seen = defaultdict(list)
    for at, result in consumer.results:
        seen[result.key, result.start.timestamp()].append((at, result.value))
    expected = oracle(sim.records, 20)
    assert {window: values[0][1] for window, values in seen.items()} == expected
    for emissions in seen.values():
        values = {value for _, value in emissions}
        assert len(values) == 1  # a window that comes again is the same
        # ... and does so only if it was emitted in the checkpoint period before a crash.
        for at, _ in emissions[:-1]:
            assert any(crash - Mortal.period <= at <= crash for crash in consumer.crashes)


def test_a_stop_in_order_emits_no_window_twice(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    consumer = Consumer(sim, scheduler, dops.sliding(60, every=20))
    for n in range(200):
        sim.put(f"item-{n % 3}", n=1)
        scheduler.advance_by(2)
        if n % 7 == 0:
            consumer.stop()
    scheduler.advance_by(120)
    consumer.subscription.dispose()

    windows = Counter((result.key, result.start) for _, result in consumer.results)
    assert set(windows.values()) == {1}
    assert sum(result.value for _, result in consumer.results) == 200 * 3
    assert consumer.late == []


# --- checkpoints that are written at a bad moment -----------------------------------------------

SLIDING = dops.sliding(60, every=30)  # a change that is read again is in windows that were emitted, too


@pytest.fixture
def writers(monkeypatch):
    """Those of the runs, so that a test can have one write."""
    found = []

    class Noted(Writer):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            found.append(self)

    monkeypatch.setattr(rxddbstream.reading.outlet, "Writer", Noted)
    return found


class Sums:
    """Runs that sum up the changes of a stream in windows that overlap."""

    def __init__(self, sim, scheduler):
        self.sim, self.scheduler = sim, scheduler
        self.store = rxd.MemoryCheckpoints()
        self.results = []

    def run(self, store, on_next):
        windows = dops.fold_window(SLIDING, fold=dops.sum_of(lambda change: change.new_image["n"]))
        return changes_of(self.sim, self.scheduler, checkpoints=store).pipe(windows).subscribe(on_next)

    def resume(self, kept):
        """What a run emits that begins with these checkpoints."""
        store, results = rxd.MemoryCheckpoints(), []
        store.save(self.sim.arn, kept)
        with self.run(store, results.append):
            self.scheduler.advance_by(150)
        return results


def sums(*results):
    """The values of each window; more than one is a contradiction."""
    found = defaultdict(set)
    for result in results:
        found[result.start.timestamp() - BEGAN].add(result.value)
    return dict(found)


#   10    40    70
#   1     2     4
ALL_SUMS = {-30: {1}, 0: {3}, 30: {6}, 60: {4}}


def put_three(sim, scheduler):
    scheduler.advance_by(10)
    for number in (1, 2, 4):
        sim.put("a", n=number)
        scheduler.advance_by(30)


def test_checkpoints_written_while_windows_are_emitted_lose_none_and_change_none(
    scheduler, writers, monkeypatch
):
    sim = SimulatedStream(scheduler=scheduler)
    consumer = Sums(sim, scheduler)
    written = []  # how many windows had been taken, and what was kept then
    released = Frontier.release

    def write():
        writers[0].flush()
        written.append((len(consumer.results), dict(consumer.store.load(sim.arn))))

    def take(result):
        write()
        consumer.results.append(result)

    def release(frontier, change):
        released(frontier, change)
        write()

    with monkeypatch.context() as patch, consumer.run(consumer.store, take):
        patch.setattr(Frontier, "release", release)
        put_three(sim, scheduler)
        scheduler.advance_by(60)

    assert sums(*consumer.results) == ALL_SUMS
    assert len(written) == 4 + 3
    for taken, kept in written:
        assert sums(*consumer.results[:taken], *consumer.resume(kept)) == ALL_SUMS


def test_windows_that_close_while_a_checkpoint_is_gathered_do_not_change(scheduler, writers, monkeypatch):
    sim = SimulatedStream(scheduler=scheduler)
    consumer = Sums(sim, scheduler)
    emitted = Progress.emitted.fget

    def overtaken(progress):
        before = emitted(progress)
        monkeypatch.undo()
        # Another worker closes the window that ends at 60.
        progress.caught_up(sim.shards[0].id, datetime.fromtimestamp(BEGAN + 60 + SETTLING, UTC))
        return before

    with consumer.run(consumer.store, consumer.results.append):
        scheduler.advance_by(10)
        sim.put("a", n=1)
        scheduler.advance_by(30)
        sim.put("a", n=2)
        scheduler.advance_by(5)
        assert sums(*consumer.results) == {-30: {1}}
        monkeypatch.setattr(Progress, "emitted", property(overtaken))
        writers[0].flush()
        assert sums(*consumer.results) == {-30: {1}, 0: {3}}
        kept = dict(consumer.store.load(sim.arn))

    assert sums(*consumer.results, *consumer.resume(kept)) == {-30: {1}, 0: {3}, 30: {2}}


def test_what_was_emitted_is_not_read_again(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    consumer = Sums(sim, scheduler)
    with consumer.run(consumer.store, consumer.results.append):
        put_three(sim, scheduler)
        scheduler.advance_by(60)
    stream = changes_of(sim, scheduler, checkpoints=consumer.store)
    with stream.subscribe(lambda _: None):
        scheduler.advance_by(10)

    assert stream.statistics().records == 0


@pytest.mark.parametrize("follow", [True, False])
def test_windows_that_nobody_wanted_any_more_come_in_the_next_run(scheduler, follow):
    sim = SimulatedStream(scheduler=scheduler)
    store, results = rxd.MemoryCheckpoints(), []
    windows = dops.fold_window(dops.tumbling(60), key=by_id, fold=dops.count())
    sim.put("a")
    sim.put("b")
    stream = changes_of(sim, scheduler, checkpoints=store, follow=follow)
    with stream.pipe(windows, ops.take(1)).subscribe(results.append):
        scheduler.advance_by(120)
    assert [result.key for result in results] == ["a"]

    results.clear()
    with changes_of(sim, scheduler, checkpoints=store).pipe(windows).subscribe(results.append):
        scheduler.advance_by(120)
    assert [(result.key, result.value) for result in results] == [("a", 1), ("b", 1)]


def test_windows_close_where_a_shard_is_read_again_and_its_children_are_not(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    consumer = Consumer(sim, scheduler, dops.tumbling(20))
    sim.put("a", n=1)
    sim.roll_over()
    sim.roll_over()
    scheduler.advance_by(11)
    # The window holds the first shard; the second one had nothing, and is done with.
    kept = [consumer.store.load(sim.arn)[shard.id][0] for shard in sim.shards[:2]]
    assert kept == ["0", "2"]
    consumer.stop()
    scheduler.advance_by(600)
    consumer.subscription.dispose()

    assert [(result.key, result.value) for _, result in consumer.results] == [("a", 1)]


class Deploys:
    """One consumer whose windows change from run to run, and what became of each change."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.sim = SimulatedStream(scheduler=scheduler)
        self.store = rxd.MemoryCheckpoints()
        self.windows, self.late, self.errors = [], [], []
        self.folding = dops.Fold(list, lambda ids, change: [*ids, by_id(change)], tuple)

    def run(self, windower, seconds, lateness=0, name=None, first=0):
        windows = dops.fold_window(
            windower, fold=self.folding, lateness=lateness, late=self.late.append, name=name
        )
        changes = changes_of(self.sim, self.scheduler, checkpoints=self.store)
        with changes.pipe(windows).subscribe(self.windows.append, self.errors.append):
            for number in range(first, first + seconds):
                self.sim.put(str(number))
                self.scheduler.advance_by(1)
        return first + seconds

    @property
    def lost(self):
        found = {key for result in self.windows for key in result.value} | {by_id(late) for late in self.late}
        written = [record["dynamodb"]["Keys"]["id"]["S"] for record in self.sim.records]
        return [key for key in written if key not in found]


windowers = st.sampled_from(
    [
        dops.tumbling(10),
        dops.tumbling(10, offset=3),
        dops.tumbling(25),
        dops.sliding(20, every=10),
        dops.session(3, max=12),
        dops.session(3, max=20),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(windowers, st.sampled_from([0, 7, 30]), st.integers(1, 60)), min_size=2, max_size=4),
    st.sampled_from([None, "mine"]),
)
def test_whatever_windows_a_deploy_changes_each_change_is_in_one_or_late(runs, name):
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    consumer = Deploys(scheduler)
    written = 0
    for windower, lateness, seconds in runs:
        written = consumer.run(windower, seconds, lateness, name, written)
    consumer.run(runs[-1][0], 120, 0, name, written)
    assert consumer.errors == []
    assert [key for key in consumer.lost if int(key) < written] == []


def test_less_lateness_after_a_restart_neither_loses_nor_repeats_a_window(scheduler):
    consumer = Deploys(scheduler)
    written = consumer.run(dops.tumbling(10), 100, lateness=60)
    consumer.run(dops.tumbling(10), 60, lateness=0, first=written)

    starts = [result.start for result in consumer.windows]
    assert len(starts) == len(set(starts)) == 15
    assert all(len(result.value) == 10 for result in consumer.windows)


def test_windows_of_another_size_under_the_same_name_have_what_was_held(scheduler):
    consumer = Deploys(scheduler)
    written = consumer.run(dops.tumbling(60), 95, name="mine")
    held = {str(number) for number in range(60, 95)}
    consumer.windows.clear()
    consumer.run(dops.tumbling(5), 10, name="mine", first=written)

    assert held <= {key for result in consumer.windows for key in result.value}


def test_what_an_earlier_version_kept_counts_as_emitted(scheduler):
    consumer = Deploys(scheduler)
    written = consumer.run(dops.tumbling(10), 45, lateness=5, name="mine")
    emitted = len(consumer.windows)
    texts = consumer.store.load(consumer.sim.arn)
    end = next(text for key, text in texts.items() if key.startswith("*emitted"))
    at = datetime.fromisoformat(end.split()[-1]).timestamp() + 5  # the watermark, in place of the end
    older = {key: text for key, text in texts.items() if not key.startswith("*emitted")}
    older["*windows mine"] = "0 AT_TIMESTAMP " + datetime.fromtimestamp(at, UTC).isoformat()
    consumer.store = rxd.MemoryCheckpoints()
    consumer.store.save(consumer.sim.arn, older)
    consumer.run(dops.tumbling(10), 40, lateness=5, name="mine", first=written)

    starts = [result.start for result in consumer.windows]
    assert emitted == 3
    assert len(starts) == len(set(starts)) == 7
    assert all(len(result.value) == 10 for result in consumer.windows)


# --- one name ------------------------------------------------------------------------------------


def test_two_window_operators_of_one_name_are_refused_where_checkpoints_are_kept(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    windows = dops.fold_window(dops.tumbling(10), fold=dops.count(), name="mine")
    errors = []
    changes_of(sim, scheduler, checkpoints=rxd.MemoryCheckpoints()).pipe(
        ops.publish(lambda shared: reactivex.merge(shared.pipe(windows), shared.pipe(windows)))
    ).subscribe(on_error=errors.append)
    sim.put("a")
    scheduler.advance_by(2)

    assert [type(error) for error in errors] == [ConfigurationError]
    assert "name=" in str(errors[0])


@pytest.mark.parametrize(
    ("named", "expected"), [(lambda shard: None, [ConfigurationError]), (lambda shard: shard.shard.id, [])]
)
def test_windows_on_each_shard_need_a_name_each_where_checkpoints_are_kept(scheduler, named, expected):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    errors = []

    def windows_of(shard):
        return shard.pipe(dops.fold_window(dops.tumbling(10), fold=dops.count(), name=named(shard)))

    rxd.shards(
        sim.arn,
        client=sim.client,
        scheduler=scheduler,
        start="trim_horizon",
        checkpoints=rxd.MemoryCheckpoints(),
    ).pipe(ops.flat_map(windows_of)).subscribe(on_error=errors.append)
    for shard in sim.shards:
        sim.put_into(shard.id, "a")
    scheduler.advance_by(2)

    assert [type(error) for error in errors] == expected


def test_two_window_operators_of_one_name_are_fine_without_checkpoints(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    windows = dops.fold_window(dops.tumbling(10), fold=dops.count())
    results, errors = [], []
    changes_of(sim, scheduler).pipe(
        ops.publish(lambda shared: reactivex.merge(shared.pipe(windows), shared.pipe(windows)))
    ).subscribe(results.append, errors.append)
    sim.put("a")
    scheduler.advance_by(30)

    assert (len(results), errors) == (2, [])


# --- those that nobody need wait for ---------------------------------------------------------------


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("is_disabled", [True, False])
def test_windows_wait_for_no_child_that_never_comes(scheduler, follow, is_disabled):
    #   a   0 ---------------------------- 300       the other one is ahead by more than it may be
    #   b   0 -- 30 |                                and no child goes on from it
    sim = SimulatedStream(scheduler=scheduler, shards=2, page_size=20)
    a, b = (shard.id for shard in sim.shards)
    for number in range(300):
        sim.put_into(a, f"a{number}")
        if number < 30:
            sim.put_into(b, f"b{number}")
        scheduler.advance_by(1)
    if is_disabled:
        sim.disable()
    else:
        sim.close(b)
    results, ends = [], []
    changes_of(sim, scheduler, follow=follow).pipe(
        dops.fold_window(dops.tumbling(10), fold=dops.count())
    ).subscribe(results.append, lambda error: ends.append(type(error)), lambda: ends.append(None))
    scheduler.advance_by(300)

    assert ends == ([None] if not follow else [StreamDisabled] if is_disabled else [])
    # The last one is open still when the error comes.
    assert sum(result.value for result in results) == (320 if ends == [StreamDisabled] else 330)


def test_a_child_that_turns_up_when_it_was_expected_no_more_is_counted_in_windows_or_as_late(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=2, listing_delay=150)
    results, late = [], []
    windows = dops.fold_window(dops.tumbling(10), fold=dops.count(), late=late.append)
    changes_of(sim, scheduler).pipe(windows).subscribe(results.append)
    for number in range(300):
        if number == 50:
            sim.roll_over(sim.shards[0].id)
        sim.put(f"k{number}")
        scheduler.advance_by(1)
    scheduler.advance_by(60)

    assert late, "the windows waited for it"
    assert sum(result.value for result in results) + len(late) == 300


def denied():
    return ClientError({"Error": {"Code": "UnrecognizedClientException", "Message": "no"}}, "GetRecords")


def after_a_retry(sim, other, scheduler):
    return changes_of(sim, scheduler, start="latest").pipe(ops.retry())


def after_a_retry_with_checkpoints(sim, other, scheduler):
    return changes_of(sim, scheduler, checkpoints=rxd.MemoryCheckpoints()).pipe(ops.retry())


def after_a_catch(sim, other, scheduler):
    return changes_of(sim, scheduler, start="latest").pipe(ops.catch(lambda error, source: source))


def after_another(sim, other, scheduler):
    return reactivex.concat(changes_of(other, scheduler, follow=False), changes_of(sim, scheduler))


def beside_one_that_ended(sim, other, scheduler):
    return reactivex.merge(changes_of(other, scheduler, follow=False), changes_of(sim, scheduler))


@pytest.mark.parametrize(
    "make",
    [
        after_a_retry,
        after_a_retry_with_checkpoints,
        after_a_catch,
        after_another,
        beside_one_that_ended,
    ],
)
def test_windows_do_not_wait_for_a_reading_that_has_ended(scheduler, make):
    sim = SimulatedStream("orders", scheduler=scheduler)
    other = SimulatedStream("returns", scheduler=scheduler)
    results, errors = [], []
    windows = dops.fold_window(dops.tumbling(10), fold=dops.count())
    make(sim, other, scheduler).pipe(windows).subscribe(results.append, errors.append, scheduler=scheduler)
    for number in range(200):
        if number == 25 and make in (after_a_retry, after_a_retry_with_checkpoints, after_a_catch):
            sim.script("GetRecords", denied())
        sim.put(str(number))
        scheduler.advance_by(1)

    assert errors == []
    # Whole ones, and each once; but for those in which "latest" begins.
    expected = dict.fromkeys(range(19), 10)
    found = {int(result.start.timestamp() - BEGAN) // 10: result.value for result in results}
    if make in (after_a_retry, after_a_catch):
        # `retry` subscribes when the clock moves; and anew at 25 s.
        for number in (0, 2):
            assert found.pop(number) >= 8
            del expected[number]
    assert found == expected
    assert len(results) == 19


def test_a_branch_that_has_had_enough_windows_does_not_hold_up_the_others(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    store, results = rxd.MemoryCheckpoints(), []
    first = dops.fold_window(dops.tumbling(10), fold=dops.count())

    def branches(shared):
        return reactivex.merge(shared.pipe(first, ops.take(1)), shared.pipe(ops.ignore_elements()))

    changes_of(sim, scheduler, checkpoints=store).pipe(ops.publish(branches)).subscribe(results.append)
    for number in range(60):
        sim.put(str(number))
        scheduler.advance_by(1)
    scheduler.advance_by(60)

    assert [result.value for result in results] == [10]
    last = sim.records[-1]["dynamodb"]["SequenceNumber"]
    assert store.load(sim.arn)[sim.shards[0].id].endswith(last)


@pytest.mark.parametrize("windower", [dops.tumbling(10), dops.sliding(20, every=10), dops.session(5, max=10)])
@pytest.mark.parametrize("enough", [ops.take(1), ops.map(lambda window: 1 / 0)])
def test_windows_that_were_open_at_the_end_come_in_the_next_run(scheduler, windower, enough):
    sim = SimulatedStream(scheduler=scheduler)
    store, results = rxd.MemoryCheckpoints(), []
    folding = dops.Fold(set, lambda ids, change: ids | {by_id(change)}, tuple)
    windows = dops.fold_window(windower, fold=folding)
    changes_of(sim, scheduler, checkpoints=store).pipe(windows, enough).subscribe(
        lambda element: None, lambda error: None
    )
    for number in range(30):
        sim.put(str(number))
        scheduler.advance_by(1)
    with changes_of(sim, scheduler, checkpoints=store).pipe(windows).subscribe(results.append):
        scheduler.advance_by(60)

    found = {int(key) for result in results for key in result.value}
    assert found >= set(range(10, 30))


@pytest.mark.parametrize(
    "windows",
    [
        dops.fold_window(dops.tumbling(10), key=lambda change: 1 / 0, fold=dops.count()),
        dops.fold_window(dops.tumbling(10), seed=int, fold=lambda total, change: 1 / 0),
        dops.fold_window(dops.tumbling(10), fold=dops.Fold(int, lambda n, change: n, lambda n: 1 / 0)),
    ],
)
def test_what_raises_in_a_window_reaches_on_error_from_any_thread(windows):
    # A subject stands for a timer: whoever calls its on_next has no use for an exception.
    source, errors = Subject(), []
    source.pipe(windows).subscribe(on_error=errors.append)
    source.on_next(made("a", 1))
    source.on_next(made("a", 11))

    assert [type(error) for error in errors] == [ZeroDivisionError]
