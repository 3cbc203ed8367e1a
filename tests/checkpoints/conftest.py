"""Where the stores keep what they are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from reactivex.testing import TestScheduler
from support.checkpoints import FIRST, STREAM

import rxddbstream as rxd


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("dynamodb")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "positions.db"


@pytest.fixture
def store(path: Path) -> Iterator[rxd.SqliteCheckpoints]:
    """One that is in use, with something in it."""
    store = rxd.SqliteCheckpoints(path)
    store.load(STREAM)
    store.save(STREAM, {"shard-1": FIRST})
    yield store
    store.close(STREAM)


@pytest.fixture
def scheduler() -> TestScheduler:
    scheduler = TestScheduler()
    scheduler.advance_to(1_000_000.0)
    return scheduler
