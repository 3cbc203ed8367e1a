"""GetRecords answers decoded by msgspec: what boto3 makes of the same bytes, and no session altered."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import re
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import boto3
import botocore.parsers
import botocore.session
import pytest
from botocore.parsers import ResponseParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from rxddbstream.aws.connect import connect
from rxddbstream.aws.parser import RecordJSON, accelerated
from rxddbstream.errors import ConfigurationError, DecodeError
from rxddbstream.model.change import Change
from rxddbstream.model.diff import diff_of
from rxddbstream.model.values import decode_item
from rxddbstream.patterns.pattern import compile_pattern
from rxddbstream.testing import SimulatedStream
from rxddbstream.views.text import to_dynamodb_json

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-31T12:00:00.000"
NUMBER = "100000000000000000001"

MODEL = botocore.session.get_session().get_service_model("dynamodbstreams")
OUTPUT = MODEL.operation_model("GetRecords").output_shape
PLAIN = botocore.parsers.create_parser("json")
FAST = (
    accelerated(botocore.session.get_session()).get_component("response_parser_factory").create_parser("json")
)


def parse(parser: Any, body: bytes, status: int = 200) -> Any:
    headers = {"x-amzn-RequestId": "R-1", "Date": "Fri, 27 May 2022 13:36:13 GMT"}
    return parser.parse({"status_code": status, "headers": headers, "body": body}, OUTPUT)


def record_of(json: bytes) -> RecordJSON:
    [record] = parse(FAST, b'{"Records": [%b]}' % json)["Records"]
    assert isinstance(record, RecordJSON)
    return record


def as_boto3_has_it(answer: dict[str, Any]) -> dict[str, Any]:
    """With each record as the dict that `Change.record` gives."""
    if "Records" not in answer:
        return answer
    return {**answer, "Records": [Change(record, "shard").record for record in answer["Records"]]}


texts = st.text(max_size=6)
numbers = st.decimals(allow_nan=False, allow_infinity=False).map(str)
blobs = st.binary(max_size=6).map(lambda raw: base64.b64encode(raw).decode())


def attribute_values() -> st.SearchStrategy[dict[str, Any]]:
    plain = st.one_of(
        st.fixed_dictionaries({"S": texts}),
        st.fixed_dictionaries({"N": numbers}),
        st.fixed_dictionaries({"B": blobs}),
        st.fixed_dictionaries({"BOOL": st.booleans()}),
        st.fixed_dictionaries({"NULL": st.just(True)}),
        st.fixed_dictionaries({"SS": st.lists(texts, max_size=3)}),
        st.fixed_dictionaries({"NS": st.lists(numbers, max_size=3)}),
        st.fixed_dictionaries({"BS": st.lists(blobs, max_size=3)}),
    )
    return st.recursive(
        plain,
        lambda inner: (
            st.fixed_dictionaries({"L": st.lists(inner, max_size=3)})
            | st.fixed_dictionaries({"M": st.dictionaries(texts, inner, max_size=3)})
        ),
        max_leaves=8,
    )


items = st.dictionaries(texts, attribute_values(), max_size=4)
odd = st.one_of(  # what DynamoDB does not document
    st.none(),
    st.just({}),
    st.fixed_dictionaries({"Q": texts}),
    st.fixed_dictionaries({"S": texts, "N": numbers}),
    st.fixed_dictionaries({"S": st.none()}),
)
odd_items = st.dictionaries(texts, attribute_values() | odd, max_size=4)


def records(item: st.SearchStrategy[Any], *, missing: bool) -> st.SearchStrategy[dict[str, Any]]:
    always = {"SequenceNumber": st.just(NUMBER)}
    perhaps: dict[str, Any] = {
        "ApproximateCreationDateTime": st.integers(0, 2**31) | st.floats(0, 2**31).map(lambda t: round(t, 3)),
        "Keys": item,
        "NewImage": item,
        "OldImage": item,
        "SizeBytes": st.integers(0, 400_000),
        "StreamViewType": st.sampled_from(["KEYS_ONLY", "NEW_AND_OLD_IMAGES"]),
    }
    if missing:
        perhaps = {name: value | st.none() for name, value in {**always, **perhaps}.items()}
        perhaps["Unknown"] = st.just({"member": [1]})
        always = {}
    detail = st.fixed_dictionaries(always, optional=perhaps)
    top: dict[str, Any] = {
        "eventID": texts,
        "eventName": st.sampled_from(["INSERT", "MODIFY", "REMOVE"]),
        "eventVersion": st.just("1.1"),
        "eventSource": st.just("aws:dynamodb"),
        "awsRegion": texts,
        "dynamodb": detail,
        "userIdentity": st.fixed_dictionaries({}, optional={"PrincipalId": texts, "Type": texts}),
    }
    if missing:
        top = {name: value | st.none() for name, value in top.items()}
        top["Unknown"] = st.just(["member"])
    return st.fixed_dictionaries({}, optional=top)


def answers(item: st.SearchStrategy[Any], *, missing: bool) -> st.SearchStrategy[dict[str, Any]]:
    members: dict[str, Any] = {
        "Records": st.lists(records(item, missing=missing), max_size=3),
        "NextShardIterator": texts,
    }
    if missing:
        members = {name: value | st.none() for name, value in members.items()} | {"Unknown": st.just(1)}
    return st.fixed_dictionaries({}, optional=members)


@settings(max_examples=150, deadline=None)
@given(answers(items, missing=False) | answers(odd_items, missing=True), st.booleans())
def test_the_answer_is_what_boto3_makes_of_the_same_bytes(answer: dict[str, Any], ascii_only: bool) -> None:
    body = json.dumps(answer, ensure_ascii=ascii_only).encode()

    fast = parse(FAST, body)

    assert as_boto3_has_it(fast) == parse(PLAIN, body)


@settings(max_examples=100, deadline=None)
@given(answers(odd_items, missing=True))
def test_records_that_lack_members_or_have_odd_ones_are_decoded_fast_all_the_same(
    answer: dict[str, Any],
) -> None:
    decoded = parse(FAST, json.dumps(answer).encode()).get("Records")

    assert [type(record) for record in decoded or ()] == [RecordJSON] * len(answer.get("Records") or ())


@settings(max_examples=150, deadline=None)
@given(records(items, missing=False) | records(items, missing=True))
def test_a_change_says_the_same_of_json_as_of_boto3s_dict(record: dict[str, Any]) -> None:
    body = json.dumps({"Records": [record]}).encode()
    of_json = Change(parse(FAST, body)["Records"][0], "shard")
    of_dict = Change(parse(PLAIN, body)["Records"][0], "shard")

    for name in ("event_name", "sequence_number", "event_id", "size_bytes", "view_type", "has_time"):
        assert getattr(of_json, name) == getattr(of_dict, name), name
    for name in ("keys", "new_image", "old_image", "user_identity", "is_ttl_delete"):
        assert getattr(of_json, name) == getattr(of_dict, name), name
    if of_dict.has_time:
        # botocore rounds to microseconds in its own way.
        assert abs((of_json.created_at - of_dict.created_at).total_seconds()) < 2e-6
    assert of_json == of_dict
    assert hash(of_json) == hash(of_dict)


@settings(max_examples=100, deadline=None)
@given(items)
def test_an_image_of_json_has_the_values_of_boto3s(item: dict[str, Any]) -> None:
    body = json.dumps({"Records": [{"dynamodb": {"NewImage": item}}]}).encode()
    plain = parse(PLAIN, body)["Records"][0]["dynamodb"]["NewImage"]

    image = Change(parse(FAST, body)["Records"][0], "shard").new_image

    assert image is not None
    assert dict(image) == decode_item(plain)
    assert list(image) == list(item)
    assert dict(image.items()) == dict(image)
    again = Change(parse(FAST, body)["Records"][0], "shard").new_image
    assert again is not None
    assert list(again.values()) == list(image.values())
    assert list(again.items()) == list(image.items())
    assert "no such attribute" not in image


CUT = [b"", b"{", b'{"Records": [{', b'{"Records": [{"eventID": "1"}], "NextShardIter', b"<html>"]


@pytest.mark.parametrize("body", CUT)
def test_a_body_that_was_cut_is_an_error_and_not_an_empty_answer(body: bytes) -> None:
    assert "Records" not in parse(PLAIN, body)
    with pytest.raises(ResponseParserError):
        parse(FAST, body)


@pytest.mark.parametrize("body", [b"null", b"[]", b"5", b'{"Records": {}}', b'{"NextShardIterator": 5}'])
def test_json_of_another_kind_is_no_page(body: bytes) -> None:
    with pytest.raises(ResponseParserError, match="the answer is no page: Expected"):
        parse(FAST, body)


@pytest.mark.parametrize(
    ("record", "where"),
    [
        (b"5", "Records[1]"),
        (b'{"dynamodb": 5}', "Records[1].dynamodb"),
        (b'{"userIdentity": "x"}', "Records[1].userIdentity"),
        (b'{"dynamodb": {"ApproximateCreationDateTime": "noon"}}', "ApproximateCreationDateTime"),
    ],
)
def test_a_record_of_which_botocore_makes_none_is_told_by_its_place(record: bytes, where: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(where)) as raised:
        parse(FAST, b'{"Records": [{}, %b]}' % record)
    assert "noon" not in str(raised.value)


@pytest.mark.parametrize("status", [301, 400, 500])
def test_errors_are_left_to_botocore(status: int) -> None:
    body = b'{"__type": "com.amazonaws.dynamodb#ExpiredIteratorException", "message": "old"}'

    assert parse(FAST, body, status) == parse(PLAIN, body, status)


@pytest.mark.parametrize("record", [b"null", b'{"eventName": 5}', b'{"dynamodb": {"SizeBytes": "5"}}'])
def test_a_page_with_a_record_of_another_kind_is_left_to_botocore(record: bytes) -> None:
    body = b'{"Records": [{}, %b], "NextShardIterator": "next"}' % record

    assert parse(FAST, body) == parse(PLAIN, body)


def test_what_is_no_record_is_an_error_when_it_is_looked_at() -> None:
    with pytest.raises(DecodeError, match="a record was expected, not NoneType"):
        _ = Change(parse(FAST, b'{"Records": [null]}')["Records"][0], "shard").event_name


def test_an_image_that_is_no_item_is_an_error_that_names_what_it_is() -> None:
    change = Change(record_of(b'{"eventName": "INSERT", "dynamodb": {"NewImage": "text"}}'), "shard")

    assert change.event_name == "INSERT"
    for touch in (dict, len, list, lambda image: image["id"], lambda image: list(image.values())):
        with pytest.raises(DecodeError, match="not an item"):
            touch(change.new_image)


def test_touching_an_attribute_decodes_no_other() -> None:
    change = Change(
        record_of(b'{"dynamodb": {"NewImage": {"a": {"N": "1"}, "b": {"Q": 1}}, "OldImage": []}}'), "shard"
    )

    assert change.new_image is not None
    assert change.new_image["a"] == 1
    with pytest.raises(DecodeError, match=r"{Q: int}"):
        _ = change.new_image["b"]


@pytest.mark.parametrize("number", range(6))
def test_one_attribute_that_cannot_be_decoded_hides_no_other(number: int) -> None:
    values = [{"S": str(n)} for n in range(6)]
    values[number] = {"S": "a", "N": "1"}
    body = json.dumps({"dynamodb": {"NewImage": {str(n): value for n, value in enumerate(values)}}})
    image = Change(record_of(body.encode()), "shard").new_image

    assert image is not None
    for _ in range(2):
        for n in range(6):
            if n == number:
                with pytest.raises(DecodeError, match=r"{S: str, N: str}"):
                    image[str(n)]
            else:
                assert image[str(n)] == str(n)
        with pytest.raises(DecodeError):
            list(image.values())


def test_values_that_were_handed_out_stay_the_same_objects() -> None:
    body = b'{"dynamodb": {"NewImage": {"a": {"L": []}, "b": {"S": ""}, "c": {"S": ""}, "d": {"S": ""}}}}'
    image = Change(record_of(body), "shard").new_image

    assert image is not None
    first = image["a"]
    _ = list(image.values())
    assert image["a"] is first


def test_a_kept_change_does_not_keep_its_page_alive() -> None:
    image = {"text": {"S": "x" * 1000}}
    page = json.dumps(
        {"Records": [{"dynamodb": {"Keys": image, "NewImage": image, "OldImage": image}}] * 100}
    )
    tracemalloc.start()
    try:
        first = parse(FAST, page.encode())["Records"][0]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert first.detail.new_image
    assert kept < 10_000


@pytest.mark.parametrize("touch", [False, True])
def test_a_change_of_json_can_be_pickled(touch: bool) -> None:
    change = Change(record_of(b'{"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "a"}}}}'), "shard")
    if touch:
        assert change.keys == {"id": "a"}

    other = pickle.loads(pickle.dumps(change))

    assert other == change
    assert other.keys == {"id": "a"}
    assert pickle.loads(pickle.dumps(change.keys)) == {"id": "a"}


# --- a byte that was broken on its way: what is not looked at is not looked into -----------------

WHOLE = json.dumps(
    {
        "eventID": "e-1",
        "eventName": "MODIFY",
        "dynamodb": {
            "Keys": {"id": {"S": "o-1"}},
            "NewImage": {"id": {"S": "o-1"}, "city": {"S": "Köln"}, "lines": {"L": [{"S": "tea"}]}},
            "OldImage": {"id": {"S": "o-1"}, "city": {"S": "Ulm"}, "tags": {"SS": ["a", "b"]}},
            "SequenceNumber": NUMBER,
        },
    },
    ensure_ascii=False,
).encode()

LOOKS: list[Callable[[Change], object]] = [
    lambda change: dict(change.keys),
    lambda change: [image and image.get("city") for image in (change.new_image, change.old_image)],
    lambda change: [image and dict(image) for image in (change.new_image, change.old_image)],
    lambda change: [image and list(image.items()) for image in (change.new_image, change.old_image)],
    lambda change: [image and "city" in image for image in (change.new_image, change.old_image)],
    diff_of,
    to_dynamodb_json,
    compile_pattern({"dynamodb": {"NewImage": {"city": {"S": ["Köln"]}}}}).matches_change,
    lambda change: change.record,
]


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.sampled_from([0xFF, 0xC3, 0x80]), st.sampled_from(LOOKS))
def test_a_byte_that_was_broken_is_told_where_it_is_looked_at_and_by_which_change_has_it(
    at: int, byte: int, look: Callable[[Change], object]
) -> None:
    broken = bytearray(WHOLE)
    broken[at] = byte
    try:
        change = Change(record_of(bytes(broken)), "shard-1")
    except ResponseParserError:
        return  # it was found with the page, which is asked for again
    assert repr(change).startswith("<Change")
    with suppress(ConfigurationError):  # an image that is not there, for all that one can see
        try:
            look(change)
        except DecodeError as error:
            told = str(error)
        else:
            told = ""
        assert re.match(f"change {change.sequence_number} of shard shard-1: |$", told)


@pytest.mark.parametrize("look", LOOKS)
def test_no_text_that_was_broken_is_taken_for_one(look: Callable[[Change], object]) -> None:
    def broken(old: bytes, new: bytes) -> Change:
        assert old in WHOLE
        return Change(record_of(WHOLE.replace(old, new)), "shard-1")

    change = broken(b"o-1", b"o-\xff") if look is LOOKS[0] else broken("Köln".encode(), b"K\xffln")
    if look is LOOKS[4]:
        change = broken(b"city", b"c\xffty")
    with pytest.raises(DecodeError, match=r"change 1.* of shard shard-1: .*(no UTF-8|cannot parse)"):
        look(change)


@pytest.mark.parametrize("name", ["city", "none"])
def test_an_attribute_is_not_missing_where_a_name_was_broken(name: str) -> None:
    image = Change(record_of(WHOLE.replace(b"city", b"c\xffty")), "shard-1").new_image

    assert image is not None
    with pytest.raises(DecodeError, match="no UTF-8"):
        image[name]
    with pytest.raises(KeyError):
        _ = (Change(record_of(WHOLE), "shard-1").new_image or {})["none"]


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_nested_deeper_than_any_item_is_told_by_the_change_that_has_it(
    look: Callable[[Change], object],
) -> None:
    for depth in range(100, 600, 50):
        deep = b'{"L": [' * depth + b'{"S": "tea"}' + b"]}" * depth
        whole = WHOLE.replace(b'{"S": "o-1"}', deep).replace('{"S": "Köln"}'.encode(), deep)
        try:
            change = Change(record_of(whole), "shard-1")
        except ResponseParserError:
            assert depth > 300
            return
        assert repr(change).startswith("<Change")
        with suppress(DecodeError):  # msgspec can go deeper than Python's functions
            look(change)


# --- sessions -----------------------------------------------------------------------------------


def test_a_given_session_is_not_altered_and_its_settings_hold() -> None:
    session = boto3.Session("their-key", "their-secret", region_name="eu-north-1")
    made_up = ARN.replace("eu-west-1", "ddblocal")  # a region of its own would win
    called: list[str] = []
    session.events.register("before-parameter-build.dynamodb-streams", lambda **_: called.append("theirs"))
    factory = session._session.get_component("response_parser_factory")
    session.get_credentials()
    settings = dict(session._session.__dict__)

    boto = connect(made_up, now=lambda: None, session=session)._boto  # type: ignore[arg-type,return-value]
    boto.meta.events.register("before-send", lambda request, **_: _answered(request))
    boto.get_records(ShardIterator="iterator")

    assert called == ["theirs"]
    assert boto._request_signer._credentials.access_key == "their-key"
    assert boto.meta.region_name == "eu-north-1"
    assert session._session.get_component("response_parser_factory") is factory
    assert session._session.__dict__ == settings
    plain = session.client("dynamodbstreams")
    plain.meta.events.register("before-send", lambda request, **_: _answered(request))
    assert type(plain.get_records(ShardIterator="iterator")["Records"][0]) is dict


def _answered(request: Any) -> Any:
    from botocore.awsrequest import AWSResponse

    class Raw:
        def stream(self, **_: Any) -> Any:
            yield b'{"Records": [{"eventID": "1"}]}'

    return AWSResponse(request.url, 200, {}, Raw())


def test_the_default_parsers_of_a_given_session_hold_for_all_that_botocore_parses() -> None:
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(
        timestamp_parser=lambda value: "then"
    )
    parser = accelerated(session).get_component("response_parser_factory").create_parser("json")
    shape = MODEL.operation_model("DescribeStream").output_shape
    body = b'{"StreamDescription": {"CreationRequestDateTime": 1}}'

    answer = parser.parse({"status_code": 200, "headers": {}, "body": body}, shape)

    assert answer["StreamDescription"]["CreationRequestDateTime"] == "then"


def test_a_ready_made_client_is_not_accelerated_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    client = boto3.client("dynamodbstreams", region_name="eu-west-1")
    with caplog.at_level(logging.INFO, "rxddbstream"):
        connect(ARN, now=lambda: None, client=client)  # type: ignore[arg-type,return-value]
        assert [line.getMessage() for line in caplog.records] == [
            "client= decodes with botocore's own parser, which is slow; with session= in its place, "
            "GetRecords answers are decoded by rxddbstream"
        ]
        caplog.clear()
        connect(ARN, now=lambda: None, client=SimulatedStream().client)  # type: ignore[arg-type,return-value]
        assert not caplog.records


def test_half_of_a_character_is_no_cut_answer() -> None:
    """Python's own parser lets it through; it is not to be asked for again, for ever."""
    body = b'{"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "\\ud83d"}}}}]}'
    parser = accelerated(botocore.session.get_session()).get_component("response_parser_factory")
    answer = parser.create_parser("json").parse(
        {"status_code": 200, "headers": {}, "body": body}, MODEL.operation_model("GetRecords").output_shape
    )

    assert answer["Records"][0]["dynamodb"]["Keys"] == {"id": {"S": "\ud83d"}}
