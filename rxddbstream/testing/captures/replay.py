"""Replaying: a capture as a stream like any other.

A client double answers from the file, and the library reads it as it reads the service: shard by shard, with
lineage, watermark, windows, statistics and checkpoints. Each page comes as it was captured, dated as it was
then. The answers' time is the capture's, however old it is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from botocore.exceptions import ClientError
from reactivex import abc

from rxddbstream.aws.client import StreamClient
from rxddbstream.checkpoints.store import CheckpointStore
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change
from rxddbstream.protocol.pacing import Poll
from rxddbstream.reading.events import EventObserver
from rxddbstream.reading.options import ReadOptions
from rxddbstream.reading.stream import Stream, merged, shards_of
from rxddbstream.scheduling.clock import SteadyClock
from rxddbstream.testing.captures.format import Captured, Closed, Opened, PageRead, Path, load
from rxddbstream.testing.client import Answer, SimulatedClient
from rxddbstream.testing.faults import client_error, metadata
from rxddbstream.testing.log import StreamLog
from rxddbstream.testing.records import sequence_number_of
from rxddbstream.testing.service import MOST_RECORDS, Cursor, Service, Settings

FOR_EVER = timedelta(days=36_500)
OFTEN = Poll(fastest=0.05, slowest=0.25)
AFTERWARDS = 3600.0  # seconds that the clock goes on after the end

# What comes after a moment is all that was captured; the service would have to know what came before it.
_FROM_THE_BEGINNING = {"LATEST", "AT_TIMESTAMP"}


def replay(
    path: Path,
    *,
    speed: float | None = None,
    checkpoints: CheckpointStore | None = None,
    events: EventObserver | None = None,
    poll: Poll | None = None,
    scheduler: abc.SchedulerBase | None = None,
) -> Stream[Change]:
    """The changes of a capture, as if they came from the service; it completes where the capture ends.

    ::

        the capture   --a1------b1--a2-----------|
        replay        a1-b1-a2-|                      at once
        speed=2       -a1---b1-a2------|

    Without `speed` all is there at once, as a backlog is; shards are read side by side in the order of time,
    a page at a time. With it, a page appears when the scheduler's clock has come that far since `subscribe`.
    On a `TestScheduler` that is virtual time, and the order is the same each time.

    Args:
        path: the file.
        speed: how many times as fast as it was captured; 1.0 is its own time. None: at once.
        checkpoints, events, scheduler: as for `rxd.changes`.
        poll: the same; by default 4 to 20 times a second.

    Raises:
        CaptureUnreadable: there is no such file, or it is broken, or no capture.
        ConfigurationError: a speed that cannot be.

    >>> import os, tempfile
    >>> import rxddbstream as rxd
    >>> from rxddbstream.testing import SimulatedStream, capture
    >>> sim = SimulatedStream("orders")
    >>> record = sim.put("o-1", status="new")
    >>> shards = rxd.shards("orders", start="trim_horizon", follow=False, client=sim.client)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "orders.jsonl.gz")
    ...     rxd.run(capture(shards, path))
    ...     rxd.run(replay(path), lambda change: print(change.record == record))
    True
    """
    return replay_of(
        load(path),
        speed=speed,
        checkpoints=checkpoints,
        events=events,
        poll=poll,
        scheduler=scheduler,
    )


def replay_of(
    captured: Captured,
    *,
    speed: float | None = None,
    checkpoints: CheckpointStore | None = None,
    events: EventObserver | None = None,
    poll: Poll | None = None,
    scheduler: abc.SchedulerBase | None = None,
) -> Stream[Change]:
    """The same, of a capture that was read already."""
    if speed is not None and not 0 < speed < math.inf:
        raise ConfigurationError(f"speed={speed!r}: a positive number is needed, or None for at once")

    def find(now: Callable[[], datetime]) -> StreamClient:
        double = ReplayedStream(captured, now, speed)
        return StreamClient(double.client, captured.stream, double.now)

    first = next((line for line in captured.lines if isinstance(line, Opened)), None)
    in_own_time = speed is not None
    # With "latest" the watermark begins at once; but not where all of it is in the past.
    is_latest = in_own_time and first is not None and first.position == "LATEST"
    options = ReadOptions(
        start="latest" if is_latest else "trim_horizon",
        follow=False,
        # By then the clock has passed the last line, and the answers' date, in whole seconds, shows it.
        # Changes may be newer: whoever captured them may have gone by another clock than the service.
        until=_utc(math.floor(captured.ended) + in_own_time),
        # Where checkpoints are kept, a shard may wait for one that was read before.
        alignment=0.0 if not in_own_time and checkpoints is None else None,
        checkpoints=checkpoints,
        events=events,
        poll=poll or OFTEN,
        scheduler=scheduler,
    )
    return merged(shards_of(find, options))


class ReplayedStream:
    """A captured stream: the simulated service, with what the file has.

    Args:
        captured: the capture.
        now: the reader's clock; its present is the capture's beginning.
        speed: how fast the capture's clock goes by it; None: all has happened, and it stands at the end.

    Attributes:
        client: the double of boto3's client.
    """

    def __init__(self, captured: Captured, now: Callable[[], datetime], speed: float | None) -> None:
        self.client = _Client(self._call)
        self._lock = Lock()
        self._captured = captured
        self._speed = speed
        # A wall clock may be set back: that is no time to stand still for.
        self._clock = SteadyClock(lambda: now().timestamp())
        self._subscribed = self._clock.seconds()
        self._log = StreamLog([], _utc(captured.began))
        self._pages: dict[str, list[PageRead]] = {}
        self._continued: set[str | None] = set()
        self._to_come = deque(captured.lines)
        for line in captured.lines:
            self._add(line)
        self._service = Service(
            self._log,
            {"StreamArn": captured.stream, "StreamStatus": "ENABLED"},
            Settings(
                page_size=MOST_RECORDS,
                listing_page_size=100,
                empty_pages=0,
                records_with_last_page=False,
                iterator_lifetime=FOR_EVER,
                supports_shard_filter=True,
                supports_at_timestamp=True,
            ),
        )

    def _add(self, line: Opened | PageRead | Closed) -> None:
        # A reader that kept checkpoints knows shards and records which have not come out yet.
        if isinstance(line, Opened):
            is_first = line.parent not in self._pages
            visible_at = _utc(self._captured.began if is_first else line.time)
            shard = self._log.add(line.id, line.parent, 0, 0, visible_at, starting=0)
            shard.readable = 0
            self._continued.add(line.parent)
            self._pages[line.id] = []
        elif isinstance(line, PageRead):
            shard = self._log.shards[line.shard]
            shard.records += line.records
            shard.page_ends.append(len(shard.records))
            self._pages[line.shard].append(line)

    def now(self) -> datetime:
        """The service's time."""
        with self._lock:
            return _utc(self._seconds())

    def _seconds(self) -> float:
        captured = self._captured
        if self._speed is None:
            return captured.ended
        passed = self._clock.seconds() - self._subscribed
        return min(captured.began + passed * self._speed, captured.ended + AFTERWARDS)

    def _call(self, operation: str, arguments: dict[str, Any]) -> Answer:
        with self._lock:
            seconds = self._seconds()
            # At the very beginning nothing has come out: "latest" must miss nothing of it.
            if self._speed is None or seconds > self._captured.began:
                self._play(seconds)
            if arguments.get("ShardIteratorType") in _FROM_THE_BEGINNING:
                arguments = {**arguments, "ShardIteratorType": "TRIM_HORIZON"}
            now = _utc(seconds)
            try:
                answer = self._answer(operation, arguments, now)
            except ClientError as error:
                error.response["ResponseMetadata"] = metadata(400, now)
                raise
            if operation == "GetRecords":
                cursor = self._service.cursor(arguments["ShardIterator"])
                now = self._date(cursor, bool(answer["Records"]), now)
            return {**answer, "ResponseMetadata": metadata(at=now)}

    def _answer(self, operation: str, arguments: dict[str, Any], now: datetime) -> Answer:
        if operation == "GetShardIterator" and arguments["ShardId"] not in self._pages:
            # A parent that was not read. Nobody need wait to see whether it turns up.
            raise client_error("TrimmedDataAccessException", operation)
        return self._service.answer(operation, arguments, now)

    def _play(self, until: float) -> None:
        """Let come out what had come by then."""
        while self._to_come and (self._speed is None or self._to_come[0].time <= until):
            line = self._to_come.popleft()
            if isinstance(line, PageRead):
                shard = self._log.shards[line.shard]
                shard.readable += len(line.records)
            elif isinstance(line, Closed):
                self._close(line.shard)
            elif line.parent in self._pages:
                self._close(line.parent)

    def _close(self, shard_id: str | None) -> None:
        # Only one that another shard continues: of any other, what was captured is not known to be the end.
        if shard_id is not None and shard_id in self._continued:
            shard = self._log.shards[shard_id]
            last = shard.records[-1:]
            self._log.close(shard, _utc(0), sequence_number_of(last[0]) if last else 0)

    def _date(self, cursor: Cursor, has_records: bool, now: datetime) -> datetime:
        """The service's time of an answer to GetRecords."""
        shard = cursor.shard
        pages = self._pages[shard.id]
        if has_records:
            return _utc(pages[shard.page_of(cursor.place)].time)
        # That there was nothing cannot be said of a time at which there was something, not captured yet.
        to_come = shard.page_of(shard.readable)
        return min(now, _created_at(pages[to_come])) if to_come < len(pages) else now


class _Client(SimulatedClient):
    """Whatever a shard is called: another service than AWS may have been captured."""

    def _checked_call(self, operation: str, arguments: dict[str, Any]) -> Answer:
        return self._call(operation, arguments)


def _created_at(page: PageRead) -> datetime:
    """The time of a page's first change."""
    detail = page.records[0].detail if page.records else None
    created_at = detail.created_at if detail else None
    return _utc(page.time if created_at is None else min(created_at, page.time))


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
