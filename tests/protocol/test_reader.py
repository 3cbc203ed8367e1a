"""One shard's reader: what it asks, and what comes out for each answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxddbstream.model.events import Gap
from rxddbstream.model.messages import (
    Answer,
    Fault,
    GetIterator,
    GetRecords,
    Iterator,
    Listed,
    LookUp,
    Records,
)
from rxddbstream.model.page import Page
from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.beginning import Beginning
from rxddbstream.protocol.bounds import End
from rxddbstream.protocol.doubt import CUT_ANSWERS_BELIEVED, DENIALS_BELIEVED
from rxddbstream.protocol.reader import ProtocolError, ShardReader, State
from rxddbstream.protocol.tip import EMPTY_PAGES_AT_END, EMPTY_PAGES_AT_TIP, EMPTY_PAGES_WHEN_NEAR

T0 = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)
OPEN, CLOSED = Shard("s"), Shard("s", None, "500")
CUT = Records(None, None, T0)
NOTHING = Records([], "next", T0)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def record(number: int, created_at: datetime | None = None) -> dict[str, Any]:
    detail: dict[str, Any] = {"SequenceNumber": str(number)}
    if created_at is not None:
        detail["ApproximateCreationDateTime"] = created_at
    return {"eventName": "INSERT", "dynamodb": detail}


def page(*numbers: int, next_iterator: str | None = "next", made: float = 0.0) -> Records:
    return Records([record(number, at(made)) for number in numbers], next_iterator, at(made))


def new_reader(
    position: Position | None = None,
    shard: Shard = OPEN,
    *,
    now: datetime | None = None,
    end: End | None = None,
    read_up_to: datetime | None = None,
    **known: Any,
) -> ShardReader:
    position = position or TrimHorizon()
    beginning = beginning_of(position, shard, **known)
    return ShardReader(shard, position, beginning, now=now, end=end, read_up_to=read_up_to)


def beginning_of(
    position: Position,
    shard: Shard,
    *,
    listed_at: datetime = T0,
    began: datetime | None = None,
    last_answer: datetime | None = None,
    predates: bool = False,
) -> Beginning:
    return Beginning(
        position,
        listed_at,
        began or listed_at,
        closed_before={shard.id} if predates else (),
        last_answers={shard.id: last_answer} if last_answer else {},
    )


def reading(position: Position | None = None, shard: Shard = OPEN, **options: Any) -> ShardReader:
    """A reader that has its iterator."""
    reader = new_reader(position, shard, **options)
    reader.receive(Iterator("first", T0))
    return reader


def numbers(outcome: Page | Gap | None) -> list[int]:
    assert isinstance(outcome, Page)
    return [int(change.sequence_number) for change in outcome.changes]


def feed(reader: ShardReader, answers: Sequence[Answer]) -> Page | Gap | None:
    """The outcome of the last answer."""
    outcome = None
    for answer in answers:
        outcome = reader.receive(answer)
    return outcome


# --- the transition table -----------------------------------------------------------------------


@pytest.mark.parametrize("position", [Latest(), TrimHorizon(), AtTime(T0), After("7")])
def test_it_begins_by_asking_for_an_iterator_at_its_position(position: Position) -> None:
    reader = new_reader(position)

    assert reader.state is State.NEEDS_ITERATOR
    assert reader.next_request() == GetIterator(position)


def test_the_request_stays_the_same_until_it_is_answered() -> None:
    reader = new_reader()
    assert reader.next_request() == reader.next_request() == GetIterator(TrimHorizon())

    reader.receive(Iterator("first", T0))

    assert reader.next_request() == reader.next_request() == GetRecords("first")


def test_an_iterator_is_read_from() -> None:
    reader = new_reader()

    assert reader.receive(Iterator("first", T0)) is None
    assert reader.state is State.READING
    assert reader.next_request() == GetRecords("first")


def test_a_page_is_delivered_and_the_next_one_asked_for() -> None:
    reader = reading()

    outcome = reader.receive(page(1, 2, next_iterator="second"))

    assert isinstance(outcome, Page)
    assert outcome.shard_id == "s"
    assert [change.shard_id for change in outcome.changes] == ["s", "s"]
    assert numbers(outcome) == [1, 2]
    assert reader.next_request() == GetRecords("second")


@pytest.mark.parametrize("records", [[], None])
def test_an_empty_page_delivers_nothing_and_the_next_one_is_asked_for(records: list[Any] | None) -> None:
    reader = reading()

    assert reader.receive(Records(records, "second", T0)) is None
    assert reader.next_request() == GetRecords("second")


@pytest.mark.parametrize("next_iterator", [None, ""])
def test_records_of_a_page_without_a_next_iterator_are_delivered_and_the_shard_has_ended(
    next_iterator: str | None,
) -> None:
    reader = reading()

    assert numbers(reader.receive(page(1, 2, next_iterator=next_iterator))) == [1, 2]
    assert reader.ended
    with pytest.raises(ProtocolError, match="shard s has been read to its end"):
        reader.next_request()


@pytest.mark.parametrize("next_iterator", [None, ""])
def test_an_empty_page_without_a_next_iterator_ends_the_shard(next_iterator: str | None) -> None:
    reader = reading()

    assert reader.receive(Records([], next_iterator, T0)) is None
    assert reader.ended


def test_records_beyond_a_bounded_read_are_left_out_and_end_it() -> None:
    reader = reading(end=End())
    records = [record(1, at(0)), record(2, at(1)), record(3, at(1.001)), record(4, at(9))]

    assert numbers(reader.receive(Records(records, "next", at(9)))) == [1, 2]
    assert reader.ended


def test_a_page_wholly_beyond_a_bounded_read_delivers_nothing() -> None:
    reader = reading(end=End())

    assert reader.receive(page(1, 2, made=60)) is None
    assert reader.ended


@pytest.mark.parametrize("next_iterator", [None, ""])
def test_an_answer_with_nothing_is_asked_for_again_and_then_doubted(next_iterator: str | None) -> None:
    reader = reading()

    assert reader.receive(Records(None, next_iterator, T0)) is None
    assert reader.next_request() == GetRecords("first")
    assert reader.receive(Records(None, next_iterator, T0)) is None
    assert reader.state is State.DOUBTFUL
    assert reader.next_request() == LookUp()


def test_an_expired_iterator_is_replaced_after_the_last_record() -> None:
    reader = reading()
    feed(reader, [page(1, 2), NOTHING])

    assert reader.receive(Fault.EXPIRED) is None
    assert reader.next_request() == GetIterator(After("2"))


@pytest.mark.parametrize("position", [TrimHorizon(), AtTime(T0), After("7")])
def test_an_iterator_that_expires_before_any_record_is_replaced_at_the_same_place(position: Position) -> None:
    reader = reading(position)

    reader.receive(Fault.EXPIRED)

    assert reader.next_request() == GetIterator(position)


@pytest.mark.parametrize("make", [new_reader, reading])
def test_a_trimmed_position_is_replaced_by_the_trim_horizon(make: Any) -> None:
    reader = make(AtTime(T0))

    assert reader.receive(Fault.TRIMMED) is None
    assert reader.next_request() == GetIterator(TrimHorizon())


@pytest.mark.parametrize("make", [new_reader, reading])
def test_a_refused_time_is_replaced_by_the_trim_horizon_without_what_is_older(make: Any) -> None:
    reader = make(AtTime(at(10)))
    assert reader.may_be_refused

    assert reader.receive(Fault.REFUSED) is None
    assert reader.next_request() == GetIterator(TrimHorizon())
    assert not reader.may_be_refused
    reader.receive(Iterator("again", at(60)))
    assert reader.receive(page(1, 2, made=2)) is None
    records = [record(3, at(9.9)), record(4, at(10)), record(5, at(10.1))]
    assert numbers(reader.receive(Records(records, "next", at(60)))) == [4, 5]


@pytest.mark.parametrize("make", [new_reader, reading])
def test_a_denied_shard_is_looked_up(make: Any) -> None:
    reader = make()

    assert reader.receive(Fault.NOT_FOUND) is None
    assert reader.state is State.DOUBTFUL
    assert reader.next_request() == LookUp()


def test_a_denied_shard_that_is_listed_is_tried_again() -> None:
    reader = reading(After("7"))

    assert feed(reader, [Fault.NOT_FOUND, Listed(OPEN)]) is None
    assert reader.next_request() == GetIterator(After("7"))


def test_a_cut_answer_of_a_shard_that_is_listed_as_open_is_asked_for_again() -> None:
    reader = reading()

    assert feed(reader, [CUT, CUT, Listed(OPEN)]) is None
    assert reader.next_request() == GetRecords("first")


def test_a_denied_shard_that_has_been_read_to_its_ending_number_has_ended_without_loss() -> None:
    reader = reading()

    assert feed(reader, [page(499, 500), Fault.NOT_FOUND, Listed(CLOSED)]) is None
    assert reader.ended


@pytest.mark.parametrize(
    ("doubt", "asked_again"),
    [([Fault.NOT_FOUND], GetIterator(TrimHorizon())), ([CUT, CUT], GetRecords("first"))],
)
def test_a_listing_that_lacks_a_doubtful_shard_proves_nothing(
    doubt: list[Answer], asked_again: GetIterator | GetRecords
) -> None:
    reader = reading()

    assert feed(reader, [*doubt, Listed(None)]) is None
    assert reader.next_request() == asked_again


def test_a_look_up_goes_on_where_the_last_page_ended_until_it_comes_to_the_shard() -> None:
    reader = reading()
    feed(reader, [page(500), Fault.NOT_FOUND])
    assert reader.next_request() == LookUp(None)

    for after in ("shard-100", "shard-200"):
        assert reader.receive(Listed(None, after)) is None
        assert reader.next_request() == LookUp(after)
        reader.call_failed()
        assert reader.next_request() == LookUp(after)
    reader.receive(Listed(CLOSED, "shard-300"))

    assert reader.ended


def test_the_next_look_up_begins_at_the_first_page() -> None:
    reader = reading()
    feed(reader, [CUT, CUT, Listed(None, "shard-100"), Listed(None), CUT])

    assert reader.next_request() == LookUp(None)


@pytest.mark.parametrize(
    "wrong",
    [
        (new_reader, page(1)),
        (new_reader, Listed(OPEN)),
        (new_reader, Fault.EXPIRED),
        (new_reader, Fault.REFUSED),
        (reading, Iterator("second", T0)),
        (reading, Listed(OPEN)),
        (reading, Fault.REFUSED),
    ],
    ids=repr,
)
def test_an_answer_to_another_question_is_a_bug_of_the_driver(wrong: tuple[Any, Answer]) -> None:
    make, answer = wrong
    reader = make()
    request = reader.next_request()

    with pytest.raises(ProtocolError, match="of shard s"):
        reader.receive(answer)
    assert reader.next_request() == request


@pytest.mark.parametrize("answer", [Iterator("i", T0), page(1), *Fault], ids=repr)
def test_a_doubtful_reader_takes_a_listing_alone(answer: Answer) -> None:
    reader = new_reader()
    reader.receive(Fault.NOT_FOUND)

    with pytest.raises(ProtocolError, match="DOUBTFUL"):
        reader.receive(answer)


@pytest.mark.parametrize("answer", [Iterator("i", T0), page(1), Listed(None), *Fault], ids=repr)
def test_an_ended_reader_takes_no_answer(answer: Answer) -> None:
    reader = reading()
    reader.receive(page(1, next_iterator=None))

    with pytest.raises(ProtocolError, match="ENDED"):
        reader.receive(answer)


# --- cut answers --------------------------------------------------------------------------------


def test_cut_answers_are_believed_of_a_shard_that_is_closed_when_they_persist() -> None:
    reader = reading()
    reader.receive(page(1))
    cut_answers = 0
    while not reader.ended:
        if reader.next_request() == LookUp():
            assert reader.receive(Listed(CLOSED)) is None
        else:
            assert reader.receive(CUT) is None
            cut_answers += 1

    assert cut_answers == CUT_ANSWERS_BELIEVED


def test_cut_answers_are_never_believed_of_an_open_shard() -> None:
    reader = reading()
    for _ in range(10 * CUT_ANSWERS_BELIEVED):
        reader.receive(Listed(OPEN) if reader.next_request() == LookUp() else CUT)

    assert not reader.ended


def test_a_cut_answer_of_a_shard_read_to_its_ending_number_is_believed_at_once() -> None:
    reader = reading()

    feed(reader, [page(500), CUT, CUT, Listed(CLOSED)])

    assert reader.ended


def test_the_ending_number_is_compared_as_a_number() -> None:
    reader = reading()

    feed(reader, [page(1000), CUT, CUT, Listed(Shard("s", None, "500"))])

    assert reader.ended


def test_a_good_answer_clears_the_doubts() -> None:
    reader = reading()
    feed(reader, [CUT, CUT, Listed(OPEN)])
    assert reader.doubts == 2

    reader.receive(NOTHING)

    assert reader.doubts == 0
    reader.receive(CUT)
    assert reader.state is State.READING


@pytest.mark.parametrize("fault", [Fault.EXPIRED, Fault.TRIMMED])
def test_the_first_of_some_faults_is_no_cause_to_wait(fault: Fault) -> None:
    reader = reading()
    doubts = []
    for _ in range(3):
        feed(reader, [fault, Iterator("again", at(1))])
        doubts.append(reader.doubts)

    assert doubts == [0, 1, 2]


def test_a_denial_has_the_cut_answers_counted_anew() -> None:
    reader = reading()

    feed(reader, [CUT, Fault.NOT_FOUND, Listed(OPEN), Iterator("again", at(1)), CUT])

    assert reader.state is State.READING  # asked for again, and not looked up
    reader.receive(CUT)
    assert reader.state is State.DOUBTFUL


# --- denials ------------------------------------------------------------------------------------


def deny(
    reader: ShardReader, times: int = DENIALS_BELIEVED, over: float = 20, shard: Shard | None = OPEN
) -> Page | Gap | None:
    """Deny the shard so often in so many seconds, and show it in the listing whenever that is asked for."""
    outcome = None
    for number in range(times):
        outcome = reader.receive(Fault.NOT_FOUND, at(over * number / max(1, times - 1)))
        if not reader.ended and isinstance(reader.next_request(), LookUp):
            outcome = reader.receive(Listed(shard))
    return outcome


@pytest.mark.parametrize(
    ("position", "after", "shard"),
    [(After("7"), "7", OPEN), *[(TrimHorizon(), None, shard) for shard in (OPEN, CLOSED, None)]],
)
def test_a_shard_is_given_up_after_enough_denials_over_enough_time(
    position: Position, after: str | None, shard: Shard | None
) -> None:
    reader = new_reader(position)
    assert deny(reader, DENIALS_BELIEVED - 1, 3600, shard) is None
    assert not reader.ended
    assert reader.doubts == DENIALS_BELIEVED - 1

    outcome = feed(reader, [Fault.NOT_FOUND, Listed(shard)])

    assert isinstance(outcome, Gap)
    assert (outcome.shard_id, outcome.after) == ("s", after)
    assert "gone" in outcome.reason
    assert reader.ended


@pytest.mark.parametrize("answers", [[], [NOTHING], [page(7)]])
@pytest.mark.parametrize("listed", [None, CLOSED])
def test_a_shard_that_was_read_is_gone_at_its_first_denial(
    answers: list[Answer], listed: Shard | None
) -> None:
    reader = reading() if answers else reading(After("7"))
    feed(reader, answers)

    outcome = feed(reader, [Fault.NOT_FOUND, Listed(listed)])

    assert reader.ended
    assert isinstance(outcome, Gap)


def test_quick_denials_are_not_believed_however_many() -> None:
    reader = new_reader(After("7"))

    assert deny(reader, 10 * DENIALS_BELIEVED, 19.9) is None
    assert reader.next_request() == GetIterator(After("7"))


def test_a_denied_shard_is_looked_up_at_the_first_denial_and_when_they_are_believed() -> None:
    reader, look_ups = new_reader(After("7")), []
    for number in range(DENIALS_BELIEVED):
        reader.receive(Fault.NOT_FOUND, at(10.0 * number))
        if isinstance(reader.next_request(), LookUp):
            look_ups.append(number + 1)
            reader.receive(Listed(OPEN))

    assert look_ups == [1, DENIALS_BELIEVED]


def test_a_page_clears_the_denials() -> None:
    reader = new_reader()
    for _ in range(5):
        deny(reader, DENIALS_BELIEVED - 1, 3600)
        feed(reader, [Iterator("i", T0), NOTHING])
    deny(reader, 2, 1)

    assert not reader.ended


def test_a_shard_that_is_listed_as_open_is_not_given_up_at_the_first_denial() -> None:
    reader = reading()
    reader.receive(page(1))

    deny(reader, 1, 0, OPEN)

    assert reader.next_request() == GetIterator(After("1"))


# --- losses -------------------------------------------------------------------------------------


A_DAY_AGO = at(-24 * 3600)
ALMOST_A_DAY_AGO = at(-24 * 3600 + 1)


@pytest.mark.parametrize("make", [new_reader, reading])
@pytest.mark.parametrize("position", [TrimHorizon(), AtTime(A_DAY_AGO)])
@pytest.mark.parametrize(
    ("began", "lost"), [(None, False), (T0, False), (ALMOST_A_DAY_AGO, False), (A_DAY_AGO, True)]
)
def test_what_was_trimmed_unread_is_a_gap_where_it_may_have_been_written_since_the_beginning(
    make: Any, position: Position, began: datetime | None, lost: bool
) -> None:
    outcome = make(position, began=began).receive(Fault.TRIMMED)

    assert isinstance(outcome, Gap) is lost


@pytest.mark.parametrize("make", [new_reader, reading])
@pytest.mark.parametrize(
    ("position", "read_up_to", "lost"),
    [
        # What is trimmed was written a day before, be it after the beginning or not.
        (TrimHorizon(), at(-3600), False),
        (TrimHorizon(), ALMOST_A_DAY_AGO, False),
        (TrimHorizon(), A_DAY_AGO, True),
        (TrimHorizon(), None, True),
        (AtTime(at(-3600)), None, False),
        (Latest(), None, False),
    ],
)
def test_what_was_trimmed_is_no_gap_where_nothing_so_old_was_left_to_read(
    make: Any, position: Position, read_up_to: datetime | None, lost: bool
) -> None:
    outcome = make(position, began=at(-3 * 86_400), read_up_to=read_up_to).receive(Fault.TRIMMED)

    assert isinstance(outcome, Gap) is lost


@pytest.mark.parametrize(("hours", "lost"), [(23, False), (24, True)])
def test_the_last_empty_page_at_the_tip_counts_and_not_the_beginning(hours: int, lost: bool) -> None:
    reader = reading(Latest())
    quiet_until = at(48 * 3600)
    feed(reader, [Records([], "next", quiet_until + timedelta(seconds=s)) for s in (0, 1, 2, 4)])
    reader.receive(Fault.EXPIRED)

    outcome = reader.receive(Fault.TRIMMED, quiet_until + timedelta(hours=hours, seconds=2))

    assert isinstance(outcome, Gap) is lost


def test_the_page_that_ends_a_shard_does_not_tell_that_nothing_came_since() -> None:
    # shard   -a----|          closed, unnoticed
    # child          -b--c-
    # polls   -----o--------o      the second one is the end, and b and c lie before it
    reader = reading(Latest())
    feed(reader, [Records([], "next", at(second)) for second in (0, 1, 2, 4)])
    assert reader.quiet_until == at(4)

    reader.receive(Records([], None, at(30)), at(30))

    assert reader.ended
    assert reader.quiet_until is None


@pytest.mark.parametrize("shard", [OPEN, CLOSED])
def test_what_is_guessed_to_be_the_tip_of_a_closed_shard_tells_nothing(shard: Shard) -> None:
    # Its end is not far: until there, what continues it may be as old as it is.
    reader = reading(shard=shard)
    feed(reader, [Records([], "next", at(second)) for second in range(2 * EMPTY_PAGES_AT_TIP)])

    assert (reader.read_up_to is None) is shard.is_closed
    assert (reader.quiet_until is None) is shard.is_closed


@pytest.mark.parametrize("make", [new_reader, reading])
def test_what_follows_a_position_that_is_kept_is_wanted_whenever_it_was_written(make: Any) -> None:
    outcome = make(After("7")).receive(Fault.TRIMMED)

    assert isinstance(outcome, Gap)
    assert outcome.after == "7"


def test_a_shard_that_was_read_for_a_day_without_a_record_has_a_gap_where_it_is_trimmed() -> None:
    reader = reading()
    reader.receive(Records([], "next", at(24 * 3600)))

    assert isinstance(reader.receive(Fault.TRIMMED), Gap)


def test_whatever_follows_a_record_that_was_read_is_wanted() -> None:
    reader = reading(TrimHorizon())
    reader.receive(page(1, 2))

    outcome = reader.receive(Fault.TRIMMED)

    assert isinstance(outcome, Gap)
    assert (outcome.shard_id, outcome.after) == ("s", "2")
    assert "2" in outcome.reason
    assert "older than what the service keeps" in outcome.reason
    assert reader.next_request() == GetIterator(TrimHorizon())


def test_a_gap_before_any_record_names_the_beginning() -> None:
    outcome = new_reader(TrimHorizon(), began=A_DAY_AGO).receive(Fault.TRIMMED)

    assert isinstance(outcome, Gap)
    assert outcome.after is None
    assert "its beginning" in outcome.reason


@pytest.mark.parametrize(
    ("position", "predates", "lost"),
    [
        (TrimHorizon(), True, False),
        (TrimHorizon(), False, True),
        (Latest(), False, True),
        (After("7"), True, True),
        (After("7"), False, True),
    ],
)
def test_a_shard_that_is_gone_is_a_gap_unless_it_was_closed_before_the_beginning(
    position: Position, predates: bool, lost: bool
) -> None:
    times = 1 if isinstance(position, After) else DENIALS_BELIEVED
    outcome = deny(new_reader(position, CLOSED, predates=predates), times, shard=CLOSED)

    assert isinstance(outcome, Gap) is lost


def test_a_shard_that_was_closed_before_the_beginning_is_missed_when_it_goes_a_day_after_that() -> None:
    assert isinstance(deny(new_reader(TrimHorizon(), CLOSED, predates=True, began=A_DAY_AGO)), Gap)


@pytest.mark.parametrize("make", [new_reader, reading])
def test_a_trimmed_position_is_told_once_until_there_is_a_page_again(make: Any) -> None:
    reader = make(After("7"))
    assert isinstance(reader.receive(Fault.TRIMMED), Gap)
    for answer in (
        Fault.TRIMMED,
        Fault.TRIMMED,
        Iterator("i", T0),
        Fault.TRIMMED,
        Iterator("j", T0),
        NOTHING,
    ):
        assert reader.receive(answer) is None

    assert isinstance(reader.receive(Fault.TRIMMED), Gap)


def test_after_a_gap_the_rest_is_read() -> None:
    reader = reading(After("7"))
    feed(reader, [Fault.TRIMMED, Iterator("rest", T0)])

    assert numbers(reader.receive(page(100, 101))) == [100, 101]
    reader.receive(Fault.EXPIRED)
    assert reader.next_request() == GetIterator(After("101"))


# --- latest -------------------------------------------------------------------------------------


def test_an_iterator_at_latest_that_expires_is_replaced_at_the_time_of_the_listing() -> None:
    # Not of the last answer: a change may become visible later than one that was made after it.
    reader = new_reader(Latest())
    feed(
        reader, [Iterator("first", at(5)), Records([], "a", at(10)), Records([], "b", at(20)), Fault.EXPIRED]
    )

    assert reader.next_request() == GetIterator(AtTime(T0))


def test_after_latest_expired_and_its_time_was_refused_older_changes_are_left_out() -> None:
    reader = reading(Latest())
    feed(reader, [Records([], "a", at(10)), Records([], "b", at(20)), Fault.EXPIRED, Fault.REFUSED])
    assert reader.next_request() == GetIterator(TrimHorizon())
    reader.receive(Iterator("again", at(30)))

    records = [record(1, at(-50)), record(2, at(-1)), record(3, at(0)), record(4, at(25))]
    assert numbers(reader.receive(Records(records, "next", at(30)))) == [3, 4]


def test_after_a_record_latest_is_a_matter_of_the_past() -> None:
    reader = reading(Latest())

    feed(reader, [page(5, made=3), NOTHING, Fault.EXPIRED])

    assert reader.next_request() == GetIterator(After("5"))


# --- times --------------------------------------------------------------------------------------


def test_a_time_holds_though_the_service_answers_with_older_changes() -> None:
    reader = reading(AtTime(at(10)))
    records = [record(1, at(0)), record(2, at(10)), record(3, at(5)), record(4, at(11))]

    # A shard is in order of time, as far as the service keeps it: what follows a newer change stays.
    assert numbers(reader.receive(Records(records, "next", at(60)))) == [2, 3, 4]
    assert numbers(reader.receive(page(5, made=1))) == [5]


@pytest.mark.parametrize(("hours", "asked"), [(23, AtTime(T0)), (24, TrimHorizon()), (240, TrimHorizon())])
def test_a_time_beyond_the_retention_is_asked_for_as_the_oldest_change(hours: int, asked: Position) -> None:
    reader = new_reader(AtTime(T0), listed_at=at(hours * 3600))

    assert reader.next_request() == GetIterator(asked)


def test_a_page_of_older_changes_alone_delivers_nothing_and_counts_as_read() -> None:
    reader = reading(AtTime(at(10)))

    assert reader.receive(page(1, 2, made=0)) is None
    reader.receive(Fault.EXPIRED)

    assert reader.next_request() == GetIterator(After("2"))
    assert reader.idle_steps == 0


# --- bounded reading and the tip ----------------------------------------------------------------


def test_a_bounded_read_of_an_open_shard_ends_behind_many_empty_pages() -> None:
    reader = reading(end=End())
    for _ in range(EMPTY_PAGES_AT_END - 1):
        reader.receive(NOTHING)
    assert not reader.ended

    reader.receive(NOTHING)

    assert reader.ended


def test_a_bounded_read_up_to_a_later_time_waits_for_it() -> None:
    reader = reading(end=End(at(60)))
    early, late = Records([], "next", at(59)), Records([], "next", at(60))

    feed(reader, [early] * 2 * EMPTY_PAGES_AT_END)
    assert not reader.ended
    assert reader.idle_steps > 0
    assert numbers(reader.receive(page(1, made=59))) == [1]

    feed(reader, [early] + [late] * (EMPTY_PAGES_WHEN_NEAR - 2))
    assert (reader.ended, reader.idle_steps) == (False, 0)
    reader.receive(late)
    assert reader.stopped_short


def test_a_bounded_read_up_to_a_later_time_takes_what_is_there_then() -> None:
    reader = reading(end=End(at(60)))

    records = [record(1, at(60.5)), record(2, at(62))]
    assert numbers(reader.receive(Records(records, "next", at(59)))) == [1, 2]
    assert not reader.ended


def test_a_page_with_records_is_not_the_tip() -> None:
    reader = reading(end=End())

    feed(reader, [*[NOTHING] * (EMPTY_PAGES_AT_END - 1), page(1), *[NOTHING] * (EMPTY_PAGES_WHEN_NEAR - 1)])

    assert not reader.ended
    reader.receive(NOTHING)
    assert reader.ended


def test_a_change_of_long_ago_is_no_sign_that_the_end_is_near() -> None:
    reader = reading(end=End())
    old, empty_pages = Records([record(1, at(0))], "next", at(100)), [Records([], "next", at(100))]

    feed(reader, [old, *empty_pages * (EMPTY_PAGES_AT_END - 1)])

    assert not reader.ended


def test_that_the_tip_was_taken_for_seen_does_not_shorten_a_bounded_read() -> None:
    reader = reading(end=End())

    feed(reader, [empty(number) for number in range(EMPTY_PAGES_AT_END - 1)])

    assert reader.is_at_tip
    assert not reader.ended


def test_a_bounded_read_of_a_closed_shard_goes_on_to_its_end() -> None:
    reader = reading(shard=CLOSED, end=End())

    feed(reader, [NOTHING] * 10 * EMPTY_PAGES_AT_END)

    assert not reader.ended
    assert numbers(reader.receive(page(500, next_iterator=None))) == [500]
    assert reader.ended


def test_an_unbounded_read_does_not_end_at_the_tip() -> None:
    reader = reading()

    feed(reader, [NOTHING] * 10 * EMPTY_PAGES_AT_END)

    assert not reader.ended


def empty(seconds: float) -> Records:
    return Records([], "next", at(seconds))


def quiet_after(reader: ShardReader, since: float = 0.0, most: int = 200) -> int | None:
    """How many empty pages, half a second apart, it takes for the shard to be quiet."""
    for count in range(1, most):
        reader.receive(empty(since + count / 2))
        if reader.quiet_until is not None:
            return count
        assert reader.lag > 0 or reader.is_at_tip
    return None


@pytest.mark.parametrize(
    ("position", "pages"),
    [
        (Latest(), 5),
        (AtTime(at(-5)), 5),
        (AtTime(at(-11)), EMPTY_PAGES_AT_TIP),
        (TrimHorizon(), EMPTY_PAGES_AT_TIP),
        (After("3"), EMPTY_PAGES_AT_TIP),
    ],
)
def test_a_shard_is_quiet_soon_when_its_tip_was_seen_and_else_after_many_empty_pages(
    position: Position, pages: int
) -> None:
    reader = reading(position)

    assert quiet_after(reader) == pages
    assert reader.lag == 0.0


@pytest.mark.parametrize(("age", "pages"), [(9, 5), (11, EMPTY_PAGES_AT_TIP)])
def test_a_change_that_was_made_just_now_shows_the_tip(age: float, pages: int) -> None:
    reader = reading()
    reader.receive(Records([record(1, at(100 - age))], "next", at(100)))

    assert reader.lag == age
    assert quiet_after(reader, since=100) == pages


def test_a_shard_that_goes_on_from_one_at_its_tip_is_there_itself() -> None:
    assert quiet_after(reading(read_up_to=at(-3))) == 5
    assert quiet_after(reading(read_up_to=at(-30))) == EMPTY_PAGES_AT_TIP


def test_a_change_that_is_older_than_an_empty_page_shows_that_it_was_not_the_tip() -> None:
    reader = reading(Latest())
    feed(reader, [empty(seconds) for seconds in range(0, 60, 5)])
    assert reader.is_at_tip

    reader.receive(Records([record(1, at(20))], "next", at(60)))

    assert not reader.is_at_tip


def test_a_change_that_is_newer_than_the_last_empty_page_leaves_the_reading_at_the_tip() -> None:
    reader = reading(Latest())
    feed(reader, [empty(0), empty(30)])

    reader.receive(Records([record(1, at(31))], "next", at(60)))

    assert reader.is_at_tip


def test_before_the_tip_was_seen_the_lag_grows_over_empty_pages() -> None:
    reader = reading(AtTime(at(-3600)))
    assert reader.lag == 3600
    reader.receive(empty(10))
    assert reader.lag == 3610
    assert reading(TrimHorizon()).lag == 24 * 3600


# --- times that cannot be ---------------------------------------------------------------------


def test_a_time_ahead_of_the_answer_says_nothing_of_how_far_the_shard_was_read() -> None:
    reader = reading()
    reader.receive(Records([record(1, at(0)), record(2, at(3600))], "next", at(100)))

    assert (reader.lag, reader.read_up_to) == (100, at(0))


def test_a_bounded_read_goes_past_a_time_ahead_of_the_answer() -> None:
    reader = reading(end=End())

    records = [record(1, at(0)), record(2, at(3600)), record(3, at(0))]
    assert numbers(reader.receive(Records(records, "next", at(0)))) == [1, 2, 3]
    assert not reader.ended


# --- what pacing goes by ------------------------------------------------------------------------


def steps(reader: ShardReader, times: Sequence[float]) -> list[int]:
    out = []
    for seconds in times:
        reader.receive(empty(seconds))
        out.append(reader.idle_steps)
    return out


def test_the_wait_grows_with_how_long_a_shard_is_quiet() -> None:
    assert steps(reading(Latest()), [0, 1, 2, 3.9, 4, 8, 16, 3600]) == [1, 1, 2, 2, 3, 4, 5, 12]


def test_the_wait_does_not_grow_with_how_often_a_shard_was_asked() -> None:
    assert set(steps(reading(Latest()), [0.001 * number for number in range(1000)])) == {1}


def test_the_wait_of_a_shard_that_has_not_been_caught_up_with_grows_more_slowly() -> None:
    assert steps(reading(), [0, 1, 4, 8, 15.9, 16, 32]) == [1, 1, 1, 1, 1, 2, 3]


def test_a_reading_that_is_behind_asks_at_once() -> None:
    reader = reading()
    reader.receive(Records([record(1, at(0))], "next", at(100)))

    assert steps(reader, [100] * EMPTY_PAGES_AT_TIP) == [0] * EMPTY_PAGES_AT_TIP
    assert steps(reader, [101]) == [1]


@pytest.mark.parametrize("options", [{"shard": CLOSED}, {"shard": CLOSED, "end": End()}])
def test_a_closed_shard_is_not_waited_for(options: dict[str, Any]) -> None:
    idle = steps(reading(**options), [0] * (EMPTY_PAGES_AT_END + 2))

    assert idle == [0] * EMPTY_PAGES_AT_END + [1, 1]


def test_a_bounded_read_is_never_paced() -> None:
    reader = reading(end=End())
    while not reader.ended:
        assert reader.idle_steps == 0
        reader.receive(NOTHING)


# --- whatever is answered -----------------------------------------------------------------------

positions = st.sampled_from([Latest(), TrimHorizon(), AtTime(at(-5)), AtTime(at(5)), After("3")])
listings = st.builds(Listed, st.sampled_from([None, OPEN, CLOSED]), st.sampled_from([None, "shard-100"]))


class Script:
    """Draws answers to a reader's requests, as a service with a clock and a log of records may give them."""

    def __init__(self, data: st.DataObject, faults: Sequence[Fault], cut: bool = True) -> None:
        self._data = data
        self._faults = faults
        self._cut = cut
        self._number = 10**20
        self.now = T0
        self.handed: list[str] = []

    def answer(self, reader: ShardReader) -> Answer:
        draw = self._data.draw
        request = reader.next_request()
        if isinstance(request, LookUp):
            return draw(listings)
        allowed = [fault for fault in self._faults if self._allowed(fault, request, reader)]
        if allowed and draw(st.integers(0, 2)) == 0:
            return draw(st.sampled_from(allowed))
        since, self.now = self.now, self.now + timedelta(seconds=draw(st.integers(0, 30)))
        if isinstance(request, GetIterator):
            return Iterator(f"iterator-{self.now}", self.now)
        if self._cut and draw(st.integers(0, 3)) == 0:
            return Records(None, draw(st.sampled_from([None, ""])), self.now)
        count = draw(st.integers(0, 3))
        # What an answer brings was made since the one before it.
        offsets = sorted(draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)))
        records = [record(self._next(), since + (self.now - since) * offset) for offset in offsets]
        self.handed += [str(made["dynamodb"]["SequenceNumber"]) for made in records]
        last = draw(st.integers(0, 15)) == 0
        return Records(records, None if last else f"iterator-{self._number}", self.now)

    def _next(self) -> int:
        self._number += 1
        return self._number

    @staticmethod
    def _allowed(fault: Fault, request: GetIterator | GetRecords, reader: ShardReader) -> bool:
        if fault is Fault.EXPIRED:
            return isinstance(request, GetRecords)
        return fault is not Fault.REFUSED or reader.may_be_refused


def delivered(reader: ShardReader, script: Script, steps: int = 25) -> list[str]:
    out: list[str] = []
    for _ in range(steps):
        if reader.ended:
            break
        outcome = reader.receive(script.answer(reader))
        if isinstance(outcome, Page):
            assert outcome.changes, "an empty page"
            out += [change.sequence_number for change in outcome.changes]
    return out


@settings(max_examples=150, deadline=None)
@given(st.data(), positions, st.sampled_from([OPEN, CLOSED]), st.booleans())
def test_whatever_the_service_answers_it_knows_what_to_ask_next_until_it_has_ended(
    data: st.DataObject, position: Position, shard: Shard, bounded: bool
) -> None:
    reader = new_reader(position, shard, end=End() if bounded else None)
    script = Script(data, list(Fault))

    out = delivered(reader, script)

    assert len(set(out)) == len(out)
    assert set(out) <= set(script.handed)
    assert out == sorted(out, key=int)
    assert reader.idle_steps >= 0
    assert reader.doubts >= 0
    if reader.ended:
        with pytest.raises(ProtocolError):
            reader.next_request()
    else:
        assert isinstance(reader.next_request(), GetIterator | GetRecords | LookUp)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from([TrimHorizon(), After("3")]), st.sampled_from([OPEN, CLOSED]))
def test_an_unbounded_read_delivers_every_record_once_and_in_order_whatever_fails(
    data: st.DataObject, position: Position, shard: Shard
) -> None:
    script = Script(data, list(Fault))

    assert delivered(new_reader(position, shard), script) == script.handed


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_from_latest_nothing_made_since_is_left_out_though_iterators_expire_and_times_are_refused(
    data: st.DataObject,
) -> None:
    reader = new_reader(Latest())
    script = Script(data, [Fault.EXPIRED, Fault.REFUSED])
    reader.receive(Iterator("first", T0))

    assert delivered(reader, script) == script.handed


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_latest_is_asked_for_once_though_iterators_expire(data: st.DataObject) -> None:
    reader = reading(Latest())
    script = Script(data, [Fault.EXPIRED, Fault.REFUSED, Fault.TRIMMED])

    for _ in range(25):
        if reader.ended:
            break
        assert reader.next_request() != GetIterator(Latest())
        reader.receive(script.answer(reader))


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from([OPEN, CLOSED]))
def test_after_an_expiry_it_goes_on_after_the_last_record_that_it_was_handed(
    data: st.DataObject, shard: Shard
) -> None:
    reader = new_reader(After("3"), shard)
    script = Script(data, [Fault.EXPIRED])

    for _ in range(25):
        if reader.ended:
            break
        request = reader.next_request()
        if isinstance(request, GetIterator):
            assert request == GetIterator(After(script.handed[-1] if script.handed else "3"))
        reader.receive(script.answer(reader))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.floats(0, 5), max_size=3), min_size=1, max_size=15),
    st.sampled_from([TrimHorizon(), AtTime(at(8)), AtTime(at(8.25))]),
    st.floats(0, 40),
    st.booleans(),
)
def test_a_bounded_read_delivers_from_its_start_to_the_listing_and_no_further(
    gaps: list[list[float]], position: Position, listed_after: float, expires: bool
) -> None:
    reader = new_reader(position, listed_at=at(listed_after), end=End())
    made, number, out = T0, 100, []
    everything: list[tuple[int, datetime]] = []
    reader.receive(Iterator("first", at(100)))
    for page_gaps in gaps:
        records = []
        for gap in page_gaps:
            made, number = made + timedelta(seconds=gap), number + 1
            records.append(record(number, made))
            everything.append((number, made))
        if reader.ended:
            continue
        outcome = reader.receive(Records(records, "next", at(100)))
        out += numbers(outcome) if outcome else []
        if expires and not reader.ended:
            feed(reader, [Fault.EXPIRED, Iterator("again", at(100))])

    since = position.time if isinstance(position, AtTime) else T0
    wanted = [number for number, made in everything if since <= made <= at(listed_after)]
    allowed = [
        number
        for number, made in everything
        if since - timedelta(minutes=1) <= made <= at(listed_after) + timedelta(seconds=1)
    ]
    assert out == [number for number in allowed if number in out]
    assert set(wanted) <= set(out) <= set(allowed)


def test_latest_is_never_asked_for_again_after_a_denial():
    reader = new_reader(Latest(), Shard("s"))
    for answer in [Iterator("i", T0), Records([], "j", at(1000)), Fault.NOT_FOUND, Listed(Shard("s"))]:
        reader.receive(answer)
    assert reader.next_request() == GetIterator(AtTime(T0))


def test_a_shard_opened_after_days_of_reading_that_is_trimmed_is_a_gap():
    reader = new_reader(TrimHorizon(), Shard("child", "parent"), now=at(3 * 86_400))
    assert isinstance(reader.receive(Fault.TRIMMED), Gap)


def test_a_silence_of_a_day_before_anything_was_read_is_a_gap():
    reader = new_reader(Latest(), Shard("s"))
    for answer in [Iterator("i", T0), Records([], "j", at(10)), Fault.EXPIRED]:
        assert reader.receive(answer) is None
    assert isinstance(reader.receive(Iterator("k", at(25 * 3600))), Gap)


@pytest.mark.parametrize(("position", "bounded"), [(TrimHorizon(), True), (AtTime(T0), False)])
def test_a_record_without_a_time_is_delivered(position, bounded):
    reader = new_reader(position, Shard("s"), end=End() if bounded else None)
    reader.receive(Iterator("i", T0))
    assert reader.receive(Records([{"dynamodb": {"SequenceNumber": "1"}}], "j", T0)) is not None
