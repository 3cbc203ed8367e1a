"""What tests of the service's client share: a double of boto3's, a real one without a network, and ARNs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.awsrequest import AWSResponse

from rxddbstream.aws.client import StreamClient
from rxddbstream.aws.connect import connect

TABLE_ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"
ARN = f"{TABLE_ARN}/stream/2026-01-31T12:00:00.000"
SHARD = "shardId-00000001412800000000-00000001"
NUMBER = "100000000000000000001"
DATE = "Fri, 27 May 2022 13:36:13 GMT"
DATED = {"HTTPHeaders": {"date": DATE}, "HTTPStatusCode": 200}
SERVICE_TIME = datetime(2022, 5, 27, 13, 36, 13, tzinfo=UTC)
OUR_TIME = datetime(2026, 1, 31, 12, tzinfo=UTC)


def our_time() -> datetime:
    return OUR_TIME


class Double:
    """A client that gives one answer, or raises it, and keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[dict[str, Any]] = []

    def _call(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    describe_stream = get_shard_iterator = get_records = list_streams = _call


def client_of(answer: Any) -> tuple[StreamClient, Double]:
    double = Double(answer)
    return StreamClient(double, ARN, our_time), double


class Raw(io.BytesIO):
    """The body of an answer."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def boto_client() -> Any:
    return connect(ARN, now=our_time)._boto


def client_over_http(status: int, body: bytes | str, boto: Any = None, **headers: str) -> StreamClient:
    """A real boto3 client below which every request gets this answer."""
    boto = boto or boto_client()
    raw = body.encode() if isinstance(body, str) else body

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, status, {"Date": DATE, **headers}, Raw(raw))

    boto.meta.events.register("before-send.dynamodb-streams", answer)
    return StreamClient(boto, ARN, our_time)


def region_of(client: StreamClient) -> str:
    region: str = client._boto.meta.region_name
    return region
