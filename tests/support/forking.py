"""What happens in a child of a fork."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="of POSIX"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # a fork in a process with threads
]


def in_a_child(action: Callable[[], object]) -> str:
    """What the action raises in a child that is forked here: its text; "" if it raises nothing."""
    sys.stdout.flush()
    reader, writer = os.pipe()
    if os.fork() == 0:
        tell_and_exit(writer, action)
    os.close(writer)
    return told(reader)


def tell_and_exit(writer: int, action: Callable[[], object]) -> None:
    """In the child: do it, tell what it raises, and end."""
    try:
        action()
    except BaseException as error:  # noqa: BLE001 - a child must not go on as a second test run
        os.write(writer, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(0)


def told(reader: int) -> str:
    """In the parent: what the child told."""
    with open(reader) as pipe:
        text = pipe.read()
    os.wait()
    return text
