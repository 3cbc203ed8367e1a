"""What every test gets: no real AWS account, no thread left behind, DynamoDB Local on demand.

What takes long over DynamoDB Local runs beside the other tests: see `scenarios.py`.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings
from support import scenarios
from support.commandline import Table
from support.dynamodb_local import ACCESS_KEY, RACING, REGION, SECRET_KEY, DynamoDBLocal, missing
from support.waiting import PATIENCE

# How long an example takes is the machine's matter, and pytest-timeout's.
settings.register_profile("no deadline", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=2000)  # --hypothesis-profile=thorough
settings.load_profile("no deadline")


LOCAL_FIXTURES = {"dynamodb_local", "racing_dynamodb_local", "scenario"}
SYSTEM = Path(__file__).with_name("system")


def pytest_configure() -> None:
    """Have Ctrl-C heard, also by what the tests start: a background job of a shell ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# First, so that `-m` sees the markers.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if LOCAL_FIXTURES & _fixtures(item):
            item.add_marker("local")
        if SYSTEM in item.path.parents or item.get_closest_marker("local"):
            item.add_marker("system")
        if "scenario" in _fixtures(item):
            item.add_marker(pytest.mark.timeout(2 * scenarios.LONGEST))
    # When the scenarios have had time to end; then what needs the racing clock without a load.
    items.sort(key=lambda item: ("racing_dynamodb_local" in _fixtures(item), "scenario" in _fixtures(item)))


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


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
    deadline = time.monotonic() + PATIENCE / 2  # so that one which waits for what a test forgot is found
    while left := [t for t in threading.enumerate() if t not in before and _must_end(t)]:
        if time.monotonic() > deadline:
            pytest.fail("threads alive after the test:\n" + "\n".join(map(_where, left)))
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def no_process_of_the_quick_part(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that starts a process, unless it is marked as one that does."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("system"):
            patch.setattr(subprocess, "Popen", _refused)
        yield


def _refused(*_: object, **__: object) -> NoReturn:
    pytest.fail("a test that starts a process has the marker `system`")


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
    """DynamoDB Local with a racing clock: a day passes in 72 s. Who uses it comes last, and it ends then."""
    yield from _started(RACING)


def _started(speed: int) -> Iterator[DynamoDBLocal]:
    _need(speed)
    with DynamoDBLocal.start(speed) as server:
        yield server


def _need(speed: int) -> None:
    if reason := missing(speed):
        if os.environ.get("RXDDBSTREAM_REQUIRE_LOCAL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def running_scenarios(
    request: pytest.FixtureRequest, no_real_aws: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[scenarios.Running]:
    """The scenarios that are selected."""
    names = _selected_scenarios(request.session)
    for speed in scenarios.speeds_for(names):
        _need(speed)
    running = scenarios.Running(names, tmp_path_factory.mktemp("scenarios"))
    yield running
    running.close()


def _selected_scenarios(session: pytest.Session) -> set[str]:
    selected = (item for item in session.items if "scenario" in _fixtures(item))
    return {item.callspec.params["scenario"] for item in selected if isinstance(item, pytest.Function)}


@pytest.fixture(scope="session", autouse=True)
def scenarios_begin_first(request: pytest.FixtureRequest) -> None:
    """Have them run beside all other tests. If they cannot, that is for those who need them to tell."""
    if _selected_scenarios(request.session):
        with suppress(Exception, pytest.skip.Exception, pytest.fail.Exception):
            request.getfixturevalue("running_scenarios")


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> scenarios.Result:
    """The result of a scenario; its name is the parameter."""
    running: scenarios.Running = request.getfixturevalue("running_scenarios")
    return running.result(request.param)


@pytest.fixture(scope="module")
def endpoint(no_real_aws: None) -> Iterator[str]:
    """Where moto answers."""
    from moto.server import ThreadedMotoServer  # late: most tests do without

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # else a traceback for AT_TIMESTAMP
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def own_table(endpoint: str) -> Table:
    """An empty table."""
    return Table(endpoint)


@pytest.fixture
def no_terminate_handler() -> Iterator[None]:
    """For tests that call `main` in this process."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
