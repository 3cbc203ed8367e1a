"""Filter patterns match what AWS documents, and what moto's and event-ruler's own ways of matching do."""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.events.models import EventPattern

from rxddbstream.aws.parser import RecordJSON
from rxddbstream.errors import ConfigurationError, StreamError
from rxddbstream.model.change import Change
from rxddbstream.patterns.pattern import compile_pattern

# AWS's example, with a capital letter of its own: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html
CUSTOMER = {
    "eventID": "1",
    "eventVersion": "1.0",
    "dynamodb": {
        "ApproximateCreationDateTime": 1678831218.0,
        "Keys": {"CustomerName": {"S": "AnyCompany Industries"}},
        "NewImage": {
            "AccountManager": {"S": "Pat Candella"},
            "PaymentTerms": {"S": "60 days"},
            "CustomerName": {"S": "AnyCompany Industries"},
        },
        "SequenceNumber": "111",
        "SizeBytes": 26,
        "StreamViewType": "NEW_IMAGE",
    },
}
ORDER = {
    "eventID": "2",
    "eventName": "INSERT",
    "eventSource": "aws:dynamodb",
    "awsRegion": "eu-west-1",
    "dynamodb": {
        "ApproximateCreationDateTime": 1678831218.5,
        "Keys": {"id": {"S": "o-1"}},
        "NewImage": {
            "id": {"S": "o-1"},
            "status": {"S": "paid"},
            "note": {"S": ""},
            "total": {"N": "101"},
            "gift": {"BOOL": True},
            "until": {"NULL": True},
            "mark": {"B": "AP8="},
            "tags": {"SS": ["new", "vip"]},
            "address": {"M": {"city": {"S": "Bern"}, "zip": {"N": "3000"}}},
            "lines": {
                "L": [
                    {"M": {"sku": {"S": "a"}, "qty": {"N": "1"}}},
                    {"M": {"sku": {"S": "b"}, "qty": {"N": "2"}, "note": {"S": "x"}}},
                ]
            },
            "nothing": {"L": []},
        },
        "SequenceNumber": "100000000000000000001",
        "SizeBytes": 300,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    },
}
REMOVED = {
    "eventID": "3",
    "eventName": "REMOVE",
    "userIdentity": {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"},
    "dynamodb": {
        "Keys": {"id": {"S": "o-1"}},
        "OldImage": {"id": {"S": "o-1"}, "status": {"S": "Paid"}},
        "SizeBytes": 26,
    },
}
RECORDS = {"customer": CUSTOMER, "order": ORDER, "removed": REMOVED}


def new(**attributes: Any) -> dict[str, Any]:
    return {"dynamodb": {"NewImage": attributes}}


def status(*rules: Any) -> dict[str, Any]:
    return new(status={"S": list(rules)})


def size(*rules: Any) -> dict[str, Any]:
    return {"dynamodb": {"SizeBytes": list(rules)}}


DOCUMENTED = [
    ({"dynamodb": {"Keys": {"CustomerName": {"S": ["AnyCompany Industries"]}}}}, "customer"),
    (new(AccountManager={"S": ["Pat Candella", "Shirley Rodriguez"]}), "customer"),
    (
        {
            "dynamodb": {
                "NewImage": {"AccountManager": {"S": ["Pat Candella"]}},
                "OldImage": {"x": {"S": [""]}},
            }
        },
        "",
    ),
    ({"eventName": ["INSERT"]}, "order"),
    ({"eventName": ["INSERT", "REMOVE"]}, "order removed"),
    ({"eventName": [{"exists": False}]}, "customer"),
    ({"eventName": [{"exists": True}]}, "order removed"),
    ({"eventName": [None]}, ""),
    (status("paid"), "order"),
    (status("Paid"), ""),
    (status("new", {"prefix": "pa"}), "order"),
    (status({"prefix": ""}), "order"),
    (status({"prefix": "id"}), ""),
    (status({"prefix": {"equals-ignore-case": "PA"}}), "order"),
    (status({"suffix": "id"}), "order"),
    (status({"suffix": "pa"}), ""),
    (status({"suffix": {"equals-ignore-case": "ID"}}), "order"),
    (status({"equals-ignore-case": "PAID"}), "order"),
    (status({"equals-ignore-case": "pai"}), ""),
    (status({"anything-but": "new"}), "order"),
    (status({"anything-but": ["new", "paid"]}), ""),
    (status({"anything-but": ["new", "old"]}), "order"),
    (status({"anything-but": {"prefix": "pa"}}), ""),
    (status({"anything-but": {"prefix": "ne"}}), "order"),
    (status({"anything-but": {"suffix": "id"}}), ""),
    (status({"anything-but": {"equals-ignore-case": "PAID"}}), ""),
    (status({"anything-but": {"equals-ignore-case": ["NEW", "OLD"]}}), "order"),
    (status({"exists": True}), "order"),
    (status({"exists": False}), "customer removed"),
    (status({"exists": False}, "paid"), "customer order removed"),
    (new(note={"S": [""]}), "order"),
    (new(total={"N": ["101"]}), "order"),
    (new(total={"N": ["101.0"]}), ""),
    (new(total={"N": [{"prefix": "10"}]}), "order"),
    (new(total={"N": [{"anything-but": 101}]}), "order"),  # which the string "101" is
    (new(gift={"BOOL": [True]}), "order"),
    (new(gift={"BOOL": [False]}), ""),
    (new(until={"NULL": [True]}), "order"),
    (new(mark={"B": ["AP8="]}), "order"),
    (new(mark={"B": [{"prefix": "AP"}]}), "order"),
    (new(tags={"SS": ["vip"]}), "order"),
    (new(tags={"SS": ["old"]}), ""),
    (new(tags={"SS": [{"anything-but": "new"}]}), "order"),
    (new(address={"M": {"city": {"S": ["Bern"]}, "zip": {"N": ["3000"]}}}), "order"),
    (new(address={"M": {"city": {"S": ["Bern"]}, "zip": {"N": ["8000"]}}}), ""),
    (new(address={"M": {"street": {"S": [{"exists": False}]}}}), "customer order removed"),
    (new(lines={"L": {"M": {"sku": {"S": ["b"]}, "qty": {"N": ["1"]}}}}), ""),  # not in one element
    (new(lines={"L": {"M": {"sku": {"S": ["a"]}, "note": {"S": [{"exists": False}]}}}}), ""),
    (new(nothing={"L": {"S": [{"exists": False}]}}), "customer order removed"),
    (size({"numeric": ["=", 26]}), "customer removed"),
    (size({"numeric": [">", 26]}), "order"),
    (size({"numeric": [">=", 26, "<", 300]}), "customer removed"),
    (size(26), "customer removed"),
    (size({"anything-but": 26}), "order"),
    (size({"anything-but": [26, 300]}), ""),
    ({"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 1678831218]}]}}, "order"),
    ({"$or": [{"eventName": ["INSERT"]}, size({"numeric": ["<", 30]})]}, "customer order removed"),
    ({"eventName": ["REMOVE"], "$or": [status("paid"), {"userIdentity": {"Type": ["Service"]}}]}, "removed"),
    ({"dynamodb": {"$or": [{"NewImage": {"status": {"S": ["paid"]}}}, {"SizeBytes": [1]}]}}, "order"),
    ({"eventSource": ["aws:dynamodb"]}, "order"),
]
NOT_AS_MOTO = [
    # Lists of objects are crushed, as AWS documents it; moto looks at the list as one value.
    (new(lines={"L": {"M": {"sku": {"S": ["b"]}}}}), "order"),
    (new(lines={"L": {"M": {"sku": {"S": ["b"]}, "qty": {"N": ["2"]}}}}), "order"),
    (new(lines={"L": {"M": {"note": {"S": [{"exists": True}]}}}}), "order"),
    (new(lines={"L": {"M": {"note": {"S": [{"exists": False}]}}}}), "customer removed"),
    (new(lines={"L": {"M": {"$or": [{"sku": {"S": ["c"]}}, {"qty": {"N": ["2"]}}]}}}), "order"),
    # A list or an object without anything in it is not there.
    (new(nothing={"L": [{"exists": False}]}), "customer order removed"),
    # What holds values is not one, so it does not exist either: AWS says so of "Organizations".
    (new(lines={"L": [{"exists": False}]}), "customer order removed"),
    # Lambda's events say `type` and `principalId`, where GetRecords says `Type` and `PrincipalId`.
    ({"userIdentity": {"type": ["Service"], "principalId": ["dynamodb.amazonaws.com"]}}, "removed"),
]


def as_it_comes(record: dict[str, Any], kind: type[RecordJSON] = RecordJSON) -> RecordJSON:
    return msgspec.json.decode(json.dumps(record), type=kind)


def matching(pattern: dict[str, Any]) -> list[str]:
    return [name for name, record in RECORDS.items() if compile_pattern(pattern).matches(record)]


@pytest.mark.parametrize(("pattern", "names"), DOCUMENTED + NOT_AS_MOTO, ids=str)
def test_patterns_match(pattern: dict[str, Any], names: str) -> None:
    assert matching(pattern) == names.split()


@pytest.mark.parametrize(("pattern", "names"), DOCUMENTED, ids=str)
def test_moto_says_the_same(pattern: dict[str, Any], names: str) -> None:
    moto = EventPattern.load(json.dumps(pattern))
    assert [name for name, record in RECORDS.items() if moto.matches_event(record)] == names.split()


@pytest.mark.parametrize(("pattern", "names"), NOT_AS_MOTO, ids=str)
def test_moto_does_not_say_the_same_of_these(pattern: dict[str, Any], names: str) -> None:
    # When this fails, moto has come nearer to AWS, and the pattern belongs into the other table.
    moto = EventPattern.load(json.dumps(pattern))
    assert [name for name, record in RECORDS.items() if moto.matches_event(record)] != names.split()


@pytest.mark.parametrize(("pattern", "names"), DOCUMENTED + NOT_AS_MOTO, ids=str)
def test_what_came_as_json_and_what_boto3_has_match_alike(pattern: dict[str, Any], names: str) -> None:
    compiled = compile_pattern(pattern)
    for name, record in RECORDS.items():
        change = Change(as_it_comes(record), "shard-1")
        for _ in ("as it came", "once it was looked into"):
            assert compiled.matches(change.record_as_it_came) is (name in names.split())
            for image in (change.keys, change.new_image, change.old_image):
                dict((image or {}).items())
        assert compiled.matches(change.record) is (name in names.split())  # times and bytes are Python's


def test_no_more_is_decoded_than_the_pattern_names() -> None:
    class Opaque(RecordJSON):
        def to_dict(self) -> dict[str, Any]:
            raise AssertionError("the whole record was asked for")

    change = Change(as_it_comes(ORDER, Opaque), "shard-1")
    for pattern in (
        status("paid"),
        {"eventName": ["INSERT"]},
        {"dynamodb": {"Keys": {"id": {"S": ["o-1"]}}}},
    ):
        compiled = compile_pattern(pattern)
        assert compiled.matches(change.record_as_it_came)


@pytest.mark.parametrize("image", [None, [], "text", 1])
def test_an_image_that_is_none_has_no_attributes(image: Any) -> None:
    record = {"eventName": "INSERT", "dynamodb": {"NewImage": image}}
    change = Change(as_it_comes(record), "shard-1")
    for rules, matches in (([{"exists": False}], True), (["paid"], False)):
        compiled = compile_pattern(status(*rules))
        assert compiled.matches(record) is matches
        assert compiled.matches(change.record_as_it_came) is matches


def test_bytes_and_times_are_as_in_json() -> None:
    record = {
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2023, 3, 14, tzinfo=UTC),
            "NewImage": {"mark": {"B": b"\x00\xff"}, "marks": {"BS": [b"a", b"b"]}},
        }
    }
    at = {"dynamodb": {"ApproximateCreationDateTime": [1678752000]}}
    for pattern in (at, new(mark={"B": ["AP8="]}), new(marks={"BS": ["Yg=="]})):
        assert compile_pattern(pattern).matches(record)


# --- filter criteria -------------------------------------------------------------------------------


def test_filter_criteria_pass_what_one_of_their_patterns_matches() -> None:
    criteria = {
        "Filters": [
            {"Pattern": json.dumps({"eventName": ["REMOVE"]})},
            {"Pattern": json.dumps(new(AccountManager={"S": [{"prefix": "Pat"}]}))},
        ]
    }
    assert matching(criteria) == ["customer", "removed"]


def test_a_name_that_comes_twice_in_json() -> None:
    # As in AWS's example of a Boolean "and".
    paid, order = '{"NewImage": {"status": {"S": ["paid"]}}}', '{"NewImage": {"id": {"S": ["o-1"]}}}'
    twice = f'{{"dynamodb": {paid}, "dynamodb": {order}}}'
    assert matching({"Filters": [{"Pattern": twice}]}) == ["order"]
    assert matching({"Filters": [{"Pattern": twice.replace("paid", "new")}]}) == []
    last = '{"eventName": ["INSERT"], "eventName": ["REMOVE"]}'
    assert matching({"Filters": [{"Pattern": last}]}) == ["removed"]


# --- what is no pattern ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "where", "what"),
    [
        ({}, "its top", "empty object"),
        ("text", "its top", "expected an object, not 'text'"),
        ({"eventName": "INSERT"}, "eventName", "did you mean ['INSERT']?"),
        ({"eventName": []}, "eventName", "empty list"),
        ({"dynamodb": {"NewImage": {}}}, "dynamodb.NewImage", "empty object"),
        ({1: ["a"]}, "its top", "must be a string"),
        ({"eventName": [["a"]]}, "eventName[0]", "expected a string or a number"),
        ({"eventName": [b"a"]}, "eventName[0]", "expected a string or a number"),
        (status("paid", {"prefx": "pa"}), "dynamodb.NewImage.status.S[1]", "expected one of prefix, suffix"),
        (status({"prefix": "a", "suffix": "b"}), "dynamodb.NewImage.status.S[0]", "expected one of"),
        (status({}), "dynamodb.NewImage.status.S[0]", "expected one of"),
        (status({"prefix": 1}), "dynamodb.NewImage.status.S[0].prefix", "expected a string, not 1"),
        (status({"suffix": {"prefix": "a"}}), "dynamodb.NewImage.status.S[0].suffix", "equals-ignore-case"),
        (status({"equals-ignore-case": ["a"]}), "S[0].equals-ignore-case", "expected a string"),
        (status({"exists": "yes"}), "S[0].exists", "expected true or false"),
        (status({"exists": 0}), "S[0].exists", "expected true or false"),
        (status({"anything-but": []}), "S[0].anything-but", "empty list"),
        (status({"anything-but": None}), "S[0].anything-but", "expected a string or a number"),
        (status({"anything-but": True}), "S[0].anything-but", "expected a string or a number"),
        (status({"anything-but": ["a", 1]}), "S[0].anything-but", "strings alone or numbers alone"),
        (status({"anything-but": {"numeric": ["=", 1]}}), "S[0].anything-but", "expected one of prefix"),
        (status({"wildcard": "a*"}), "S[0]", "expected one of"),
        (size({"numeric": 5}), "dynamodb.SizeBytes[0].numeric", 'expected ["=", 1]'),
        (size({"numeric": []}), "SizeBytes[0].numeric", 'expected ["=", 1]'),
        (size({"numeric": ["=", 1, "=", 2]}), "SizeBytes[0].numeric", 'expected ["=", 1]'),
        (size({"numeric": ["<", 1, ">", 2]}), "SizeBytes[0].numeric", 'expected ["=", 1]'),
        (size({"numeric": ["!=", 1]}), "SizeBytes[0].numeric", 'expected ["=", 1]'),
        (size({"numeric": [">"]}), "SizeBytes[0].numeric", "a number is missing"),
        (size({"numeric": [">", "1"]}), "SizeBytes[0].numeric", "not '1'"),
        ({"$or": [{"eventName": ["INSERT"]}]}, "$or", "at least two"),
        ({"$or": "x"}, "$or", "at least two"),
        ({"$or": [{"a": ["b"]}, {"a": "b"}]}, "$or[1].a", "did you mean ['b']?"),
        ({"$or": [{"a": ["b"]}, ["b"]]}, "$or[1]", "expected an object"),
        ({"Filters": []}, "Filters", "at least one"),
        ({"Filters": [{"pattern": "{}"}]}, "Filters[0]", 'expected {"Pattern": "..."}'),
        ({"Filters": [{"Pattern": "{"}]}, "Filters[0].Pattern", "not JSON"),
        ({"Filters": [{"Pattern": "[]"}]}, "Filters[0].Pattern", "expected an object"),
        ({"Filters": [{"Pattern": '{"a": "b"}'}]}, "Filters[0].Pattern.a", "did you mean"),
    ],
    ids=str,
)
def test_what_is_no_pattern_is_said_at_once(pattern: Any, where: str, what: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        compile_pattern(pattern)
    assert isinstance(raised.value, StreamError)
    assert f"{where}: " in str(raised.value)
    assert what in str(raised.value)


def in_objects(depth: int) -> Any:
    pattern: Any = {"a": ["b"]}
    for _ in range(depth):
        pattern = {"a": pattern}
    return pattern


def in_alternatives(depth: int) -> Any:
    pattern: Any = {"a": ["b"]}
    for _ in range(depth):
        pattern = {"$or": [pattern, {"c": ["d"]}]}
    return pattern


def in_lists(depth: int) -> Any:
    pattern: Any = []
    for _ in range(depth):
        pattern = [pattern]
    return {"a": pattern}


@pytest.mark.parametrize("depth", [300, 900, 100_000])
@pytest.mark.parametrize("nested", [in_objects, in_alternatives, in_lists])
def test_what_is_nested_deeper_than_any_record_is_said_at_once(
    nested: Callable[[int], Any], depth: int
) -> None:
    with pytest.raises(ConfigurationError, match="filter pattern cannot work"):
        compile_pattern(nested(depth))


@pytest.mark.parametrize("text", ["[" * 5000, '{"a":' * 5000])
def test_the_text_of_a_filter_that_is_nested_too_deep_is_said_at_once(text: str) -> None:
    with pytest.raises(ConfigurationError, match="it is nested deeper than any record"):
        compile_pattern({"Filters": [{"Pattern": text}]})


@pytest.mark.parametrize("nested", [in_objects, in_alternatives])
def test_what_is_as_deep_as_a_record_can_be_works(nested: Callable[[int], Any]) -> None:
    pattern = compile_pattern(nested(70))
    assert pattern.members()
    assert not pattern.matches({"a": {"a": "b"}, "c": "e"}) or nested is in_alternatives


@pytest.mark.parametrize(
    ("pattern", "where", "what"),
    [
        # AWS: "DynamoDB event filtering doesn't support the use of numeric operators".
        (new(total={"N": [{"numeric": [">", 100]}]}), "total.N[0].numeric", "ops.filter(lambda change"),
        (new(total={"N": [101]}), "total.N[0]", 'write "101"'),
        ({"dynamodb": {"Keys": {"id": {"N": [1]}}}}, "Keys.id.N[0]", 'write "1"'),
        ({"dynamodb": {"$or": [{"OldImage": {"a": {"N": [1]}}}, {"SizeBytes": [1]}]}}, "$or[0]", 'write "1"'),
        # AWS: "this filter pattern would never return a match".
        (new(organizations=[{"exists": True}]), "organizations[0]", "go down to the type"),
        (new(status=["paid"]), "status[0]", "go down to the type"),
        ({"dynamodb": {"NewImage": [{"exists": True}]}}, "NewImage[0]", "go down to the type"),
        (new(address={"M": {"city": ["Bern"]}}), "city[0]", "go down to the type"),
        (new(tags={"L": ["a"]}), "L[0]", "go down to the type"),
    ],
    ids=str,
)
def test_what_can_match_nothing_is_said_at_once(pattern: Any, where: str, what: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        compile_pattern(pattern)
    assert where in str(raised.value)
    assert what in str(raised.value)
    assert not any(
        EventPattern.load(json.dumps(pattern)).matches_event(record) for record in RECORDS.values()
    )


# --- at random -------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b"])
texts = st.sampled_from(["", "x", "X", "xy", "yx"])
scalars = texts | st.integers(2, 5) | st.booleans() | st.none()
rules = (
    scalars
    | st.builds(lambda flag: {"exists": flag}, st.booleans())
    | st.builds(
        lambda name, text: {name: text}, st.sampled_from(["prefix", "suffix", "equals-ignore-case"]), texts
    )
    | st.builds(lambda text: {"prefix": {"equals-ignore-case": text}}, texts)
    | st.builds(
        lambda values: {"anything-but": values}, st.lists(texts, min_size=1) | texts | st.integers(2, 5)
    )
    | st.builds(
        lambda name, text: {"anything-but": {name: text}},
        st.sampled_from(["prefix", "suffix", "equals-ignore-case"]),
        texts,
    )
    | st.sampled_from([{"numeric": ["=", 3]}, {"numeric": [">", 2]}, {"numeric": [">=", 3, "<", 5]}])
)
listed = st.lists(rules, min_size=1, max_size=3)


def with_or(patterns: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    # No name stands both in an "$or" and beside it, of which event-ruler would take the last.
    alternatives = st.lists(patterns, min_size=2, max_size=2).map(lambda several: {"$or": several})
    return patterns | alternatives


patterns = st.recursive(
    listed,
    lambda parts: with_or(st.dictionaries(names, parts, min_size=1, max_size=3)),
    max_leaves=5,
).filter(lambda pattern: isinstance(pattern, dict))
plain_events = st.dictionaries(
    names,
    st.recursive(
        scalars | st.lists(scalars, min_size=1, max_size=2),
        lambda values: st.dictionaries(names, values, min_size=1, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)
# Small enough that absence, and values of several elements, meet often.
few = st.lists(st.sampled_from(["x", "y", {"exists": False}, {"exists": True}]), min_size=1, max_size=2)
inner = with_or(st.dictionaries(names, few, min_size=1, max_size=2))
crushing = st.fixed_dictionaries({"a": inner | st.fixed_dictionaries({"a": inner})})
ends = st.sampled_from(["x", "y"]) | st.lists(st.sampled_from(["x", "y"]), max_size=2)
items = st.dictionaries(names, ends, max_size=2)
lists = st.lists(items | st.lists(items, max_size=2) | ends, min_size=1, max_size=3)
nested = st.lists(st.fixed_dictionaries({"a": lists | items}), max_size=3)
events = st.fixed_dictionaries({"a": lists | nested | items})


@settings(max_examples=200, deadline=None)
@given(patterns, plain_events)
def test_moto_says_the_same_where_no_list_has_objects(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    expected = EventPattern.load(json.dumps(pattern)).matches_event(event)
    assert compile_pattern(pattern).matches(event) is expected


@settings(max_examples=300, deadline=None)
@given(crushing, events)
def test_event_ruler_says_the_same(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    expected = any(ruler_matches(rules, list(fields_in(event))) for rules in flat_rules(pattern))
    assert compile_pattern(pattern).matches(event) is expected


# event-ruler's way: events become fields, each with the elements that it is in; patterns become maps from a
# path to rules; those match when fields can be found for all of them that are in no two elements of one list.


def fields_in(
    value: Any, path: tuple[str, ...] = (), elements: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, dict[int, int]]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from fields_in(inner, (*path, name), elements)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from fields_in(inner, path, (*elements, (id(value), index)))
    else:
        yield path, value, dict(elements)


def flat_rules(pattern: dict[str, Any], path: tuple[str, ...] = ()) -> list[dict[tuple[str, ...], list[Any]]]:
    flat: list[dict[tuple[str, ...], list[Any]]] = [{}]
    for name, part in pattern.items():
        if name == "$or":
            more = [rules for one in part for rules in flat_rules(one, path)]
        elif isinstance(part, dict):
            more = flat_rules(part, (*path, name))
        else:
            more = [{(*path, name): part}]
        flat = [before | rules for before in flat for rules in more]
    return flat


def ruler_matches(rules: dict[tuple[str, ...], list[Any]], fields: list[Any]) -> bool:
    choices = []
    for path, alternatives in rules.items():
        there = [(value, elements) for at, value, elements in fields if at == path]
        choice = [elements for value, elements in there if any(holds(rule, value) for rule in alternatives)]
        if not there and {"exists": False} in alternatives:
            choice = [{}]
        choices.append(choice)
    return any(
        all(
            one.get(of, at) == at
            for one, other in itertools.combinations(chosen, 2)
            for of, at in other.items()
        )
        for chosen in itertools.product(*choices)
    )


COMPARE = {"=": operator.eq, ">": operator.gt, ">=": operator.ge, "<": operator.lt}


def holds(rule: Any, value: Any) -> bool:
    if not isinstance(rule, dict):
        return type(rule) is type(value) and bool(rule == value)
    [(name, operand)] = rule.items()
    text = value if isinstance(value, str) else None
    if name == "exists":
        return bool(operand)
    if name == "numeric":
        pairs = zip(operand[::2], operand[1::2], strict=True)
        return type(value) is int and all(COMPARE[sign](value, bound) for sign, bound in pairs)
    if name == "anything-but":
        if isinstance(operand, dict):
            return not holds(operand, value)
        return not any(holds(one, value) for one in (operand if isinstance(operand, list) else [operand]))
    if isinstance(operand, dict):
        operand, text = operand["equals-ignore-case"].lower(), text.lower() if text is not None else None
    if text is None:
        return False
    if name == "equals-ignore-case":
        return text.lower() == operand.lower()
    return text.startswith(operand) if name == "prefix" else text.endswith(operand)


def test_the_members_that_have_to_be_there() -> None:
    pattern = compile_pattern(
        {
            "eventName": ["INSERT"],
            "dynamodb": {"NewImage": {"a": {"S": [{"prefix": "x"}]}, "b.c": {"N": [{"exists": False}]}}},
            "$or": [{"dynamodb": {"Keys": {"id": {"S": ["1"]}}}}, {"eventID": ["1"]}],
        }
    )
    record = {"eventName": "REMOVE", "dynamodb": {"NewImage": {"a": {"S": "other"}}}}

    there = {path: member.matches(record) for path, member in pattern.members().items()}
    assert there == {
        "eventName": True,
        "dynamodb.NewImage.a.S": True,
        "dynamodb.Keys.id.S": False,
        "eventID": False,
    }
