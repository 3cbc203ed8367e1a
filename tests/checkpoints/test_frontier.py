"""How far a shard's changes are done: delivered, held, released, in any order."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxddbstream.checkpoints.frontier import Frontier
from rxddbstream.model.change import Change
from rxddbstream.model.position import After, TrimHorizon

START = TrimHorizon()


def change(number):
    return Change({"dynamodb": {"SequenceNumber": str(10**20 + number)}}, "shard-1")


def after(number):
    return After(str(10**20 + number))


class Shard:
    """Delivers changes 1, 2, 3, ... to whoever wants to hold them."""

    def __init__(self, start=START):
        self.frontier = Frontier(start)
        self.changes = [change(0)]

    def begin(self):
        """The next change's `on_next` is called."""
        self.changes.append(change(len(self.changes)))
        self.frontier.current = self.changes[-1]
        return self.changes[-1]

    def finish(self):
        """It returns."""
        self.frontier.done = self.frontier.current

    def deliver(self, count=1, *, hold=0):
        for _ in range(count):
            begun = self.begin()
            for _ in range(hold):
                assert self.frontier.hold(begun)
            self.finish()

    @property
    def position(self):
        return self.frontier.position

    def release(self, number):
        self.frontier.release(self.changes[number])


@pytest.fixture
def shard():
    return Shard()


def test_nothing_is_done_before_the_first_on_next_has_returned(shard):
    assert shard.position == START
    shard.begin()
    assert shard.position == START
    shard.finish()
    assert shard.position == after(1)


def test_it_begins_where_the_reading_does():
    assert Shard(after(7)).position == after(7)


def test_the_frontier_stays_below_the_oldest_held_change(shard):
    # delivered   1   2   3   4   5   6
    # held                3       5
    shard.deliver(2)
    shard.deliver(hold=1)
    shard.deliver()
    shard.deliver(hold=1)
    shard.deliver()
    assert shard.position == after(2)
    shard.release(3)
    assert shard.position == after(4)
    shard.release(5)
    assert shard.position == after(6)


def test_releases_out_of_order(shard):
    shard.deliver(3, hold=1)
    shard.release(2)
    shard.release(3)
    assert shard.position == START
    shard.release(1)
    assert shard.position == after(3)


def test_a_change_is_released_as_often_as_it_was_held(shard):
    shard.deliver(hold=2)
    shard.release(1)
    assert shard.position == START
    shard.release(1)
    assert shard.position == after(1)


def test_a_hold_that_is_released_inside_on_next_leaves_the_change_to_on_next(shard):
    held = shard.begin()
    shard.frontier.hold(held)
    shard.release(1)
    assert shard.position == START
    assert shard.frontier.hold(held)  # and it can be held anew
    shard.finish()
    assert shard.position == START


def test_it_is_too_late_once_on_next_has_returned_and_nobody_held_it(shard):
    shard.deliver(2)
    assert not shard.frontier.hold(shard.changes[1])
    assert not shard.frontier.hold(shard.changes[2])
    assert shard.position == after(2)


def test_it_is_never_too_late_for_a_change_that_somebody_holds(shard):
    shard.deliver(hold=1)
    shard.deliver()
    assert shard.frontier.hold(shard.changes[1])
    shard.release(1)
    assert shard.position == START


def test_releasing_what_nobody_holds_does_no_harm(shard):
    shard.deliver(2)
    shard.release(1)
    assert shard.position == after(2)


def test_a_change_that_was_acknowledged_inside_on_next_is_done(shard):
    acknowledged = shard.begin()
    shard.frontier.acknowledge()
    assert shard.position == after(1)
    assert not shard.frontier.hold(acknowledged)


def test_a_change_whose_on_next_raised_is_not_done(shard):
    shard.deliver()
    shard.begin()
    assert shard.position == after(1)


def test_the_shards_end_waits_for_its_last_hold(shard):
    shard.deliver()
    shard.deliver(hold=1)
    shard.frontier.end()
    assert shard.position == after(1)
    shard.release(2)
    assert shard.position is None


def test_an_empty_shard_has_an_end_too(shard):
    shard.frontier.end()
    assert shard.position is None


def test_a_hold_that_races_the_end_of_its_on_next_stays_below_its_change():
    class Racing(Frontier):
        """`on_next` returns right after `done` was looked at."""

        @property
        def done(self):
            done, self._done = self._done, self.current
            return done

        @done.setter
        def done(self, change):
            self._done = change

    frontier = Racing(START)
    frontier.current = change(1)
    assert frontier.hold(frontier.current)
    assert frontier.position == START


def test_a_hundred_thousand_holds_are_released_in_order_in_no_time(shard):
    count = 100_000
    shard.deliver(count, hold=1)
    for number in range(1, count + 1):
        shard.release(number)
        if number % 1000 == 0:
            assert shard.position == after(number)


def test_threads_that_release_at_once(shard):
    shard.deliver(2000, hold=2)
    barrier = threading.Barrier(4)

    def release(changes):
        barrier.wait()
        for held in changes:
            shard.frontier.release(held)

    halves = [shard.changes[1::2], shard.changes[2::2]] * 2
    threads = [threading.Thread(target=release, args=(half,)) for half in halves]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        position = shard.position
        seen.append(int(position.sequence_number) if position != START else 0)
    for thread in threads:
        thread.join()
    assert seen == sorted(seen)
    assert shard.position == after(2000)


# --- against a naive one -------------------------------------------------------------------------


class Naive:
    """Remembers everything, and counts from the start each time."""

    def __init__(self):
        self.holds = {}  # number of a change that was begun to how often it is held
        self.begun = self.done = 0
        self.ended = False

    def hold(self, number):
        if not self.holds.get(number) and not self.done < number == self.begun:
            return False
        self.holds[number] = self.holds.get(number, 0) + 1
        return True

    def release(self, number):
        self.holds[number] = max(0, self.holds.get(number, 0) - 1)

    @property
    def position(self):
        done = 0
        while done < self.done and not self.holds.get(done + 1):
            done += 1
        if self.ended and done == self.begun:
            return None
        return after(done) if done else START


numbers = st.integers(1, 12)
steps = st.lists(
    st.one_of(
        st.just(("begin", 0)),
        st.just(("hold the current one", 0)),
        st.just(("finish", 0)),
        st.tuples(st.just("hold"), numbers),
        st.tuples(st.just("release"), numbers),
        st.just(("end", 0)),
    ),
    max_size=80,
)


@given(steps)
def test_it_agrees_with_a_naive_frontier(steps):
    shard, naive = Shard(), Naive()
    for step, number in steps:
        if step == "begin" and naive.begun == naive.done and not naive.ended:
            naive.begun += 1
            shard.begin()
        elif step == "finish" and naive.begun:
            naive.done = naive.begun
            shard.finish()
        elif step == "end" and naive.begun == naive.done:
            naive.ended = True
            shard.frontier.end()
        elif step.startswith("hold"):
            number = number or naive.begun
            if 0 < number <= naive.begun:
                assert shard.frontier.hold(shard.changes[number]) == naive.hold(number)
        elif step == "release" and number <= naive.begun:
            naive.release(number)
            shard.release(number)
        assert shard.position == naive.position
    for number, times in naive.holds.items():
        for _ in range(times):
            shard.release(number)
    shard.finish()
    assert shard.position == (None if naive.ended else after(naive.begun) if naive.begun else START)


# --- held back ---------------------------------------------------------------------------------------


def test_what_no_checkpoint_says_is_done_can_be_held_back(shard):
    # delivered   1   2   3   4        a list of 2 and 3 comes with 4
    # held back       2   3
    shard.deliver(3)
    shard.begin()
    assert shard.frontier.hold_back(shard.changes[2])
    assert shard.frontier.hold_back(shard.changes[3])
    shard.finish()
    assert shard.position == START  # what was before 2 is not known any more
    shard.release(2)
    assert shard.position == after(2)
    shard.release(3)
    assert shard.position == after(4)


def test_what_a_checkpoint_says_is_done_cannot(shard):
    shard.deliver(3)
    assert shard.frontier.keep() == after(3)
    shard.deliver(2)
    assert not shard.frontier.hold_back(shard.changes[3])
    assert shard.frontier.hold_back(shard.changes[4])
    assert shard.position == after(3)


def test_a_shard_that_was_kept_as_done_can_hold_nothing_back(shard):
    shard.deliver(1)
    shard.frontier.end()
    assert shard.frontier.keep() is None
    assert not shard.frontier.hold_back(shard.changes[1])


def test_lists_one_after_the_other_let_the_frontier_go_on(shard):
    # lists      [1 2] [3 4] [5 6]    the taker is at the third when the last has come
    for first in (1, 3, 5):
        shard.deliver(1)
        shard.begin()
        assert shard.frontier.hold_back(shard.changes[first])
        assert shard.frontier.hold_back(shard.changes[first + 1])
        shard.finish()
    shard.release(1)
    shard.release(2)
    assert shard.frontier.keep() == after(2)
    shard.release(3)
    shard.release(4)
    assert shard.frontier.keep() == after(4)


@given(st.data())
def test_the_frontier_never_passes_what_is_held_back_and_never_goes_back_behind_a_checkpoint(data):
    shard, held, kept = Shard(), set(), 0
    for _ in range(data.draw(st.integers(1, 20))):
        shard.begin()
        newest = len(shard.changes) - 1
        for number in data.draw(st.lists(st.integers(1, newest), max_size=4, unique=True)):
            if number in held:
                continue
            if shard.frontier.hold_back(shard.changes[number]):
                held.add(number)
            else:
                assert number <= kept
        shard.finish()
        for number in data.draw(st.sets(st.sampled_from(sorted(held))) if held else st.just(())):
            shard.release(number)
            held.discard(number)
        writes = data.draw(st.booleans())
        position = shard.frontier.keep() if writes else shard.position
        reached = int(position.sequence_number) - 10**20 if isinstance(position, After) else 0
        assert reached >= kept
        assert all(number > reached for number in held)
        assert held or reached == newest
        kept = reached if writes else kept


def test_a_shard_whose_reading_was_stopped_moves_no_more(shard):
    shard.deliver(2, hold=1)
    shard.frontier.stop()
    shard.release(1)
    shard.release(2)
    assert shard.position == shard.frontier.keep() == START


def test_a_shard_that_was_read_to_its_end_may_still_be_released(shard):
    shard.deliver(2, hold=1)
    shard.frontier.end()
    shard.frontier.stop()
    shard.release(1)
    shard.release(2)
    assert shard.position is None
