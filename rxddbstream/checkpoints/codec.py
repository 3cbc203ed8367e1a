"""What a consumer has kept, as texts for a store.

    0 TRIM_HORIZON                                       nothing is done yet
    0 AT_TIMESTAMP 2026-01-31T12:00:00+00:00             nothing is done yet
    1 AFTER_SEQUENCE_NUMBER 0000000000000000000000000000000000000123
    2 SHARD_END                                          all is done

Each is kept by its shard's ID. Beside them, as times: `*start`, where shards without a text begin (or
TRIM_HORIZON), `*began`, when the first run began, `*seen`, when the consumer was last alive, and `*emitted
NAME`, up to which end the window operator of that name had emitted its windows. Earlier versions kept
`*windows NAME`, the watermark at which it had, from which that follows with the lateness of then alone.
`*stream LABEL` is none of a stream's own: see `streams.py`.

The text of a later position sorts after that of an earlier one. So a store that only ever replaces a text
by a greater one never moves backwards, and need not know what the texts mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.times import microseconds, utc
from rxddbstream.protocol.beginning import Kept

SHARD_END = "2 SHARD_END"
STREAM = "*stream "
"""Begins the key of a stream in place of a shard's ID: see `streams.py`."""

SEEN = "*seen"
"""The key, in place of a shard's ID, of when the consumer was last alive."""

_START, _BEGAN = "*start", "*began"
_EMITTED, _WINDOWS = "*emitted ", "*windows "  # begin the keys of window operators
_TRIM_HORIZON = "0 TRIM_HORIZON"
_AT_TIMESTAMP = "0 AT_TIMESTAMP "
_AFTER = "1 AFTER_SEQUENCE_NUMBER "
_FEWEST_DIGITS, _MOST_DIGITS = 21, 40  # of a sequence number, by the service's own model


def to_texts(kept: Kept) -> dict[str, str]:
    """What is kept, by shard ID or another key, in the order in which a store is to write it.

    A store may write one by one, and be cut off anywhere. Where shards without a position begin goes first,
    and says what "latest" meant: so there is neither a second "latest" nor a day's changes of it. Then which
    windows were emitted: a position before that would have them come again in part. When the consumer was
    last alive goes last: it must not be newer than a position that says "nothing is done yet".
    """
    texts: dict[str, str] = {}
    if kept.start is not None:
        texts[_START] = to_text(kept.start)
    if kept.began is not None:
        texts[_BEGAN] = to_text(AtTime(kept.began))
    for name, end in kept.windows.items():
        texts[_EMITTED + name] = to_text(AtTime(utc(microseconds(end))))
    texts |= {shard_id: to_text(position) for shard_id, position in kept.shards.items()}
    if kept.seen is not None:
        texts[SEEN] = to_text(AtTime(kept.seen))
    return texts


def no_longer_emitted(keys: Iterable[str], windows: Mapping[str, float]) -> list[str]:
    """Of the keys of texts, those of window operators of which nothing is kept any more.

    >>> no_longer_emitted(["*emitted a", "*emitted b", "shard-1"], {"a": 60.0})
    ['*emitted b']
    """
    return [key for key in keys if key.startswith(_EMITTED) and key.removeprefix(_EMITTED) not in windows]


def from_texts(texts: Mapping[str, str]) -> Kept:
    """What the texts of a store say.

    Raises:
        ValueError: one of them is no position.

    >>> from_texts(to_texts(Kept(shards={"shard-1": None}))) == Kept(shards={"shard-1": None})
    True
    """
    positions = {key: from_text(text) for key, text in texts.items() if not key.startswith(STREAM)}
    start, began, seen = (positions.pop(key, None) for key in (_START, _BEGAN, SEEN))
    windows, watermarks = _times_of(_EMITTED, positions), _times_of(_WINDOWS, positions)
    return Kept(
        start=start,
        began=began.time if isinstance(began, AtTime) else None,
        seen=seen.time if isinstance(seen, AtTime) else None,
        windows=windows,
        watermarks=watermarks,
        shards=positions,
    )


def _times_of(prefix: str, positions: dict[str, Position | None]) -> dict[str, float]:
    """Take out what is kept under keys that begin so, by the rest of the key."""
    taken = {key: positions.pop(key) for key in list(positions) if key.startswith(prefix)}
    return {
        key.removeprefix(prefix): at.time.timestamp() for key, at in taken.items() if isinstance(at, AtTime)
    }


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
