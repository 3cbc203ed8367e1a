"""Each example runs, against the demo's table and against one given by its name, and its figures are right.

Against the demo's table it is run as docs/examples.md shows it, and prints what that page shows.

Those of the windows are checked in virtual time, where it is known when each change was made: against what
plain Python makes of the same orders.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.blocks import blocks_of
from support.checkout import DOCS, EXAMPLES
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.demo import PRICES, _order_book, demo_table
from rxddbstream.testing import SimulatedStream

SUMMARY = r"\[.+\] - (INSERT|MODIFY|REMOVE) - id=o-\d+"
COUNTS = r"INSERT +\d+   MODIFY +\d+   REMOVE +\d+"
TOTAL = r"(ada|bob|eve) +\d+\.\d\d"
TIME = r"\d\d:\d\d:\d\d"
PRODUCT = f"({'|'.join(PRICES)})"
REVENUE = rf"{TIME}  {PRODUCT} +\d+\.\d\d"
SESSION = rf"{TIME}  (ada|bob|eve) +\d+\.\d s +\d+ changes"
RANKING = rf"{TIME} to {TIME}(\n +\d+\. {PRODUCT} +\d+\.\d\d)+\n"
ALERT = rf"\d+ changes from {TIME} to {TIME}"


def run(example: str, *arguments: str, **settings: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, EXAMPLES / example, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | settings,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


class Shown(NamedTuple):
    """What docs/examples.md shows of an example."""

    arguments: list[str]
    lines: list[str]


SHOWN = {
    Path(words[2]).name: Shown(words[3:], block.text.splitlines())
    for block in blocks_of(DOCS / "examples.md")
    if block.marker.startswith("output: ")
    for words in [shlex.split(block.marker)]  # output: python examples/NAME ...
}


def run_as_shown(example: str) -> list[str]:
    """What the example prints when it is run as the page shows it."""
    return run(example, *SHOWN[example].arguments)


def test_every_example_is_shown_and_tested_here() -> None:
    text = Path(__file__).read_text()
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == set(SHOWN)
    assert {name for name in names if f'run_as_shown("{name}")' in text} == names


def test_print_changes() -> None:
    lines = run_as_shown("print_changes.py")
    assert all(re.fullmatch(SUMMARY, line) for line in lines)
    times = re.compile(r"\[[^]]+\]")
    shown = SHOWN["print_changes.py"].lines
    assert [times.sub("", line) for line in lines] == [times.sub("", line) for line in shown]


def test_count_by_event() -> None:
    lines = run_as_shown("count_by_event.py")
    assert_all_match(COUNTS, "count_by_event.py", lines)
    assert sum(int(number) for line in lines for number in re.findall(r"\d+", line)) > 0


def assert_all_match(pattern: str, example: str, lines: list[str]) -> None:
    """As many lines as are shown, and of the same form: what is in them depends on time."""
    shown = SHOWN[example].lines
    assert len(lines) == len(shown)
    for line in [*lines, *shown]:
        assert re.fullmatch(pattern, line), line


def test_running_total() -> None:
    lines = run_as_shown("running_total.py")
    assert lines == SHOWN["running_total.py"].lines
    assert [line.split() for line in lines] == totals_of_the_demo("customer")[: len(lines)]


def test_running_total_by_another_attribute() -> None:
    lines = run("running_total.py", "--by", "product", "-n", "3")
    assert [line.split() for line in lines] == totals_of_the_demo("product")[:3]


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
        (["revenue_per_minute.py", "orders", "--size", "0.5", "-n", "1"], REVENUE),
        (["sessions_per_user.py", "orders", "--gap", "0.3", "--max", "1", "-n", "1"], SESSION),
        (["top_ten.py", "orders", "--size", "1", "-n", "1"], RANKING),
        (["alert_on_rate.py", "orders", "--more-than", "2", "--seconds", "1", "-n", "1"], ALERT),
    ],
)
def test_with_a_table_of_ones_own(example: list[str], line: str) -> None:
    with demo_table(rate=50) as table:
        lines = run(
            *example,
            AWS_ENDPOINT_URL=table.endpoint_url,
            AWS_DEFAULT_REGION=table.region_name,
            AWS_ACCESS_KEY_ID="a",
            AWS_SECRET_ACCESS_KEY="b",
            AWS_EC2_METADATA_DISABLED="true",
        )
    assert re.fullmatch(line, "\n".join(lines))


# --- windows ------------------------------------------------------------------------------------

BEGAN = 1_000_020.0  # the start of a minute


class Written(NamedTuple):
    """A change of the demo's order book, and when it was made."""

    at: float
    event_name: str
    order: dict[str, Any]


def load(example: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(example.removesuffix(".py"), EXAMPLES / example)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def in_virtual_time(
    pipeline: Callable[[Observable[rxd.Change]], Observable[Any]], pauses: list[float]
) -> tuple[list[Any], list[Written]]:
    """What a pipeline makes of the demo's orders, written one before each pause; and the orders."""
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    source = rxd.changes(sim.arn, start="trim_horizon", client=sim.client, scheduler=scheduler)
    results: list[Any] = []
    errors: list[Exception] = []
    written = []
    ids = set()
    with pipeline(source).subscribe(results.append, errors.append):
        for pause, (order, is_open) in zip(pauses, _order_book(Random(1)), strict=False):
            attributes = {name: value for name, value in order.items() if name != "id"}
            if is_open:
                sim.put(order["id"], **attributes)
            else:
                sim.remove(order["id"])
            event_name = ("MODIFY" if order["id"] in ids else "INSERT") if is_open else "REMOVE"
            ids.add(order["id"])
            written.append(Written(scheduler.now.timestamp(), event_name, dict(order)))
            scheduler.advance_by(pause)
        scheduler.advance_by(300)  # all windows close
    assert errors == []
    return results, written


def sums_of_inserts(written: list[Written], start: float, end: float, by: str) -> dict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for at, event_name, order in written:
        if event_name == "INSERT" and start <= at < end:
            sums[order[by]] += order["amount"]
    return dict(sums)


def test_revenue_per_minute_adds_up_each_minute() -> None:
    revenue = load("revenue_per_minute.py").revenue
    results, written = in_virtual_time(lambda changes: revenue(changes, 60), [1.5] * 400)

    seen: defaultdict[float, dict[str, Decimal]] = defaultdict(dict)
    for product, start, end, value in results:
        assert (end - start).total_seconds() == 60
        assert product not in seen[start.timestamp()]  # one sum for each
        seen[start.timestamp()][product] = value
    starts = [BEGAN + 60 * minute for minute in range(10)]
    assert seen == {start: sums_of_inserts(written, start, start + 60, "product") for start in starts}
    assert seen[BEGAN] == {
        "coffee": Decimal("55.30"),
        "cocoa": Decimal("16.50"),
        "tea": Decimal("42.00"),
        "cup": Decimal("120.00"),
    }


def test_revenue_per_minute_tells_of_late_orders(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("revenue_per_minute.py")
    orders = [order(5, "tea", 1), order(59, "tea", 2), order(70, "cup", 4), order(50, "tea", 8)]
    orders += [order(75, "cup", 16), order(40, "tea", "32.50"), order(200, "tea", 64)]
    results: list[Any] = []
    sums = example.revenue(reactivex.of(*orders), 60, 12, example.print_late)
    sums.subscribe(results.append)

    assert [(result.key, result.start.minute, result.value) for result in results] == [
        ("tea", 0, 11),  # one order came 11 s late, which is in time
        ("cup", 1, 20),
        ("tea", 3, 64),
    ]
    assert capsys.readouterr().err == "late: tea 32.50 of 00:00:40\n"


def order(at: float, product: str, amount: float | str) -> rxd.Change:
    image = {"id": {"S": f"o-{at}"}, "product": {"S": product}, "amount": {"N": str(amount)}}
    made = datetime.fromtimestamp(at, UTC)
    detail = {"Keys": {"id": image["id"]}, "NewImage": image, "ApproximateCreationDateTime": made}
    return rxd.Change({"eventName": "INSERT", "dynamodb": detail}, "shard-1")


def test_revenue_per_minute_of_the_demo() -> None:
    lines = run_as_shown("revenue_per_minute.py")
    assert_all_match(REVENUE, "revenue_per_minute.py", lines)
    assert_sums_are_of_whole_orders([line.split()[1:] for line in lines])


def assert_sums_are_of_whole_orders(rows: list[list[str]]) -> None:
    """Where the windows end is not known; but a product's sums are those of its orders, one after another."""
    inserts = [order for order, _ in islice(_order_book(Random(1)), 200) if order["status"] == "new"]
    so_far: defaultdict[str, Decimal] = defaultdict(Decimal)
    for product, value in rows:
        so_far[product] += Decimal(value)
        assert so_far[product] in accumulate(one["amount"] for one in inserts if one["product"] == product)


def test_sessions_per_user_have_their_length_and_number_of_changes() -> None:
    sessions = load("sessions_per_user.py").sessions
    random = Random(2)
    pauses = [random.choice([0.5, 1.0, 2.0, 30.0]) for _ in range(400)]
    results, written = in_virtual_time(lambda changes: sessions(changes, 20, 1000), pauses)

    seen = sorted(
        (customer, start.timestamp(), visit.length, visit.changes) for customer, start, _, visit in results
    )
    assert seen == sorted(visits(written, gap=20))
    assert len(seen) > 50
    assert max(length for _, _, length, _ in seen) > 10


def visits(written: list[Written], gap: float) -> list[tuple[str, float, float, int]]:
    times: defaultdict[str, list[float]] = defaultdict(list)
    for at, _, order in written:
        times[order["customer"]].append(at)
    found = []
    for customer, all_of_them in times.items():
        start = last = all_of_them[0]
        number = 0
        for at in [*all_of_them, float("inf")]:
            if at - last >= gap:
                found.append((customer, start, last - start, number))
                start, number = at, 0
            last, number = at, number + 1
    return found


def test_sessions_per_user_of_the_demo() -> None:
    assert_all_match(SESSION, "sessions_per_user.py", run_as_shown("sessions_per_user.py"))


@pytest.mark.parametrize(
    ("windower", "size", "starts"),
    [
        (dops.tumbling(60), 60, [BEGAN + 60 * n for n in range(10)]),
        (dops.sliding(60, every=20), 60, [BEGAN + 20 * n for n in range(-2, 30)]),
    ],
)
@pytest.mark.parametrize("by", ["product", "customer"])
def test_top_ten_ranks_each_window(windower: Any, size: float, starts: list[float], by: str) -> None:
    top = load("top_ten.py").top
    rankings, written = in_virtual_time(lambda changes: top(changes, windower, by, 2), [1.5] * 400)

    assert [ranking.start.timestamp() for ranking in rankings] == starts
    for start, ranking in zip(starts, rankings, strict=True):
        assert ranking.end.timestamp() == start + size
        sums = sums_of_inserts(written, start, start + size, by)
        assert ranking.rows == sorted(sums.items(), key=lambda row: (-row[1], row[0]))[:2]


def test_top_ten_of_the_demo() -> None:
    lines = run_as_shown("top_ten.py")
    for printed in (lines, SHOWN["top_ten.py"].lines):
        assert re.fullmatch(rf"{RANKING}\n{RANKING}", "\n".join(printed))
    rows = [line.split() for line in lines if ". " in line]
    assert_sums_are_of_whole_orders([row[1:] for row in rows])
    first_table = lines[1 : lines.index("")]
    amounts = [Decimal(line.split()[2]) for line in first_table]
    assert amounts == sorted(amounts, reverse=True)


def test_alert_on_rate_tells_once_of_each_time_that_there_were_too_many() -> None:
    alerts = load("alert_on_rate.py").alerts
    # Four changes in 3 s; then one in 5 s; then four at the same time, and again after a minute.
    pauses = [1.0, 1.0, 1.0, *[5.0] * 5, 0.0, 0.0, 0.0, 60.0, 0.0, 0.0, 0.0, 60.0]
    counts, written = in_virtual_time(lambda changes: alerts(changes, 3, 5, 1), pauses)

    assert [(count.end.timestamp() - BEGAN, count.value) for count in counts] == too_many(written)
    assert len(counts) == 3


def too_many(written: list[Written]) -> list[tuple[float, int]]:
    """When there were more than three in five seconds, but not a second before."""
    found, before = [], 0
    for end in range(200):
        number = sum(BEGAN + end - 5 <= at < BEGAN + end for at, _, _ in written)
        if number > 3 >= before:
            found.append((float(end), number))
        before = number
    return found


def test_alert_on_rate_of_the_demo() -> None:
    [line] = lines = run_as_shown("alert_on_rate.py")
    assert_all_match(ALERT, "alert_on_rate.py", lines)
    assert int(line.split()[0]) > 4
