"""What is in the file: a line for each thing that happened, for its owner's eyes."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from reactivex.testing import TestScheduler
from support.captures import BEGAN, Seen, captured, clock, lines_of, replayed

import rxddbstream as rxd
from rxddbstream.errors import CaptureError, ConfigurationError
from rxddbstream.testing import SimulatedStream, capture
from rxddbstream.testing.captures.format import load


def test_the_file_has_a_line_for_each_thing_that_happened(scheduler: TestScheduler, file: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    [shard] = sim.shards

    def write() -> None:
        sim.put("o-1", n=1)
        scheduler.advance_by(10)
        sim.roll_over()

    captured(sim, scheduler, file, write)

    head, first, page, closed, second, end = lines_of(file)
    began = BEGAN.timestamp()
    assert head == {"type": "capture", "version": 1, "stream": sim.arn, "time": began}
    assert first == {"type": "shard", "time": began, "id": shard.id, "parent": None, "position": "LATEST"}
    [record] = page.pop("records")
    assert record["dynamodb"].pop("ApproximateCreationDateTime") == began
    assert record["dynamodb"]["NewImage"] == {"id": {"S": "o-1"}, "n": {"N": "1"}}
    assert page == {"type": "page", "time": pytest.approx(began + 0.25), "shard": shard.id}
    assert closed == {"type": "closed", "time": pytest.approx(began + 10, abs=5), "shard": shard.id}
    assert (second["type"], second["parent"], second["position"]) == ("shard", shard.id, "TRIM_HORIZON")
    assert end == {"type": "end", "time": pytest.approx(began + 40, abs=5)}


def test_times_are_the_service_s_in_more_detail_than_it_tells_them(tmp_path: Path) -> None:
    # The reader's clock is a minute slow, and the service tells whole seconds.
    scheduler = clock()
    sim = SimulatedStream(scheduler=scheduler)

    class Fast:
        def __getattr__(self, name: str) -> Any:
            def call(**arguments: Any) -> Any:
                seconds = scheduler.clock + 60
                date = datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
                answer = getattr(sim.client, name)(**arguments)
                return {**answer, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

            return call

    written_at = []

    def write() -> None:
        for _ in range(20):
            sim.put("o-1")
            written_at.append(scheduler.clock)
            scheduler.advance_by(1.3)

    captured(sim, scheduler, tmp_path / "file", write, wrap=lambda _: Fast())
    times = [line["time"] for line in lines_of(tmp_path / "file") if line["type"] == "page"]
    assert times == sorted(times)
    assert len(times) == 20
    for at, told in zip(written_at, times, strict=True):
        assert -1 < told - at - 60 < 2
    assert len({told % 1 for told in times}) > 2


@pytest.mark.parametrize("name", ["orders.jsonl", "orders.jsonl.gz"])
def test_nobody_else_may_read_it(name: str, scheduler: TestScheduler, tmp_path: Path) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, tmp_path / name, lambda: sim.put("o-1"))
    assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    is_packed = (tmp_path / name).read_bytes().startswith(b"\x1f\x8b")
    assert is_packed == name.endswith(".gz")
    assert [change.keys for change in replayed(tmp_path / name).items] == [{"id": "o-1"}]


def test_a_file_that_is_there_is_overwritten_only_if_that_is_wanted(
    scheduler: TestScheduler, file: Path
) -> None:
    file.write_text("dear diary")
    sim = SimulatedStream(scheduler=scheduler)
    shards = rxd.shards(sim.arn, client=sim.client)
    with pytest.raises(ConfigurationError, match=r"orders\.jsonl is there already.*--force"):
        capture(shards, file)
    assert file.read_text() == "dear diary"

    file.chmod(0o644)
    with capture(shards, file, overwrite=True).subscribe(scheduler=scheduler):
        pass
    assert load(file).stream == sim.arn
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_second_subscription_does_not_overwrite_what_the_first_one_wrote(
    scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    source = capture(rxd.shards(sim.arn, client=sim.client), file)
    Seen(source, scheduler).subscription.dispose()
    second = Seen(source, scheduler)
    assert isinstance(second.end, CaptureError)
    assert "File exists" in str(second.end)


def test_a_second_subscription_does_not_take_the_file_from_the_first_one(
    scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    source = capture(rxd.shards(sim.arn, client=sim.client), file, overwrite=True)
    first = Seen(source, scheduler)
    sim.put("o-1")
    scheduler.advance_by(1)
    second = Seen(source, scheduler)
    assert isinstance(second.end, CaptureError)
    assert re.search("is being written, by another subscription.*share", str(second.end))
    sim.put("o-2")
    scheduler.advance_by(1)
    first.subscription.dispose()
    assert len(first.items) == 2
    assert replayed(file).items == first.items
    assert source.written().changes == 2

    Seen(source, scheduler).subscription.dispose()  # now it may be overwritten
    assert replayed(file).items == []


@pytest.mark.parametrize("options", [{}, {"limit": 1}])
def test_the_file_is_whole_when_the_end_is_told(
    options: dict[str, Any], scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("o-1")
    sim.put("o-2")
    shards = rxd.shards(sim.arn, client=sim.client, start="trim_horizon", follow=False)
    cut: list[bool] = []
    source = capture(shards, file, **options)
    source.subscribe(on_completed=lambda: cut.append(load(file).is_cut), scheduler=scheduler)
    scheduler.advance_by(60)
    assert cut == [False]


def test_half_of_a_character_ends_a_capture_with_an_error_that_names_the_shard(
    scheduler: TestScheduler, file: Path
) -> None:
    sim = SimulatedStream(scheduler=scheduler)
    seen = Seen(capture(rxd.shards(sim.arn, client=sim.client), file), scheduler)
    sim.put("o-1")
    scheduler.advance_by(1)
    sim.put("o-2", text="half \ud83d of one")
    scheduler.advance_by(10)

    assert isinstance(seen.end, CaptureError)
    assert f"a change of shard {sim.shards[0].id} has half of a character" in str(seen.end)
    assert [change.keys["id"] for change in seen.items] == ["o-1"]
    assert len(load(file).lines) == 2
