"""`rxd.lineage` and `rxddbstream shards`: a stream's shards as text, as a flowchart, as JSON, as HTML."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream.cli.main import main
from rxddbstream.errors import StreamNotFound
from rxddbstream.testing import Faults, SimulatedStream, build_shards
from rxddbstream.views.drawing import DEEPEST, MOST_BOXES
from rxddbstream.views.listed import OLDEST_LISTED, opened_at

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shard(id_, parent_id=None, *, closed=False):
    return rxd.Shard(id_, parent_id, ending_sequence_number="9" if closed else None)


def tree_of(*shards, **contents):
    return rxd.ShardTree.of("orders", NOW, shards, contents)


def named_by(time, suffix="2bac9cd2"):
    return f"shardId-{int(time.timestamp() * 1000):020}-{suffix}"


def lines(tree):
    return str(tree).splitlines()


# The tree


def test_only_a_split_stands_further_in():
    tree = tree_of(
        shard("d", "b"),
        shard("a", closed=True),
        shard("b", "a", closed=True),
        shard("c", "b"),
        shard("e", "d"),
        shard("f"),
        shard("g", "f"),
    )
    assert lines(tree) == [
        "a        closed",
        "↓ b      closed",
        "├── d    closed",
        "│   ↓ e  open",
        "└── c    open",
        "f        closed",  # listed as open, and has a child
        "↓ g      open",
    ]
    assert [line.replace(" ", "") for line in tree.lines(ascii_only=True)] == [
        "aclosed",
        "vbclosed",
        "|--dclosed",
        "|veopen",
        "`--copen",
        "fclosed",
        "vgopen",
    ]


def test_a_shard_whose_parent_is_not_listed_names_it():
    assert lines(tree_of(shard("b", "a"))) == ["b  open  (parent a is not listed)"]


def test_what_cannot_be_is_drawn_too():
    tree = tree_of(shard("a", "a"), shard("b", "c"), shard("c", "b"), shard("c", "b"), shard("d"))
    assert lines(tree) == [
        "a    open",
        "d    open",
        "b    closed  (continues c)",
        "↓ c  closed",
    ]
    assert lines(tree_of()) == []


def test_a_long_line_of_shards_stays_at_the_left():
    tree = tree_of(*(shard(f"{number:04}", f"{number - 1:04}") for number in range(3000)))
    assert len(lines(tree)) == 3000
    assert max(map(len, lines(tree)[1:])) <= len("↓ 0000  closed")


def test_splits_below_splits_do_not_run_off_to_the_right():
    shards = [shard("0000")]
    for number in range(1, 1500):
        shards += [shard(f"{number:04}", f"{number - 1:04}"), shard(f"side-{number}", f"{number - 1:04}")]
    text = lines(tree_of(*shards))
    assert len(text) == len(shards)
    assert max(map(len, text)) <= DEEPEST * 4 + 60
    [again] = [line for line in text if line.startswith("0013 ")]
    assert again.endswith("(continues 0012)")


def test_age_and_content(utc):
    ids = [named_by(NOW - timedelta(**ago)) for ago in ({"hours": 23}, {"hours": 3, "minutes": 5}, {})]
    shards = [shard(id_, parent) for id_, parent in zip(ids, [None, *ids], strict=False)]
    yesterday = NOW - timedelta(hours=14)
    tree = rxd.ShardTree.of(
        "orders",
        NOW,
        shards,
        {
            ids[0]: rxd.ShardContent(1204, yesterday, yesterday + timedelta(hours=1)),
            ids[1]: rxd.ShardContent(1, NOW, NOW),
            ids[2]: rxd.ShardContent(),
        },
    )
    assert [line.split("  ", 1)[1].strip() for line in lines(tree)] == [
        "closed  opened 23 h ago       1,204 changes, 2026-01-30 22:00 to 23:00",
        "closed  opened 3 h 5 min ago  1 change, 12:00",
        "open    opened 0 s ago        no changes",
    ]


def test_only_an_id_that_can_be_a_time_tells_the_age():
    moto, scylla = "shardId-00000001541626099285-f35f62ef", "H5c7c1a6e3f00001000000000000000000"
    for id_ in (moto, scylla, "", "shardId-1-2", named_by(NOW + timedelta(hours=1)), f"shardId-{'9' * 20}-x"):
        assert opened_at(id_, NOW) is None
    assert opened_at(named_by(NOW - OLDEST_LISTED), NOW) == NOW - OLDEST_LISTED


# Every shard once, whatever is listed

NAMES = [*"abcdefgh"]
ANY_SHARDS = st.lists(
    st.builds(
        rxd.Shard,
        st.sampled_from(NAMES),
        st.none() | st.sampled_from([*NAMES, "gone"]),
        st.none() | st.just("9"),
    ),
    max_size=20,
)


@given(ANY_SHARDS)
def test_every_shard_is_drawn_exactly_once(shards):
    tree = tree_of(*shards)
    drawn = [re.sub(r"^[│├└─↓ ]*", "", line).split()[0] for line in lines(tree)]
    assert Counter(drawn) == Counter({shard.id: 1 for shard in shards})
    boxes = re.findall(r'^ +s\d+\["([a-h])<br>', tree.mermaid(), re.MULTILINE)
    assert sorted(boxes) == sorted(drawn)
    assert [shard["id"] for shard in tree.to_dict()["shards"]] == [shard.id for shard in tree.shards]


@given(ANY_SHARDS)
def test_a_shard_stands_below_its_parent_or_says_what_it_continues(shards):
    tree = tree_of(*shards)
    place = {}
    for number, line in enumerate(lines(tree)):
        name = re.sub(r"^[│├└─↓ ]*", "", line).split()[0]
        place[name] = number, line
    parents = {one.id: one.parent_id for one in tree.shards}
    marked = set()
    for one in tree.shards:
        number, line = place[one.id]
        if one.parent_id is None:
            assert "(" not in line
        elif one.parent_id not in place:
            assert line.endswith(f"(parent {one.parent_id} is not listed)")
        elif "(" not in line:
            assert place[one.parent_id][0] < number
        else:
            assert line.endswith(f"(continues {one.parent_id})")
            marked.add(one.id)
    # Only what comes of a ring may stand above its parent, and of each ring one shard has to.
    assert all(ring_above(name, parents) for name in marked)
    assert all(ring_above(name, parents) & marked for name in parents if ring_above(name, parents))


def ring_above(shard, parents):
    """The shards of the ring that it comes of, which continue each other; none where it comes of no ring."""
    line = [shard]
    while (above := parents[line[-1]]) in parents:
        if above in line:
            return {*line[line.index(above) :]}
        line.append(above)
    return set()


@given(st.integers(1, 900), st.integers(0, 2**32))
def test_a_big_history_fits_into_a_flowchart(count, seed):
    history = build_shards(count, "random", seed=seed)
    tree = rxd.ShardTree.of("orders", NOW, [shard(one.id, one.parent_id) for one in history])
    chart = tree.mermaid().splitlines()
    boxes = {line.split("[")[0].strip() for line in chart if "[" in line}
    arrows = [line.split(" --> ") for line in chart if " --> " in line]
    assert len(boxes) <= MOST_BOXES + 1
    assert len(arrows) <= 500
    assert {end.strip() for arrow in arrows for end in arrow} <= boxes
    assert len("\n".join(chart)) <= 50_000


# The other forms


def test_flowchart(utc):
    opened = NOW - timedelta(hours=2)
    ids = [named_by(opened), "b", "c"]
    content = {ids[0]: rxd.ShardContent(2, NOW - timedelta(minutes=5), NOW)}
    shards = [shard(ids[0]), shard("b", ids[0]), shard("c", ids[0])]
    assert rxd.ShardTree.of("orders", NOW, shards, content).mermaid() == "\n".join(
        [
            "flowchart LR",
            f'    s0["{ids[0]}<br>closed, opened 2 h ago<br>2 changes, 11:55 to 12:00"]:::closed',
            '    s1["b<br>open"]',
            '    s2["c<br>open"]',
            "    s0 --> s1",
            "    s0 --> s2",
            "    classDef closed stroke-dasharray: 4 4",
        ]
    )


def test_a_long_line_is_one_box_in_a_flowchart():
    chart = tree_of(*(shard(f"{number:04}", f"{number - 1:04}") for number in range(1, 3000))).mermaid()
    assert chart.splitlines() == [
        "flowchart LR",
        '    s0["0001<br>closed"]:::closed',
        '    s1["2,997 shards, closed"]:::closed',
        '    s2["2999<br>open"]',
        "    s0 --> s1",
        "    s1 --> s2",
        "    classDef closed stroke-dasharray: 4 4",
    ]


def test_more_than_a_flowchart_can_show_is_said():
    chart = tree_of(*(shard(str(number)) for number in range(1000))).mermaid()
    assert '    more["and 700 shards more"]' in chart.splitlines()


HOSTILE = '<script>alert("1")</script>`&]'


def test_names_are_escaped():
    tree = rxd.ShardTree.of(HOSTILE, NOW, [shard(HOSTILE)])
    for text in (tree._repr_html_(), tree.mermaid()):
        assert "<script" not in text
    assert "&lt;script&gt;alert(&quot;1&quot;)" in tree._repr_html_()
    [box] = [line for line in tree.mermaid().splitlines() if "s0" in line]
    assert re.fullmatch(r' +s0\["[^"<>\[\]`]+<br>open"\]', box)


def test_a_notebook_gets_the_tree_in_the_page_s_colours():
    text = tree_of(shard("a", closed=True), shard("b", "a"))._repr_html_()
    assert "orders: 2 shards, 1 of them open" in text
    assert '<span style="opacity:.65">a    closed</span>\n↓ b  open' in text
    assert not re.search(r"(?<!-)color:(?!inherit)|#[0-9a-f]{3}\b|black|white", text)


def test_json():
    opened = NOW - timedelta(hours=2)
    first, second = named_by(opened), "b"
    tree = rxd.ShardTree.of(
        "arn:aws:dynamodb:eu-central-1:1:table/orders/stream/x",
        NOW,
        [shard(first), shard(second, first)],
        {first: rxd.ShardContent(3, opened, NOW)},
    )
    assert json.loads(tree.to_json()) == {
        "stream": "arn:aws:dynamodb:eu-central-1:1:table/orders/stream/x",
        "listed_at": "2026-01-31T12:00:00+00:00",
        "shards": [
            {
                "id": first,
                "parent_id": None,
                "state": "closed",
                "opened_at": "2026-01-31T10:00:00+00:00",
                "changes": 3,
                "oldest": "2026-01-31T10:00:00+00:00",
                "newest": "2026-01-31T12:00:00+00:00",
            },
            {"id": "b", "parent_id": first, "state": "open", "opened_at": None},
        ],
    }
    assert repr(tree) == "<ShardTree orders: 2 shards, 1 of them open>"


def test_it_cannot_be_altered():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tree_of(shard("a")).shards = ()  # type: ignore[misc]


# Over a stream


def test_each_call_lists_anew():
    sim = SimulatedStream(shards=2)
    before = rxd.lineage(sim.arn, client=sim.client)
    sim.split(sim.shards[0].id)
    after = rxd.lineage(sim.arn, client=sim.client)

    assert [one.state for one in before.shards] == ["open", "open"]
    assert [one.state for one in after.shards] == ["closed", "open", "open", "open"]
    assert all(one.content is None for one in after.shards)
    assert sim.calls["GetRecords"] == 0


def test_a_listing_has_many_pages_and_calls_that_fail_in_passing():
    sim = SimulatedStream(shards=build_shards(60, "chain"), listing_page_size=7)
    sim.script("DescribeStream", None, "ThrottlingException", None, "InternalServerError")
    assert len(rxd.lineage(sim.arn, client=sim.client).shards) == 60


def test_a_stream_that_is_not_there():
    sim = SimulatedStream()
    sim.delete()
    with pytest.raises(StreamNotFound):
        rxd.lineage(sim.arn, client=sim.client)


@pytest.mark.parametrize("faults", [None, Faults(seed=1, throttle=0.2, reset=0.1, truncate=0.1)])
def test_what_each_shard_holds(faults):
    sim = SimulatedStream(shards=2, faults=faults, page_size=3)
    for number in range(20):
        sim.put(f"o-{number}")
    sim.roll_over()
    sim.put("o-1")
    tree = rxd.lineage(sim.arn, client=sim.client, read=True)

    assert len(tree.shards) == 4
    for one in tree.shards:
        records = sim.records_of(one.id)
        times = [record["dynamodb"]["ApproximateCreationDateTime"] for record in records]
        assert one.content == (len(times), times[0] if times else None, times[-1] if times else None)
    assert sum(one.content.changes for one in tree.shards) == 21


# The command


@pytest.fixture(scope="module")
def endpoint(no_real_aws):
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("dynamodb", endpoint_url=f"http://{host}:{port}")
    client.create_table(
        TableName="seen",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    )
    for number in range(3):
        client.put_item(TableName="seen", Item={"id": {"S": str(number)}})
    client.close()
    yield f"http://{host}:{port}"
    server.stop()


def shards_of(endpoint, *arguments, **settings):
    command = [sys.executable, "-m", "rxddbstream", "shards", "seen", "--endpoint-url", endpoint, *arguments]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env=os.environ | settings
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.system
def test_the_command_reads_and_counts(endpoint):
    assert re.fullmatch(r"shardId-\S+  open    3 changes, [\d:to -]+\n", shards_of(endpoint, "--read"))


@pytest.mark.system
def test_the_commands_formats(endpoint):
    [listed] = json.loads(shards_of(endpoint, "--format", "json"))["shards"]
    assert listed == {"id": listed["id"], "parent_id": None, "state": "open", "opened_at": None}
    chart = shards_of(endpoint, "--format", "mermaid")
    assert chart.startswith(f'flowchart LR\n    s0["{listed["id"]}<br>open"]\n')


def test_lost_changes_are_told_and_make_the_exit_status(monkeypatch, capsys, no_terminate_handler):
    def lineage(stream, *, events, **_):
        events(rxd.Gap("a", None, "read too late"))
        return tree_of(shard("a"))

    monkeypatch.setattr("rxddbstream.views.lineage.lineage", lineage)
    assert main(["shards", "orders", "--read"]) == 3
    assert capsys.readouterr() == (
        "a  open\n",
        "rxddbstream: warning: changes of shard a were lost: read too late\n",
    )
