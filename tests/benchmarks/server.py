"""A stand-in for the service that costs the contenders nothing: own process, answers made beforehand.

It knows DescribeStream, GetShardIterator (TRIM_HORIZON, LATEST, AT_TIMESTAMP taken for TRIM_HORIZON) and
GetRecords of the protocol DynamoDB Streams JSON 1.0, and keeps no state: an iterator says how far it is.
Its shards stay open. What they hold is one of

    backlog   `pages` full pages, then empty ones
    idle      nothing (`pages=0`)
    trickle   `rate` records a second and shard, made as time passes, with the time inside
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.utils import formatdate

from benchmarks import records
from benchmarks.environment import environment

SHARDS_LISTED_AT_ONCE = 100  # as AWS does
STATS = "Benchmark.Stats"  # not an operation of the service: what it has served so far
_SHARD_ID = "shardId-00000001767225600000-{:08x}"
_REQUEST_ID = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEF"
_PADDING = "A" * 150  # iterators of AWS's are about that long


@dataclass(frozen=True)
class Content:
    """What the server holds.

    Attributes:
        shards: how many.
        pages: full pages a shard.
        delay: seconds to wait before each answer to GetRecords: the network.
        rate: records a second and shard that are written from the start on, instead of pages.
    """

    shards: int = 1
    pages: int = 0
    delay: float = 0.0
    rate: float = 0.0

    @property
    def records(self) -> int:
        """How many there are in full pages."""
        return self.shards * self.pages * records.PAGE_SIZE


@dataclass(frozen=True)
class Stats:
    """What was served.

    Attributes:
        calls: answers, by operation.
        pages: answers to GetRecords that had records.
        records: the records in them.
    """

    calls: dict[str, int]
    pages: int
    records: int


class Service:
    """The answers."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._began = time.time()
        self._page = records.page_template(float(int(self._began) - 3600)) if content.pages else b""
        self._single = records.single_template()
        self._calls: Counter[str] = Counter()
        self._pages = self._records = 0

    def answer(self, target: str, body: bytes) -> bytes:
        """The body of an answer.

        Raises:
            ValueError: something that this server does not know.
        """
        operation = target.rpartition(".")[2]
        if target == STATS:
            return _json(asdict(Stats(dict(self._calls), self._pages, self._records)))
        self._calls[operation] += 1
        request = json.loads(body)
        if operation == "GetRecords":
            return self._get_records(request["ShardIterator"])
        if operation == "GetShardIterator":
            return self._get_shard_iterator(request["ShardId"], request["ShardIteratorType"])
        if operation == "DescribeStream":
            return self._describe_stream(request)
        raise ValueError(operation)

    def _describe_stream(self, request: dict[str, str]) -> bytes:
        after = request.get("ExclusiveStartShardId")
        first = _number_of(after) + 1 if after else 0
        last = min(first + SHARDS_LISTED_AT_ONCE, self._content.shards)
        if "ShardFilter" in request:
            first = last = self._content.shards  # no shard has children
        numbers = {"StartingSequenceNumber": "490000000000000000000000"}
        description = {
            "StreamArn": records.ARN,
            "StreamStatus": "ENABLED",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            "TableName": "orders",
            "Shards": [
                {"ShardId": _SHARD_ID.format(number), "SequenceNumberRange": numbers}
                for number in range(first, last)
            ],
        }
        if last < self._content.shards:
            description["LastEvaluatedShardId"] = _SHARD_ID.format(last - 1)
        return _json({"StreamDescription": description})

    def _get_shard_iterator(self, shard_id: str, kind: str) -> bytes:
        if kind == "LATEST":
            place = self._written(_number_of(shard_id)) if self._content.rate else self._content.pages
        elif kind in ("TRIM_HORIZON", "AT_TIMESTAMP"):
            place = 0
        else:
            raise ValueError(kind)
        return _json({"ShardIterator": _iterator(_number_of(shard_id), place)})

    def _get_records(self, iterator: str) -> bytes:
        shard, place = map(int, iterator.split("|")[:2])
        if self._content.rate:
            until = min(self._written(shard), place + records.PAGE_SIZE)
            found = ",".join(self._made(shard, number) for number in range(place, until)).encode()
            self._count(until - place)
        elif place < self._content.pages:
            until = place + 1
            found = records.numbered(self._page, place)
            self._count(records.PAGE_SIZE)
        else:
            until, found = place, b""
        return b'{"NextShardIterator":"%s","Records":[%s]}' % (_iterator(shard, until).encode(), found)

    def _count(self, served: int) -> None:
        self._records += served
        self._pages += served > 0

    def _written(self, shard: int) -> int:
        """How many records of a trickle there are by now."""
        return max(0, int((time.time() - self._time_of(shard, 0)) * self._content.rate) + 1)

    def _time_of(self, shard: int, number: int) -> float:
        offset = shard / self._content.shards  # so that not all shards are written to at the same moment
        return self._began + (number + offset) / self._content.rate

    def _made(self, shard: int, number: int) -> str:
        written = f"{self._time_of(shard, number):.6f}".rjust(len(records.TIME_MARK), "0")
        record = self._single.replace(records.TIME_MARK, written)
        return record.replace(records.PAGE_MARK.decode(), f"{number:08d}")


class _Connection(asyncio.Protocol):
    """One client's connection; HTTP/1.1 with keep-alive, as little of it as the contenders need."""

    def __init__(self, service: Service, delay: float) -> None:
        self._service = service
        self._delay = delay
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        _, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._received = rest[length:]
        target = headers.get("x-amz-target", "")
        if self._delay and target.endswith(".GetRecords"):
            # First wait, then look, as a request that is on its way does.
            asyncio.get_running_loop().call_later(self._delay, self._respond, target, rest[:length])
        else:
            self._respond(target, rest[:length])

    def _respond(self, target: str, body: bytes) -> None:
        try:
            status, answer = "200 OK", self._service.answer(target, body)
        except ValueError as error:
            status = "400 Bad Request"
            answer = _json({"__type": "ValidationException", "message": f"not in this stand-in: {error}"})
        head = (
            f"HTTP/1.1 {status}\r\nServer: Server\r\nDate: {formatdate(usegmt=True)}\r\n"
            f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(answer)}\r\n"
            f"Connection: keep-alive\r\nx-amzn-RequestId: {_REQUEST_ID}\r\n\r\n"
        )
        self._transport.write(head.encode() + answer)


def _json(answer: object) -> bytes:
    return json.dumps(answer).encode()


def _iterator(shard: int, place: int) -> str:
    return f"{shard}|{place}|{_PADDING}"


def _number_of(shard_id: str) -> int:
    return int(shard_id.rpartition("-")[2], 16)


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str

    def stats(self) -> Stats:
        """What it has served so far."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/", b"{}", {"X-Amz-Target": STATS})
            return Stats(**json.load(connection.getresponse()))


@contextlib.contextmanager
def serving(content: Content) -> Iterator[Server]:
    """A server in a process of its own, for as long as the context lasts."""
    command = [sys.executable, "-m", "benchmarks.server", json.dumps(asdict(content))]
    process = subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError("the benchmark's server did not start")
        try:
            yield Server(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


async def _serve(content: Content) -> None:
    loop = asyncio.get_running_loop()
    service = Service(content)
    server = await loop.create_server(
        lambda: _Connection(service, content.delay), "127.0.0.1", 0, backlog=256
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started it holds the other end of the input; it must not live longer than that.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Content(**json.loads(sys.argv[1]))))
