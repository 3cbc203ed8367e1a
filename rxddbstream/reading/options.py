"""What `changes` and `shards` take: checked once, and handed on as two values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from typing import Any, Literal, TypeAlias

from reactivex import abc

from rxddbstream.aws.client import StreamClient
from rxddbstream.aws.connect import connect
from rxddbstream.checkpoints.store import CheckpointStore
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.position import Start, resolve
from rxddbstream.protocol.bounds import End
from rxddbstream.protocol.pacing import Poll
from rxddbstream.reading.events import EventObserver, function_of

OnGap: TypeAlias = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class Connection:
    """Which stream, and how to reach it; see `changes`.

    Raises:
        ConfigurationError: it cannot work.
    """

    stream: str
    client: Any = None
    session: Any = None
    region_name: str | None = None
    profile_name: str | None = None
    endpoint_url: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.stream, str) or not self.stream.strip():
            raise ConfigurationError(f"stream={self.stream!r}: a table's name or a stream's ARN is needed")
        if self.client is None:
            return
        for_making_one = (self.session, self.region_name, self.profile_name, self.endpoint_url)
        if any(option is not None for option in for_making_one):
            raise ConfigurationError(
                "client= has its session, region and endpoint already; give either it or them"
            )
        if not hasattr(self.client, "get_shard_iterator"):
            raise ConfigurationError(
                "client= must be boto3.client('dynamodbstreams'), or a double of one; "
                f"not {type(self.client).__name__}"
            )

    def open(self, now: Callable[[], datetime]) -> StreamClient:
        """Find the stream.

        Args:
            now: the time, for answers that come without one.

        Raises:
            StreamError: it cannot be found; a `TransientError` may pass.
        """
        return connect(
            self.stream,
            now=now,
            client=self.client,
            session=self.session,
            region_name=self.region_name,
            profile_name=self.profile_name,
            endpoint_url=self.endpoint_url,
        )


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a stream is read; see `changes`.

    Attributes:
        until: with `follow=False`, the service's time to end at; by default, that of subscribing.
        alignment: how many seconds a shard may be ahead of the slowest; by default, any.

    Raises:
        ConfigurationError: they cannot work.
    """

    start: Start = "latest"
    follow: bool = True
    checkpoints: CheckpointStore | None = None
    on_gap: OnGap = "raise"
    events: EventObserver | None = None
    poll: Poll = field(default_factory=Poll)
    scheduler: abc.SchedulerBase | None = None
    until: datetime | None = None
    alignment: float | None = None

    def __post_init__(self) -> None:
        resolve(self.start, now=datetime.max.replace(tzinfo=UTC))
        if self.events is not None:
            function_of(self.events)
        if self.on_gap not in ("raise", "skip"):
            raise ConfigurationError(f"on_gap={self.on_gap!r}: 'raise' or 'skip' is needed")
        store = self.checkpoints
        if store is not None and not hasattr(store, "load"):
            path = str(store) if isinstance(store, (str, PathLike)) else "FILE"
            raise ConfigurationError(
                f"checkpoints={store!r} is not a store: use rxd.SqliteCheckpoints({path!r})"
            )

    @property
    def end(self) -> End | None:
        """Where reading ends; None reads on."""
        return None if self.follow else End(self.until)
