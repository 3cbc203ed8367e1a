"""Each example runs, against the demo's table and against one given by its name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream.demo import demo_table

EXAMPLES = Path(__file__).parent.parent / "examples"
SUMMARY = r"\[.+\] - (INSERT|MODIFY|REMOVE) - id=o-\d+"
COUNTS = r"INSERT +\d+   MODIFY +\d+   REMOVE +\d+"
TOTAL = r"(ada|bob|eve) +\d+\.\d\d"


def run(example: str, *arguments: str, **settings: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, EXAMPLES / example, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | settings,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_every_example_is_tested_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "print_changes.py",
        "count_by_event.py",
        "running_total.py",
    }


def test_print_changes() -> None:
    lines = run("print_changes.py", "-n", "2")
    assert len(lines) == 2
    assert all(re.fullmatch(SUMMARY, line) for line in lines)


def test_count_by_event() -> None:
    lines = run("count_by_event.py", "--period", "0.5", "-n", "3")
    assert len(lines) == 3
    assert all(re.fullmatch(COUNTS, line) for line in lines)
    assert sum(int(number) for line in lines for number in re.findall(r"\d+", line)) > 0


@pytest.mark.parametrize("by", ["customer", "product"])
def test_running_total(by: str) -> None:
    lines = run("running_total.py", "--by", by, "-n", "3")
    assert [line.split() for line in lines] == totals_of_the_demo(by)[:3]


def totals_of_the_demo(by: str) -> list[list[str]]:
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    expected = []
    changes: list[rxd.Change] = []
    with demo_table(rate=200) as table:
        rxd.run(table.changes().pipe(ops.take(20)), changes.append)
    for change in changes:
        if change.event_name != "MODIFY":
            order, sign = (change.new_image, 1) if change.new_image else (change.old_image, -1)
            assert order is not None
            totals[order[by]] += sign * order["amount"]
            expected.append([order[by], f"{totals[order[by]]:.2f}"])
    return expected


@pytest.mark.parametrize(
    ("example", "line"),
    [
        (["print_changes.py", "orders", "-n", "1"], SUMMARY),
        (["count_by_event.py", "orders", "--period", "0.2", "-n", "1"], COUNTS),
        (["running_total.py", "orders", "-n", "1"], TOTAL.replace(r" +", r" +-?")),
    ],
)
def test_with_a_table_of_ones_own(example: list[str], line: str) -> None:
    with demo_table(rate=50) as table:
        [printed] = run(
            *example,
            AWS_ENDPOINT_URL=table.endpoint_url,
            AWS_DEFAULT_REGION=table.region_name,
            AWS_ACCESS_KEY_ID="a",
            AWS_SECRET_ACCESS_KEY="b",
            AWS_EC2_METADATA_DISABLED="true",
        )
    assert re.fullmatch(line, printed)
