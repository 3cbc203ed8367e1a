"""where, changed, diff, latest_by_key, distinct_event: which changes matter, and what they changed.

In the drawings a letter is a change of that item, `#` an error, and `done` how far the shard may be
checkpointed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType

import msgspec
import pytest
import reactivex
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.aws.parser import RecordJSON
from rxddbstream.checkpoints.codec import from_text
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.paths import parse_path
from rxddbstream.testing import SimulatedStream

SHARD = "shard-1"


class Table:
    """Changes of items, made one after the other."""

    def __init__(self, view_type="NEW_AND_OLD_IMAGES"):
        self.scheduler = TestScheduler()
        self.scheduler.advance_to(1_000_000.0)
        self.sim = SimulatedStream(scheduler=self.scheduler, view_type=view_type)

    def put(self, key, /, **attributes):
        return rxd.Change(self.sim.put(key, **attributes), SHARD)

    def remove(self, key):
        return rxd.Change(self.sim.remove(key), SHARD)

    def wait(self, seconds):
        self.scheduler.advance_by(seconds)


@pytest.fixture
def table():
    return Table()


def as_it_comes(record):
    return msgspec.json.decode(json.dumps(record), type=RecordJSON)


def through(operator, *changes):
    """What comes of the changes, and the error at the end or None."""
    seen, errors = [], []
    reactivex.from_iterable(changes).pipe(operator).subscribe(seen.append, errors.append)
    return seen, errors[0] if errors else None


def passed(operator, *changes):
    """Which of the changes are passed, by their place."""
    seen, error = through(operator, *changes)
    assert error is None
    return [changes.index(change) for change in seen]


# --- where -----------------------------------------------------------------------------------------


def test_where_passes_what_matches(table):
    # source                      -I-M-I-R-
    # where({"eventName": ...})   -I---I---
    changes = [table.put("a", n=1), table.put("a", n=2), table.put("b", n=1), table.remove("b")]
    assert passed(dops.where({"eventName": ["INSERT"]}), *changes) == [0, 2]
    assert passed(dops.where({"dynamodb": {"NewImage": {"n": {"N": ["2"]}}}}), *changes) == [1]
    assert passed(dops.where({"dynamodb": {"Keys": {"id": {"S": [{"prefix": "b"}]}}}}), *changes) == [2, 3]
    assert passed(dops.where({"dynamodb": {"NewImage": {"n": {"N": [{"exists": False}]}}}}), *changes) == [3]
    assert passed(dops.where({"eventSource": ["aws:dynamodb"], "eventName": ["REMOVE"]}), *changes) == [3]


def test_where_looks_into_records_that_came_as_json():
    for mark, matches in (("AP8=", True), ("AAAA", False)):
        image = {"mark": {"B": mark}, "status": {"S": "paid"}}
        record = {"eventSource": "aws:dynamodb", "eventName": "INSERT", "dynamodb": {"NewImage": image}}
        change = rxd.Change(as_it_comes(record), SHARD)
        pattern = {"dynamodb": {"NewImage": {"mark": {"B": ["AP8="]}}}}
        assert passed(dops.where(pattern), change) == [0] * matches
        assert passed(dops.where(pattern | {"eventSource": ["aws:dynamodb"]}), change) == [0] * matches


def test_where_finds_the_ttls_deletes_by_lambdas_own_pattern(table):
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html
    pattern = {"userIdentity": {"type": ["Service"], "principalId": ["dynamodb.amazonaws.com"]}}
    changes = [
        table.put("a"),
        rxd.Change(table.sim.remove("a", by_ttl=True), SHARD),
        table.put("b"),
        table.remove("b"),
    ]
    assert passed(dops.where(pattern), *changes) == [1]


def test_where_says_at_once_what_is_wrong():
    with pytest.raises(ConfigurationError, match=r"eventName: .*did you mean \['INSERT'\]"):
        dops.where({"eventName": "INSERT"})


# --- changed ---------------------------------------------------------------------------------------


def test_changed_passes_what_has_another_value_there(table):
    # source                    -put--status--total--status--remove-
    # changed("status")         -put--status---------status--remove-
    changes = [
        table.put("a", status="new", total=1),
        table.put("a", status="paid", total=1),
        table.put("a", status="paid", total=2),
        table.put("a", total=2),
        table.remove("a"),
    ]
    assert passed(dops.changed("status"), *changes) == [0, 1, 3]
    assert passed(dops.changed("total"), *changes) == [0, 2, 4]
    assert passed(dops.changed("status", "total"), *changes) == [0, 1, 2, 3, 4]
    assert passed(dops.changed(), *changes) == [0, 1, 2, 3, 4]
    assert passed(dops.changed("note"), *changes) == []


def test_changed_looks_into_maps_and_lists(table):
    before = {
        "address": {"city": "Bern", "zip": 3000},
        "lines": [{"qty": 1}, {"qty": 2}],
        "a.b": {"c": [[1, 2]]},
    }
    after = {
        "address": {"city": "Thun", "zip": 3000},
        "lines": [{"qty": 1}, {"qty": 3}],
        "a.b": {"c": [[1, 3]]},
    }
    changes = [table.put("a", **before), table.put("a", **after)]
    for path in (
        "address",
        "address.city",
        "lines[1].qty",
        "lines[1]",
        ("lines", 1, "qty"),
        ("a.b", "c", 0, 1),
    ):
        assert passed(dops.changed(path), *changes) == [0, 1], path
    for path in ("address.zip", "lines[0]", "lines[0].qty", ("a.b", "c", 0, 0)):
        assert passed(dops.changed(path), *changes) == [0], path
    for path in ("lines[2].qty", "lines.qty", "address[0]", "address.city.x", "address.city[0]", "a.b"):
        assert passed(dops.changed(path), *changes) == [], path


def test_changed_compares_as_dynamodb_does():
    def change(old, new):
        images = {"OldImage": {"x": old}, "NewImage": {"x": new}}
        return {"eventName": "MODIFY", "dynamodb": images}

    same = [
        ({"N": "1"}, {"N": "1.0"}),
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}),
        ({"M": {"a": {"S": "x"}, "b": {"N": "1"}}}, {"M": {"b": {"N": "1"}, "a": {"S": "x"}}}),
    ]
    others = [
        ({"N": "1"}, {"BOOL": True}),
        ({"N": "1"}, {"S": "1"}),
        ({"L": [{"M": {"a": {"N": "0"}}}]}, {"L": [{"M": {"a": {"BOOL": False}}}]}),
        ({"L": [{"N": "1"}]}, {"L": [{"N": "1"}, {"N": "1"}]}),
        ({"M": {"a": {"N": "1"}}}, {"M": {"b": {"N": "1"}}}),
        ({"B": "AA=="}, {"S": "AA=="}),
        ({"SS": ["a"]}, {"L": [{"S": "a"}]}),
    ]
    for pairs, expected in ((same, []), (others, [0])):
        for old, new in pairs:
            if "B" in old:
                json_alone = [as_it_comes(change(old, new))]
            else:
                json_alone = [change(old, new), as_it_comes(change(old, new))]
            for record in json_alone:
                fresh, seen = rxd.Change(record, SHARD), rxd.Change(record, SHARD)
                seen.new_image.values(), seen.old_image.values()  # decoded before they are compared
                for each in (fresh, seen):
                    assert passed(dops.changed("x"), each) == expected, (old, new)
                    assert passed(dops.changed(), each) == expected, (old, new)


@pytest.mark.parametrize("view_type", ["NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"])
@pytest.mark.parametrize(
    "operator", [dops.changed("x"), dops.changed(), dops.diff()], ids=["path", "any", "diff"]
)
def test_an_image_that_the_stream_leaves_out_is_an_error(view_type, operator):
    # changed("x")   -#
    table = Table(view_type)
    changes = [table.put("a", x=1), table.put("a", x=2), table.remove("a")]
    for change in changes:
        seen, error = through(operator, change)
        assert seen == []
        assert isinstance(error, ConfigurationError)
        assert f"view type {view_type}; it has to be NEW_AND_OLD_IMAGES" in str(error)


def test_a_record_without_a_view_type_is_judged_by_its_images():
    def change(name, **images):
        return rxd.Change({"eventName": name, "dynamodb": images}, SHARD)

    image = {"x": {"S": "1"}}
    assert passed(dops.changed("x"), change("INSERT", NewImage=image), change("REMOVE", OldImage=image)) == [
        0,
        1,
    ]
    for lacking in (change("MODIFY", NewImage=image), change("MODIFY", OldImage=image), change("INSERT")):
        assert isinstance(through(dops.changed("x"), lacking)[1], ConfigurationError)


NO_PATHS = ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[-1]", "a[0", "[0]", "a[0]b", "a]", 1, None]
NO_PARTS = [(), (0,), ("a", -1), ("a", ""), ("a", True), ("a", 1.0), ("a", None)]


@pytest.mark.parametrize("path", NO_PATHS + NO_PARTS, ids=repr)
def test_what_is_no_path_is_said_at_once(path):
    with pytest.raises(ConfigurationError, match="not a path to an attribute: "):
        dops.changed("status", path)


@given(st.lists(st.text("abc-_ 1", min_size=1) | st.integers(0, 99), min_size=1, max_size=4))
def test_a_path_means_its_parts(parts):
    parts = ["a", *parts]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)[1:]
    assert parse_path(text) == parse_path(tuple(parts)) == tuple(parts)


@given(st.lists(st.text(min_size=1) | st.integers(0, 99), min_size=1, max_size=4))
def test_a_quoted_name_may_be_any(parts):
    parts = ["a", *parts]
    text = "a" + "".join(f"[{json.dumps(part)}]" for part in parts[1:])
    assert parse_path(text) == tuple(parts)
    assert parse_path("['a.b'].c[0]['d e']") == ("a.b", "c", 0, "d e")


@pytest.mark.parametrize(
    "path", ["['']", '[""]', "a['b", 'a["b]', 'a["\\x"]', "a['b']c", "a['b'].", "a[" + "9" * 5000 + "]"]
)
def test_what_is_no_quoted_name(path):
    with pytest.raises(ConfigurationError, match="not a path to an attribute: "):
        parse_path(path)


# --- diff ------------------------------------------------------------------------------------------


def test_diff_says_what_was_added_removed_and_changed(table):
    changes = [table.put("a", n=1, x="y"), table.put("a", n=2, z=[1]), table.remove("a")]
    (inserted, modified, removed), error = through(dops.diff(), *changes)
    assert error is None
    assert inserted == (changes[0], {"id": "a", "n": 1, "x": "y"}, {}, {})
    assert modified == (changes[1], {"z": [1]}, {"x": "y"}, {"n": (1, 2)})
    assert removed == (changes[2], {}, {"id": "a", "n": 2, "z": [1]}, {})
    assert isinstance(modified, dops.Diff)


values = st.booleans() | st.integers(0, 1) | st.sampled_from(["", "x"]) | st.none()
trees = st.recursive(values, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("m"), inner))
items = st.dictionaries(st.sampled_from(["p", "q", "r"]), trees)


@settings(max_examples=100, deadline=None)
@given(items, items)
def test_a_diff_leads_from_the_old_item_to_the_new_one(old, new):
    table = Table()
    table.put("a", **old)
    change = table.put("a", **new)
    [diff], _ = through(dops.diff(), change)
    after = {name: value for name, value in change.old_image.items() if name not in diff.removed}
    after |= diff.added
    after |= {name: value for name, (_, value) in diff.changed.items()}
    assert exactly(after) == exactly(dict(change.new_image))
    assert all(exactly(before) != exactly(now) for before, now in diff.changed.values())
    changes_something = bool(diff.added or diff.removed or diff.changed)
    assert passed(dops.changed(), change) == [0] * changes_something


def exactly(value):
    """In which true is not 1."""
    if isinstance(value, dict):
        return {name: exactly(inner) for name, inner in value.items()}
    return [exactly(inner) for inner in value] if isinstance(value, list) else (type(value), value)


# --- latest_by_key ---------------------------------------------------------------------------------


def tables(operator, *changes):
    """Copies of the tables that are emitted: key to the number `n`."""
    copies = ops.map(lambda view: {key: int(change.new_image["n"]) for key, change in view.items()})
    seen, error = through(reactivex.compose(operator, copies), *changes)
    assert error is None
    return seen


def test_latest_by_key_is_a_table_of_what_is_there(table):
    # source             -a1--b1--a2--b gone-
    changes = [table.put("a", n=1), table.put("b", n=1), table.put("a", n=2), table.remove("b")]
    expected = [{"a": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2}]
    assert tables(dops.latest_by_key(), *changes) == expected
    assert tables(dops.latest_by_key(), table.remove("a")) == [{}]


def test_latest_by_key_emits_one_view_that_cannot_be_written_to(table):
    seen, _ = through(dops.latest_by_key(), table.put("a"), table.put("b"))
    assert seen[0] is seen[1]
    assert isinstance(seen[0], MappingProxyType)
    assert isinstance(seen[0], Mapping)
    assert list(seen[0]) == ["a", "b"]


def test_each_subscription_has_a_table_of_its_own(table):
    source = Subject()
    observable = source.pipe(dops.latest_by_key(), ops.map(len))
    first, second = [], []
    observable.subscribe(first.append)
    source.on_next(table.put("a"))
    observable.subscribe(second.append)
    source.on_next(table.put("b"))
    assert (first, second) == ([1, 2], [1])


def test_a_key_of_two_attributes_is_a_tuple_in_order_of_their_names():
    keys = {"sk": {"N": "2"}, "pk": {"S": "p"}}
    change = rxd.Change({"eventName": "INSERT", "dynamodb": {"Keys": keys}}, SHARD)
    [view], _ = through(dops.latest_by_key(), change)
    assert list(view) == [("p", Decimal(2))]


def test_a_key_of_ones_own(table):
    changes = [table.put("a", n=1), table.put("ab", n=2), table.put("b", n=3)]
    by_letter = dops.latest_by_key(key=lambda change: change.keys["id"][0])
    assert tables(by_letter, *changes)[-1] == {"a": 2, "b": 3}


@pytest.mark.parametrize("ttl", [10, timedelta(seconds=10)])
def test_what_is_idle_for_longer_than_ttl_leaves_the_table(table, ttl):
    # source                   -a--b----------a-----------c--
    # seconds                   0  6          10          17
    # latest_by_key(ttl=10)    {a}{a, b}    {a, b}       {a, c}
    changes = [table.put("a", n=1)]
    for seconds, key in ((6, "b"), (4, "a"), (7, "c")):
        table.wait(seconds)
        changes.append(table.put(key, n=2))
    assert [set(view) for view in tables(dops.latest_by_key(ttl=ttl), *changes)] == [
        {"a"},
        {"a", "b"},
        {"a", "b"},
        {"a", "c"},
    ]


def test_a_shard_that_lags_behind_has_its_changes_in_the_table(table):
    late = table.put("late", n=1)
    table.wait(100)
    changes = [table.put("a", n=1), late]
    assert tables(dops.latest_by_key(ttl=10), *changes)[-1] == {"a": 1, "late": 1}


def test_no_more_than_max_keys_stay_in_the_table(table):
    changes = [table.put(key, n=1) for key in "abacd"]
    views = tables(dops.latest_by_key(max_keys=2), *changes)
    assert [set(view) for view in views] == [{"a"}, {"a", "b"}, {"a", "b"}, {"a", "c"}, {"c", "d"}]


def test_a_table_without_ttl_takes_changes_without_a_time():
    change = rxd.Change({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "a"}}}}, SHARD)
    for operator in (dops.latest_by_key(), dops.latest_by_key(ttl=10)):
        [view], error = through(operator, change)
        assert (list(view), error) == (["a"], None)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 8)), max_size=20))
def test_a_table_is_what_a_walk_through_the_past_says(steps):
    table, changes, times = Table(), [], []
    for key, removed, seconds in steps:
        table.wait(seconds)
        if removed and table.sim.remove(key) is None:
            continue
        changes.append(rxd.Change(table.sim.records[-1], SHARD) if removed else table.put(key, n=1))
        times.append(changes[-1].created_at)
    for number, view in enumerate(tables(dops.latest_by_key(ttl=10), *changes)):
        last = {change.keys["id"]: change for change in changes[: number + 1]}
        oldest = times[number] - timedelta(seconds=10)
        there = [c for c in last.values() if c.event_name != "REMOVE" and c.created_at >= oldest]
        assert set(view) == {change.keys["id"] for change in there}


# --- distinct_event --------------------------------------------------------------------------------


def test_distinct_event_drops_what_comes_again(table):
    # source             -a-b-c-b-c-d-
    # distinct_event()   -a-b-c-----d-
    a, b, c, d = (table.put(key) for key in "abcd")
    seen, _ = through(dops.distinct_event(), a, b, c, b, c, d)
    assert seen == [a, b, c, d]


def test_an_event_is_forgotten_after_ttl(table):
    # seconds                   0-----10----11---
    # source                   -a--a--b--a--c--a-
    # distinct_event(ttl=10)   -a-----b-----c--a-
    a = table.put("a")
    table.wait(10)
    b = table.put("b")
    table.wait(1)
    c = table.put("c")
    seen, _ = through(dops.distinct_event(ttl=10), a, a, b, a, c, a)
    assert seen == [a, b, c, a]


def test_by_default_an_event_is_remembered_for_a_day(table):
    a = table.put("a")
    table.wait(24 * 3600)
    b = table.put("b")
    table.wait(1)
    c = table.put("c")
    assert through(dops.distinct_event(), a, b, a)[0] == [a, b]
    assert through(dops.distinct_event(), a, b, c, a)[0] == [a, b, c, a]


def test_no_more_than_max_events_are_remembered(table):
    a, b, c = (table.put(key) for key in "abc")
    seen, _ = through(dops.distinct_event(max_events=2), a, b, b, c, b, a)
    assert seen == [a, b, c, a]


def test_changes_without_an_id_pass():
    change = rxd.Change({"eventName": "INSERT", "dynamodb": {}}, SHARD)
    assert through(dops.distinct_event(), change, change) == ([change, change], None)


@pytest.mark.parametrize("operator", [dops.latest_by_key, dops.distinct_event])
@pytest.mark.parametrize("ttl", [0, -1, timedelta(0), float("nan")])
def test_a_ttl_that_is_none_is_said_at_once(operator, ttl):
    with pytest.raises(ConfigurationError, match="ttl must be more than 0 seconds"):
        operator(ttl=ttl)


def test_a_bound_that_is_none_is_said_at_once():
    for operator in (lambda: dops.latest_by_key(max_keys=0), lambda: dops.distinct_event(max_events=0)):
        with pytest.raises(ConfigurationError, match="at least 1 has to be kept, not 0"):
            operator()


# --- checkpoints -----------------------------------------------------------------------------------


class World(Table):
    """A stream of one shard that is read with checkpoints, in virtual time."""

    def __init__(self):
        super().__init__()
        self.store = rxd.MemoryCheckpoints(period=1.0, count=1)
        self.seen, self.errors = [], []

    def read(self, *operators):
        source = rxd.changes(
            self.sim.arn, client=self.sim.client, scheduler=self.scheduler, checkpoints=self.store
        )
        source.pipe(*operators).subscribe(self.seen.append, self.errors.append)

    @property
    def done(self):
        position = from_text(self.store.load(self.sim.arn)[self.sim.shards[0].id])
        numbers = [record["dynamodb"]["SequenceNumber"] for record in self.sim.records]
        number = getattr(position, "sequence_number", None)
        return 0 if number is None else numbers.index(number) + 1


@pytest.mark.parametrize(
    "operator",
    [
        dops.where({"eventName": ["REMOVE"]}),
        dops.changed("other"),
        dops.diff(),
        dops.latest_by_key(),
        dops.distinct_event(),
    ],
    ids=["where", "changed", "diff", "latest_by_key", "distinct_event"],
)
def test_what_is_dropped_or_passed_is_done(operator):
    # source   -aaa------
    # done     -123------
    world = World()
    world.read(operator)
    for number in range(3):
        world.put("a", n=number)
        world.wait(30)
        assert world.done == number + 1


def test_a_change_whose_images_are_left_out_is_not_done():
    # source    -a--a-
    # changed   -#
    world = World()
    world.sim = SimulatedStream(scheduler=world.scheduler, view_type="KEYS_ONLY")
    world.read(dops.changed("n"))
    world.put("a", n=1)
    world.wait(30)
    [error] = world.errors
    assert isinstance(error, ConfigurationError)
    assert world.done == 0


def test_a_diff_is_released_as_its_change_is():
    # source    -a-a-
    # hold()    -a-a-
    # diff()    -D-D-
    # buffer    ---[DD]-
    # release() ---[DD]-
    world = World()
    world.read(dops.hold(), dops.diff(), ops.buffer_with_count(2), dops.release())
    world.put("a", n=1)
    world.wait(30)
    assert world.done == 0
    world.put("a", n=2)
    world.wait(30)
    assert world.done == 2
