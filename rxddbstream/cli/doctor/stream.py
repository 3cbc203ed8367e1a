"""What the stream is like: its state, its images, its shards and what reading them costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rxddbstream.aws.answers import DescribeStream, check
from rxddbstream.cli.doctor.calls import Calls
from rxddbstream.cli.doctor.finding import Finding, Place, resource_of_stream
from rxddbstream.errors import RequestFailed, StreamError, StreamNotFound
from rxddbstream.model.shard import Shard
from rxddbstream.model.words import table_of
from rxddbstream.protocol.pacing import Poll, calls_per_second
from rxddbstream.views.price import in_dollars, price

LISTING_PAUSE = 0.1  # seconds between two pages: an account may ask for ten a second
SECONDS_A_DAY = 86_400

IMAGES = {
    "NEW_AND_OLD_IMAGES": "",
    "NEW_IMAGE": "change.old_image is None in all changes",
    "OLD_IMAGE": "change.new_image is None in all changes",
    "KEYS_ONLY": "change.new_image and change.old_image are None in all changes",
}
"""What each view type leaves out."""


class Described(NamedTuple):
    """A stream, by DescribeStream.

    Attributes:
        table: its table's name.
        view_type: which images it has.
        shards: all that are listed, in their order.
    """

    table: str
    view_type: str | None
    shards: list[Shard]

    @property
    def open_shards(self) -> list[Shard]:
        """Those that take changes; one with children takes none, whatever the listing says."""
        parents = {shard.parent_id for shard in self.shards}
        return [shard for shard in self.shards if not shard.is_closed and shard.id not in parents]


def check_stream(
    client: Any, arn: str, calls: Calls, sleep: Callable[[float], object]
) -> tuple[Finding, Described | None]:
    """Whether the stream may be described, and is alive."""
    place = calls.place
    try:
        description, shards = _describe(client, arn, calls, sleep)
    except StreamNotFound:
        advice = (
            "Check the ARN, its region and account; a table whose stream was enabled again has another ARN, "
            "so give the table's name"
        )
        return Finding("fail", "stream", f"there is no stream {arn}", advice), None
    except StreamError as error:
        return calls.failed("stream", error, "DescribeStream", resource_of_stream(arn)), None
    table = description.get("TableName") or table_of(arn)
    stream = Described(table, description.get("StreamViewType"), shards)
    status = description.get("StreamStatus", "of unknown status")
    text = f"{arn} is {status}"
    if status in ("DISABLED", "DISABLING"):
        text += "; what it has can be read for 24 hours from its end, and nothing follows"
        advice = f"Where the table is still there, enable a new one: {_enable(table, place)}"
        return Finding("fail", "stream", text, advice), stream
    return Finding("ok", "stream", text), stream


def check_view_type(stream: Described, place: Place) -> Finding:
    """Which images the changes will have."""
    view_type = stream.view_type
    if view_type not in IMAGES:
        return Finding("skip", "view type", "the service does not tell it")
    lacking = IMAGES[view_type]
    if not lacking:
        return Finding("ok", "view type", f"{view_type}: all that the library can tell of a change")
    text = f"{view_type}: {lacking}; changed() and diff() end with an error"
    advice = (
        "To have both images, disable the stream, and enable another, which begins anew:\n"
        f"{_disable(stream.table, place)}\n{_enable(stream.table, place)}"
    )
    return Finding("warn", "view type", text, advice)


def check_shards(stream: Described, poll: Poll) -> Finding:
    """How many shards there are, and what they cost."""
    total, live = len(stream.shards), len(stream.open_shards)
    if not total:
        advice = "Run it again in a moment: the shards of a stream that was just enabled are listed late"
        return Finding("warn", "shards", "there are none", advice)
    text = f"{live} open, {total - live} closed"
    if not live:
        advice = "Run it again in a moment: the shards that go on are listed late"
        return Finding("warn", "shards", f"{text}; nothing new will come of these", advice)
    idle, most = calls_per_second(poll, live)
    return Finding(
        "ok", "shards", f"{text}; at the default polling {_cost(idle)} while idle, {_cost(most)} at most"
    )


def check_shard_filter(client: Any, arn: str, shards: Sequence[Shard], calls: Calls) -> Finding:
    """Whether a shard's children can be listed alone."""
    families = Counter(shard.parent_id for shard in shards if shard.parent_id)
    parent = next((shard for shard in shards if families[shard.id]), None)
    if parent is None:
        return Finding("skip", "shard filter", "not known: no shard has children yet to ask for")
    children = {shard.id for shard in shards if shard.parent_id == parent.id}
    advice = "Nothing to do: children are found by listing all shards, which is slower where there are many"
    shard_filter = {"Type": "CHILD_SHARDS", "ShardId": parent.id}
    try:
        answer = calls.ask(client, "describe_stream", StreamNotFound, StreamArn=arn, ShardFilter=shard_filter)
    except RequestFailed:
        return Finding("warn", "shard filter", "the service, or this boto3, does not take it", advice)
    except StreamNotFound:
        return Finding("skip", "shard filter", f"not known: shard {parent.id} has gone meanwhile")
    except StreamError as error:
        return calls.failed("shard filter", error, "DescribeStream", resource_of_stream(arn))
    listed = {shard.id for shard in _shards_of(answer)}
    if parent.id in listed or not listed & children:
        return Finding("warn", "shard filter", "the service does not heed it", advice)
    return Finding("ok", "shard filter", "known: a shard's children are found by one call")


def _describe(
    client: Any, arn: str, calls: Calls, sleep: Callable[[float], object]
) -> tuple[dict[str, Any], list[Shard]]:
    shards: list[Shard] = []
    more: dict[str, str] = {}
    asked: set[str] = set()
    while True:
        answer = calls.ask(client, "describe_stream", StreamNotFound, StreamArn=arn, **more)
        shards += _shards_of(answer)
        description: dict[str, Any] = answer["StreamDescription"]
        after = description.get("LastEvaluatedShardId")
        if not after:
            return description, shards
        if after in asked:
            raise RequestFailed(f"its listing leads back to shard {after}, where it was before")
        asked.add(after)
        more = {"ExclusiveStartShardId": after}
        sleep(LISTING_PAUSE)


def _shards_of(answer: Any) -> list[Shard]:
    check(answer, DescribeStream, "DescribeStream")
    return [Shard.from_description(shard) for shard in answer["StreamDescription"].get("Shards") or ()]


def _cost(calls: float) -> str:
    dollars = price(calls * SECONDS_A_DAY)
    rate = f"{calls:.3g} calls a second"
    return (
        f"{rate} (less than a cent a day)"
        if dollars < 0.01
        else f"{rate} (about {in_dollars(dollars)} a day)"
    )


def _enable(table: str, place: Place) -> str:
    specification = "StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
    return f"{_update(table)} {specification}{place.options}"


def _disable(table: str, place: Place) -> str:
    return f"{_update(table)} StreamEnabled=false{place.options}"


def _update(table: str) -> str:
    return f"aws dynamodb update-table --table-name {table} --stream-specification"
