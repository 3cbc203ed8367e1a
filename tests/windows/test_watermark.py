"""Up to which time a stream has been read: the slowest shard, and who holds for whom."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxddbstream.model.times import SETTLING
from rxddbstream.windows.watermark import Watermark


def watermark_of(**progress):
    watermark = Watermark()
    for shard_id in progress:
        watermark.opened(shard_id)
    for shard_id, created_at in progress.items():
        watermark.read(shard_id, created_at)
    return watermark


def test_nothing_is_known_before_all_shards_have_been_read():
    watermark = Watermark()
    assert watermark.value is None
    watermark.opened("a")
    watermark.opened("b")
    watermark.read("a", 9.0)
    assert watermark.value is None
    watermark.read("b", 5.0)
    assert watermark.value == 5.0


def test_it_is_the_slowest_shards_progress():
    # a       9
    # b     5 ---> 12
    watermark = watermark_of(a=9.0, b=5.0)
    assert watermark.value == 5.0
    watermark.read("b", 12.0)
    assert watermark.value == 9.0


def test_a_change_that_is_older_than_the_one_before_it_does_not_turn_it_back():
    watermark = watermark_of(a=9.0)
    watermark.read("a", 8.0)
    assert watermark.value == 9.0


def test_a_shard_begins_where_it_is_started():
    watermark = Watermark()
    watermark.opened("a", at=7.0)
    assert watermark.value == 7.0


def test_a_shard_that_ended_holds_it_no_longer_than_a_child_is_expected():
    # a     5 |                   no child is listed
    # b        9 ------> 20
    watermark = watermark_of(a=5.0, b=9.0)
    watermark.ended("a", expects_children=True)
    watermark.read("b", 20.0)
    assert watermark.value == 5.0
    watermark.expect_no_child("a")
    assert watermark.value == 20.0
    watermark.expect_no_child("a")  # which is known no more

    watermark.opened("child", "a")
    watermark.read("child", 6.0)
    watermark.read("b", 30.0)
    assert watermark.value == 20.0, "the child turned up all the same"


def test_a_shard_found_late_holds_it_where_it_is():
    # a    9 ------> 20
    # b        3 ----------> 11
    #      9   9     9       11
    watermark = watermark_of(a=9.0)
    watermark.opened("b")
    watermark.read("a", 20.0)
    assert watermark.value == 9.0
    watermark.read("b", 3.0)
    assert watermark.value == 9.0
    watermark.read("b", 11.0)
    assert watermark.value == 11.0


def test_a_shard_at_its_tip_no_longer_holds_it():
    watermark = watermark_of(a=100.0, b=5.0)
    watermark.caught_up("b", answered_at=60.0)
    assert watermark.value == 60.0 - SETTLING
    watermark.caught_up("b", answered_at=50.0)  # answers may be told of out of order
    assert watermark.value == 60.0 - SETTLING


def test_a_shard_that_never_had_a_change_does_not_hold_it_for_ever():
    watermark = Watermark()
    watermark.opened("a")
    watermark.caught_up("a", answered_at=60.0)
    assert watermark.value == 58.0


def test_a_shard_that_ended_holds_it_until_its_child_opens():
    # parent    9 |
    # child         (10 s later) 19 ---> 30
    # other       40
    watermark = watermark_of(parent=9.0, other=40.0)
    watermark.ended("parent", expects_children=True)
    assert watermark.value == 9.0
    watermark.opened("child", "parent")
    assert watermark.value == 9.0
    watermark.read("child", 19.0)
    assert watermark.value == 19.0
    watermark.read("child", 30.0)
    assert watermark.value == 30.0


def test_a_shard_that_ended_without_children_holds_nothing():
    watermark = watermark_of(a=9.0, b=40.0)
    watermark.ended("a", expects_children=False)
    assert watermark.value == 40.0


def test_the_second_child_of_a_split_may_be_listed_after_the_first_one():
    # parent     9 |
    # one           12       18 | 19      up to 19, the other one may turn up
    # two                  (found)
    #            9   9   9    9     9
    watermark = watermark_of(parent=9.0)
    watermark.ended("parent", expects_children=True)
    watermark.opened("one", "parent")
    watermark.read("one", 18.0)
    assert watermark.value == 9.0
    watermark.opened("two", "parent")
    watermark.read("one", 19.0)
    assert watermark.value == 9.0
    watermark.caught_up("two", answered_at=30.0)
    assert watermark.value == 19.0


def test_the_time_for_siblings_goes_on_through_a_short_lived_child():
    # parent     9 |
    # child         12 |
    # grandchild         15    19     22
    #            9   9    9    12     22
    watermark = watermark_of(parent=9.0)
    watermark.ended("parent", expects_children=True)
    watermark.opened("child", "parent")
    watermark.read("child", 12.0)
    watermark.ended("child", expects_children=True)
    watermark.opened("grandchild", "child")
    for created_at, value in [(15.0, 9.0), (19.0, 12.0), (22.0, 22.0)]:
        watermark.read("grandchild", created_at)
        assert watermark.value == value


def test_a_child_may_open_before_its_parent_is_told_to_have_ended():
    watermark = watermark_of(parent=9.0)
    watermark.opened("child", "parent")
    watermark.ended("parent", expects_children=True)
    watermark.read("child", 19.0)
    assert watermark.value == 19.0


def test_a_shard_that_waits_for_an_unknown_parent_holds_it():
    watermark = watermark_of(a=9.0)
    watermark.opened("orphan", "never listed")
    watermark.read("a", 20.0)
    assert watermark.value == 9.0
    watermark.opened("orphan", "never listed")
    watermark.read("orphan", 15.0)
    assert watermark.value == 15.0


def test_a_shard_that_is_its_own_parent():
    watermark = Watermark()
    watermark.opened("a", "a")
    watermark.read("a", 9.0)
    assert watermark.value == 9.0
    watermark.ended("a", expects_children=True)
    assert watermark.value == 9.0


def test_it_stays_where_it_is_while_shards_are_missing():
    watermark = watermark_of(a=5, b=9)
    assert watermark.value == 5
    watermark.hold(True)
    watermark.read("a", 20)
    assert (watermark.value, watermark.slowest, watermark.ahead("a")) == (5, 9, 11)
    watermark.opened("found")
    watermark.hold(False)
    watermark.read("b", 20)
    assert (watermark.value, watermark.slowest, watermark.ahead("a")) == (5, 5, 15)
    watermark.read("found", 8)
    assert watermark.value == 8


def test_nobody_waits_for_a_shard_that_is_read_no_more():
    watermark = watermark_of(a=5, b=9, c=7)
    watermark.stopped("a")
    assert watermark.value == 7
    watermark.stopped("c")
    assert watermark.value == 9
    # Whoever read it may tell of it still.
    watermark.read("a", 100)
    watermark.ended("c", expects_children=True)
    assert (watermark.value, watermark.progress("a"), watermark.reach("a"), watermark.ahead("a")) == (
        9,
        -inf,
        -inf,
        0,
    )
    watermark.opened("a")
    watermark.read("b", 20)
    assert watermark.value == 9
    watermark.read("a", 10)
    assert watermark.value == 10


def test_one_that_nothing_is_known_of_may_be_stopped():
    watermark = Watermark()
    watermark.opened("a")
    watermark.opened("b")
    watermark.read("a", 9)
    assert watermark.value is None
    watermark.stopped("b")
    assert watermark.value == 9


def test_how_far_a_shard_is_ahead():
    watermark = watermark_of(a=9.0, b=5.0)
    assert watermark.ahead("a") == 4.0
    assert watermark.ahead("b") == 0.0
    assert (watermark.reach("a"), watermark.reach("b")) == (9.0, 5.0)


def test_a_shard_waits_while_another_one_has_not_begun():
    watermark = Watermark()
    watermark.opened("a")
    watermark.opened("b")
    watermark.read("a", 9.0)
    assert watermark.ahead("a") == inf
    assert watermark.ahead("b") == 0.0


def test_when_all_have_ended_it_is_the_last_ones():
    watermark = watermark_of(a=9.0, b=40.0)
    watermark.ended("b", expects_children=False)
    assert watermark.value == 9.0
    watermark.ended("a", expects_children=False)
    assert watermark.value == 40.0


@pytest.mark.parametrize("siblings", [0.0, 10.0])
def test_ended_shards_are_forgotten(siblings):
    watermark = Watermark(siblings=siblings)
    watermark.opened("0")
    for number in range(1000):
        watermark.read(str(number), number * 60.0)
        watermark.ended(str(number), expects_children=True)
        watermark.opened(str(number + 1), str(number))
    assert len(watermark._shards) == len(watermark._heap) <= 3


def test_a_slow_shard_does_not_make_the_heap_grow():
    watermark = watermark_of(slow=1.0, fast=1.0)
    for number in range(1000):
        watermark.read("fast", 1.0 + number)
    assert len(watermark._heap) == 2


def test_five_thousand_shards_and_a_hundred_thousand_pages():
    watermark = Watermark()
    for number in range(5000):
        watermark.opened(str(number), at=0.0)
    for page in range(100_000):  # at O(n) each, this would take minutes
        watermark.read(str(page * 7919 % 5000), float(page))
        watermark.ahead(str(page % 5000))
    assert watermark.value == 95_000.0


# --- against a naive one -------------------------------------------------------------------------


class Naive:
    """Forgets nothing, and looks at all shards each time."""

    def __init__(self, settling, siblings):
        self.settling, self.siblings = settling, siblings
        self.progress, self.ends = {}, {}
        self.ended, self.with_children = set(), set()
        self.value = -inf

    def reach(self, shard_id):
        progress = self.progress[shard_id]
        return min([progress] + [end for end in self.ends[shard_id] if progress < end + self.siblings])

    def opened(self, shard_id, parent_id=None, at=None):
        self.progress[shard_id], self.ends[shard_id] = -inf, []
        if parent_id is not None:
            self.progress[shard_id] = self.progress[parent_id]
            self.ends[shard_id] = [*self.ends[parent_id], self.progress[parent_id]]
            self.with_children.add(parent_id)
        if at is not None:
            self.progress[shard_id] = max(self.progress[shard_id], at)
        self.update()

    def read(self, shard_id, created_at):
        self.progress[shard_id] = max(self.progress[shard_id], created_at)
        self.update()

    def caught_up(self, shard_id, answered_at):
        self.read(shard_id, answered_at - self.settling)

    def ended_(self, shard_id, expects_children):
        self.ended.add(shard_id)
        if not expects_children:
            self.with_children.add(shard_id)
        self.update()

    def update(self):
        self.holding = self.progress.keys() - (self.ended & self.with_children)
        value = (
            min(map(self.reach, self.holding)) if self.holding else max(self.progress.values(), default=-inf)
        )
        self.value = max(self.value, value)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 3.0]))
def test_it_agrees_with_a_naive_one(seed, siblings):
    random = Random(seed)
    watermark, naive = Watermark(siblings=siblings), Naive(2.0, siblings)
    live, ended = [], []
    for number in range(60):
        step = random.choice(["open", "child", "read", "read", "read", "caught up", "end"])
        seen = watermark.value
        if step == "open" or not live:
            at = random.choice([None, random.randrange(30)])
            live.append(str(number))
            watermark.opened(str(number), at=at)
            naive.opened(str(number), at=at)
        elif step == "child" and ended:
            # The parent may have other children, and may be forgotten.
            parent = random.choice(ended)
            live.append(str(number))
            watermark.opened(str(number), parent)
            naive.opened(str(number), parent)
        elif step == "read":
            shard, time = random.choice(live), random.randrange(number + 5)
            watermark.read(shard, time)
            naive.read(shard, time)
        elif step == "caught up":
            shard, time = random.choice(live), random.randrange(number + 5)
            watermark.caught_up(shard, time)
            naive.caught_up(shard, time)
        elif step == "end":
            ended.append(live.pop(random.randrange(len(live))))
            expects = random.random() < 0.7
            watermark.ended(ended[-1], expects)
            naive.ended_(ended[-1], expects)
        assert watermark.value == (None if naive.value == -inf else naive.value)
        assert seen is None or watermark.value >= seen, "it went back"
        for shard in live:
            ahead = 0.0 if naive.reach(shard) == -inf else max(0.0, naive.reach(shard) - naive.value)
            assert watermark.ahead(shard) == ahead
        if not naive.holding:
            break  # all have ended, and none expects a child


# --- against a stream ----------------------------------------------------------------------------

SIBLINGS = 3.0


class Stream:
    """Shards that split and roll over, read a change at a time, with children that are listed late."""

    def __init__(self, random):
        self.random = random
        self.changes, self.parents, self.children = {}, {}, {}
        self.watermark = Watermark(siblings=SIBLINGS)
        self.listed, self.done, self.progress = [], set(), {}
        roots = [self.grow(None, random.randrange(10), depth=0) for _ in range(random.randint(1, 3))]
        first = random.randint(1, len(roots))
        self.late_roots = roots[first:]
        for root in roots[:first]:
            self.open(root)

    def grow(self, parent, time, depth):
        shard = f"shard-{len(self.changes)}"
        self.parents[shard] = parent
        self.changes[shard] = []
        for _ in range(self.random.randrange(5)):
            time += self.random.choice([0, 0, 1, 2, 5])
            self.changes[shard].append(time)
        families = [0, 1, 2] if depth < 3 else [0]
        self.children[shard] = []
        for _ in range(self.random.choice(families)):
            self.children[shard].append(self.grow(shard, time + self.random.randrange(3), depth + 1))
        return shard

    def open(self, shard):
        self.listed.append(shard)
        self.progress[shard] = self.progress.get(self.parents[shard], -inf)
        self.watermark.opened(shard, self.parents[shard])

    def unread(self, shard):
        """What is still to be read of a shard and all that come from it."""
        times = [] if shard in self.done else list(self.changes[shard])
        return times + [time for child in self.children[shard] for time in self.unread(child)]

    def known_unread(self):
        return [time for shard in self.listed if shard not in self.done for time in self.unread(shard)] + [
            time
            for shard in self.done
            for child in self.children[shard]
            if child not in self.listed
            for time in self.unread(child)
        ]

    def unlisted_children(self):
        return [child for shard in self.done for child in self.children[shard] if child not in self.listed]

    def come_to(self, shard, time):
        """Its family has been listed by then, which is what the watermark relies on."""
        parent = self.parents[shard]
        while parent is not None:
            if time >= self.progress[parent] + SIBLINGS:
                for sibling in self.children[parent]:
                    if sibling not in self.listed:
                        self.open(sibling)
            parent = self.parents[parent]
        self.progress[shard] = max(self.progress[shard], time)

    def step(self):
        live = [shard for shard in self.listed if shard not in self.done]
        steps = ["read"] * 4 + ["caught up", "list"] + ["late root"] * bool(self.late_roots)
        step = self.random.choice(steps)
        if step == "late root":
            self.open(self.late_roots.pop())
        elif step == "list" and self.unlisted_children():
            self.open(self.random.choice(self.unlisted_children()))
        elif live:
            shard = self.random.choice(live)
            changes = self.changes[shard]
            if step == "caught up":
                # Nothing that was written before the settling time is still to be read.
                upto = min([*self.unread(shard), 60]) - self.random.randrange(3)
                self.come_to(shard, upto)
                self.watermark.caught_up(shard, upto + 2.0)
            elif changes:
                self.come_to(shard, changes[0])
                self.watermark.read(shard, changes.pop(0))
            else:
                if not self.children[shard]:
                    self.come_to(shard, inf)
                self.done.add(shard)
                self.watermark.ended(shard, expects_children=bool(self.children[shard]))

    @property
    def is_over(self):
        return not (self.late_roots or self.unlisted_children()) and len(self.done) == len(self.listed)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_it_never_passes_a_change_that_is_still_to_be_read(seed):
    stream = Stream(Random(seed))
    changes = [time for times in stream.changes.values() for time in times]
    value = None
    for _ in range(500):
        stream.step()
        new = stream.watermark.value
        if new != value:
            assert value is None or new > value, "it went back"
            assert new <= min(stream.known_unread(), default=inf), "it passed a change"
            value = new
        if stream.is_over:
            assert not changes or (value is not None and value >= max(changes)), "it did not come to the end"
            break
