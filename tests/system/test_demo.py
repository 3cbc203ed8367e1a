"""The demo: a table in the process, and the command that shows it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from reactivex import operators as ops
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream.demo import demo_table
from rxddbstream.errors import StreamError

# What somebody may have set up, and what would lead a demo astray.
SOMEBODYS_SETTINGS = {
    "AWS_PROFILE": "no-such-profile",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_REGION": "xx-nowhere-1",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
}


def demo(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHONUNBUF"))}
    return subprocess.Popen(
        [sys.executable, "-m", "rxddbstream", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env | settings,
    )


def test_prints_changes_and_counts_them_whatever_the_environment_says() -> None:
    with demo("-n", "8", "--rate", "100", **SOMEBODYS_SETTINGS) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    *lines, counts = out.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert re.fullmatch(r"\[[-\d]+T[:\d]+[+-]\d\d:\d\d\] - (INSERT|MODIFY|REMOVE) - id=o-\d+", line)
    numbers = [f"{out.count(f' - {name} - ')} {name}" for name in ("INSERT", "MODIFY", "REMOVE")]
    assert counts == f"8 changes: {', '.join(numbers)}"
    first, second, third = err.splitlines()
    assert first == "Starting a table in this process"
    assert re.fullmatch(r"Table orders at http://127.0.0.1:\d+, region eu-central-1; Ctrl-C ends it", second)
    assert third.startswith("Starting watcher for shard: ")


def test_one_change_is_a_change() -> None:
    with demo("-n", "1") as process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert out.splitlines()[1:] == ["1 change: 1 INSERT, 0 MODIFY, 0 REMOVE"]


def test_ctrl_c_ends_it_with_the_counts() -> None:
    with demo("--rate", "100") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert re.fullmatch(r"\d+ changes?: \d+ INSERT, \d+ MODIFY, \d+ REMOVE", out.splitlines()[-1])
    assert "Traceback" not in err


def test_says_what_to_install_when_moto_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moto.server", None)
    with pytest.raises(StreamError, match=r'pip install "moto\[server,dynamodb\]"'), demo_table():
        pass


def test_the_table_can_be_had_again_and_has_the_same_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SOMEBODYS_SETTINGS.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    runs: list[list[tuple[object, ...]]] = []
    for _ in range(2):
        seen: list[tuple[object, ...]] = []
        with demo_table(rate=200) as table:
            source = table.changes().pipe(
                ops.take(12), ops.map(lambda c: (c.event_name, c.keys, c.new_image, c.old_image))
            )
            rxd.run(source, seen.append)
        runs.append(seen)
        assert dict(os.environ) == before
    assert runs[0] == runs[1]
    assert {event_name for event_name, *_ in runs[0]} == {"INSERT", "MODIFY", "REMOVE"}


def test_the_table_can_be_reached_by_what_it_says_of_itself() -> None:
    with demo_table() as table:
        client = table.session.client("dynamodb", endpoint_url=table.endpoint_url)
        description = client.describe_table(TableName=table.stream)["Table"]
        client.close()
    assert description["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert f":{table.region_name}:" in description["TableArn"]
