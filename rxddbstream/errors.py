"""What can go wrong, as one tree.

::

    StreamError                      the base of all
    ├── ConfigurationError           the call cannot work as it is written: no region, a bad start, ...
    ├── CredentialsError             no credentials, or expired or refused ones
    ├── AccessDenied                 a permission is missing
    ├── StreamNotFound               the service does not know the stream
    │   ├── TableNotFound            ... because there is no such table
    │   └── StreamNotEnabled         ... because the table has none
    ├── StreamDisabled               the stream was switched off, and has been read to its end
    ├── RequestFailed                the service refused a request, and will again
    ├── DecodeError                  a record holds what DynamoDB does not document
    ├── DataTrimmed                  changes were lost before they could be read
    ├── HeldTooLate                  hold() stands behind the operator that it should stand before
    ├── CheckpointError              checkpoints cannot be kept
    │   ├── CheckpointLocked         ... because somebody else uses them
    │   └── CheckpointUnreadable     ... because what is there is broken, or of another program
    ├── CaptureError                 a capture cannot be written
    │   └── CaptureUnreadable        ... or read: there is none, or it is broken, or of another program
    ├── TransientError               worth another try; retried by the library
    │   ├── Throttled                too many calls
    │   ├── ServiceUnavailable       a 5xx answer
    │   ├── ConnectionLost           refused, reset, timed out
    │   └── MalformedAnswer          an answer that was cut short, or is of another kind
    └── ShardFault                   a read position no longer holds; handled by the library
        ├── IteratorExpired
        ├── IteratorTrimmed
        └── ShardNotFound

Everything that reaches `on_error` from the library is a `StreamError`; what an observer raises reaches
it as it is. The botocore exception behind an error is its `__cause__`.
"""

from __future__ import annotations


class StreamError(Exception):
    """Base of every error of this library."""


class ConfigurationError(StreamError, ValueError):
    """The call cannot work as it is written, or as this machine is set up: its certificates, its proxy."""


class CredentialsError(StreamError):
    """There are no credentials, or the service does not take them."""


class AccessDenied(StreamError):
    """The credentials lack a permission; the message names the action."""


class StreamNotFound(StreamError):
    """The service does not know the stream, or no longer."""


class TableNotFound(StreamNotFound):
    """There is no table of this name in this account and region."""


class StreamNotEnabled(StreamNotFound):
    """The table has no stream."""


class StreamDisabled(StreamError):
    """The stream was disabled. All that it held has been delivered; nothing will follow."""


class RequestFailed(StreamError):
    """The service refused a request for a reason that another try does not change."""


class DecodeError(StreamError, ValueError):
    """A record has broken text, or what DynamoDB does not document, which `Change.record` has as it came."""


class DataTrimmed(StreamError):
    """Changes were thrown away by the service before they could be read.

    DynamoDB keeps a change for 24 hours.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html

    Attributes:
        shard_id: the shard with the gap.
        after: sequence number of the last change that was read of it, None when there was none.
    """

    def __init__(self, message: str, shard_id: str, after: str | None) -> None:
        super().__init__(message)
        self.shard_id = shard_id
        self.after = after

    def __reduce__(self) -> tuple[type[DataTrimmed], tuple[str, str, str | None]]:
        return type(self), (str(self), self.shard_id, self.after)


class HeldTooLate(StreamError):
    """`hold()` met a change whose delivery was over; see `rxddbstream.operators.hold`."""


class CheckpointError(StreamError):
    """Checkpoints cannot be read or written. What was written before is untouched."""


class CheckpointLocked(CheckpointError):
    """Another consumer uses these checkpoints; two would skip what the other one has read."""


class CheckpointUnreadable(CheckpointError):
    """The store holds something that this library did not write, or that was damaged."""


class CaptureError(StreamError):
    """A capture cannot be written. What was written before can be replayed."""


class CaptureUnreadable(CaptureError):
    """A file cannot be replayed; the message names it, and the line."""


class TransientError(StreamError):
    """A failure that another try may not meet; the library retries it with backoff."""


class Throttled(TransientError):
    """The service asks for fewer calls."""


class ServiceUnavailable(TransientError):
    """The service answered with a 5xx."""


class ConnectionLost(TransientError):
    """No answer: refused, reset or timed out."""


class MalformedAnswer(TransientError):
    """An answer lacks what it must have, or is of another kind: a body that was cut, a proxy's own JSON."""


class ShardFault(StreamError):
    """A read position no longer holds. The library recovers from it; it does not reach `on_error`."""


class IteratorExpired(ShardFault):
    """A shard iterator was used more than 15 minutes after it was made."""


class IteratorTrimmed(ShardFault):
    """The position is older than what the service keeps (TrimmedDataAccessException)."""


class ShardNotFound(ShardFault):
    """The service answers a shard with ResourceNotFoundException."""
