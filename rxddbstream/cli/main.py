"""Running a command: what it ends with becomes a sentence and an exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress

from rxddbstream.cli.arguments import (
    DONE,
    FAILED,
    INTERRUPTED,
    TERMINATED,
    WRONG_USAGE,
    command,
    complete,
    parse,
)
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.words import printable
from rxddbstream.scheduling.signals import terminate
from rxddbstream.views.printing import put

log = logging.getLogger("rxddbstream")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    _have_outputs()
    complete()
    args = parse(sys.argv[1:] if argv is None else argv)
    if args.verbose:
        logging.basicConfig(handlers=[_handler()])
        log.setLevel(logging.DEBUG)
    signal.signal(signal.SIGTERM, terminate)
    try:
        return command(args.command).run(args)
    except KeyboardInterrupt:
        return _interrupted(INTERRUPTED)
    except SystemExit:
        return _interrupted(TERMINATED)
    except BrokenPipeError:  # whoever reads our output has seen enough
        _drop_output()
        return DONE
    except Exception as error:  # noqa: BLE001 - a person gets a sentence, and with -v the rest
        from rxddbstream.cli.notes import in_words, note

        if args.verbose:
            put(_lines_printable(traceback.format_exc().rstrip("\n")), sys.stderr)
        text = in_words(error)
        if isinstance(error, OSError) and _output_fails():
            text = f"standard output: {error.strerror}"
            _drop_output()
        note(f"rxddbstream: error: {text}")
        return WRONG_USAGE if isinstance(error, ConfigurationError) else FAILED


def _have_outputs() -> None:
    # Python has None for a descriptor that is closed, and a socket would get its number.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lasts
        # A character that the terminal cannot show must not end the reading, whoever writes it: rich, too.
        stream = getattr(sys, name)
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            with suppress(AttributeError):  # a stream of another kind, which whoever put it there knows
                stream.reconfigure(errors="backslashreplace")


def _handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler


class _Printable(logging.Formatter):
    """Writes lines that cannot move a terminal's cursor: what is logged has a service's words in it."""

    def format(self, record: logging.LogRecord) -> str:
        return _lines_printable(super().format(record))


def _lines_printable(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _interrupted(status: int) -> int:
    # A thread that is blocked in a full pipe holds stdout's lock, which Python would wait for at its end.
    if any(thread.name.startswith("rxddbstream-worker") for thread in threading.enumerate()):
        os._exit(status)
    return status


def _output_fails() -> bool:
    try:
        sys.stdout.flush()  # what could not be written is still there
    except OSError:
        return True
    return False


def _drop_output() -> None:
    # What is left in the buffer cannot be written either, and Python would try at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
