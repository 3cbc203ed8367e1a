"""What a subscription makes of its store."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from reactivex import operators as ops
from support.checkpoint_files import contents, used
from support.checkpoints import TABLE, Own, dynamodb_store, ready, subscribed
from support.reading import ids
from support.waiting import wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.checkpoints.codec import to_text
from rxddbstream.errors import (
    CheckpointError,
    CheckpointLocked,
    CheckpointUnreadable,
    ConfigurationError,
    Throttled,
    TransientError,
)
from rxddbstream.model.position import After
from rxddbstream.testing import SimulatedStream


@pytest.mark.parametrize("checkpoints", ["x.ck", Path("x.ck")])
def test_a_path_alone_is_not_a_store(checkpoints):
    with pytest.raises(ConfigurationError) as caught:
        rxd.changes("orders", checkpoints=checkpoints)
    words = f"checkpoints={checkpoints!r} is not a store: use rxd.SqliteCheckpoints('x.ck')"
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("'nonsense'", "not a position: 'nonsense'"),
        ("''", "not a position: ''"),
        ("7", "not a position: '7'"),
        ("'1 AFTER_SEQUENCE_NUMBER -3'", "not a position"),
        ("'0 AT_TIMESTAMP yesterday'", "yesterday"),
        ("'0 AT_TIMESTAMP 2026-01-31T12:00:00'", "not a position"),
        ("x'ff00'", "are damaged"),
        ("CAST(x'ff' AS TEXT)", "not a position: '\N{REPLACEMENT CHARACTER}'"),
    ],
)
def test_damaged_positions_end_the_stream_and_are_left_as_they_are(path, scheduler, value, words):
    with closing(sqlite3.connect(used(path))) as connection, connection:
        sim = SimulatedStream(scheduler=scheduler)
        connection.execute(f"INSERT INTO checkpoint VALUES (?, 'shard-1', {value})", (sim.arn,))
    before = contents(path.parent)
    reader = subscribed(sim, scheduler, rxd.SqliteCheckpoints(path))
    assert isinstance(reader.error, CheckpointUnreadable)
    assert str(reader.error).startswith(f"the checkpoints of stream {sim.arn} are damaged")
    assert words in str(reader.error)
    assert "they were left as they are" in str(reader.error)
    assert sim.calls["GetRecords"] == 0
    # The file may be used again, and has the same rows.
    reader = subscribed(sim, scheduler, rxd.SqliteCheckpoints(path))
    assert isinstance(reader.error, CheckpointUnreadable)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM checkpoint").fetchone() == (4,)
    assert contents(path.parent).keys() == before.keys()


@pytest.mark.parametrize("position", [{}, {"position": {"N": "7"}}, {"position": {"S": "nonsense"}}])
def test_damaged_items_of_a_table_end_the_stream(dynamodb, scheduler, position):
    sim = SimulatedStream(scheduler=scheduler)
    ready(dynamodb_store(dynamodb))
    key = {"consumer": {"S": "mailer"}, "shard": {"S": f"{sim.arn}/shard-1"}}
    dynamodb.put_item(TableName=TABLE, Item={**key, **position})
    reader = subscribed(sim, scheduler, dynamodb_store(dynamodb))
    assert isinstance(reader.error, CheckpointUnreadable)


def test_a_table_is_waited_for(dynamodb, scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    reader = subscribed(sim, scheduler, dynamodb_store(dynamodb))
    sim.put("a")
    scheduler.advance_by(30)
    assert reader.error is None
    assert len(reader.changes) == 1
    [retry] = [event for event in reader.events if isinstance(event, rxd.Retrying)]
    assert "is being created" in str(retry.error)


def test_a_store_of_ones_own(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    first = subscribed(sim, scheduler, store)
    sim.put("a"), sim.put("b")
    scheduler.advance_by(10)
    first.subscription.dispose()
    sim.put("c"), sim.roll_over()
    sim.put("d")
    second = subscribed(sim, scheduler, store)
    scheduler.advance_by(30)
    second.subscription.dispose()
    assert [[change.keys["id"] for change in reader.changes] for reader in (first, second)] == [
        ["a", "b"],
        ["c", "d"],
    ]
    assert (store.log.count("load"), store.log.count("close")) == (2, 2)
    assert store.log[-1] == "close"


@pytest.mark.parametrize("method", ["load", "save"])
def test_a_store_that_fails_ends_the_stream(scheduler, method):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    store.fail[method] = [KeyError("x")]
    reader = subscribed(sim, scheduler, store)
    assert isinstance(reader.error, CheckpointError)
    assert str(reader.error) == "the checkpoint store failed: KeyError: 'x'"
    assert isinstance(reader.error.__cause__, KeyError)
    assert store.log.count("close") == (method == "save")


def test_a_store_that_fails_later_ends_the_stream_and_is_closed(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    reader = subscribed(sim, scheduler, store)
    sim.put("a")
    scheduler.advance_by(1)
    store.fail["save"] = [OSError("disk full"), OSError("disk full")]
    scheduler.advance_by(5)
    assert str(reader.error) == "the checkpoint store failed: OSError: disk full"
    assert store.log[-1] == "close"
    sim.put("b")
    scheduler.advance_by(30)
    assert len(reader.changes) == 1


def test_what_a_store_raises_of_ours_comes_as_it_is(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    store.fail["load"] = [error := CheckpointLocked("elsewhere")]
    assert subscribed(sim, scheduler, store).error is error


def test_loading_is_tried_again_where_it_may_help(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    store.fail["load"] = [TransientError("busy"), Throttled("slow down")]
    reader = subscribed(sim, scheduler, store)
    sim.put("a")
    scheduler.advance_by(10)
    assert len(reader.changes) == 1
    assert [type(event) for event in reader.events[:2]] == [rxd.Retrying, rxd.Throttled]
    assert store.log.count("load") == 3


def test_a_write_that_failed_in_passing_is_made_up_for_by_the_next(scheduler, caplog):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    reader = subscribed(sim, scheduler, store)
    sim.put("a")
    store.fail["save"] = [TransientError("busy"), TransientError("busy")]
    scheduler.advance_by(11)
    assert "checkpoints were not written, the next time they will be: busy" in caplog.text
    assert reader.error is None
    scheduler.advance_by(5)
    shard_id, number = reader.changes[0].shard_id, reader.changes[0].sequence_number
    assert store.kept[shard_id] == to_text(After(number))


def test_a_last_write_that_fails_is_logged_since_whoever_disposes_cannot_be_told(scheduler, caplog):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    reader = subscribed(sim, scheduler, store)
    sim.put("a")
    scheduler.advance_by(1)
    store.fail["save"] = [Throttled("slow down")]
    reader.subscription.dispose()
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("ERROR", "slow down")
    assert store.log[-1] == "close"
    assert reader.error is None


@pytest.mark.parametrize("written", [1, 2, 3, 4])
def test_a_store_that_is_cut_off_among_the_first_positions_still_knows_what_latest_meant(scheduler, written):
    # One that writes one by one, such as DynamoDBCheckpoints.
    sim, store = SimulatedStream(scheduler=scheduler, shards=4), Own()
    sim.put("before"), sim.roll_over()
    scheduler.advance_by(100)
    subscribed(sim, scheduler, store, start="latest").subscription.dispose()
    store.kept = dict(itertools.islice(store.kept.items(), written))
    while_it_was_down = [sim.put(n) for n in range(20)]
    again = subscribed(sim, scheduler, store, start="latest")
    scheduler.advance_by(60)
    assert sorted(again.ids) == sorted(ids(while_it_was_down))


def test_who_disposes_while_the_store_is_opened_leaves_it_closed(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    store.fail["load"] = [TransientError("busy")]  # so that it is opened after subscribe has returned
    reader = subscribed(sim, scheduler, store)
    opened = store.load

    def load(stream: str) -> dict[str, str]:
        reader.subscription.dispose()
        return opened(stream)

    store.load = load  # type: ignore[method-assign]
    scheduler.advance_by(10)
    assert store.log.count("close") == 1
    assert store.log[-1] == "close"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator"])
def test_who_is_interrupted_while_subscribing_leaves_the_store_closed(path, interrupt, operation):
    sim, store = SimulatedStream(), rxd.SqliteCheckpoints(path)

    def press_ctrl_c(called: str, _: Any) -> None:
        if called == operation and threading.current_thread() is threading.main_thread():
            sim.before_call = None
            raise interrupt

    sim.before_call = press_ctrl_c
    source = rxd.changes(sim.arn, client=sim.client, checkpoints=store)
    with pytest.raises(interrupt):
        source.subscribe()
    sim.put("a")
    seen: list[rxd.Change] = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), seen.append)
    assert len(seen) == (operation == "GetShardIterator")  # by then it was written what "latest" means


def test_bounded_reads_go_on_where_the_last_one_ended(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    runs = []
    for key in "abcd":
        sim.put(key)
        if key == "c":
            sim.roll_over()
        scheduler.advance_by(5)
        reader = subscribed(sim, scheduler, store, follow=False)
        scheduler.advance_by(60)
        assert reader.completed
        runs.append([change.keys["id"] for change in reader.changes])
    assert runs == [["a"], ["b"], ["c"], ["d"]]


def test_what_was_held_in_a_parent_comes_again_before_what_is_new_in_its_child(scheduler):
    # first run     P: -0-1-2-3-|    1 is never released
    #               C:           -4-5-|
    # second run    P: ---1-2-3-|
    #               C:           ---6-
    sim, store = SimulatedStream(scheduler=scheduler, page_size=1), Own()
    held = []

    def release_all_but_one(change):
        held.append(change)
        return [] if change.new_image["n"] == 1 else change

    source = rxd.changes(
        sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon", checkpoints=store
    )
    pipeline = source.pipe(dops.hold(), ops.map(release_all_but_one), dops.release())
    first = pipeline.subscribe()
    for n in range(6):
        if n == 4:
            sim.roll_over()
        sim.put("a", n=n)
        scheduler.advance_by(10)
    first.dispose()
    assert len(held) == 6
    sim.put("a", n=6)
    second = subscribed(sim, scheduler, store)
    scheduler.advance_by(60)
    assert [int(change.new_image["n"]) for change in second.changes] == [1, 2, 3, 6]


class Alive(rxd.MemoryCheckpoints):
    """Is shown once a period that its consumer is alive, by the thread that writes."""

    signs = 0

    def renew(self, stream):
        self.signs += 1


@pytest.mark.parametrize("consume", ["iterate", "observe_on", "last windows"])
def test_checkpoints_are_written_while_a_person_works_off_the_end_of_a_bounded_read(consume):
    # The end waits until all that is queued was taken; whatever thread it waits on.
    sim, store = SimulatedStream(), Alive(period=0.01)
    for number in range(5):
        sim.put(number)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", follow=False, checkpoints=store)

    def handle(_):
        before = store.signs
        wait_until(lambda: store.signs > before + 1)

    if consume == "iterate":
        for element in rxd.iterate(source):
            handle(element)
    elif consume == "observe_on":
        with rxd.TimerPoolScheduler(1, name="observer") as scheduler:
            rxd.run(source.pipe(dops.observe_on(scheduler)), handle)
    else:
        key = {"key": lambda change: change.keys["id"], "fold": dops.count()}
        rxd.run(source.pipe(dops.fold_window(dops.tumbling(3600), **key)), handle)
