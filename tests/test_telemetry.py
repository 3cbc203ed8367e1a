"""Statistics as OpenTelemetry metrics."""

from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream.errors import ConfigurationError
from rxddbstream.telemetry import instrument
from rxddbstream.testing import SimulatedStream


def collected(reader):
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: (point.value, dict(point.attributes), metric.unit)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def meter(reader):
    provider = MeterProvider([reader])
    yield provider.get_meter("test")
    provider.shutdown()


def test_each_figure_of_the_statistics_is_a_metric(reader, meter):
    scheduler = TestScheduler()
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    for n in range(5):
        sim.put(f"o-{n}")
    stream = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", scheduler=scheduler)
    instrument(stream, "orders", meter=meter)
    with stream.subscribe(lambda _: None):
        scheduler.advance_by(60)
        metrics = collected(reader)
        statistics = stream.statistics()

    attributes = {"rxddbstream.stream": "orders"}
    age = metrics.pop("rxddbstream.watermark.age")
    assert age[1:] == (attributes, "s")
    assert metrics == {
        "rxddbstream.records": (5, attributes, "{record}"),
        "rxddbstream.read.size": (statistics.bytes, attributes, "By"),
        "rxddbstream.calls": (statistics.calls, attributes, "{call}"),
        "rxddbstream.calls.empty": (statistics.empty_calls, attributes, "{call}"),
        "rxddbstream.retries": (0, attributes, "{call}"),
        "rxddbstream.late": (0, attributes, "{record}"),
        "rxddbstream.shards": (3, attributes, "{shard}"),
        "rxddbstream.lag": (0.0, attributes, "s"),
    }


def test_what_is_not_known_yet_is_not_reported(reader, meter):
    instrument(rxd.changes("orders"), "orders", meter=meter)

    metrics = collected(reader)

    assert metrics["rxddbstream.records"][0] == 0
    assert "rxddbstream.lag" not in metrics
    assert "rxddbstream.watermark.age" not in metrics


def test_without_an_sdk_it_does_nothing():
    instrument(rxd.changes("orders"), "orders")


def test_without_opentelemetry_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(ConfigurationError, match="pip install opentelemetry-api"):
        instrument(rxd.changes("orders"), "orders")
