"""Captures: what comes is in the file, and comes again from it as it came."""

from __future__ import annotations

import base64
import errno
import gzip
import json
import os
import re
import signal
import stat
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import reactivex
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler
from support.commandline import WHOLE, Table, run, start

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.aws.client import StreamClient
from rxddbstream.aws.parser import _PAGE
from rxddbstream.cli.arguments import parse
from rxddbstream.errors import CaptureError, CaptureUnreadable, ConfigurationError, StreamDisabled
from rxddbstream.model.origin import Origin
from rxddbstream.model.page import Page
from rxddbstream.model.position import TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.reading.delivery import ShardStream
from rxddbstream.reading.statistics import Counts
from rxddbstream.reading.stream import Stream
from rxddbstream.testing import SimulatedStream, Written, build_shards, capture, replay
from rxddbstream.testing.captures.format import PageRead, load
from rxddbstream.testing.captures.replay import ReplayedStream
from rxddbstream.testing.faults import client_error

ARN = "arn:aws:dynamodb:eu-central-1:123456789012:table/orders/stream/2026"
BEGAN = datetime(2020, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)  # long ago, and between two seconds


@pytest.fixture
def scheduler() -> TestScheduler:
    return clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "orders.jsonl"


def clock(at: datetime = BEGAN) -> TestScheduler:
    scheduler = TestScheduler()
    scheduler.advance_to(at.timestamp())
    return scheduler


class Seen:
    """What a subscription was told, and when."""

    def __init__(self, source: Any, scheduler: TestScheduler) -> None:
        self.items: list[Any] = []
        self.times: list[float] = []
        self.end: Any = None
        self._scheduler = scheduler
        self._began = scheduler.clock
        self.subscription = source.subscribe(self._take, self._end, self._end, scheduler=scheduler)

    def _take(self, item: Any) -> None:
        self.items.append(item)
        self.times.append(self._scheduler.clock - self._began)

    def _end(self, error: Exception | None = None) -> None:
        self.end = error or "completed"
        self.ended_at = self._scheduler.clock - self._began

    @property
    def by_shard(self) -> dict[str, list[Any]]:
        shards = defaultdict(list)
        for change in self.items:
            shards[change.shard_id].append(change)
        return shards


class AsJSON:
    """A client whose records come as they come from the service: decoded from JSON, by msgspec."""

    def __init__(self, client: Any, *, indent: int | None = None) -> None:
        self._client = client
        self._indent = indent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_records(self, **arguments: Any) -> Any:
        answer = self._client.get_records(**arguments)
        body = json.dumps({"Records": answer["Records"]}, default=in_json, indent=self._indent)
        records = _PAGE.decode(body.encode()).Records
        assert records is not None
        for record in records:
            record.detach()
        return {**answer, "Records": records}


def in_json(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value.timestamp()


def captured(
    sim: SimulatedStream,
    scheduler: TestScheduler,
    file: Path,
    write: Callable[[], object],
    *,
    wrap: Callable[[Any], Any] = lambda client: client,
    **options: Any,
) -> Seen:
    """What came while something was written to a simulated stream, and is in the file."""
    options = {"client": wrap(sim.client), "scheduler": scheduler, **options}
    live = Seen(capture(rxd.shards(sim.arn, **options), file), scheduler)
    write()
    scheduler.advance_by(30)
    live.subscription.dispose()
    return live


def replayed(file: Path, operator: Any = None, **options: Any) -> Seen:
    """What comes out of the file, on a clock that knows nothing of its time."""
    scheduler = TestScheduler()
    source: Any = replay(file, **options)
    seen = Seen(source if operator is None else source.pipe(operator), scheduler)
    scheduler.start()
    return seen


def busy_table(sim: SimulatedStream, scheduler: TestScheduler, seconds: int = 60) -> Callable[[], None]:
    """Somebody who writes, while shards split and are rolled over."""

    def write() -> None:
        for second in range(seconds):
            for item in range(3):
                sim.put(f"o-{(second + item) % 7}", n=second)
            if second % 9 == 0:
                sim.remove("o-0")
            scheduler.advance_by(0.7)
            if second % 20 == 10:
                sim.split(sim.shards[-1].id)
            if second % 25 == 15:
                sim.roll_over()
            scheduler.advance_by(0.3)

    return write


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


# What is in the file


def test_the_file_has_a_line_for_each_thing_that_happened(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    [shard] = sim.shards

    def write() -> None:
        sim.put("o-1", n=1)
        scheduler.advance_by(10)
        sim.roll_over()

    captured(sim, scheduler, file, write)

    head, first, page, closed, second, end = lines_of(file)
    began = BEGAN.timestamp()
    assert head == {"type": "capture", "version": 1, "stream": sim.arn, "time": began}
    assert first == {"type": "shard", "time": began, "id": shard.id, "parent": None, "position": "LATEST"}
    [record] = page.pop("records")
    assert record["dynamodb"].pop("ApproximateCreationDateTime") == began
    assert record["dynamodb"]["NewImage"] == {"id": {"S": "o-1"}, "n": {"N": "1"}}
    assert page == {"type": "page", "time": pytest.approx(began + 0.25), "shard": shard.id}
    assert closed == {"type": "closed", "time": pytest.approx(began + 10, abs=5), "shard": shard.id}
    assert (second["type"], second["parent"], second["position"]) == ("shard", shard.id, "TRIM_HORIZON")
    assert end == {"type": "end", "time": pytest.approx(began + 40, abs=5)}


def test_times_are_the_service_s_in_more_detail_than_it_tells_them(tmp_path: Path) -> None:
    # The reader's clock is a minute slow, and the service tells whole seconds.
    scheduler = clock()
    sim = SimulatedStream(scheduler=scheduler)

    class Fast:
        def __getattr__(self, name: str) -> Any:
            def call(**arguments: Any) -> Any:
                seconds = scheduler.clock + 60
                date = datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
                answer = getattr(sim.client, name)(**arguments)
                return {**answer, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

            return call

    written_at = []

    def write() -> None:
        for _ in range(20):
            sim.put("o-1")
            written_at.append(scheduler.clock)
            scheduler.advance_by(1.3)

    captured(sim, scheduler, tmp_path / "file", write, wrap=lambda _: Fast())
    times = [line["time"] for line in lines_of(tmp_path / "file") if line["type"] == "page"]
    assert times == sorted(times)
    assert len(times) == 20
    for at, told in zip(written_at, times, strict=True):
        assert -1 < told - at - 60 < 2
    assert len({told % 1 for told in times}) > 2


@pytest.mark.parametrize("name", ["orders.jsonl", "orders.jsonl.gz"])
def test_nobody_else_may_read_it(name: str, scheduler: TestScheduler, tmp_path: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, tmp_path / name, lambda: sim.put("o-1"))
    assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    is_packed = (tmp_path / name).read_bytes().startswith(b"\x1f\x8b")
    assert is_packed == name.endswith(".gz")
    assert [change.keys for change in replayed(tmp_path / name).items] == [{"id": "o-1"}]


def test_a_file_that_is_there_is_overwritten_only_if_that_is_wanted(
    scheduler: TestScheduler, file: Path
) -> None:
    file.write_text("dear diary")
    sim = SimulatedStream(scheduler=scheduler)
    shards = rxd.shards(sim.arn, client=sim.client)
    with pytest.raises(ConfigurationError, match=r"orders\.jsonl is there already.*--force"):
        capture(shards, file)
    assert file.read_text() == "dear diary"

    file.chmod(0o644)
    with capture(shards, file, overwrite=True).subscribe(scheduler=scheduler):
        pass
    assert load(file).stream == sim.arn
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_second_subscription_does_not_overwrite_what_the_first_one_wrote(
    scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    source = capture(rxd.shards(sim.arn, client=sim.client), file)
    Seen(source, scheduler).subscription.dispose()
    second = Seen(source, scheduler)
    assert isinstance(second.end, CaptureError)
    assert "File exists" in str(second.end)


def test_a_second_subscription_does_not_take_the_file_from_the_first_one(
    scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    source = capture(rxd.shards(sim.arn, client=sim.client), file, overwrite=True)
    first = Seen(source, scheduler)
    sim.put("o-1")
    scheduler.advance_by(1)
    second = Seen(source, scheduler)
    assert isinstance(second.end, CaptureError)
    assert re.search("is being written, by another subscription.*share", str(second.end))
    sim.put("o-2")
    scheduler.advance_by(1)
    first.subscription.dispose()
    assert len(first.items) == 2
    assert replayed(file).items == first.items
    assert source.written().changes == 2

    Seen(source, scheduler).subscription.dispose()  # now it may be overwritten
    assert replayed(file).items == []


@pytest.mark.parametrize("options", [{}, {"limit": 1}])
def test_the_file_is_whole_when_the_end_is_told(
    options: dict[str, Any], scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("o-1")
    sim.put("o-2")
    shards = rxd.shards(sim.arn, client=sim.client, start="trim_horizon", follow=False)
    cut: list[bool] = []
    source = capture(shards, file, **options)
    source.subscribe(on_completed=lambda: cut.append(load(file).is_cut), scheduler=scheduler)
    scheduler.advance_by(60)
    assert cut == [False]


def test_no_file_where_there_is_no_stream(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    sim.delete()
    seen = Seen(capture(rxd.shards(sim.arn, client=sim.client), file), scheduler)
    assert seen.end is not None
    assert not file.exists()


def test_a_file_that_cannot_be_written_ends_the_stream(scheduler: TestScheduler, tmp_path: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    seen = Seen(capture(rxd.shards(sim.arn, client=sim.client), tmp_path / "no" / "file"), scheduler)
    assert isinstance(seen.end, CaptureError)
    assert str(seen.end).endswith("no/file cannot be written: No such file or directory")


class Disk:
    """One that fills up."""

    def __init__(self) -> None:
        self.room = sys.maxsize
        self.is_full = False
        self.is_cleared = False  # once it has refused something
        self.refused = 0

    @classmethod
    def instead_of_the_real_one(cls, monkeypatch: pytest.MonkeyPatch) -> Disk:
        disk, real = cls(), os.fdopen
        monkeypatch.setattr(os, "fdopen", lambda *arguments: disk._file(real(*arguments)))
        return disk

    def _file(self, file: Any) -> Any:
        disk = self

        class File:
            def write(self, data: bytes) -> int:
                taken = 0 if disk.is_full else min(disk.room, len(data))
                disk.room -= taken
                if taken:
                    return int(file.write(data[:taken]))
                disk.refused += 1
                if disk.is_cleared:
                    disk.room = sys.maxsize
                raise OSError(errno.ENOSPC, "No space left on device")

            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

        return File()


def test_a_full_disk_ends_the_stream_and_leaves_what_was_written(
    scheduler: TestScheduler, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    Disk.instead_of_the_real_one(monkeypatch).room = 1500
    seen = Seen(capture(rxd.shards(sim.arn, client=sim.client), file), scheduler)
    for _ in range(10):
        sim.put("o-1")
        scheduler.advance_by(5)
    monkeypatch.undo()
    assert isinstance(seen.end, CaptureError)
    assert "No space left on device" in str(seen.end)
    again = replayed(file)
    assert again.end == "completed"
    assert again.items == seen.items != []


@pytest.mark.parametrize("name", ["orders.jsonl", "orders.jsonl.gz"])
def test_a_disk_that_has_room_again_does_not_break_what_was_written(
    name: str, scheduler: TestScheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    sim = SimulatedStream(scheduler=scheduler)
    disk = Disk.instead_of_the_real_one(monkeypatch)
    disk.is_cleared = True
    source = capture(rxd.shards(sim.arn, client=sim.client), file)
    seen = Seen(source, scheduler)
    for number in range(4):
        if number == 3:
            disk.room = 20
        sim.put("o-1", n=number)
        scheduler.advance_by(5)
    assert isinstance(seen.end, CaptureError)
    assert source.written() == Written(shards=1, changes=3, bytes=file.stat().st_size)
    again = replayed(file)
    assert (again.items, again.end) == (seen.items, "completed")
    assert len(again.items) == 3


def test_no_more_than_so_many_changes(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    for number in range(10):
        sim.put(f"o-{number}")
    source = capture(rxd.shards(sim.arn, client=sim.client, start="trim_horizon"), file, limit=3)
    live = Seen(source, scheduler)
    scheduler.advance_by(1)
    assert (len(live.items), live.end) == (3, "completed")
    assert source.written() == Written(shards=1, changes=3, bytes=file.stat().st_size)
    assert replayed(file).items == live.items


class Hand:
    """A source whose pages come when a test says so, also while another one is being delivered."""

    def __init__(self, file: Path, **options: Any) -> None:
        self._sim = SimulatedStream(shards=3)
        self._pages: dict[str, Subject[Page]] = {shard.id: Subject() for shard in self._sim.shards}
        self.shards = [*self._pages]
        client = StreamClient(self._sim.client, self._sim.arn, lambda: BEGAN)
        streams = [
            ShardStream(Shard(id_), TrimHorizon(), pages, client) for id_, pages in self._pages.items()
        ]
        self.captured = capture(Stream(reactivex.from_iterable(streams).subscribe, Counts()), file, **options)

    def bring(self, shard: str, *numbers: int) -> None:
        records = [
            {"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"N": str(n)}}, "SequenceNumber": f"{n:021}"}}
            for n in numbers
        ]
        self._pages[shard].on_next(Page(shard, [rxd.Change(record, shard) for record in records], Origin()))


def numbers_in(file: Path) -> list[int]:
    pages = [line for line in load(file).lines if isinstance(line, PageRead)]
    return [int(record.detail.sequence_number) for page in pages for record in page.records]  # type: ignore[union-attr,arg-type]


def test_the_limit_leaves_the_same_in_the_file_and_in_the_stream(file: Path) -> None:
    hand = Hand(file, limit=6)
    first, second, third = hand.shards
    seen: list[int] = []

    def on_next(change: rxd.Change) -> None:
        seen.append(int(change.sequence_number))
        if seen == [1]:  # the first page is written, and so are these before the rest of it is delivered
            hand.bring(second, 21, 22, 23)
            hand.bring(third, 31)

    hand.captured.subscribe(on_next)
    hand.bring(first, 1, 2, 3, 4, 5)
    assert sorted(seen) == [1, 2, 3, 4, 5, 21]
    assert sorted(numbers_in(file)) == sorted(seen)


def test_the_limit_on_threads(file: Path) -> None:
    for limit in range(100, 110):
        sim = SimulatedStream(shards=12, page_size=7)
        for number in range(400):
            sim.put(f"o-{number}")
        seen: list[rxd.Change] = []
        shards = rxd.shards(sim.arn, start="trim_horizon", follow=False, client=sim.client)
        rxd.run(capture(shards, file, overwrite=True, limit=limit), seen.append)
        assert len(seen) == limit
        assert sorted(numbers_in(file)) == sorted(int(change.sequence_number) for change in seen)


def test_nothing_is_delivered_that_a_full_disk_did_not_take(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Hand(file)
    first, second, third = hand.shards
    seen: list[int] = []
    errors: list[Exception] = []
    thread: list[threading.Thread] = []

    def on_next(change: rxd.Change) -> None:
        seen.append(int(change.sequence_number))
        if seen == [1]:
            # The error of the second shard's page waits until this one is delivered.
            disk.is_full = True
            thread.append(threading.Thread(target=hand.bring, args=(second, 21)))
            thread[0].start()
            until = time.monotonic() + 5
            while hand.captured.written().bytes != file.stat().st_size or not disk.refused:
                assert time.monotonic() < until
                time.sleep(0.01)
            hand.bring(third, 31)

    disk = Disk.instead_of_the_real_one(monkeypatch)
    hand.captured.subscribe(on_next, errors.append)
    hand.bring(first, 1, 2)
    thread[0].join(5)
    assert isinstance(errors[0], CaptureError)
    assert {*seen} <= {*numbers_in(file)}
    assert 31 not in seen


def test_an_observer_that_fails_leaves_a_whole_capture(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("o-1")

    def fail(change: rxd.Change) -> None:
        raise LookupError("a bug")

    errors: list[Exception] = []
    source = capture(rxd.shards(sim.arn, client=sim.client, start="trim_horizon"), file)
    source.subscribe(fail, errors.append, scheduler=scheduler)
    scheduler.advance_by(1)
    assert isinstance(errors[0], LookupError)
    assert not load(file).is_cut
    assert [change.record for change in replayed(file).items] == sim.records  # the one it failed on, too


def test_a_stream_that_is_switched_off_can_be_replayed(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    live = captured(sim, scheduler, file, lambda: (sim.put("o-1"), scheduler.advance_by(9), sim.disable()))
    assert isinstance(live.end, StreamDisabled)
    for options in ({}, {"speed": 1.0}):
        again = replayed(file, **options)
        assert (again.items, again.end) == (live.items, "completed")


# What comes out of it


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


# Files that are none, or broken


@pytest.fixture
def whole(scheduler: TestScheduler, tmp_path: Path) -> Path:
    """A capture of 30 changes."""
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, tmp_path / "whole", busy_table(sim, scheduler, 10))
    return tmp_path / "whole"


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_file_that_was_cut_is_replayed_up_to_there(
    is_packed: bool, whole: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = gzip.compress(whole.read_bytes()) if is_packed else whole.read_bytes()
    changes = replayed(whole).items
    assert caplog.messages == []
    longest = 0
    for size in range(len(data) // 5, len(data), len(data) // 7):
        caplog.clear()
        file.write_bytes(data[:size])
        seen = replayed(file)
        assert seen.items == changes[: len(seen.items)]
        assert seen.end == "completed"
        longest = max(longest, len(seen.items))
        assert caplog.messages == [f"{file} was cut: it has no end; what there is of it can be replayed"]
    assert longest > 10


def test_a_process_that_was_killed_leaves_what_it_had_delivered(tmp_path: Path) -> None:
    # As if it had been killed while the stream goes on: the file is read meanwhile.
    for name in ("a.jsonl", "a.jsonl.gz"):
        scheduler = clock()
        sim = SimulatedStream(scheduler=scheduler)
        live = Seen(capture(rxd.shards(sim.arn, client=sim.client), tmp_path / name), scheduler)
        for number in range(5):
            sim.put(f"o-{number}")
            scheduler.advance_by(10)
            assert replayed(tmp_path / name).items == live.items
        assert len(live.items) == 5
        live.subscription.dispose()


def test_an_end_without_a_line_break_is_an_end(whole: Path, file: Path) -> None:
    file.write_bytes(whole.read_bytes().rstrip(b"\n"))
    assert not load(file).is_cut


HEAD = (
    '{"type":"capture","version":1,"stream":"arn:aws:dynamodb:eu-central-1:1:table/a/stream/b","time":1.5}\n'
)
SHARD = '{"type":"shard","time":1.5,"id":"shard-1"}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("\n", "it is empty"),
        ("dear diary\n", "line 1: this is no capture"),
        ('{"type":"page"}\n', "line 1: this is no capture"),
        ("[1]\n", "line 1: this is no capture"),
        ('{"type":"capture","version":2,"x":1}\n', "line 1: a capture of version 2; .* use a newer one"),
        ('{"type":"capture","version":1}\n', "line 1: not a line of a capture: .*stream"),
        (f"{HEAD}{SHARD}{{nonsense}}\n{SHARD}", "line 3: not a line of a capture"),
        (f'{HEAD}{SHARD}{{"type":"pause","time":1}}\n', "line 3: not a line of a capture: .*pause"),
        (f'{HEAD}{SHARD}{{"type":"page","time":"x","shard":"shard-1","records":[]}}\n', "line 3: .*float"),
        (f"{HEAD}{SHARD}{SHARD}", "line 3: shard shard-1 begins a second time"),
        (f'{HEAD}{{"type":"closed","time":1,"shard":"s"}}\n', "line 2: no line before tells of shard s"),
        (HEAD + SHARD.replace("}", ',"parent":"shard-1"}'), "line 2: shard shard-1 continues itself"),
        (
            HEAD
            + SHARD.replace("}", ',"parent":"b"}')
            + '{"type":"shard","time":1.5,"id":"b","parent":"shard-1"}\n',
            "line 3: shard b continues itself",
        ),
        (f'{HEAD}{SHARD}{{"type":"end","time":1e300}}\n', "line 3: 1e\\+300 is no time"),
        (HEAD.replace("1.5", "-1"), "line 1: -1.0 is no time"),
        (
            f'{HEAD}{SHARD}{{"type":"page","time":2,"shard":"shard-1","records":[{{"eventName":"INSERT"}}]}}\n',
            "line 3: its last record has no sequence number",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, words: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(CaptureUnreadable, match=rf"orders\.jsonl(, |: ){words}"):
        replay(file)


def test_members_that_are_not_known_are_passed_over(file: Path) -> None:
    file.write_text(
        (HEAD + SHARD).replace("}", ',"host":"web-1"}') + '{"type":"end","time":2,"why":"Ctrl-C"}\n'
    )
    assert replayed(file).end == "completed"


def test_compressed_data_that_is_broken(whole: Path, file: Path) -> None:
    data = bytearray(gzip.compress(whole.read_bytes()))
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    file.write_bytes(data)
    with pytest.raises(CaptureUnreadable, match=str(file)):
        replay(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureUnreadable, match="nowhere: No such file"):
        replay(tmp_path / "nowhere")
    with pytest.raises(CaptureUnreadable, match="Is a directory"):
        replay(tmp_path)


# The command line


@pytest.fixture
def table(endpoint: str) -> Table:
    table = Table(endpoint)
    table.put(n={"N": "1.50"}, picture={"B": b"\x00\xff"}, words={"SS": ["b", "a"]})
    table.put(n={"N": "2"})
    table.delete()
    return table


@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_what_is_captured_is_printed_as_the_table_is(name: str, table: Table, tmp_path: Path) -> None:
    file = str(tmp_path / name)
    where = ("--endpoint-url", table.endpoint)
    status, out, err = run("capture", table.name, file, *WHOLE, *where)
    assert (status, out) == (0, [])
    watching, summary = err.splitlines()
    assert watching == f"Starting watcher for shard: {table.shard_id()}"
    size = os.path.getsize(file)
    assert summary == f"rxddbstream: captured 3 changes of 1 shard: {size:,} bytes in {file}"

    for options in ([], ["-ps"], ["-o", "json"], ["-pr", "-o", "diff"], ["--event", "MODIFY"]):
        _, printed, _ = run(table.name, *WHOLE, *where, *options)
        assert run("replay", file, *options) == (0, printed, "")
    _, printed, _ = run(table.name, *WHOLE, *where, "-n", "2")
    assert run("replay", file, "-n", "2", "--speed", "50") == (0, printed, "")
    assert [change.record for change in replayed(Path(file)).items] == table.records()


def test_ctrl_c_ends_it_with_a_whole_file(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "file.gz"
    where = ("--endpoint-url", table.endpoint)
    with start("capture", table.name, str(file), "--since", "trim-horizon", *where) as process:
        assert process.stderr is not None
        process.stderr.readline()
        for changes in (3, 4):
            until = time.monotonic() + 20
            while not file.exists() or len(replayed(file).items) < changes:
                assert time.monotonic() < until
                time.sleep(0.05)
            if changes == 3:
                table.put(n={"N": "3"})
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    assert err == f"rxddbstream: captured 4 changes of 1 shard: {file.stat().st_size:,} bytes in {file}\n"
    assert not load(file).is_cut
    assert len(replayed(file).items) == 4


def test_it_does_not_overwrite_unless_forced(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("dear diary")
    arguments = ("capture", table.name, str(file), *WHOLE, "--endpoint-url", table.endpoint)
    status, _, err = run(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"rxddbstream: error: {file} is there already")
    assert file.read_text() == "dear diary"
    status, _, err = run(*arguments, "--force", "-n", "2")
    assert status == 0
    assert "captured 2 changes of 1 shard" in err
    assert len(replayed(file).items) == 2


def test_nothing_is_left_of_a_capture_that_did_not_begin(endpoint: str, tmp_path: Path) -> None:
    status, _, err = run("capture", "nowhere", str(tmp_path / "file"), "--endpoint-url", endpoint)
    assert status == 1
    nothing, error = err.splitlines()
    assert nothing == "rxddbstream: nothing was captured"
    assert error.startswith("rxddbstream: error: there is no table 'nowhere'")
    assert list(tmp_path.iterdir()) == []


def test_a_cut_file_is_printed_with_a_warning(whole: Path, file: Path) -> None:
    file.write_bytes(whole.read_bytes()[:-100])
    status, out, err = run("replay", str(file), "-ps")
    assert status == 0
    assert len(out) > 10
    assert err == f"rxddbstream: warning: {file} was cut; this is what there is of it\n"
    _, _, err = run("replay", str(file), "-ps", "-v")
    assert err.count("was cut") == 1


def test_what_cannot_be_replayed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert run("replay", str(file)) == (1, [], f"rxddbstream: error: {file}: No such file or directory\n")
    file.write_text("dear diary")
    status, _, err = run("replay", str(file))
    words = "line 1: this is no capture; `rxddbstream capture` writes one"
    assert (status, err) == (1, f"rxddbstream: error: {file}, {words}\n")


@pytest.mark.parametrize("arguments", [["capture", "orders"], ["replay"], ["replay", "file", "--speed", "0"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: rxddbstream {arguments[0]} ")


@pytest.mark.parametrize("command", ["capture", "replay"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse([command, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: rxddbstream {command} ")
    assert max(map(len, text.splitlines())) <= 96
