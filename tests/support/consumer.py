"""A consumer for tests that kill it: appends a line for each change, and for some events, to a file."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import DataTrimmed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("endpoint_url")
    parser.add_argument("output")
    parser.add_argument("--sqlite")
    parser.add_argument("--dynamodb")
    parser.add_argument("--period", type=float, default=0.5)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", default="latest")
    parser.add_argument("--on-gap", default="raise")
    parser.add_argument("--fastest", type=float, default=0.05)
    parser.add_argument("--slowest", type=float, default=0.25)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--die-in-batch", type=int)
    args = parser.parse_args()
    output = Path(args.output).open("a", encoding="utf-8")  # noqa: SIM115 - until it is killed

    def note(**line: Any) -> None:
        print(json.dumps({"pid": os.getpid(), "time": time.time(), **line}), file=output, flush=True)

    def observe_event(event: rxd.Event) -> None:
        match event:
            case rxd.ShardOpened(shard):
                note(event="ShardOpened", shard_id=shard.id)
            case rxd.Gap(shard_id, after, reason):
                note(event="Gap", shard_id=shard_id, after=after, reason=reason)
            case rxd.Checkpointed(positions):
                note(event="Checkpointed", positions=dict(positions))

    def write(change: rxd.Change) -> None:
        number = int((change.new_image or {})["n"])
        place = {"shard_id": change.shard_id, "sequence_number": change.sequence_number}
        note(item=change.keys["id"], n=number, **place)

    batches = 0

    def write_batch(changes: list[rxd.Change]) -> None:
        nonlocal batches
        batches += 1
        if batches == args.die_in_batch:
            note(event="Dying", numbers=[int((change.new_image or {})["n"]) for change in changes])
            time.sleep(6 * args.period)  # time enough to checkpoint what is not held
            os.kill(os.getpid(), signal.SIGKILL)
        for change in changes:
            write(change)

    keep: Any = {"period": args.period, "count": args.count}
    source: Any = rxd.changes(
        args.table,
        start=args.start,
        checkpoints=rxd.SqliteCheckpoints(args.sqlite, **keep)
        if args.sqlite
        else rxd.DynamoDBCheckpoints(args.dynamodb, consumer="me", endpoint_url=args.endpoint_url, **keep)
        if args.dynamodb
        else None,
        on_gap=args.on_gap,
        events=observe_event,
        poll=rxd.Poll(fastest=args.fastest, slowest=args.slowest),
        endpoint_url=args.endpoint_url,
    )
    if args.batch:
        source = source.pipe(
            dops.hold(), ops.buffer_with_count(args.batch), ops.do_action(write_batch), dops.release()
        )
    note(event="Started")
    try:
        rxd.run(source, None if args.batch else write)
    except DataTrimmed as error:
        note(event="DataTrimmed", shard_id=error.shard_id, after=error.after, message=str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
