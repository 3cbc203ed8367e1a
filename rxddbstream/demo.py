"""A table with a stream in this process, and somebody who writes to it.

For a first look, for the examples and for tests. It needs no network, no credentials and no settings.
moto stands in for the service: `pip install "moto[server,dynamodb]"`.

>>> import rxddbstream as rxd
>>> from reactivex import operators as ops
>>> with demo_table(rate=100) as table:
...     rxd.run(table.changes().pipe(ops.take(3)), lambda change: print(change.event_name, change.keys))
INSERT {'id': 'o-1'}
INSERT {'id': 'o-2'}
MODIFY {'id': 'o-2'}
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import count as count_from
from random import Random
from typing import Any

import boto3
from reactivex import Observable
from reactivex import operators as ops

from rxddbstream.consume import run
from rxddbstream.errors import StreamError
from rxddbstream.model.change import Change
from rxddbstream.protocol.pacing import Poll
from rxddbstream.reading.events import EventObserver
from rxddbstream.reading.stream import changes

TABLE = "orders"
REGION = "eu-central-1"
PRICES = {"tea": "4.20", "coffee": "7.90", "cocoa": "5.50", "cup": "12.00"}
CUSTOMERS = ["ada", "bob", "eve"]
NEXT_STATUS = {"new": "paid", "paid": "shipped"}


@dataclass(frozen=True, slots=True)
class DemoTable:
    """Where the demo's table is.

    Attributes:
        stream: the table's name.
        endpoint_url: where it answers, on this machine alone.
        region_name: a region, because boto3 wants one.
        session: a `boto3.Session` with made-up credentials.
    """

    stream: str
    endpoint_url: str
    region_name: str
    session: boto3.Session

    def changes(self, *, events: EventObserver | None = None) -> Observable[Change]:
        """The table's changes, from the first one on."""
        return changes(
            self.stream,
            start="trim_horizon",
            events=events,
            poll=Poll(fastest=0.1, slowest=0.5),
            session=self.session,
            endpoint_url=self.endpoint_url,
        )


def run_demo(
    rate: float,
    count: int | None,
    events: EventObserver,
    print_change: Callable[[Change], None],
    print_total: Callable[[str], object],
) -> None:
    """Print each change, and at the end how many there were; `count` of them, or for ever."""
    counts: Counter[str] = Counter()

    def observe(change: Change) -> None:
        print_change(change)
        counts[change.event_name] += 1

    with demo_table(rate) as table:
        where = f"{table.endpoint_url}, region {table.region_name}"
        print(f"Table {table.stream} at {where}; Ctrl-C ends it", file=sys.stderr, flush=True)
        source = table.changes(events=events)
        try:
            run(source if count is None else source.pipe(ops.take(count)), observe)
        finally:
            each = ", ".join(f"{counts[name]} {name}" for name in ("INSERT", "MODIFY", "REMOVE"))
            total = counts.total()
            print_total(f"{total} {'change' if total == 1 else 'changes'}: {each}")


@contextmanager
def demo_table(rate: float = 5.0) -> Iterator[DemoTable]:
    """A table of orders while the context lasts; one at a time in a process.

    The orders are the same ones each time. Meanwhile this process does without the environment's
    AWS settings.

    Args:
        rate: how many changes are written a second.

    Raises:
        StreamError: moto is not installed.
    """
    with _without_aws_settings(), _moto() as endpoint_url:
        session = boto3.Session("demo", "demo", region_name=REGION)
        dynamodb: Any = session.resource("dynamodb", endpoint_url=endpoint_url)
        orders = dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        stopped = threading.Event()
        writer = threading.Thread(
            target=_write, args=(orders, 1 / rate, stopped), name="rxddbstream-demo-writer", daemon=True
        )
        writer.start()
        try:
            yield DemoTable(TABLE, endpoint_url, REGION, session)
        finally:
            stopped.set()
            writer.join()
            orders.delete()
            orders.meta.client.close()


def _write(orders: Any, interval: float, stopped: threading.Event) -> None:
    for order, is_open in _order_book(Random(1)):
        if is_open:
            orders.put_item(Item=order)
        else:
            orders.delete_item(Key={"id": order["id"]})
        if stopped.wait(interval):
            return


def _order_book(random: Random) -> Iterator[tuple[dict[str, Any], bool]]:
    """Orders as they come in, are paid and shipped; and whether they are still open."""
    orders: list[dict[str, Any]] = []
    numbers = count_from(1)
    while True:
        if len(orders) < 2 or random.random() < 0.3:
            order = _new_order(next(numbers), random)
            orders.append(order)
        else:
            # The oldest ones move on first, so that a short run shows whole lives.
            order = orders[random.randrange(2)]
            if order["status"] in NEXT_STATUS:
                order["status"] = NEXT_STATUS[order["status"]]
            else:
                orders.remove(order)
        yield order, order in orders


def _new_order(number: int, random: Random) -> dict[str, Any]:
    product, quantity = random.choice(list(PRICES)), random.randint(1, 5)
    return {
        "id": f"o-{number}",
        "customer": random.choice(CUSTOMERS),
        "product": product,
        "quantity": quantity,
        "amount": quantity * Decimal(PRICES[product]),
        "status": "new",
    }


@contextmanager
def _moto() -> Iterator[str]:
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise StreamError('the demo needs moto: pip install "moto[server,dynamodb]"') from error
    # Else it prints a line for each call, and a traceback for what moto does not know.
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def _without_aws_settings() -> Iterator[None]:
    """Set aside what would lead boto3, or moto's own use of it, to somewhere else."""
    aside = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AWS_") or name.lower() == "no_proxy"
    }
    ours = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "no_proxy": "*"}
    for name in aside:
        del os.environ[name]
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(aside)
