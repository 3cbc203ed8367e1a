"""The picture of `rxddbstream top`, for a terminal of any size; needs rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rxddbstream.cli.top.rates import ShardRow, Snapshot
from rxddbstream.model.words import counted, length, printable, shortened
from rxddbstream.views.price import in_dollars

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.:-=+*#"
SMALL = 16  # lines; what has fewer shows less beside the table
NOTES = 3
SHORTEST_ID = 12
LEAST_TABLE = 3  # lines: its head, a shard, and how many more there are
BEHIND, FAR_BEHIND = 10.0, 60.0  # seconds


def render(
    title: str,
    snapshot: Snapshot,
    width: int,
    height: int | None,
    *,
    notes: Sequence[str] = (),
    lost: int = 0,
    ascii_only: bool = False,
) -> RenderableType:
    """All of it, in so many columns and lines; None is as many lines as there is to show.

    Args:
        title: what is read.
        snapshot: how it goes.
        notes: what a person should know, the newest last.
        lost: how many times changes were lost.
        ascii_only: for terminals that can show nothing else.
    """
    is_small = height is not None and height < SMALL
    mark = "~" if ascii_only else "…"
    head = [_title(title, snapshot, width, mark), *_flowed(_facts(snapshot, lost), width)]
    if not is_small:
        head += [_pace(snapshot, width, ASCII_BLOCKS if ascii_only else BLOCKS), Text()]
    newest = notes[-1 if is_small else -NOTES :]
    foot = [Text(shortened(note, width, mark), style="yellow") for note in newest]
    shards: Sequence[ShardRow] = snapshot.shards
    if height is not None:
        for lines in (foot, head):  # of a terminal that is too small even for these
            while len(lines) > 1 and len(head) + len(foot) + LEAST_TABLE > height:
                lines.pop()
        room = max(0, height - len(head) - len(foot) - 1)  # one for the table's head
        if len(shards) > room:
            room = max(0, room - 1)
            foot.insert(0, Text(f"... and {len(shards) - room:,} more", style="dim"))
            shards = shards[:room]
    return Group(*head, _table(shards, width, mark), *foot)


def sparkline(rates: Sequence[float], width: int, began: int = 0, blocks: str = BLOCKS) -> str:
    """A bar for each rate, or for a few of them where there are more than fit.

    Args:
        began: the number of the first one, so that the same ones share a bar each time.

    >>> sparkline([0, 1, 2, 7, 3, 0], 10)
    '▁▂▃█▄▁'
    >>> sparkline([0, 0, 4, 4, 8, 8], 3)
    '▁▅█'
    """
    if not rates or width < 1:
        return ""
    size = -(-len(rates) // width)
    numbered = groupby(enumerate(rates, began), lambda pair: pair[0] // size)
    groups = [[rate for _, rate in group] for _, group in numbered]
    # A bar of a part would jump up and down until it is whole.
    bars = [sum(group) / size for group in groups if len(group) == size][-width:]
    if not bars:
        bars = [sum(rates) / len(rates)]
    top = max(bars)
    return "".join(
        blocks[0] if bar <= 0 else blocks[1 + min(len(blocks) - 2, int(bar / top * (len(blocks) - 1.001)))]
        for bar in bars
    )


def _title(title: str, snapshot: Snapshot, width: int, mark: str) -> Text:
    right = f"running {length(snapshot.running)}"
    left = shortened(printable(title), max(8, width - len(right) - 2), mark)
    gap = " " * max(1, width - len(left) - len(right))
    line = Text.assemble((left, "bold"), gap, right)
    line.truncate(width)
    return line


def _facts(snapshot: Snapshot, lost: int) -> Iterator[Text]:
    yield Text(f"{counted(snapshot.changes, 'change')}, {_number(snapshot.rate)}/s")
    yield Text(f"{_number(snapshot.calls_rate)} calls/s, {snapshot.empty_share:.0%} of all empty")
    yield Text("1 retry" if snapshot.retries == 1 else f"{snapshot.retries or 'no'} retries")
    if snapshot.watermark is None:
        yield Text("no watermark yet")
    else:
        at = f"{snapshot.watermark.astimezone():%H:%M:%S}"
        yield Text(f"watermark {at}, {_seconds(snapshot.behind)} behind", style=_urgency(snapshot.behind))
    yield Text(
        f"{in_dollars(snapshot.price)} so far, {in_dollars(snapshot.price_a_month)} a month at this pace"
    )
    if lost:
        yield Text(f"changes were lost {lost} times" if lost > 1 else "changes were lost", style="bold red")


def _flowed(facts: Iterator[Text], width: int) -> list[Text]:
    """As many on a line as fit."""
    lines: list[Text] = []
    for fact in facts:
        if lines and len(lines[-1]) + 3 + len(fact) <= width:
            lines[-1].append("   ").append_text(fact)
        else:
            lines.append(Text().append_text(fact))
    for line in lines:
        line.truncate(width)
    return lines


def _pace(snapshot: Snapshot, width: int, blocks: str) -> Text:
    most = max(snapshot.history, default=0.0)
    label = f" up to {_number(most)}/s in the last {length(snapshot.history_seconds)}"
    bars = sparkline(snapshot.history, width - len(label), snapshot.history_began, blocks)
    return Text.assemble((bars, "green"), label) if bars else Text()


def _table(shards: Sequence[ShardRow], width: int, mark: str) -> Table:
    columns = {
        "STATE": [row.state for row in shards],
        "CHANGES": [f"{row.changes:,}" for row in shards],
        "CHANGES/S": [_number(row.rate) for row in shards],
        "LAG": [_lag(row) for row in shards],
    }
    widths = {name: max(map(len, [name, *cells])) for name, cells in columns.items()}
    for name in ("STATE", "CHANGES", "LAG"):  # what a narrow terminal can do without
        if sum(widths.values()) + 2 * len(widths) + SHORTEST_ID > width:
            del widths[name]
    room = max(SHORTEST_ID, width - sum(widths.values()) - 2 * len(widths))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("SHARD", no_wrap=True, width=min(room, max([5, *(len(row.id) for row in shards)])))
    for name, column_width in widths.items():
        justify: Literal["left", "right"] = "left" if name == "STATE" else "right"
        table.add_column(name, no_wrap=True, justify=justify, width=column_width)
    for place, row in enumerate(shards):
        cells = [
            Text(columns[name][place], style=_urgency(row.lag) if name == "LAG" else "") for name in widths
        ]
        table.add_row(
            shortened(printable(row.id), room, mark), *cells, style="dim" if row.state == "read" else ""
        )
    return table


def _lag(row: ShardRow) -> str:
    return "" if row.lag is None else _seconds(row.lag)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else length(seconds)


def _number(number: float) -> str:
    return f"{number:,.1f}" if number < 100 else f"{number:,.0f}"


def _urgency(seconds: float | None) -> str:
    if seconds is None or seconds < BEHIND:
        return ""
    return "yellow" if seconds < FAR_BEHIND else "red"
