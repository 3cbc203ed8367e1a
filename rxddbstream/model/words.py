"""Figures and names in the words of a person."""

from __future__ import annotations

UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def length(seconds: float) -> str:
    """How long: the largest unit and, where it tells something, the one below it.

    >>> length(0.4), length(47), length(3725), length(90000), length(7200)
    ('0 s', '47 s', '1 h 2 min', '1 d 1 h', '2 h')
    """
    rest = max(0, int(seconds))
    words: list[str] = []
    for unit, size in UNITS:
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count} {unit}")
        elif words:
            break
        if len(words) == 2:
            break
    return " ".join(words) or "0 s"


def counted(number: int, noun: str) -> str:
    """A number of something.

    >>> counted(1204, "change"), counted(1, "shard"), counted(0, "shard")
    ('1,204 changes', '1 shard', 'no shards')
    """
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}" if number < 1000 else f"{number:,} {noun}s"


def shortened(text: str, width: int, mark: str = "…") -> str:
    """A text that fits, without its middle if need be: of an ID both ends tell something.

    >>> shortened("shardId-00000001414562045508-2bac9cd2", 24)
    'shardId-0000…08-2bac9cd2'
    """
    if len(text) <= width:
        return text
    if width < 2:
        return text[: max(0, width)]
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}{mark}{text[len(text) - tail :]}"


def printable(text: str) -> str:
    """Text that cannot move a terminal's cursor, nor make two lines of one.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def table_of(arn: str) -> str:
    """The table of a stream's ARN; a text that is none stands for itself.

    >>> table_of("arn:aws:dynamodb:eu-central-1:123456789012:table/orders/stream/2026-01-31T12:00:00.000")
    'orders'
    """
    name = arn.partition(":table/")[2].partition("/")[0]
    return name or arn
