"""The file of a capture: JSON, a line for each thing that happened, in order; gzip if the name ends in `.gz`.

    {"type":"capture","version":1,"stream":"arn:aws:dynamodb:...","time":1767225600.0}
    {"type":"shard","time":1767225600.0,"id":"shardId-1","parent":null,"position":"LATEST"}
    {"type":"page","time":1767225601.25,"shard":"shardId-1","records":[{"eventID":...},...]}
    {"type":"closed","time":1767225660.5,"shard":"shardId-1"}
    {"type":"end","time":1767225661.0}

* The first line is the head: the format's version, the stream's ARN, when it began. Members that are not
  known are passed over; a version that is not known is refused.
* `shard`: it begins to be read. `parent` is the shard that it continues. `position` says where it begins, in
  the words of GetShardIterator.
* `page`: what one GetRecords call brought, as the service's own JSON has it: numbers are strings, binary is
  Base64, a creation time is a number.
* `closed`: it was read to its end, or as far as it was to be read.
* `end`: the capture was ended. Where that line is missing, or the last line is not whole, the file was cut,
  by a crash for one. It can be replayed up to there.

Times are seconds since the epoch by the service's clock, which the changes' own times come from; they
never go back. The service tells whole seconds; the fraction is by the reader's clock.

A page is written, and handed to the operating system, before it is delivered. The file holds items: it is
created so that nobody else may read it (mode 0600).

A file may come from elsewhere. A few bytes of a compressed one can stand for any number, so there is a bound
to what is taken of it: see `LONGEST_LINE` and `MOST_HELD`.
"""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias, TypeVar, cast

import msgspec

from rxddbstream.aws.parser import RecordJSON
from rxddbstream.errors import CaptureUnreadable
from rxddbstream.model.words import shortened

VERSION = 1
TOO_LATE = 10.0**11  # more are milliseconds, and the calendar ends soon after
_GZIP = b"\x1f\x8b"

LONGEST_LINE = 32 * 1024**2
"""How many bytes a line may have. A page is 1 MB at most, as DynamoDB counts it; as JSON, a few times that.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html
"""
MOST_HELD = 256 * 1024**2
"""How many bytes of memory a file may take, if that is more than `MOST_TIMES` its own size."""
MOST_TIMES = 100  # records that are much alike are packed to a fiftieth of their size
A_LINE, A_RECORD = 200, 200  # about how many bytes of memory each takes beside its text

Path: TypeAlias = str | os.PathLike[str]
T = TypeVar("T")

log = logging.getLogger("rxddbstream")


class Head(msgspec.Struct, tag="capture"):
    """The first line."""

    version: int
    stream: str
    time: float


class Opened(msgspec.Struct, tag="shard"):
    """A shard begins to be read."""

    time: float
    id: str
    parent: str | None = None
    position: str = ""


class PageRead(msgspec.Struct, tag="page"):
    """A page was read."""

    time: float
    shard: str
    records: list[RecordJSON]


class Closed(msgspec.Struct, tag="closed"):
    """A shard was read to its end."""

    time: float
    shard: str


class End(msgspec.Struct, tag="end"):
    """The last line."""

    time: float


Line: TypeAlias = Opened | PageRead | Closed | End


class _AnyHead(msgspec.Struct):
    type: str
    version: int


_ANY_HEAD = msgspec.json.Decoder(_AnyHead)
_HEAD = msgspec.json.Decoder(Head)
_LINE: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


@dataclass(frozen=True, slots=True)
class Captured:
    """A capture that was read.

    Attributes:
        stream: the stream's ARN.
        began, ended: the times of its first line and its last one.
        lines: what stands between them.
        is_cut: whether it has no end.
    """

    stream: str
    began: float
    ended: float
    lines: list[Opened | PageRead | Closed]
    is_cut: bool


def load(path: Path) -> Captured:
    """Read a capture; the whole of it is kept in memory, and the images stay JSON.

    Raises:
        CaptureUnreadable: there is none, it is broken, or of another program or version.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as raw:
            is_packed = raw.read(2) == _GZIP
            raw.seek(0)
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_packed else raw
            captured = _read(file, name, max(MOST_HELD, MOST_TIMES * os.fstat(raw.fileno()).st_size))
    except OSError as error:
        raise CaptureUnreadable(f"{name}: {error.strerror or error}") from error
    if captured.is_cut:
        log.warning("%s was cut: it has no end; what there is of it can be replayed", name)
    return captured


def _read(file: BinaryIO, name: str, most: int) -> Captured:
    """What the lines of a file say.

    Args:
        most: how many bytes of memory they may take.
    """
    numbered = _numbered_lines(file, name)
    began = _head(numbered, name)
    lines: list[Opened | PageRead | Closed] = []
    lineage = _Lineage()
    held, ended = 0, began.time
    for number, text in numbered:
        try:
            line = _decoded(_LINE, text, name, number)
        except CaptureUnreadable:
            if text.endswith(b"\n"):
                raise
            break
        ended = max(ended, line.time)
        _check(line, lineage, f"{name}, line {number}")
        held += len(text) + A_LINE + A_RECORD * (len(line.records) if isinstance(line, PageRead) else 0)
        if held > most:
            raise CaptureUnreadable(
                f"{name}, line {number}: up to here it takes {held // 1024**2:,} MiB of memory; it may "
                f"take {MOST_HELD // 1024**2:,} MiB, or {MOST_TIMES} times the file's size"
            )
        if isinstance(line, End):
            return Captured(began.stream, began.time, ended, lines, is_cut=False)
        lines.append(line)
    return Captured(began.stream, began.time, ended, lines, is_cut=True)


def _head(numbered: Iterator[tuple[int, bytes]], name: str) -> Head:
    _, first = next(numbered, (0, b""))
    if not first.strip():
        raise CaptureUnreadable(f"{name}: it is empty; a capture has a line at least")
    try:
        head = _ANY_HEAD.decode(first)
    except msgspec.MsgspecError:
        head = _AnyHead("", 0)
    if head.type != "capture":
        raise CaptureUnreadable(f"{name}, line 1: this is no capture; `rxddbstream capture` writes one")
    if head.version != VERSION:
        raise CaptureUnreadable(
            f"{name}, line 1: a capture of version {head.version}; this rxddbstream knows version {VERSION} "
            "alone: use a newer one"
        )
    began = _decoded(_HEAD, first, name, 1)
    _check_time(began.time, f"{name}, line 1")
    return began


def _check(line: Opened | PageRead | Closed | End, lineage: _Lineage, place: str) -> None:
    """Refuse a line that cannot be at this place; add the shard that it opens to the lineage."""
    _check_time(line.time, place)
    if isinstance(line, End):
        return
    if isinstance(line, Opened):
        if line.id in lineage:
            raise CaptureUnreadable(f"{place}: shard {_name(line.id)} begins a second time")
        if not lineage.add(line.id, line.parent):
            raise CaptureUnreadable(f"{place}: shard {_name(line.id)} continues itself")
    elif line.shard not in lineage:
        raise CaptureUnreadable(f"{place}: no line before tells of shard {_name(line.shard)}")
    elif isinstance(line, PageRead) and not all(map(_has_a_place, line.records[-1:])):
        raise CaptureUnreadable(f"{place}: its last record has no sequence number")


def _name(shard: str) -> str:
    return shortened(shard, 100)


def _check_time(time: float, place: str) -> None:
    if not 0 <= time < TOO_LATE:
        raise CaptureUnreadable(f"{place}: {time!r} is no time in seconds since the epoch")


class _Lineage:
    """Which shards there are, and whether one of them is its own ancestor."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._above: dict[str, str] = {}  # an ancestor of each shard that has one; at last the topmost

    def __contains__(self, shard: str) -> bool:
        return shard in self._known

    def add(self, shard: str, parent: str | None) -> bool:
        """Add a shard; False where it would continue itself."""
        self._known.add(shard)
        if parent is None:
            return True
        top = self._topmost(parent)
        if top == shard:
            return False
        self._above[shard] = top
        return True

    def _topmost(self, shard: str) -> str:
        below = []
        while shard in self._above:
            below.append(shard)
            shard = self._above[shard]
        for one in below:  # so that the way is short the next time
            self._above[one] = shard
        return shard


def _has_a_place(record: RecordJSON) -> bool:
    number = record.detail.sequence_number if record.detail is not None else None
    return number is not None and number.isdecimal()


def _numbered_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise CaptureUnreadable(
                    f"{name}, line {number}: it is longer than {LONGEST_LINE // 1024**2} MiB; no page is"
                )
            yield number, line
    except EOFError:  # a compressed file that was cut
        return
    except zlib.error as error:
        raise CaptureUnreadable(f"{name}, after line {number}: its compressed data is broken") from error


def _decoded(decoder: msgspec.json.Decoder[T], line: bytes, name: str, number: int) -> T:
    try:
        if not line.isascii():
            line.decode()  # what stays JSON is not looked into
        return decoder.decode(line)
    except UnicodeDecodeError as error:
        raise CaptureUnreadable(
            f"{name}, line {number}: not a line of a capture: its byte {error.start + 1} is no UTF-8"
        ) from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CaptureUnreadable(f"{name}, line {number}: not a line of a capture: {error}") from error
