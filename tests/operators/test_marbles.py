"""The marble diagrams of docs/windows.md: each one is run, and what comes out is what it shows.

A column is a second of virtual time. What stands left of the ruler's 0 is a line's label:

    seconds                     the ruler
    changes                     `a`: a change of item a is written then, to a simulated stream of one shard
                                `a13`: it was made at 13 and comes now, made by hand; there is no stream
                                `|`: the source completes
    shard 1, shard 2, ...       the same, to these shards; of a watermark's diagram, see `watermark_of`
    consumer                    `^`: it subscribes; without this line, at 0
    (none)                      an operator, as Python; those below it, up to the next one, are what comes
    windows, and (none) below   `[` and `)`: all windows that come out, from their first to their last second
    a, b, ...                   the values of this key's windows
    late                        what the operator's late= gets
    anything else               all that comes out
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.notification import OnCompleted
from reactivex.observable.marbles import parse
from reactivex.subject import Subject
from reactivex.testing import TestScheduler
from support.blocks import blocks_of
from support.checkout import DOCS

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.testing import SimulatedStream
from rxddbstream.windows.watermark import Watermark

BEGAN = 1_000_020.0  # the start of a minute
PAGE = DOCS / "windows.md"
DIAGRAMS = [block for block in blocks_of(PAGE) if block.marker == "marbles"]

Marbles = list[tuple[int, str]]


class Line(NamedTuple):
    label: str
    text: str

    @property
    def marbles(self) -> Marbles:
        """What it shows, as RxPY reads marbles: when, and what."""
        return [
            (round(float(time)), "|" if isinstance(notification, OnCompleted) else str(notification.value))
            for time, notification in parse(self.text)
        ]

    @property
    def is_operator(self) -> bool:
        return not self.label and re.match(r"\w+\(", self.text) is not None

    @property
    def spans(self) -> Iterator[tuple[int, int]]:
        for found in re.finditer(r"\[[^)]*\)", self.text):
            yield found.start(), found.end()


class Operator(NamedTuple):
    """An operator and what the diagram says that comes out."""

    text: str
    results: list[Line]


class Diagram:
    def __init__(self, text: str) -> None:
        ruler, *rest = text.rstrip().splitlines()
        assert ruler.startswith("seconds")
        left = ruler.index("0")
        lines = [Line(line[:left].strip(), line[left:].rstrip()) for line in rest]
        first = next((n for n, line in enumerate(lines) if line.is_operator), len(lines))
        self.width = max(len(ruler) - left, *(len(line.text) for line in lines))
        self.sources = lines[:first]
        self.operators: list[Operator] = []
        for line in lines[first:]:
            if line.is_operator:
                self.operators.append(Operator(line.text, []))
            elif self.operators[-1].results and not line.label:
                above = self.operators[-1].results[-1]  # more of the same
                self.operators[-1].results.append(Line(above.label, line.text))
            else:
                self.operators[-1].results.append(line)

    def line(self, label: str) -> Line | None:
        return next((line for line in self.sources if line.label == label), None)


def item(change: rxd.Change) -> str:
    return str(change.keys["id"])


def second(change: rxd.Change) -> int:
    return int(change.timestamp) % 10


class Outcome:
    """What comes out of an operator, and when."""

    def __init__(self, operator: Operator, now: Callable[[], float]) -> None:
        self._now = now
        self._results: list[tuple[int, Any]] = []
        self._late: Marbles = []
        self.operator = operator

    def of(self, source: Observable[rxd.Change], scheduler: TestScheduler) -> None:
        names = {**vars(ops), **vars(dops), "item": item, "second": second, "late": self._was_late}
        found = eval(self.operator.text, names)
        source.pipe(*found if isinstance(found, tuple) else [found]).subscribe(
            lambda result: self._results.append((int(self._now()), result)), fail, scheduler=scheduler
        )

    def _was_late(self, change: rxd.Change) -> None:
        self._late.append((int(self._now()), f"{item(change)}{change.timestamp - BEGAN:.0f}"))

    def check(self) -> None:
        drawn: set[tuple[int, int]] = set()
        for line in self.operator.results:
            if line.label == "windows":
                drawn |= set(line.spans)
            else:
                assert self._marbles(line.label) == line.marbles, line.label
        if drawn:
            windows = {
                (round(result.start.timestamp() - BEGAN), round(result.end.timestamp() - BEGAN))
                for _, result in self._results
            }
            assert windows == drawn

    def _marbles(self, label: str) -> Marbles:
        if label == "late":
            return self._late
        return [
            (at, text_of(result))
            for at, result in self._results
            if not re.fullmatch("[a-z]", label) or result.key == label
        ]


def text_of(result: Any) -> str:
    if isinstance(result, dops.Window):
        keys: list[str] = []
        result.pipe(ops.map(item)).subscribe(keys.append)
        return "".join(keys)
    return str(result.value if isinstance(result, dops.WindowResult) else result)


def fail(error: Exception) -> None:
    raise error


def run(diagram: Diagram) -> None:
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    outcomes = [
        Outcome(operator, lambda: scheduler.now.timestamp() - BEGAN) for operator in diagram.operators
    ]
    changes = diagram.line("changes")
    if changes is not None and any(len(text) > 1 for _, text in changes.marbles):
        by_hand(changes, outcomes, scheduler, diagram.width)
    else:
        on_a_stream(diagram, outcomes, scheduler)
    for outcome in outcomes:
        outcome.check()


def by_hand(changes: Line, outcomes: list[Outcome], scheduler: TestScheduler, width: int) -> None:
    source: Subject[rxd.Change] = Subject()
    for outcome in outcomes:
        outcome.of(source, scheduler)
    marbles = dict(changes.marbles)
    for second in range(width):
        text = marbles.get(second)
        if text == "|":
            source.on_completed()
        elif text is not None:
            source.on_next(made(text[0], BEGAN + float(text[1:])))
        scheduler.advance_by(1)


def made(key: str, at: float) -> rxd.Change:
    detail = {"Keys": {"id": {"S": key}}, "ApproximateCreationDateTime": datetime.fromtimestamp(at, UTC)}
    return rxd.Change({"eventName": "INSERT", "dynamodb": detail}, "shard-1")


def on_a_stream(diagram: Diagram, outcomes: list[Outcome], scheduler: TestScheduler) -> None:
    lines = [line for line in diagram.sources if line.label.startswith(("changes", "shard"))]
    sim = SimulatedStream(scheduler=scheduler, shards=len(lines))
    writes = {
        (at, key, shard.id) for shard, line in zip(sim.shards, lines, strict=True) for at, key in line.marbles
    }
    consumer = diagram.line("consumer")
    begin = consumer.text.index("^") if consumer else 0
    source = rxd.changes(
        sim.arn,
        start="trim_horizon",
        poll=rxd.Poll(fastest=0.25, slowest=0.25),
        client=sim.client,
        scheduler=scheduler,
    )
    for second in range(diagram.width):
        if second == begin:
            for outcome in outcomes:
                outcome.of(source, scheduler)
        for at, key, shard_id in sorted(writes):
            if at == second:
                sim.put_into(shard_id, key)
        scheduler.advance_by(1)


def watermark_of(lines: list[Line], width: int) -> Marbles:
    """What becomes of the watermark.

    `12`: the shard was read up to a change made at 12. `.`: it had nothing new. `^`: it is found. `|`: it was
    read to its end. One that is "of 1" continues shard 1.
    """
    watermark = Watermark()
    shards = [(line.label.removeprefix("shard ").partition(" of "), dict(line.marbles)) for line in lines]
    for (shard, _, _), marbles in shards:
        if "^" not in marbles.values():
            watermark.opened(shard)
    told: Marbles = []
    for second in range(width):
        for (shard, _, parent), marbles in shards:
            match marbles.get(second):
                case None:
                    continue
                case "^":
                    watermark.opened(shard, parent or None)
                case ".":
                    watermark.caught_up(shard, second)
                case "|":
                    watermark.ended(shard, expects_children=True)
                case number:
                    watermark.read(shard, float(number))
        value = watermark.value
        if value is not None and (not told or told[-1][1] != f"{value:.0f}"):
            told.append((second, f"{value:.0f}"))
    return told


def check(text: str) -> None:
    diagram = Diagram(text)
    shown = diagram.line("watermark")
    if shown is not None:
        shards = [line for line in diagram.sources if line.label.startswith("shard")]
        assert watermark_of(shards, diagram.width) == shown.marbles
    else:
        assert diagram.operators
        run(diagram)


@pytest.mark.parametrize("block", DIAGRAMS, ids=lambda block: block.name)
def test_a_diagram_shows_what_comes_out(block: Any) -> None:
    check(block.text)


def test_there_are_diagrams_of_each_kind() -> None:
    shown = "".join(block.text for block in DIAGRAMS)
    for name in ("tumbling(", "sliding(", "session(", "window(", "watermark", "late"):
        assert name in shown


RIGHT = """
seconds     0         10        20        30
changes     --a--b-a-----a------------------
            fold_window(tumbling(10), key=item, fold=count())
windows     [        )[        )
a           ------------2---------1---------
b           ------------1-------------------
"""
WRONG = {
    "another value": ("--2--", "--3--"),
    "a second later": ("--2--", "---2-"),
    "one too many": ("1---------\nb", "1----1----\nb"),
    "one too few": ("2---------1---", "2-------------"),
    "another window": ("[        )[        )", "[        )[       )"),
    "a window less": ("[        )[        )", "[        )"),
}


def test_a_diagram_that_is_right_passes() -> None:
    check(RIGHT.strip())


@pytest.mark.parametrize("mistake", WRONG)
def test_a_diagram_that_is_wrong_fails(mistake: str) -> None:
    right, wrong = WRONG[mistake]
    text = RIGHT.replace(right, wrong).strip()
    assert text != RIGHT.strip()
    with pytest.raises(AssertionError):
        check(text)
