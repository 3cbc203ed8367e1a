"""Keep a running total of all open orders' `amount`, for each customer.

Of a demo table that lives in this process, or of a table of yours, here for each product:

    python examples/running_total.py
    python examples/running_total.py orders --by product

It is `SELECT customer, SUM(amount) ... GROUP BY customer`, kept up to date. The stream must have both
images (NEW_AND_OLD_IMAGES), and an order must keep its customer.
"""

import argparse
import operator
import sys
from contextlib import ExitStack, suppress
from decimal import Decimal

from reactivex import GroupedObservable, Observable
from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream.demo import demo_table


def running_totals(changes: Observable[rxd.Change], by: str) -> Observable[tuple[str, Decimal]]:
    """Each total that has changed, with the customer's name.

    ::

        ---ada +5-------bob +7-------ada +1-------bob -7----
           (ada, 5)     (bob, 7)     (ada, 6)     (bob, 0)
    """

    def group_of(change: rxd.Change) -> str:
        image = change.new_image or change.old_image or {}
        return str(image.get(by, "?"))

    def total(group: GroupedObservable[str, rxd.Change]) -> Observable[tuple[str, Decimal]]:
        return group.pipe(
            ops.map(growth),
            ops.filter(lambda amount: amount != 0),
            ops.scan(operator.add, Decimal(0)),
            ops.map(lambda amount: (group.key, amount)),
        )

    return changes.pipe(ops.group_by(group_of), ops.flat_map(total))


def growth(change: rxd.Change) -> Decimal:
    """What a change adds to a total; an order that is removed takes its amount back."""
    old, new = change.old_image or {}, change.new_image or {}
    added: Decimal = new.get("amount", Decimal(0)) - old.get("amount", Decimal(0))
    return added


def print_total(total: tuple[str, Decimal]) -> None:
    print("{:12} {:>10}".format(*total), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep a running total of all open orders' amount.")
    parser.add_argument("table", nargs="?", help="its name (default: a demo table)")
    parser.add_argument("--by", default="customer", help="attribute to group by (default: customer)")
    parser.add_argument("-n", type=int, default=sys.maxsize, help="end after so many totals")
    args = parser.parse_args()
    with ExitStack() as stack:
        changes = rxd.changes(args.table) if args.table else stack.enter_context(demo_table()).changes()
        totals = running_totals(changes, args.by)
        rxd.run(totals.pipe(ops.take(args.n)), print_total)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
