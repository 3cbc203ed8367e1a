"""Which shards may start, in which order, and where."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.lineage import ABSENT_FOR, Lineage

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)
TIME = AtTime(BEGAN - timedelta(hours=1))
PARENT, CHILD, OTHER_CHILD = Shard("parent", None, "9"), Shard("child", "parent"), Shard("other", "parent")
STARTS: list[Position] = [TrimHorizon(), TIME, Latest()]


def lineage_of(
    *shards: Shard,
    start: Position | None = None,
    kept: dict[str, Position | None] | None = None,
) -> Lineage:
    lineage = Lineage(start or TrimHorizon(), began=BEGAN, kept=kept)
    lineage.observe(shards)
    return lineage


def taken(lineage: Lineage) -> list[str]:
    return [ready.shard.id for ready in lineage.take_ready()]


def started(lineage: Lineage) -> list[tuple[Shard, Position]]:
    return [(ready.shard, ready.position) for ready in lineage.take_ready()]


def test_a_shard_is_given_out_with_the_one_that_is_read_before_it():
    lineage = lineage_of(PARENT, CHILD)
    [parent] = lineage.take_ready()
    lineage.end(PARENT.id)
    [child] = lineage.take_ready()
    assert (parent.predecessor, child.predecessor) == (None, PARENT.id)


# --- a child starts when its parent has been read to the end ------------------------------------


def test_unrelated_shards_start_at_once() -> None:
    assert taken(lineage_of(Shard("a"), Shard("b", None, "9"), Shard("c"))) == ["a", "b", "c"]


@pytest.mark.parametrize("listing", [[PARENT, CHILD, OTHER_CHILD], [OTHER_CHILD, CHILD, PARENT]])
def test_children_start_when_their_parent_has_ended(listing: list[Shard]) -> None:
    lineage = lineage_of(*listing)
    assert taken(lineage) == ["parent"]
    assert taken(lineage) == []

    lineage.end("parent")

    assert sorted(taken(lineage)) == ["child", "other"]


def test_each_generation_waits_for_the_one_before() -> None:
    line = [Shard("a", None, "1"), Shard("b", "a", "2"), Shard("c", "b", "3"), Shard("d", "c")]
    lineage = lineage_of(*reversed(line))

    for shard in line:
        assert taken(lineage) == [shard.id]
        lineage.end(shard.id)
    assert taken(lineage) == []


def test_a_child_found_after_its_parent_ended_starts_at_once() -> None:
    lineage = lineage_of(PARENT)
    taken(lineage)
    lineage.end("parent")

    lineage.observe([CHILD])

    assert taken(lineage) == ["child"]


def test_a_parent_listed_as_open_ends_as_any_other() -> None:
    lineage = lineage_of(Shard("parent"), CHILD)
    assert taken(lineage) == ["parent"]

    lineage.end("parent")

    assert taken(lineage) == ["child"]


def test_a_shard_is_given_out_once_however_often_it_is_listed() -> None:
    lineage = lineage_of(Shard("a"))
    lineage.observe([Shard("a")])
    assert taken(lineage) == ["a"]

    lineage.observe([Shard("a", None, "9")])
    lineage.end("a")
    lineage.observe([Shard("a", None, "9")])

    assert taken(lineage) == []


def test_a_shard_is_given_out_as_it_was_listed() -> None:
    lineage = lineage_of(PARENT)

    assert lineage.take_ready()[0].shard is PARENT


# --- a parent that the listing lacks ------------------------------------------------------------


def test_an_unlisted_parent_holds_back_its_children_until_it_is_denied() -> None:
    lineage = lineage_of(CHILD, OTHER_CHILD)
    assert taken(lineage) == []
    assert lineage.unlisted() == ["parent"]

    lineage.confirm_gone("parent", BEGAN)

    assert taken(lineage) == ["child", "other"]
    assert lineage.unlisted() == []


def test_a_parent_listed_late_is_read_first() -> None:
    lineage = lineage_of(CHILD)

    lineage.observe([PARENT])

    assert lineage.unlisted() == []
    assert taken(lineage) == ["parent"]
    lineage.end("parent")
    assert taken(lineage) == ["child"]


def test_a_listed_parent_is_not_asked_for() -> None:
    assert lineage_of(PARENT, CHILD).unlisted() == []


def test_a_child_found_after_its_parent_was_denied_starts_at_once() -> None:
    lineage = lineage_of(CHILD)
    lineage.confirm_gone("parent", BEGAN)

    lineage.observe([OTHER_CHILD])

    assert sorted(taken(lineage)) == ["child", "other"]


def test_an_orphan_still_holds_back_its_own_children() -> None:
    lineage = lineage_of(Shard("orphan", "gone", "9"), Shard("grandchild", "orphan"))
    lineage.confirm_gone("gone", BEGAN)

    assert taken(lineage) == ["orphan"]
    lineage.end("orphan")
    assert taken(lineage) == ["grandchild"]


# --- a closed shard without a child -------------------------------------------------------------


def test_the_children_of_an_ended_shard_are_missed_until_listed() -> None:
    lineage = lineage_of(Shard("parent"))
    taken(lineage)
    assert lineage.childless() == []

    lineage.end("parent")
    assert lineage.childless() == ["parent"]

    lineage.observe([CHILD])
    assert lineage.childless() == []


def test_a_shard_with_a_child_is_not_missing_one() -> None:
    lineage = lineage_of(PARENT, CHILD)
    taken(lineage)

    lineage.end("parent")

    assert lineage.childless() == []


@pytest.mark.parametrize("shard", [Shard("a"), Shard("a", None, "9")])
@pytest.mark.parametrize(("short", "missing"), [(True, []), (False, ["a"])])
def test_a_shard_has_a_child_to_come_unless_its_reading_stopped_short(
    shard: Shard, short: bool, missing: list[str]
) -> None:
    # Not by what the listing said of it, which may be late.
    lineage = lineage_of(shard)
    taken(lineage)

    lineage.end("a", short=short)

    assert lineage.childless() == missing


# --- where to begin -----------------------------------------------------------------------------


def test_latest_holds_for_the_open_leaves_of_the_first_listing_alone() -> None:
    lineage = lineage_of(
        Shard("closed", None, "9"),
        Shard("grandparent", None, "9"),
        Shard("stale", "grandparent"),  # listed as open, but it has a child
        Shard("leaf", "stale"),
        Shard("orphan", "gone"),
        start=Latest(),
    )

    assert {(ready.shard.id, ready.position) for ready in lineage.take_ready()} == {
        ("leaf", Latest()),
        ("orphan", Latest()),
    }
    assert lineage.unlisted() == []


def test_latest_takes_what_is_found_later_from_its_beginning() -> None:
    lineage = lineage_of(Shard("open"), Shard("closed", None, "9"), start=Latest())
    taken(lineage)
    assert lineage.childless() == ["closed"]

    lineage.observe([Shard("child", "open"), Shard("closed-child", "closed"), Shard("new")])
    found = {(ready.shard.id, ready.position) for ready in lineage.take_ready()}
    lineage.end("open")
    found |= {(ready.shard.id, ready.position) for ready in lineage.take_ready()}

    assert found == {(name, TrimHorizon()) for name in ("child", "closed-child", "new")}


def test_latest_on_a_stream_without_shards_reads_those_that_come_from_their_beginning() -> None:
    lineage = lineage_of(start=Latest())
    assert lineage.is_empty

    lineage.observe([Shard("first")])

    assert not lineage.is_empty
    assert started(lineage) == [(Shard("first"), TrimHorizon())]


@pytest.mark.parametrize("start", [TrimHorizon(), TIME])
def test_every_other_start_holds_for_all_shards(start: Position) -> None:
    lineage = lineage_of(PARENT, start=start)
    first = started(lineage)
    lineage.end("parent")
    lineage.observe([CHILD])

    assert first == [(PARENT, start)]
    assert started(lineage) == [(CHILD, start)]


# --- idle and empty -----------------------------------------------------------------------------


def test_it_is_idle_when_all_known_shards_have_ended() -> None:
    lineage = lineage_of(PARENT, CHILD)
    steps = [lineage.is_idle]
    for shard_id in ("parent", "child"):
        assert taken(lineage) == [shard_id]
        steps.append(lineage.is_idle)
        lineage.end(shard_id)
        steps.append(lineage.is_idle)

    assert steps == [False, False, False, False, True]


def test_it_is_not_idle_while_a_child_waits_for_an_unlisted_parent() -> None:
    assert not lineage_of(CHILD).is_idle


def test_without_shards_it_is_idle_and_empty() -> None:
    lineage = lineage_of()

    assert lineage.is_idle
    assert lineage.is_empty
    assert taken(lineage) == []


# --- forgetting ---------------------------------------------------------------------------------


LINE = [Shard("a", None, "1"), Shard("b", "a", "2"), Shard("c", "b")]


def ended_line() -> Lineage:
    lineage = lineage_of(*LINE)
    for shard in LINE:
        assert taken(lineage) == [shard.id]
        lineage.end(shard.id)
    return lineage


def forget(lineage: Lineage, listed: list[str], *, times: int = 3) -> set[str]:
    """What is forgotten when so many whole listings, some minutes apart, have these shards alone."""
    forgotten: set[str] = set()
    for number in range(times):
        forgotten |= lineage.forget_all_but(listed, BEGAN + number * ABSENT_FOR / (times - 1))
    return forgotten


def test_what_listings_lack_for_ten_minutes_is_forgotten() -> None:
    lineage = ended_line()

    assert lineage.forget_all_but([], BEGAN) == set()
    assert lineage.forget_all_but([], BEGAN + ABSENT_FOR - timedelta(seconds=1)) == set()
    # A child of the last one may be listed yet, and must find its parent ended.
    assert lineage.forget_all_but([], BEGAN + ABSENT_FOR) == {"a"}
    assert lineage.forget_all_but([], BEGAN + 3 * ABSENT_FOR) == set()
    assert lineage.childless() == ["c"]
    lineage.observe([Shard("d", "c")])
    assert taken(lineage) == ["d"]


def test_what_a_listing_has_in_between_is_kept() -> None:
    lineage = ended_line()

    for number, listed in enumerate([[], [], ["a", "b", "c"], [], []]):
        assert lineage.forget_all_but(listed, BEGAN + number * ABSENT_FOR * 0.9 / 2) == set()
        lineage.observe(LINE)

    assert taken(lineage) == []


def test_a_shard_that_is_being_read_or_waits_is_kept() -> None:
    lineage = lineage_of(Shard("ready"), PARENT, CHILD)

    forget(lineage, [])
    assert taken(lineage) == ["ready", "parent"]
    forget(lineage, [])
    lineage.observe([Shard("ready"), PARENT, CHILD])
    lineage.end("parent")

    assert taken(lineage) == ["child"]


def test_the_parent_of_a_listed_shard_is_kept() -> None:
    lineage = lineage_of(PARENT, CHILD)
    taken(lineage)
    lineage.end("parent")
    forget(lineage, ["child"])

    lineage.observe([OTHER_CHILD])

    assert sorted(taken(lineage)) == ["child", "other"]


def test_a_child_of_a_forgotten_shard_is_an_orphan() -> None:
    lineage = ended_line()
    forget(lineage, [])

    lineage.observe([Shard("late", "a")])

    assert taken(lineage) == []
    assert lineage.unlisted() == ["a"]
    lineage.confirm_gone("a", BEGAN)
    assert taken(lineage) == ["late"]


def test_a_denial_is_remembered_while_a_child_is() -> None:
    lineage = lineage_of(CHILD)
    lineage.confirm_gone("parent", BEGAN)
    forget(lineage, ["child"])

    lineage.observe([OTHER_CHILD])

    assert sorted(taken(lineage)) == ["child", "other"]


# --- going on where an earlier run stopped ------------------------------------------------------


def test_a_shard_goes_on_where_it_stopped_and_one_without_a_position_from_the_start() -> None:
    lineage = lineage_of(Shard("stopped"), Shard("unread"), start=TIME, kept={"stopped": After("5")})

    assert started(lineage) == [(Shard("stopped"), After("5")), (Shard("unread"), TIME)]


def test_a_shard_that_ended_in_an_earlier_run_is_not_read_again() -> None:
    lineage = lineage_of(CHILD, PARENT, kept={"parent": None})

    assert taken(lineage) == ["child"]
    lineage.end("child")
    assert lineage.is_idle


def test_the_children_of_a_shard_that_ended_in_an_earlier_run_are_missed_until_listed() -> None:
    lineage = lineage_of(PARENT, kept={"parent": None})

    assert taken(lineage) == []
    assert lineage.childless() == ["parent"]
    lineage.observe([CHILD])
    assert taken(lineage) == ["child"]
    assert lineage.childless() == []


def test_the_children_of_a_shard_that_was_stopped_in_wait_for_its_end() -> None:
    lineage = lineage_of(CHILD, PARENT, kept={"parent": After("5")})

    assert taken(lineage) == ["parent"]
    lineage.end("parent")
    assert taken(lineage) == ["child"]


def test_a_shard_that_was_begun_does_not_wait_for_its_parent_again() -> None:
    assert taken(lineage_of(CHILD, kept={"child": After("5")})) == ["child"]


def test_a_shard_that_was_stopped_in_and_is_gone_is_a_gap() -> None:
    lineage = lineage_of(CHILD, kept={"parent": After("5")})
    assert lineage.unlisted() == ["parent"]
    assert not lineage.is_idle

    gap = lineage.confirm_gone("parent", BEGAN)

    assert gap is not None
    assert (gap.shard_id, gap.after) == ("parent", "5")
    assert "gone" in gap.reason
    assert taken(lineage) == ["child"]
    lineage.end("child")
    assert lineage.unlisted() == []
    assert lineage.is_idle


@pytest.mark.parametrize(("hours", "lost"), [(0, False), (23, False), (24, True), (240, True)])
def test_a_parent_that_is_gone_unread_is_a_gap_if_it_may_have_been_written_since_the_beginning(
    hours: int, lost: bool
) -> None:
    lineage = lineage_of(CHILD)

    gap = lineage.confirm_gone("parent", BEGAN + timedelta(hours=hours))

    assert (gap is not None) is lost
    assert gap is None or (gap.shard_id, gap.after) == ("parent", None)
    assert taken(lineage) == ["child"]


def test_a_kept_position_that_no_shard_has_any_more_is_forgotten() -> None:
    lineage = lineage_of(Shard("new"), kept={"old": None})

    assert forget(lineage, ["new"]) == {"old"}


def test_a_child_waits_for_a_parent_that_was_stopped_in_though_it_was_begun_itself() -> None:
    lineage = lineage_of(CHILD, PARENT, kept={"parent": After("5"), "child": After("7")})

    assert taken(lineage) == ["parent"]
    lineage.end("parent")
    assert started(lineage) == [(CHILD, After("7"))]


LISTINGS = [
    ["parent", "child", "grandchild"],
    ["grandchild", "child", "parent"],
    ["child", "grandchild", "parent"],
]


@pytest.mark.parametrize("order", LISTINGS)
@pytest.mark.parametrize(
    ("child", "grandchild", "taken_in_turn"),
    [
        (After("7"), None, [["parent"], ["child"], []]),
        (After("7"), After("9"), [["parent"], ["child"], ["grandchild"]]),
        (None, After("9"), [["parent"], ["grandchild"], []]),
        (None, None, [["parent"], [], []]),
    ],
)
def test_what_is_below_a_shard_that_was_stopped_in_waits_for_it_however_it_is_listed(
    order: list[str],
    child: Position | None,
    grandchild: Position | None,
    taken_in_turn: list[list[str]],
) -> None:
    tree = {
        "parent": PARENT,
        "child": Shard("child", "parent", "8"),
        "grandchild": Shard("grandchild", "child"),
    }
    kept = {"parent": After("5"), "child": child, "grandchild": grandchild}

    lineage = lineage_of(*[tree[shard_id] for shard_id in order], kept=kept)

    for expected in taken_in_turn:
        got = taken(lineage)
        assert got == expected
        for shard_id in got:
            lineage.end(shard_id)
    assert lineage.is_idle


def test_what_is_below_a_shard_that_was_stopped_in_starts_when_that_is_denied() -> None:
    grandchild = Shard("grandchild", "child")
    kept: dict[str, Position | None] = {"parent": After("5"), "child": None, "grandchild": After("9")}
    lineage = lineage_of(grandchild, Shard("child", "parent", "8"), kept=kept)
    assert taken(lineage) == []

    assert lineage.confirm_gone("parent", BEGAN) is not None

    assert started(lineage) == [(grandchild, After("9"))]


def test_a_shard_that_was_stopped_in_is_not_forgotten_before_it_is_denied() -> None:
    lineage = lineage_of(kept={"stopped": After("5")})
    assert forget(lineage, []) == set()
    assert lineage.unlisted() == ["stopped"]
    assert not lineage.is_idle

    lineage.confirm_gone("stopped", BEGAN)

    assert lineage.is_idle
    assert forget(lineage, []) == {"stopped"}


# --- whatever happens, in whatever order --------------------------------------------------------


@st.composite
def trees(draw: st.DrawFn) -> list[Shard]:
    """Shards, parents first; leaves are open or closed, parents closed or (a late listing) open."""
    shards: list[Shard] = []
    for number in range(draw(st.integers(1, 10))):
        parents = [None, f"gone-{draw(st.integers(0, 2))}", *(shard.id for shard in shards)]
        parent_id = draw(st.sampled_from(parents))
        shards.append(Shard(f"shard-{number}", parent_id, draw(st.sampled_from([None, "9"]))))
    return shards


def what_an_earlier_run_kept(tree: list[Shard], states: list[str]) -> dict[str, Position | None]:
    """Positions such as a run may leave: a shard is begun after its parent was read, or was gone.

    A parent that was read may be stopped in all the same: changes of it were held.
    """
    kept: dict[str, Position | None] = {}
    in_order = sorted(tree, key=lambda shard: shard.id)
    listed = {shard.id for shard in tree}
    gone = [Shard(f"gone-{number}") for number in range(3)]
    for shard, state in zip([*gone, *in_order], states, strict=False):
        parent_id = shard.parent_id
        may_begin = parent_id in kept or parent_id not in listed
        if state != "unread" and (parent_id is None or may_begin):
            kept[shard.id] = After("5") if state == "stopped" else None
    return kept


class LineageMachine(RuleBasedStateMachine):
    """A service whose listings lag, leave out and lose shards, and a consumer that reads them.

    After each run, all is listed and all that is given out is ended: nothing may be left over.
    """

    begun = False

    @initialize(
        tree=trees().flatmap(st.permutations),
        first=st.integers(0, 10),
        start=st.sampled_from(STARTS),
        earlier=st.none()
        | st.lists(st.sampled_from(["unread", "stopped", "ended"]), min_size=13, max_size=13),
    )
    def begin(self, tree: list[Shard], first: int, start: Position, earlier: list[str] | None) -> None:
        self.now = BEGAN
        self.kept: dict[str, Position | None] = {}
        if earlier and not isinstance(start, Latest):
            self.kept = what_an_earlier_run_kept(tree, earlier)
        # What an earlier run has read was listed then, and is now.
        self.unlisted = sorted(tree, key=lambda shard: shard.id not in self.kept)
        first = max(first, len(self.kept.keys() & {shard.id for shard in tree}))
        self.listed: list[Shard] = []
        self.seen: dict[str, Shard] = {}
        self.left_out: set[str] = set()
        self.given: set[str] = set()
        self.reading: set[str] = set()
        self.done = {shard_id for shard_id, position in self.kept.items() if position is None}  # or denied
        self.ended_earlier = set(self.done)
        self.lineage = Lineage(start, began=BEGAN, kept=self.kept)
        self.start = start
        self.latest: set[str] = set()
        self.list_more(first)
        self.first_seen = set(self.seen)
        if isinstance(start, Latest):
            parents = {shard.parent_id for shard in self.listed}
            leaves = {shard.id for shard in self.listed if not shard.is_closed and shard.id not in parents}
            self.latest = leaves
            self.done |= {shard.id for shard in self.listed} - leaves
        self.passed_over = self.ancestors_of(tree)
        self.begun = True

    def ancestors_of(self, tree: list[Shard]) -> set[str]:
        """What is not to be read: the ancestors of what was begun, or passed over, before."""
        parents = {shard.id: shard.parent_id for shard in tree}
        begun = self.first_seen if isinstance(self.start, Latest) else set(self.kept)
        ancestors: set[str] = set()
        for shard_id in begun:
            parent_id = parents.get(shard_id)
            while parent_id is not None and self.kept.get(parent_id) is None:
                ancestors.add(parent_id)
                parent_id = parents.get(parent_id)
        return ancestors

    @rule(count=st.integers(0, 3))
    def list_more(self, count: int) -> None:
        self.listed += self.unlisted[:count]
        del self.unlisted[:count]
        self.observe(self.listed)

    @rule(data=st.data())
    def list_and_forget(self, data: st.DataObject) -> None:
        """A whole listing that leaves out shards which the one before had."""
        may_lack = [shard.id for shard in self.listed if shard.id not in self.left_out]
        self.left_out = (
            set(data.draw(st.lists(st.sampled_from(may_lack), unique=True))) if may_lack else set()
        )
        shards = [shard for shard in self.listed if shard.id not in self.left_out]
        self.observe(shards)
        # Two listings in a row that lack a shard may be ten minutes apart, or more.
        self.now += ABSENT_FOR
        self.lineage.forget_all_but([shard.id for shard in shards], self.now)

    @precondition(lambda self: self.listed)
    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        """The service drops a shard for good."""
        self.listed.remove(data.draw(st.sampled_from(self.listed)))

    @rule(data=st.data())
    def list_a_part(self, data: st.DataObject) -> None:
        if self.listed:
            self.observe(data.draw(st.lists(st.sampled_from(self.listed), unique=True)))

    @rule()
    def take(self) -> None:
        for shard, position, _ in self.lineage.take_ready():
            assert shard.id not in self.given, "given out twice"
            if shard.id in self.latest:
                assert position == Latest()
            elif shard.id in self.kept:
                assert position == self.kept[shard.id] == After("5")
                assert not self.stopped_above(shard), "beside a shard above it that is read again"
            else:
                done = self.done | self.passed_over
                assert shard.parent_id is None or shard.parent_id in done, "before its parent"
                assert position == (TIME if self.start is TIME else TrimHorizon())
            self.given.add(shard.id)
            self.reading.add(shard.id)

    def stopped_above(self, shard: Shard) -> set[str]:
        ancestors: set[str] = set()
        while (parent_id := shard.parent_id) is not None:
            ancestors.add(parent_id)
            if parent_id not in self.seen:
                break
            shard = self.seen[parent_id]
        return {shard_id for shard_id in ancestors if self.kept.get(shard_id)} - self.done

    @precondition(lambda self: self.reading)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.end_one(data.draw(st.sampled_from(sorted(self.reading))), data.draw(st.booleans()))

    @rule()
    def deny_a_parent(self) -> None:
        """Parents that are listed later may be denied, too: the service's answers lag."""
        for parent_id in self.lineage.unlisted()[:1]:
            gap = self.lineage.confirm_gone(parent_id, BEGAN)
            assert (gap is not None) == (parent_id in self.kept.keys() - self.done)
            self.done.add(parent_id)

    def teardown(self) -> None:
        if not self.begun:
            return
        self.list_more(len(self.unlisted))
        progress = True
        while progress:
            self.take()
            progress = bool(self.reading or self.lineage.unlisted())
            for shard_id in sorted(self.reading):
                self.end_one(shard_id)
            self.deny_a_parent()
        assert self.lineage.is_idle
        skipped = self.first_seen - self.latest if isinstance(self.start, Latest) else self.ended_earlier
        # Of the ancestors, those may have been given out that were listed before their descendants.
        missing = self.seen.keys() - skipped - self.given
        assert missing <= self.passed_over, "a shard was never given out"
        assert not self.given & skipped

    def end_one(self, shard_id: str, short: bool = False) -> None:
        self.reading.remove(shard_id)
        self.done.add(shard_id)
        self.lineage.end(shard_id, short=short)

    def observe(self, shards: Iterable[Shard]) -> None:
        shards = list(shards)
        self.lineage.observe(shards)
        self.seen |= {shard.id: shard for shard in shards}


LineageMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestAnyOrder = LineageMachine.TestCase


def test_a_shard_listed_twice_in_one_listing_is_given_out_once():
    assert taken(lineage_of(Shard("a"), Shard("a"))) == ["a"]


def test_a_late_listed_parent_of_a_shard_that_is_read_from_latest_is_not_read():
    lineage = lineage_of(CHILD, start=Latest())
    assert taken(lineage) == ["child"]
    lineage.observe([Shard("parent", "grandparent", "9"), Shard("grandparent", None, "5")])
    assert taken(lineage) == []


def test_a_late_listed_parent_of_a_shard_that_an_earlier_run_began_is_not_read():
    lineage = lineage_of(CHILD, kept={"child": After("5")})
    assert taken(lineage) == ["child"]
    lineage.observe([PARENT])
    assert taken(lineage) == []
