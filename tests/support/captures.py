"""What tests of captures share: to write one, to replay it, and to keep what came."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream.aws.parser import _PAGE
from rxddbstream.testing import SimulatedStream, capture, replay

ARN = "arn:aws:dynamodb:eu-central-1:123456789012:table/orders/stream/2026"
BEGAN = datetime(2020, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)  # long ago, and between two seconds


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
