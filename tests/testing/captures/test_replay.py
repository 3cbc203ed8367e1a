"""A replay: what was captured comes again as it came."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.captures import ARN, BEGAN, AsJSON, Seen, busy_table, captured, clock, lines_of, replayed

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError
from rxddbstream.testing import SimulatedStream, build_shards, capture, replay
from rxddbstream.testing.captures.format import load
from rxddbstream.testing.captures.replay import ReplayedStream
from rxddbstream.testing.faults import client_error

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
numbers = st.one_of(
    st.integers(-(10**37), 10**37),
    st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-(10**9), max_value=10**9),
)
scalars = st.one_of(texts, numbers, st.binary(max_size=5), st.booleans(), st.none())
sets = st.one_of(
    st.sets(texts.filter(bool), min_size=1, max_size=3),
    st.sets(st.integers(-99, 99).map(Decimal), min_size=1, max_size=3),
    st.sets(st.binary(min_size=1, max_size=5), min_size=1, max_size=3),
)
values = st.recursive(
    st.one_of(scalars, sets),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
items = st.dictionaries(texts.map("a{}".format), values, max_size=4)


@given(st.lists(items, min_size=1, max_size=4), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_record_comes_back_to_the_letter(
    written: list[dict[str, Any]], is_json: bool, is_packed: bool, by_ttl: bool
) -> None:
    scheduler = clock()
    sim = SimulatedStream(scheduler=scheduler)

    def write() -> None:
        for number, item in enumerate(written):
            sim.put("o-1", **item)
            scheduler.advance_by(number * 0.123457)
        sim.remove("o-1", by_ttl=by_ttl)

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "orders.jsonl.gz" if is_packed else "orders.jsonl")
        live = captured(
            sim,
            scheduler,
            file,
            write,
            wrap=AsJSON if is_json else lambda client: client,
            start="trim_horizon",
        )
        again = replayed(file).items
    assert [change.record for change in again] == sim.records
    assert again == live.items
    for change, original in zip(again, live.items, strict=True):
        assert dict(change.keys) == dict(original.keys)
        assert change.new_image == original.new_image
        assert change.old_image == original.old_image
        assert change.created_at == original.created_at
        assert change.is_ttl_delete == original.is_ttl_delete


def test_json_with_line_breaks_between_its_words_stays_on_a_line(
    scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    live = captured(
        sim,
        scheduler,
        file,
        lambda: sim.put("o-1", text="two\nlines"),
        wrap=lambda client: AsJSON(client, indent=2),
    )
    assert len(file.read_text().splitlines()) == 4
    assert [change.new_image["text"] for change in replayed(file).items] == ["two\nlines"]
    assert replayed(file).items == live.items


@pytest.mark.parametrize("speed", [None, 1.0, 7.0])
@pytest.mark.parametrize("start", ["latest", "trim_horizon"])
def test_every_shard_s_changes_come_as_they_came(
    start: str, speed: float | None, scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=build_shards(4, [None, 0, 0, None]))
    for number in range(20):
        sim.put(f"o-{number}")
    scheduler.advance_by(60)
    live = captured(sim, scheduler, file, busy_table(sim, scheduler), start=start)
    assert len(live.by_shard) > 10
    again = replayed(file, speed=speed)
    assert again.by_shard == live.by_shard
    assert again.end == "completed"


def test_at_once_is_in_order_of_time_and_the_same_each_time(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=4)
    captured(sim, scheduler, file, busy_table(sim, scheduler))
    first, second = replayed(file), replayed(file)
    assert first.items == second.items
    times = [change.timestamp for change in first.items]
    newest = float("-inf")
    for at in times:
        newest = max(newest, at)
        assert at > newest - 16  # a page stays together; a child may be 10 s ahead


def test_in_its_own_time(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    live = captured(sim, scheduler, file, busy_table(sim, scheduler))
    for speed in (1.0, 10.0):
        again = replayed(file, speed=speed)
        came = {change.event_id: at for change, at in zip(again.items, again.times, strict=True)}
        for change, at in zip(live.items, live.times, strict=True):
            assert 0 <= came[change.event_id] - at / speed < 0.5
        assert 90 / speed <= again.ended_at <= 91 / speed + 1


def test_on_threads(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    live = captured(sim, scheduler, file, busy_table(sim, scheduler))
    source = replay(file)
    for expected in (1, 2):
        seen: list[rxd.Change] = []
        rxd.run(source, seen.append)
        shards = defaultdict(list)
        for change in seen:
            shards[change.shard_id].append(change)
        assert shards == live.by_shard
        assert source.statistics().records == expected * len(live.items)


def test_in_real_time_faster(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    live = captured(sim, scheduler, file, busy_table(sim, scheduler))
    seen: list[rxd.Change] = []
    rxd.run(replay(file, speed=100.0), seen.append)
    assert sorted(change.event_id or "" for change in seen) == sorted(
        change.event_id for change in live.items
    )


def test_pages_come_whole(scheduler: TestScheduler, tmp_path: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    first, second = tmp_path / "first", tmp_path / "second"
    captured(sim, scheduler, first, busy_table(sim, scheduler))
    recorded = load(first)
    double = ReplayedStream(recorded, lambda: scheduler.now, None)
    shards = rxd.shards(recorded.stream, start="trim_horizon", follow=False, client=double.client)
    rxd.run(capture(shards, second))

    def pages(file: Path) -> dict[str, list[Any]]:
        found = defaultdict(list)
        for line in lines_of(file):
            if line["type"] == "page":
                found[line["shard"]].append(line["records"])
        return found

    assert pages(second) == pages(first)


def counts_by_item(windower: Any, late: Any = None) -> Any:
    return dops.fold_window(windower, key=lambda change: change.keys["id"], fold=dops.count(), late=late)


@pytest.mark.parametrize("speed", [None, 1.0, 10.0])
@pytest.mark.parametrize("windower", [dops.tumbling(10), dops.sliding(20, every=5), dops.session(2.5)])
def test_windows_are_those_of_the_live_stream(
    windower: Any, speed: float | None, scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    windows: list[Any] = []
    source = capture(rxd.shards(sim.arn, client=sim.client), file)
    with source.pipe(counts_by_item(windower)).subscribe(windows.append, scheduler=scheduler):
        busy_table(sim, scheduler)()
        scheduler.advance_by(60)  # so that all of them close

    again = replayed(file, counts_by_item(windower), speed=speed)
    key = repr
    assert sorted(again.items, key=key) == sorted(windows, key=key)
    assert len(windows) > 20
    assert again.end == "completed"


def test_windows_that_were_open_at_the_end_are_closed_there(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, file, lambda: sim.put("o-1"))
    for options in ({}, {"speed": 1.0}):
        [window] = replayed(file, counts_by_item(dops.tumbling(3600)), **options).items
        assert window.value == 1


def test_a_backlog_that_came_slowly_is_not_late(scheduler: TestScheduler, file: Path) -> None:
    # For a while the service says nothing, and then what is an hour old: that is no quiet hour.
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    busy_table(sim, scheduler)()
    scheduler.advance_by(3600)
    patience = scheduler.clock + 10

    def refuse(operation: str, _: dict[str, Any]) -> None:
        if operation == "GetRecords" and scheduler.clock < patience:
            raise client_error("ThrottlingException", operation)

    sim.before_call = refuse
    live = captured(sim, scheduler, file, lambda: scheduler.advance_by(60), start="trim_horizon")
    assert live.times[0] >= 10
    late: list[rxd.Change] = []
    replayed(file, counts_by_item(dops.tumbling(5), late.append), speed=1.0)
    assert late == []


def test_lag_and_watermark_are_the_capture_s(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    for _ in range(3):
        sim.put("o-1")
    scheduler.advance_by(100)
    captured(sim, scheduler, file, lambda: None, start="trim_horizon")
    virtual = TestScheduler()
    source = replay(file, speed=1.0)
    lags: list[float] = []
    subscription = source.subscribe(scheduler=virtual)
    for _ in range(4):
        virtual.advance_by(0.05)
        lags += source.statistics().lag.values()
    assert max(lags) == pytest.approx(100, abs=1)
    virtual.advance_by(20)
    watermark = source.statistics().watermark
    assert watermark is not None
    assert 115 < (watermark - BEGAN).total_seconds() < 122
    subscription.dispose()


def test_a_capture_of_more_than_a_day_has_no_gap(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=2)

    def write() -> None:
        for hour in range(40):
            sim.put("o-1", n=hour)
            if hour % 4 == 0:
                sim.roll_over()
            scheduler.advance_by(3600)

    live = captured(sim, scheduler, file, write)
    for options in ({}, {"speed": 3600.0}):
        again = replayed(file, **options)
        assert (again.by_shard, again.end) == (live.by_shard, "completed")


def test_shards_whose_parents_are_not_in_it(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=build_shards(4, [None, 0, 0, 1])[1:])
    live = captured(sim, scheduler, file, busy_table(sim, scheduler, 10), start="trim_horizon")
    events: list[rxd.Event] = []
    again = replayed(file, events=events.append)
    assert again.by_shard == live.by_shard
    opened = {event.shard.id: event.shard.parent_id for event in events if isinstance(event, rxd.ShardOpened)}
    assert opened == {shard.id: shard.parent_id for shard in sim.shards}


def write_capture(file: Path, *lines: dict[str, Any]) -> None:
    """One that nobody has captured: it is written by hand."""
    head = {"type": "capture", "version": 1, "stream": ARN, "time": 1000.0}
    file.write_text("".join(json.dumps(line) + "\n" for line in (head, *lines)))


def shard_line(at: float, shard: str, parent: str | None = None) -> dict[str, Any]:
    return {"type": "shard", "time": at, "id": shard, "parent": parent, "position": "TRIM_HORIZON"}


def page_line(at: float, shard: str, *created_at: float) -> dict[str, Any]:
    records = [
        {
            "eventName": "INSERT",
            "dynamodb": {
                "ApproximateCreationDateTime": created,
                "Keys": {"id": {"S": f"{shard}-{created:g}"}},
                "SequenceNumber": f"{10**20 + int(created)}",
            },
        }
        for created in created_at
    ]
    return {"type": "page", "time": at, "shard": shard, "records": records}


def ids(seen: Seen) -> list[str]:
    return [change.keys["id"] for change in seen.items]


@pytest.mark.parametrize("speed", [None, 0.02, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("others", [[], [shard_line(1000, "c")]])
def test_a_shard_that_was_found_late(speed: float | None, others: list[dict[str, Any]], file: Path) -> None:
    write_capture(
        file,
        shard_line(1000, "a"),
        *others,
        page_line(1001, "a", 1000),
        {"type": "closed", "time": 1001.5, "shard": "a"},
        shard_line(1059.9, "b", "a"),
        page_line(1060.0, "b", 1003),
        {"type": "end", "time": 1060.0},
    )
    again = replayed(file, speed=speed)
    assert (ids(again), again.end) == (["a-1000", "b-1003"], "completed")


@pytest.mark.parametrize("speed", [None, 1.0])
def test_changes_that_are_newer_than_the_capture(speed: float | None, file: Path) -> None:
    write_capture(
        file,
        shard_line(1000, "a"),
        page_line(1001, "a", 1000, 1090),
        page_line(1002, "a", 1091),
        {"type": "end", "time": 1003.0},
    )
    again = replayed(file, speed=speed)
    assert (ids(again), again.end) == (["a-1000", "a-1090", "a-1091"], "completed")
    assert speed is None or again.ended_at < 7


def test_an_empty_capture(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, file, lambda: None)
    for options in ({}, {"speed": 1.0}):
        again = replayed(file, **options)
        assert (again.items, again.end) == ([], "completed")


def test_all_that_happened_in_one_moment_comes_in_own_time_too(file: Path) -> None:
    scheduler = TestScheduler()
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("o-1")
    shards = rxd.shards(sim.arn, start="trim_horizon", follow=False, client=sim.client)
    live = Seen(capture(shards, file), scheduler)
    scheduler.advance_by(0.001)
    assert live.end == "completed"
    assert len(replayed(file, speed=1.0).items) == 1


@pytest.mark.parametrize("speed", [None, 1.0])
def test_checkpoints_are_kept(speed: float | None, scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    live = captured(sim, scheduler, file, busy_table(sim, scheduler))
    store = rxd.MemoryCheckpoints()
    source = replay(file, speed=speed, checkpoints=store)
    first: list[rxd.Change] = []
    virtual = TestScheduler()
    source.pipe(ops.take(50)).subscribe(first.append, scheduler=virtual)
    virtual.start()
    second = Seen(source, TestScheduler())
    second._scheduler.start()
    assert len(first) == 50
    seen = [change.event_id for change in (*first, *second.items)]
    assert {*seen} == {change.event_id for change in live.items}
    assert len(seen) - len({*seen}) <= 1  # the one that ended it was not done
    assert second.end == "completed"

    third = Seen(source, TestScheduler())
    third._scheduler.start()
    assert (third.items, third.end) == ([], "completed")


def test_a_wall_clock_that_is_set_back(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, file, lambda: sim.put("o-1"))
    now = BEGAN
    double = ReplayedStream(load(file), lambda: now, 1.0)
    now = clock(BEGAN).now.fromtimestamp(BEGAN.timestamp() + 20, UTC)
    at = double.now()
    assert at == BEGAN + timedelta(seconds=20)
    now = BEGAN
    assert double.now() == at
    now = BEGAN + timedelta(seconds=3)
    assert double.now() == at + timedelta(seconds=3)


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_a_speed_that_cannot_be(speed: float, scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, file, lambda: None)
    with pytest.raises(ConfigurationError, match="speed="):
        replay(file, speed=speed)


def test_it_is_found_where_it_is_looked_for() -> None:
    assert rxd.testing.replay is replay
