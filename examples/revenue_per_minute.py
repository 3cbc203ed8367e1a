"""What each product's new orders come to in each minute, by the time at which they were made.

Of a demo table that lives in this process, or of a table of yours:

    python examples/revenue_per_minute.py
    python examples/revenue_per_minute.py orders --size 3600 --lateness 60

An order counts in the minute in which it was made, also when it is read much later. One that comes after its
minute has been printed is told on standard error. Run it with `--size 2` not to wait for a minute.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from decimal import Decimal

from reactivex import Observable
from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.demo import demo_table
from rxddbstream.operators import WindowResult


def revenue(
    changes: Observable[rxd.Change],
    size: float,
    lateness: float = 0.0,
    late: Callable[[rxd.Change], object] | None = None,
) -> Observable[WindowResult[str, Decimal]]:
    """The sum of each product's orders in each window of `size` seconds.

    ::

        0                   60                  120
        ---tea 5--cup 9--tea 1--------tea 3--------------
        ----------------------(tea 6, cup 9)------(tea 3)
    """
    return changes.pipe(
        ops.filter(is_new_order),
        dops.fold_window(
            dops.tumbling(size), key=product, fold=dops.sum_of(amount), lateness=lateness, late=late
        ),
    )


def is_new_order(change: rxd.Change) -> bool:
    return change.event_name == "INSERT"


def product(order: rxd.Change) -> str:
    return str((order.new_image or {}).get("product", "?"))


def amount(order: rxd.Change) -> Decimal:
    return Decimal((order.new_image or {}).get("amount", 0))


def print_revenue(result: WindowResult[str, Decimal]) -> None:
    print(f"{result.start:%H:%M:%S}  {result.key:12} {result.value:>10.2f}", flush=True)


def print_late(order: rxd.Change) -> None:
    print(f"late: {product(order)} {amount(order):.2f} of {order.created_at:%H:%M:%S}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description="What each product's new orders come to in each minute.")
    parser.add_argument("table", nargs="?", help="its name (default: a demo table)")
    parser.add_argument("--size", type=float, default=60.0, help="of a window, in seconds (default: 60)")
    parser.add_argument(
        "--lateness", type=float, default=0.0, help="seconds to wait for late orders (default: 0)"
    )
    parser.add_argument("-n", type=int, default=sys.maxsize, help="end after so many sums")
    args = parser.parse_args()
    with ExitStack() as stack:
        changes = rxd.changes(args.table) if args.table else stack.enter_context(demo_table()).changes()
        sums = revenue(changes, args.size, args.lateness, print_late)
        rxd.run(sums.pipe(ops.take(args.n)), print_revenue)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
