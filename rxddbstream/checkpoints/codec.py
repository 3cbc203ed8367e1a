"""Positions as text, to be kept in a store.

    0 TRIM_HORIZON                                       nothing is done yet
    0 AT_TIMESTAMP 2026-01-31T12:00:00+00:00             nothing is done yet
    1 AFTER_SEQUENCE_NUMBER 0000000000000000000000000000000000000123
    2 SHARD_END                                          all is done

The text of a later position sorts after that of an earlier one. So a store that only ever replaces a text
by a greater one never moves backwards, and need not know what the texts mean.
"""

from __future__ import annotations

from datetime import datetime

from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon

SHARD_END = "2 SHARD_END"
START, BEGAN, SEEN = "*start", "*began", "*seen"
"""Keys in place of a shard's ID: where shards without a text begin, when the first run began, and when the
consumer was last alive."""
WINDOWS = "*windows "
"""Begins the key of a window operator, by its name: at which watermark it has emitted its windows."""

_TRIM_HORIZON = "0 TRIM_HORIZON"
_AT_TIMESTAMP = "0 AT_TIMESTAMP "
_AFTER = "1 AFTER_SEQUENCE_NUMBER "
_FEWEST_DIGITS, _MOST_DIGITS = 21, 40  # of a sequence number, by the service's own model


def to_text(position: Position | None) -> str:
    """The text of a position; of None, which stands for the shard's end.

    >>> to_text(After("123")) < to_text(After("1000")) < to_text(None)
    True
    """
    match position:
        case None:
            return SHARD_END
        case TrimHorizon():
            return _TRIM_HORIZON
        case AtTime(time):
            return _AT_TIMESTAMP + time.isoformat()
        case After(sequence_number):
            return _AFTER + sequence_number.zfill(_MOST_DIGITS)
        case Latest():
            raise ValueError("LATEST means another place each time: keep the time instead")


def from_text(text: str) -> Position | None:
    """The position of a text; None for the shard's end.

    Raises:
        ValueError: it is none.
    """
    if text == SHARD_END:
        return None
    if text == _TRIM_HORIZON:
        return TrimHorizon()
    if text.startswith(_AT_TIMESTAMP):
        time = datetime.fromisoformat(text.removeprefix(_AT_TIMESTAMP))
        if time.tzinfo is not None:
            return AtTime(time)
    digits = text.removeprefix(_AFTER)
    if text.startswith(_AFTER) and digits.isdecimal():
        return After(digits.lstrip("0").zfill(_FEWEST_DIGITS))
    raise ValueError(f"not a position: {text!r}")
