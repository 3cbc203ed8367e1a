"""Observers that print: one line a change, boto3's record, or JSON.

Each line is flushed, so that a pipe shows it at once. What standard output has no character for is written
as an escape.
"""

from __future__ import annotations

from rxddbstream.model.change import Change
from rxddbstream.views.printing import put
from rxddbstream.views.text import record, summary, text_of, to_json


def print_summary(change: Change) -> None:
    """Print when, what and which item, in the local time zone.

    Such as `[2022-05-27T15:36:13+02:00] - MODIFY - PK=test, SK=item`.
    """
    put(text_of(summary(change)))


def print_change_record(change: Change) -> None:
    """Print the change as the dict that boto3 returns for it."""
    put(record(change))


def print_json(change: Change) -> None:
    """Print the change as one line of JSON."""
    put(to_json(change))
