"""Putting off what an element stands for: the changes in it, or none."""

from __future__ import annotations

import pytest

import rxddbstream as rxd
from rxddbstream.checkpoints.acknowledgement import delivering
from rxddbstream.checkpoints.frontier import Frontier
from rxddbstream.checkpoints.holding import defer
from rxddbstream.errors import HeldTooLate
from rxddbstream.model.position import After, TrimHorizon


@pytest.mark.parametrize("element", [[], (), [[], ()]])
def test_an_empty_list_that_comes_on_a_timers_thread_stands_for_no_change(element):
    defer(element, must_know=True)()


@pytest.mark.parametrize("element", [1, "", [0], [[], None]])
def test_of_anything_else_it_must_be_known_what_it_stands_for(element):
    with pytest.raises(HeldTooLate, match=f"an element of type {type(element).__name__} came from another"):
        defer(element, must_know=True)


def test_of_a_list_of_two_shards_changes_each_is_put_off():
    numbers = "1" * 21, "2" * 21
    one, other = frontiers = Frontier(TrimHorizon()), Frontier(TrimHorizon())
    changes = [
        rxd.Change({"dynamodb": {"SequenceNumber": number}}, "shard", frontier)
        for number, frontier in zip(numbers, frontiers, strict=True)
    ]
    one.current = one.done = changes[0]  # its `on_next` has returned, somebody keeps it in a list
    other.current = changes[1]
    with delivering(other):
        done = defer(changes, must_know=True)
    other.done = changes[1]
    assert [each.position for each in frontiers] == [TrimHorizon(), TrimHorizon()]
    done()
    assert [each.position for each in frontiers] == [After(number) for number in numbers]
