"""Observers that print: one line a change, boto3's record, or JSON.

Each line is flushed, so that a pipe shows it at once.
"""

from __future__ import annotations

from rxddbstream.model.change import Change
from rxddbstream.views.text import record, summary, text_of, to_json


def print_summary(change: Change) -> None:
    """Print when, what and which item, in the local time zone.

    Such as `[2022-05-27T15:36:13+02:00] - MODIFY - PK=test, SK=item`.
    """
    print(text_of(summary(change)), flush=True)


def print_change_record(change: Change) -> None:
    """Print the change as the dict that boto3 returns for it."""
    print(record(change), flush=True)


def print_json(change: Change) -> None:
    """Print the change as one line of JSON."""
    print(to_json(change), flush=True)
