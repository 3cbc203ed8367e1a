"""Operators that say which changes matter, and what they changed.

None of them keeps a change back: one that they drop is done, and so is one that they pass when its observer
has it. They need no `hold()`; put them before it, since a change that is held and then dropped is never
released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reactivex import Observable, defer
from reactivex import operators as ops

from rxddbstream.model.change import Change
from rxddbstream.model.diff import Diff, diff_of, has_changed
from rxddbstream.model.paths import Path, parse_path
from rxddbstream.model.shard import RETENTION
from rxddbstream.model.times import Seconds
from rxddbstream.operators.recent import Recent
from rxddbstream.patterns.pattern import compile_pattern


def where(pattern: Mapping[str, Any]) -> Callable[[Observable[Change]], Observable[Change]]:
    """Pass the changes that match an event filter pattern, as AWS Lambda's triggers have it.

    ::

        source                              -insert--modify--insert--remove-
        where({"eventName": ["INSERT"]})    -insert----------insert---------

    All members of the pattern have to match, and of each list one rule. Rules are values, and `prefix`,
    `suffix`, `equals-ignore-case`, `anything-but`, `exists` and `numeric`; `$or` takes a list of patterns.
    Filter criteria, `{"Filters": [{"Pattern": "<JSON>"}]}`, pass what one of their patterns matches.
    https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html

    It costs a few microseconds a change, as no more of a record is decoded than what the pattern names.

    What differs from Lambda:
        * Rules that Lambda takes, though no record can match them, are refused: numbers and `numeric` for an
          item's attributes, whose numbers are strings in JSON (`{"N": ["101"]}` works), and rules for an
          image or an attribute as a whole, rather than for its type (`{"status": {"S": [...]}}`).
        * `eventSourceARN` is not in a stream's records, and matches `{"exists": false}` alone.
        * A dot in a name is a dot, and does not lead into an object.
        * 300, 300.0 and 3e2 are the same number.
        * There may be any number of filters; `wildcard` and `cidr`, which Lambda does not document, are
          refused.

    Raises:
        ConfigurationError: the pattern is none, or can match nothing; the message says where.

    >>> import rxddbstream as rxd
    >>> from rxddbstream import operators as dops
    >>> paid = rxd.changes("orders").pipe(
    ...     dops.where({"dynamodb": {"NewImage": {"status": {"S": [{"prefix": "pa"}]}}}})
    ... )
    """
    return ops.filter(compile_pattern(pattern).matches_change)


def changed(*paths: Path) -> Callable[[Observable[Change]], Observable[Change]]:
    """Pass the changes that put another value at the end of one of these paths.

    ::

        source              -status--total--status--note-
        changed("status")   -status---------status-------

    What was not there before, or is not there any more, has changed; so an inserted item has changed all that
    it has. Without a path, any attribute counts. The stream's view type has to be NEW_AND_OLD_IMAGES.

    Args:
        paths: such as `"status"`, `"address.city"` or `"lines[0].qty"`; a tuple of the parts where a name has
            a dot or a bracket in it: `("lines", 0, "net.weight")`.

    Raises:
        ConfigurationError: a path is none.

    Errors at on_error:
        ConfigurationError: the stream leaves out an image.

    >>> import rxddbstream as rxd
    >>> from rxddbstream import operators as dops
    >>> moved = rxd.changes("orders").pipe(dops.changed("status", "address.city"))
    """
    parsed = [parse_path(path) for path in paths]
    return ops.filter(lambda change: has_changed(change, parsed))


def diff() -> Callable[[Observable[Change]], Observable[Diff]]:
    """Say of each change which attributes it added, removed, and gave another value.

    ::

        source    -------{total: 2}->{total: 3, paid: True}-------
        diff()    -------Diff(added={paid: True}, removed={}, changed={total: (2, 3)})-------

    The stream's view type has to be NEW_AND_OLD_IMAGES. A `Diff` is a tuple that has the change in it, so
    that `hold()` before and `release()` after it work as with the change itself.

    Errors at on_error:
        ConfigurationError: the stream leaves out an image.

    >>> import rxddbstream as rxd
    >>> from reactivex import operators as ops
    >>> from rxddbstream import operators as dops
    >>> renamed = rxd.changes("orders").pipe(dops.diff(), ops.filter(lambda diff: "status" in diff.changed))
    """
    return ops.map(diff_of)


def distinct_event(
    ttl: Seconds = RETENTION, *, max_events: int | None = None
) -> Callable[[Observable[Change]], Observable[Change]]:
    """Drop the changes that have come before, by their `event_id`.

    ::

        source             -a--b--c--b--c--d-
        distinct_event()   -a--b--c--------d-

    A stream is read at least once. What comes again within a run, say because two sources are merged that
    overlap, is dropped here. What comes again in the next run, after a crash, is not: nothing is remembered
    from run to run.

    An ID is remembered for `ttl` by the changes' own time: the newest one that was seen. That takes about 200
    bytes a change, 1 GB a day at 60 changes a second. A shorter `ttl`, or `max_events`, takes less. Changes
    without an ID pass.

    Args:
        ttl: seconds or a timedelta; 24 hours is as long as a stream keeps a change.
        max_events: how many to remember at most.

    Raises:
        ConfigurationError: `ttl` or `max_events` is not positive.

    >>> import rxddbstream as rxd
    >>> from reactivex import merge
    >>> from rxddbstream import operators as dops
    >>> both = merge(rxd.changes("orders"), rxd.changes("orders")).pipe(dops.distinct_event(ttl=3600))
    """
    Recent[str](ttl, max_events)

    def apply(source: Observable[Change]) -> Observable[Change]:
        def begin(_: object) -> Observable[Change]:
            seen = Recent[str](ttl, max_events)

            def is_new(change: Change) -> bool:
                event_id = change.event_id
                if event_id is None:
                    return True
                seen.advance(change)
                if event_id in seen:
                    return False
                seen.add(event_id)
                return True

            return source.pipe(ops.filter(is_new))

        return defer(begin)

    return apply
