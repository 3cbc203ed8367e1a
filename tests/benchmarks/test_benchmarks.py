"""The benchmarks work, and every contender reads all that is served. Nothing is said about speed here."""

from __future__ import annotations

import json

import pytest

from benchmarks.bench import alone, drain
from benchmarks.cases import CASES
from benchmarks.job import Job
from benchmarks.records import PAGE_SIZE, numbered, page_template
from benchmarks.server import Content
from benchmarks.table import Row, as_markdown, as_text, at_least, at_most


@pytest.mark.system
@pytest.mark.parametrize("contender", ["rxddbstream", "boto3", "floor"])
def test_a_contender_counts_every_record(contender: str) -> None:
    content = Content(shards=2, pages=2)
    result = drain(Job(contender, "drain"), content)  # raises if the counts differ
    assert result.records == content.records == 3000
    assert result.measured == 1500
    assert result.cpu > 0
    assert result.threads >= 2


@pytest.mark.system
@pytest.mark.parametrize("task", ["touch_all", "batches"])
def test_what_is_done_with_the_records_loses_none(task: str) -> None:
    drain(Job("rxddbstream", task), Content(pages=2))


@pytest.mark.system
@pytest.mark.parametrize(
    ("contender", "task"),
    [
        ("windows", "fold_window"),
        ("windows", "group_by_until"),
        ("windows", "scan"),
        ("backlog", "aligned"),
        ("backlog", "unaligned"),
    ],
)
def test_windows_count_every_record(contender: str, task: str) -> None:
    # Raises if the counts differ.
    result = alone(Job(contender, task, records=12_000, seconds=600.0, shards=4))
    assert result.extra["windows"] >= 1000


def test_pages_are_like_those_of_the_service() -> None:
    page = numbered(page_template(1767225600.0), 7)
    records = json.loads(b"[%s]" % page)
    assert 0.9e6 < len(page) < 1e6
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    assert len(records) == PAGE_SIZE
    assert len(numbers[0]) >= 21
    assert numbers == sorted(set(numbers), key=int)


def test_the_table_says_whether_a_target_is_met() -> None:
    rows = [
        Row("a", "1 us", "2 x", at_least(2, 3, "{} x")),
        Row("b", "1 us", "2 x", at_most(2, 3, "{} x")),
        Row("c", "1 us", "2 x", None),
    ]
    assert [line.split()[-1] for line in as_text(rows).splitlines()[2:]] == ["NO", "yes", "x"]
    assert as_markdown(rows).splitlines()[2] == "| a | 1 us | 2 x | >= 3 x | NO |"
    assert set(CASES) >= {"drain", "idle", "trickle", "windows", "backlog"}
