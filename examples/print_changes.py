"""Print what happens to a table, one line a change.

Of a demo table that lives in this process, or of a table of yours:

    python examples/print_changes.py
    python examples/print_changes.py orders
"""

import argparse
import sys
from contextlib import ExitStack, suppress

from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream.demo import demo_table


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what happens to a table, one line a change.")
    parser.add_argument("table", nargs="?", help="its name (default: a demo table)")
    parser.add_argument("-n", type=int, default=sys.maxsize, help="end after so many changes")
    args = parser.parse_args()
    with ExitStack() as stack:
        changes = rxd.changes(args.table) if args.table else stack.enter_context(demo_table()).changes()
        rxd.run(changes.pipe(ops.take(args.n)), rxd.print_summary)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
