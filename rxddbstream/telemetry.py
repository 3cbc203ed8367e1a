"""A stream's statistics as OpenTelemetry metrics: `pip install opentelemetry-api` (the extra `otel`).

The instruments are observable ones: they are read when the SDK collects, and cost nothing in between. Without
an SDK they do nothing.
https://opentelemetry.io/docs/specs/otel/metrics/api/#asynchronous-instrument-creation
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rxddbstream.errors import ConfigurationError
from rxddbstream.reading.statistics import Statistics
from rxddbstream.reading.stream import Stream

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation


def instrument(stream: Stream[Any], name: str, *, meter: Meter | None = None) -> None:
    """Report a stream's statistics as OpenTelemetry metrics.

    ===========================  =======  ====================================================
    metric                       kind     what it is
    ===========================  =======  ====================================================
    `rxddbstream.records`        counter  changes read
    `rxddbstream.read.size`      counter  their size, in bytes
    `rxddbstream.calls`          counter  GetRecords calls
    `rxddbstream.calls.empty`    counter  those answered without a record
    `rxddbstream.retries`        counter  calls that failed and were made again
    `rxddbstream.late`           counter  changes that came after their windows had closed
    `rxddbstream.shards`         gauge    shards being read
    `rxddbstream.lag`            gauge    seconds behind, of the shard that is furthest behind
    `rxddbstream.watermark.age`  gauge    seconds since the watermark
    ===========================  =======  ====================================================

    Each has the attribute `rxddbstream.stream`. Shards are no attribute: they come and go, and a metrics
    store would keep them all.

    Args:
        stream: what `changes` or `shards` returned.
        name: the value of the attribute: the table's name, for example.
        meter: whose instruments to make; by default that of the global provider.

    Raises:
        ConfigurationError: OpenTelemetry's API is not installed.

    >>> import rxddbstream as rxd
    >>> instrument(rxd.changes("orders"), "orders")
    """
    try:
        from opentelemetry.metrics import Observation, get_meter
    except ImportError as error:
        raise ConfigurationError("metrics need OpenTelemetry: pip install opentelemetry-api") from error

    attributes = {"rxddbstream.stream": name}

    def watch(read: Callable[[Statistics], float | None]) -> list[Callable[..., Iterable[Observation]]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            value = read(stream.statistics())
            return [] if value is None else [Observation(value, attributes)]

        return [observe]

    meter = meter or get_meter("rxddbstream")
    counter, gauge = meter.create_observable_counter, meter.create_observable_gauge
    counter("rxddbstream.records", watch(lambda it: it.records), "{record}", "Changes read")
    counter("rxddbstream.read.size", watch(lambda it: it.bytes), "By", "Size of the changes read")
    counter("rxddbstream.calls", watch(lambda it: it.calls), "{call}", "GetRecords calls")
    counter("rxddbstream.calls.empty", watch(lambda it: it.empty_calls), "{call}", "Empty GetRecords answers")
    counter("rxddbstream.retries", watch(lambda it: it.retries), "{call}", "Calls that were made again")
    counter("rxddbstream.late", watch(lambda it: it.late), "{record}", "Changes too late for their windows")
    gauge("rxddbstream.shards", watch(lambda it: len(it.lag)), "{shard}", "Shards being read")
    gauge("rxddbstream.lag", watch(_lag), "s", "How far behind the slowest shard is")
    gauge("rxddbstream.watermark.age", watch(_age), "s", "Seconds since the watermark")


def _lag(statistics: Statistics) -> float | None:
    return max(statistics.lag.values(), default=None)


def _age(statistics: Statistics) -> float | None:
    watermark = statistics.watermark
    return None if watermark is None else (datetime.now(UTC) - watermark).total_seconds()
