"""The ten products that sell best, again every few seconds.

Of a demo table that lives in this process, or of a table of yours, here the customers of the last hour, told
each minute:

    python examples/top_ten.py
    python examples/top_ten.py orders --by customer --size 3600 --every 60

`window` keeps a window's changes until it closes. For a long window of a busy table, keep the sums alone,
with `fold_window`: see `revenue_per_minute.py`.
"""

import argparse
import sys
from collections import defaultdict
from contextlib import ExitStack, suppress
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from reactivex import Observable
from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.demo import demo_table
from rxddbstream.operators import Window, Windower


class Ranking(NamedTuple):
    """Who made the most revenue, the first one first.

    Attributes:
        start: when its window begins.
        end: when it ends.
        rows: names and their revenue.
    """

    start: datetime
    end: datetime
    rows: list[tuple[str, Decimal]]


def top(changes: Observable[rxd.Change], windower: Windower, by: str, most: int = 10) -> Observable[Ranking]:
    """The best of each window.

    ::

        0                    10                  20
        --cup 9--tea 5--tea 6--------cup 2--------
        -----------------------1. tea 11----------1. cup 2
                               2. cup 9
    """

    def rank(window: Window[None]) -> Observable[Ranking]:
        def ranking(orders: list[rxd.Change]) -> Ranking:
            return Ranking(window.start, window.end, revenue(orders, by)[:most])

        return window.pipe(ops.to_list(), ops.map(ranking))

    return changes.pipe(ops.filter(is_new_order), dops.window(windower), ops.flat_map(rank))


def is_new_order(change: rxd.Change) -> bool:
    return change.event_name == "INSERT"


def revenue(orders: list[rxd.Change], by: str) -> list[tuple[str, Decimal]]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for order in orders:
        image = order.new_image or {}
        sums[str(image.get(by, "?"))] += image.get("amount", Decimal(0))
    return sorted(sums.items(), key=lambda row: (-row[1], row[0]))


def print_ranking(ranking: Ranking) -> None:
    print(f"{ranking.start:%H:%M:%S} to {ranking.end:%H:%M:%S}")
    for place, (name, amount) in enumerate(ranking.rows, 1):
        print(f"{place:4}. {name:12} {amount:>10.2f}")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the ten that make the most revenue.")
    parser.add_argument("table", nargs="?", help="its name (default: a demo table)")
    parser.add_argument("--by", default="product", help="attribute to group by (default: product)")
    parser.add_argument("--size", type=float, default=10.0, help="of a window, in seconds (default: 10)")
    parser.add_argument("--every", type=float, help="seconds between two tables (default: the size)")
    parser.add_argument("-n", type=int, default=sys.maxsize, help="end after so many tables")
    args = parser.parse_args()
    windower = dops.sliding(args.size, every=args.every) if args.every else dops.tumbling(args.size)
    with ExitStack() as stack:
        changes = rxd.changes(args.table) if args.table else stack.enter_context(demo_table()).changes()
        rxd.run(top(changes, windower, args.by).pipe(ops.take(args.n)), print_ranking)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
