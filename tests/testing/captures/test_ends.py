"""Where a capture ends: at a full disk, a limit, an error. What is delivered is in the file."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import reactivex
from reactivex.subject import Subject
from reactivex.testing import TestScheduler
from support.captures import BEGAN, Seen, captured, replayed
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream.aws.client import StreamClient
from rxddbstream.errors import CaptureError, StreamDisabled
from rxddbstream.model.origin import Origin
from rxddbstream.model.page import Page
from rxddbstream.model.position import TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.reading.delivery import ShardStream
from rxddbstream.reading.statistics import Counts
from rxddbstream.reading.stream import Stream
from rxddbstream.testing import SimulatedStream, Written, capture
from rxddbstream.testing.captures.format import PageRead, load


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
            wait_until(lambda: hand.captured.written().bytes == file.stat().st_size and disk.refused)
            hand.bring(third, 31)

    disk = Disk.instead_of_the_real_one(monkeypatch)
    hand.captured.subscribe(on_next, errors.append)
    hand.bring(first, 1, 2)
    thread[0].join(PATIENCE)
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
