"""Files for captures, full and empty."""

from __future__ import annotations

from pathlib import Path

import pytest
from reactivex.testing import TestScheduler
from support.captures import busy_table, captured, clock

from rxddbstream.testing import SimulatedStream


@pytest.fixture
def scheduler() -> TestScheduler:
    return clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "orders.jsonl"


@pytest.fixture
def whole(scheduler: TestScheduler, tmp_path: Path) -> Path:
    """A capture of 30 changes."""
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, tmp_path / "whole", busy_table(sim, scheduler, 10))
    return tmp_path / "whole"
