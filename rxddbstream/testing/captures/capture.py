"""Capturing: a stream that writes itself to a file, page by page, while it is read.

Other threads read other shards meanwhile, so the writer has a lock. It is taken once a page, and images are
written as they came, without a look inside.
"""

from __future__ import annotations

import os
import threading
import zlib
from contextlib import suppress
from io import FileIO
from typing import NamedTuple, cast

import msgspec
import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.scheduler import CurrentThreadScheduler

from rxddbstream.aws.client import StreamClient
from rxddbstream.aws.parser import RecordJSON
from rxddbstream.checkpoints.codec import to_text
from rxddbstream.errors import CaptureError, ConfigurationError, DecodeError
from rxddbstream.model.change import Change
from rxddbstream.model.encoding import words_of
from rxddbstream.model.page import Page
from rxddbstream.model.position import Latest, Position
from rxddbstream.model.record import encodable, on_one_line
from rxddbstream.reading.delivery import ShardStream, merge_shards
from rxddbstream.reading.stream import Stream
from rxddbstream.testing.captures.format import VERSION, Closed, End, Head, Line, Opened, PageRead, Path

COMPRESSION = 3  # half the time of 6, and a quarter more bytes
GZIP = zlib.MAX_WBITS | 16  # the format

_ENCODER = msgspec.json.Encoder()


class Written(NamedTuple):
    """How much is in a capture; see `Capture.written`.

    Attributes:
        shards: how many shards.
        changes: how many changes.
        bytes: the size of the file, compressed if it is.
    """

    shards: int = 0
    changes: int = 0
    bytes: int = 0


class Capture(Stream[Change]):
    """What `capture` returns: the stream's changes, and how much of them is in the file."""

    def __init__(
        self, source: Stream[ShardStream], path: Path, *, overwrite: bool = False, limit: int | None = None
    ) -> None:
        super().__init__(self._capture, source._counts, source._keeps_checkpoints)
        self._source = source
        self._path = path
        self._overwrite = overwrite
        self._limit = limit
        self._writer: _Writer | None = None

    def written(self) -> Written:
        """What the newest subscription has written so far."""
        return Written() if self._writer is None else self._writer.written()

    def _capture(
        self, observer: abc.ObserverBase[Change], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        if self._writer is not None and self._writer.is_writing:
            return reactivex.throw(
                CaptureError(
                    f"the capture {os.fspath(self._path)} is being written, by another subscription to it; "
                    "put ops.share() behind it, so that there is one for all"
                )
            ).subscribe(observer, scheduler=CurrentThreadScheduler.singleton())
        self._writer = writer = _Writer(self._path, self._overwrite, self._limit)

        def write(shard: ShardStream) -> ShardStream:
            writer.opened(shard)
            written: Observable[Page] = shard.pages.pipe(ops.map(writer.page))
            pages = written.pipe(ops.do_action(on_completed=lambda: writer.closed(shard.shard.id)))
            return ShardStream(shard.shard, shard.position, pages, shard.client)

        def subscribe(
            each: abc.ObserverBase[Change], given: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            return merge_shards(self._source.pipe(ops.map(write)), each, given)

        changes: Observable[Change] = Observable(subscribe)
        if self._limit is not None:
            changes = changes.pipe(ops.take(self._limit))
        # Whoever is told of the end may read the file, or subscribe again.
        ended = changes.pipe(ops.do_action(on_error=lambda _: writer.end(), on_completed=writer.end))
        return ended.pipe(ops.finally_action(writer.end)).subscribe(observer, scheduler=scheduler)


def capture(
    source: Stream[ShardStream], path: Path, *, overwrite: bool = False, limit: int | None = None
) -> Capture:
    """Write what comes to a file, which `replay` makes a stream of again.

    ::

        source    --A-----B----------
                    A: -a1--a2---a3-|
                          B: -b1--b2-
        capture   ----a1--a2-b1--a3--b2-

    The stream is read as always, with checkpoints if the source has them. Each page is written before its
    changes are delivered, so the file has all that came, however the reading ends. It has the items'
    contents: it is created so that nobody else may read it.

    Args:
        source: what `rxd.shards` returns.
        path: the file; it is compressed if the name ends in `.gz`.
        overwrite: replace a file that is there.
        limit: end after so many changes.

    Raises:
        ConfigurationError: there is such a file.

    Errors, at `on_error`, besides the source's:
        CaptureError: the file cannot be written.

    >>> import os, tempfile
    >>> import rxddbstream as rxd
    >>> from rxddbstream.testing import SimulatedStream
    >>> sim = SimulatedStream("orders")
    >>> record = sim.put("o-1", status="new")
    >>> shards = rxd.shards("orders", start="trim_horizon", follow=False, client=sim.client)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     source = capture(shards, os.path.join(directory, "orders.jsonl"))
    ...     rxd.run(source, lambda change: print(change.event_name, change.keys))
    INSERT {'id': 'o-1'}
    >>> source.written().changes
    1
    """
    if not overwrite and os.path.lexists(path):
        raise ConfigurationError(
            f"{os.fspath(path)} is there already; choose another name, or overwrite it with "
            "overwrite=True (--force)"
        )
    return Capture(source, path, overwrite=overwrite, limit=limit)


class _Writer:
    """Writes one capture. The file is created when there is something to write."""

    def __init__(self, path: Path, overwrite: bool, limit: int | None) -> None:
        self._path = path
        self._overwrite = overwrite
        self._left = limit
        self._lock = threading.Lock()
        self._client: StreamClient | None = None
        # Without a buffer, whose rest would come after what was lost when a write has failed.
        self._file: FileIO | None = None
        is_packed = os.fspath(path).endswith(".gz")
        self._packer = zlib.compressobj(COMPRESSION, zlib.DEFLATED, GZIP) if is_packed else None
        self._time = float("-inf")
        self._shards = self._changes = self._bytes = 0
        self._is_over = False
        self._failure: CaptureError | None = None

    @property
    def is_writing(self) -> bool:
        """Whether the file is there, and not closed yet."""
        with self._lock:
            return self._file is not None and not self._is_over

    def opened(self, stream: ShardStream) -> None:
        """A shard begins to be read."""
        shard, position = stream.shard, stream.position
        with self._lock:
            if self._is_over:
                return
            self._client = stream.client
            if self._file is None:
                self._create()
                self._write(Head(VERSION, stream.client.arn, self._now()))
            self._write(Opened(self._now(), shard.id, shard.parent_id, _name_of(position)))
            self._shards += 1

    def page(self, page: Page) -> Page:
        """A page was read; what of it is in the file, which is all that may be delivered.

        Pages of several shards may wait to be delivered, and not in the order in which they were written.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            changes = [] if self._is_over else page.changes[: self._left]
            if changes:
                records = cast(list[RecordJSON], [encodable(change.record_as_it_came) for change in changes])
                try:
                    self._write(PageRead(self._now(), page.shard_id, records))
                except UnicodeEncodeError as error:
                    raise CaptureError(
                        f"a change of shard {page.shard_id} has half of a character (a lone surrogate), "
                        f"which the capture {os.fspath(self._path)} cannot hold"
                    ) from error
                except UnicodeDecodeError as error:
                    raise DecodeError(
                        f"a record of shard {page.shard_id} has {words_of(error)}; it cannot be captured"
                    ) from error
                self._changes += len(changes)
                if self._left is not None:
                    self._left -= len(changes)
            return page._replace(changes=changes)

    def closed(self, shard_id: str) -> None:
        """A shard was read to its end."""
        with self._lock:
            if not self._is_over:
                self._write(Closed(self._now(), shard_id))

    def end(self) -> None:
        """The capture is over; what comes now is not written."""
        with self._lock:
            if self._file is not None and not self._is_over:
                with suppress(CaptureError):  # nobody is left to be told
                    self._write(End(self._now()))
                    if self._packer is not None:
                        self._append(self._packer.flush())
                self._close()
            self._is_over = True

    def written(self) -> Written:
        """How much of it there is."""
        with self._lock:
            return Written(self._shards, self._changes, self._bytes)

    def _now(self) -> float:
        assert self._client is not None
        self._time = max(self._time, self._client.time.timestamp())
        return self._time

    def _create(self) -> None:
        try:
            if self._overwrite and os.path.isfile(self._path):
                os.unlink(self._path)  # others may be able to read it
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._file = os.fdopen(os.open(self._path, flags, 0o600), "wb", 0)
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, line: Head | Line) -> None:
        data = on_one_line(_ENCODER.encode(line)) + b"\n"
        if not data.isascii():
            data.decode()  # what is no text could not be replayed
        if self._packer is not None:
            # All of it, so that a crash loses no page that was delivered.
            data = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._append(data)

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._bytes)  # no part of a line, which would look like a crash
            self._close()
            self._failure = self._failed(error)
            raise self._failure from error
        self._bytes += len(data)

    def _close(self) -> None:
        assert self._file is not None
        self._is_over = True
        with suppress(OSError):
            self._file.close()

    def _failed(self, error: OSError) -> CaptureError:
        return CaptureError(f"the capture {os.fspath(self._path)} cannot be written: {error.strerror}")


def _name_of(position: Position) -> str:
    return "LATEST" if isinstance(position, Latest) else to_text(position)[2:]
