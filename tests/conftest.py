"""What every test gets: no real AWS account, no thread left behind, DynamoDB Local on demand."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import pytest
from dynamodb_local import ACCESS_KEY, RACING, REGION, SECRET_KEY, DynamoDBLocal, missing

LOCAL_FIXTURES = {"dynamodb_local", "racing_dynamodb_local"}


# First, so that `-m local` sees the marker.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if LOCAL_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("local")


@pytest.fixture(scope="session", autouse=True)
def no_real_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Dummy credentials for the whole run, session fixtures included, and nobody's own settings."""
    nowhere = tmp_path_factory.mktemp("aws")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
        yield


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fails a test that leaves a thread of ours, or one that would hold up the process's end."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2
    while left := [t for t in threading.enumerate() if t not in before and _must_end(t)]:
        if time.monotonic() > deadline:
            pytest.fail("threads alive 2 s after the test:\n" + "\n".join(map(_where, left)))
        time.sleep(0.01)


def _must_end(thread: threading.Thread) -> bool:
    return not thread.daemon or thread.name.startswith("rxddbstream")


def _where(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return f"{thread!r}\n{''.join(traceback.format_stack(frame)) if frame else ''}"


@pytest.fixture(scope="session")
def dynamodb_local(no_real_aws: None) -> Iterator[DynamoDBLocal]:
    """DynamoDB Local with a normal clock."""
    yield from _started(1)


@pytest.fixture(scope="session")
def racing_dynamodb_local(no_real_aws: None) -> Iterator[DynamoDBLocal]:
    """DynamoDB Local with a racing clock: a day passes in 72 s."""
    yield from _started(RACING)


def _started(speed: int) -> Iterator[DynamoDBLocal]:
    if reason := missing(speed):
        if os.environ.get("RXDDBSTREAM_REQUIRE_LOCAL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with DynamoDBLocal.start(speed) as server:
        yield server
