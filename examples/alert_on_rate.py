"""Tell when a table changes more often than it should.

Of a demo table that lives in this process, or of a table of yours:

    python examples/alert_on_rate.py
    python examples/alert_on_rate.py orders --more-than 10000 --seconds 60

It looks at the last 10 seconds, each second anew, and prints a line when there were too many changes for the
first time. As long as that goes on, it prints no other.
"""

import argparse
import sys
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

from reactivex import Observable
from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.demo import demo_table
from rxddbstream.operators import WindowResult

Count = WindowResult[None, int]

LONG_AGO = datetime.min.replace(tzinfo=UTC)
NEVER: Count = WindowResult(None, LONG_AGO, LONG_AGO, 0)


def alerts(
    changes: Observable[rxd.Change], more_than: int, seconds: float, every: float
) -> Observable[Count]:
    """The first window with too many changes, where several in a row have too many.

    ::

        changes               x  x   xxxxxx         xxxx
        more than 3 in 5 s             |              |
    """

    def is_over(count: Count) -> bool:
        return count.value > more_than

    def is_first(two: tuple[Count, Count]) -> bool:
        before, count = two
        return count.start - before.start > timedelta(seconds=every)

    def second(two: tuple[Count, Count]) -> Count:
        return two[1]

    return changes.pipe(
        dops.fold_window(dops.sliding(seconds, every=every), fold=dops.count()),
        ops.filter(is_over),
        ops.start_with(NEVER),
        ops.pairwise(),
        ops.filter(is_first),
        ops.map(second),
    )


def print_alert(count: Count) -> None:
    print(f"{count.value} changes from {count.start:%H:%M:%S} to {count.end:%H:%M:%S}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tell when a table changes more often than it should.")
    parser.add_argument("table", nargs="?", help="its name (default: a demo table)")
    parser.add_argument("--more-than", type=int, default=40, help="changes that are too many (default: 40)")
    parser.add_argument("--seconds", type=float, default=10.0, help="in so many seconds (default: 10)")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks (default: 1)")
    parser.add_argument("-n", type=int, default=sys.maxsize, help="end after so many alerts")
    args = parser.parse_args()
    with ExitStack() as stack:
        changes = rxd.changes(args.table) if args.table else stack.enter_context(demo_table()).changes()
        found = alerts(changes, args.more_than, args.seconds, args.every)
        rxd.run(found.pipe(ops.take(args.n)), print_alert)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
