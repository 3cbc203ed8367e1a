"""What a person is told on standard error, beside the data."""

from __future__ import annotations

import logging
import sys
import time

from rxddbstream.cli.arguments import DONE, FAILED, LOST_CHANGES
from rxddbstream.errors import ConnectionLost, StreamError
from rxddbstream.model.events import Checkpointed, Event, Gap, Retrying, ShardClosed, ShardOpened, Throttled
from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.model.words import printable
from rxddbstream.views.printing import put

log = logging.getLogger("rxddbstream")


def note(text: str) -> None:
    """A line on standard error."""
    put(printable(text), sys.stderr)


class Notes:
    """Tells a person what happens to a stream.

    Args:
        is_logged: the library's log is shown, which tells of retries and losses.

    Attributes:
        gaps: how many times changes were lost.
        has_begun: whether a shard was opened.
        has_failed: whether a call failed, and was to be made again.
    """

    def __init__(self, is_logged: bool = False) -> None:
        self.gaps = 0
        self.has_begun = self.has_failed = False
        self._is_logged = is_logged
        self._is_advised = False
        self._retry_told_at = float("-inf")

    def __call__(self, event: Event) -> None:
        match event:
            case ShardOpened(shard, position):
                self.has_begun = self._is_advised = True
                self.opened(shard)
                log.info("shard %s is read from %s", shard.id, _place(position))
            case ShardClosed(shard):
                log.info("shard %s was read to its end", shard.id)
            case Checkpointed(positions):
                texts = ", ".join(f"{key}: {text}" for key, text in positions.items())
                log.info("checkpoints were written: %s", texts)
            case Gap(shard_id, _, reason):
                self.gaps += 1
                if not self._is_logged:
                    self.say(f"rxddbstream: warning: changes of shard {shard_id} were lost: {reason}")
            case Throttled(_, error, _, delay) | Retrying(_, error, _, delay):
                self.has_failed = True
                # Many shards fail together; one line a second tells it.
                if not self._is_logged and time.monotonic() - self._retry_told_at >= 1.0:
                    self._retry_told_at = time.monotonic()
                    when = f"in {delay:.2g} s" if delay >= 0.01 else "at once"
                    self.say(f"rxddbstream: {in_words(error)}; retrying {when}")
                if isinstance(error, ConnectionLost) and not self._is_advised:
                    self._is_advised = True
                    self.say(f"rxddbstream: {advice(error)}; Ctrl-C ends it")

    def opened(self, shard: Shard) -> None:
        """A shard begins to be read."""
        self.say(f"Starting watcher for shard: {shard.id}")

    @property
    def status(self) -> int:
        """The exit status of a reading that has ended by itself."""
        if self.gaps:
            return LOST_CHANGES
        return FAILED if self.has_failed and not self.has_begun else DONE

    def say(self, text: str) -> None:
        """A line for a person."""
        note(text)


def in_words(error: BaseException) -> str:
    """An error as a sentence, on one line."""
    text = " ".join(str(error).split())
    # What the library raises speaks for itself; "'x'" of a KeyError does not.
    return text if isinstance(error, (StreamError, OSError)) else f"{type(error).__name__}: {text}"


def advice(error: ConnectionLost) -> str:
    """What to check when the service was never reached."""
    from rxddbstream.aws.session import unknown_region
    from rxddbstream.aws.unreached import no_answer

    known = no_answer(error.__cause__).advice
    if known:
        return f"{known[0].lower()}{known[1:]}"
    check = "check --region, --endpoint-url and the network"
    unknown = unknown_region(str(error))
    return f"{unknown} {check.capitalize()}" if unknown else check


def _place(position: Position) -> str:
    match position:
        case Latest():
            return "its newest change on"
        case TrimHorizon():
            return "its oldest change on"
        case AtTime(time):
            return time.isoformat()
        case After(sequence_number):
            return f"after {sequence_number}"
