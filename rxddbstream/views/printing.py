"""Writing a line to a stream, whatever the stream can show."""

from __future__ import annotations

import sys
from typing import TextIO


def put(text: str, file: TextIO | None = None) -> None:
    """A line on standard output, or on a file, flushed, so that a pipe shows it at once.

    What the file's encoding has no character for becomes an escape, such as `\\u20ac`: one change that
    cannot be shown as it is must not end the reading.

    >>> put("id=o-1")
    id=o-1
    """
    file = sys.stdout if file is None else file
    try:
        print(text, file=file, flush=True)
    except UnicodeEncodeError:  # nothing of it was written
        encoding = getattr(file, "encoding", None) or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)
