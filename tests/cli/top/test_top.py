"""`rxddbstream top`: the rates and the picture without a terminal, the command under a real one."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.checkout import DOCS
from support.commandline import Table, Terminal, plain
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream.cli.top.command import _Alarm, _resized
from rxddbstream.cli.top.dashboard import BLOCKS, render, sparkline
from rxddbstream.cli.top.notes import PictureNotes
from rxddbstream.cli.top.rates import HISTORY, LINGERING, WINDOW, Rates, ShardRow, Snapshot
from rxddbstream.views import price

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHARD = rxd.Shard("shard-1")


def sample(rates, second, **statistics):
    return rates.sample(float(second), BEGAN + timedelta(seconds=second), rxd.Statistics(**statistics))


def count(rates, number, shard_id="shard-1"):
    for _ in range(number):
        rates.count(rxd.Change({}, shard_id))


# Rates


def test_the_first_sample_has_no_rates():
    snapshot = sample(Rates(), 0)
    assert (snapshot.changes, snapshot.rate, snapshot.history, snapshot.shards) == (0, 0.0, (), ())
    assert (snapshot.price, snapshot.empty_share, snapshot.watermark) == (0.0, 0.0, None)


def test_rates_are_those_of_the_last_seconds():
    rates = Rates()
    for second in range(61):
        count(rates, 100 if second <= 30 else 2)
        snapshot = sample(rates, second, calls=second * 3, empty_calls=second, retries=4)
    assert snapshot.changes == 31 * 100 + 30 * 2
    assert snapshot.rate == 2.0
    assert snapshot.calls_rate == 3.0
    assert snapshot.empty_share == pytest.approx(1 / 3)
    assert snapshot.retries == 4
    assert snapshot.price == pytest.approx(180 * 0.02 / 100_000)
    assert snapshot.price_a_month == pytest.approx(3 * 30 * 86400 * 0.02 / 100_000)
    assert snapshot.history == (100.0,) * 30 + (2.0,) * 30
    assert snapshot.history_seconds == snapshot.running == 60.0
    assert WINDOW < 30


def test_the_history_ends_somewhere():
    rates = Rates()
    for second in range(1000):
        snapshot = sample(rates, second)
    assert len(snapshot.history) == snapshot.history_seconds == HISTORY
    assert snapshot.history_began + len(snapshot.history) == 999


def test_the_watermark_is_behind_the_clock():
    at = BEGAN - timedelta(seconds=12)
    assert sample(Rates(), 30, watermark=at).behind == 42.0
    assert sample(Rates(), 0, watermark=BEGAN + timedelta(days=1)).behind == 0.0


def test_a_shard_that_was_read_is_shown_for_a_while_and_then_forgotten():
    rates = Rates()
    rates.told(rxd.ShardOpened(SHARD, None))
    rates.told(rxd.ShardOpened(rxd.Shard("shard-2", ending_sequence_number="9"), None))
    count(rates, 3)
    lag = {"shard-1": -0.4, "shard-2": 7.0}
    assert sample(rates, 0, lag=lag).shards == (
        ShardRow("shard-2", "closed", 0, 0.0, 7.0),
        ShardRow("shard-1", "open", 3, 0.0, 0.0),
    )
    rates.told(rxd.ShardClosed(SHARD))
    del lag["shard-1"]
    assert sample(rates, 5, lag=lag).shards[-1] == ShardRow("shard-1", "read", 3, 0.0, None)
    assert len(sample(rates, 5 + LINGERING, lag=lag).shards) == 2
    forgotten = sample(rates, 6 + LINGERING, lag=lag)
    assert [row.id for row in forgotten.shards] == ["shard-2"]
    assert forgotten.changes == 3


def test_shards_are_sorted_by_rate_or_lag():
    lag = {"a": 0.0, "b": 5.0, "c": 1.0}
    for sort, first in (("rate", "a"), ("lag", "b")):
        rates = Rates(sort)
        sample(rates, 0, lag=lag)
        count(rates, 9, "a")
        count(rates, 1, "c")
        assert sample(rates, 1, lag=lag).shards[0].id == first


def test_a_thousand_idle_shards_take_little():
    rates, lag = Rates(), {f"shardId-{number:020}-abcdef01": 0.0 for number in range(1000)}
    console = Console(file=io.StringIO(), width=80, height=24)
    began = time.process_time()
    for second in range(20):
        console.print(render("orders", sample(rates, second, lag=lag), 80, 24))
    assert (time.process_time() - began) / 20 < 0.1


# The picture


def snapshot_of(*shards, **fields):
    defaults = {
        "running": 192.0,
        "changes": 1204,
        "rate": 5.12,
        "calls_rate": 4.0,
        "empty_share": 0.63,
        "retries": 0,
        "watermark": datetime(2026, 1, 31, 12).astimezone(),
        "behind": 2.1,
        "price": 0.00001,
        "price_a_month": 2.07,
        "history": (0.0, 4.0, 12.0),
        "history_began": 0,
        "history_seconds": 3.0,
    }
    return Snapshot(**(defaults | fields), shards=shards)


def shards_of(number):
    return [ShardRow(f"shardId-{one:020}-2bac9cd2", "open", 10, 1.0, 0.0) for one in range(number)]


def picture(snapshot, width=80, height=24, **options):
    out = io.StringIO()
    console = Console(file=out, width=width, height=height or 10_000, color_system=None)
    console.print(render("orders", snapshot, width, height, **options))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_what_is_shown():
    rows = [
        ShardRow("shardId-00000001541626099285-f35f62ef", "open", 1204, 5.12, 0.04),
        ShardRow("shardId-00000001541626099286-f35f62ef", "read", 7, 0.0, None),
    ]
    assert picture(snapshot_of(*rows)) == [
        f"orders{'running 3 min 12 s':>74}",
        "1,204 changes, 5.1/s   4.0 calls/s, 63% of all empty   no retries",
        "watermark 12:00:00, 2.1 s behind   $0.000010 so far, $2.07 a month at this pace",
        "▁▄█ up to 12.0/s in the last 3 s",
        "",
        "SHARD                                  STATE  CHANGES  CHANGES/S    LAG",
        "shardId-00000001541626099285-f35f62ef  open     1,204        5.1  0.0 s",
        "shardId-00000001541626099286-f35f62ef  read         7        0.0",
    ]


def test_what_does_not_fit_is_counted():
    lines = picture(snapshot_of(*shards_of(40)), height=24)
    assert len(lines) == 24
    assert lines[-1] == f"... and {40 - sum('shardId-' in line for line in lines)} more"


def test_in_full_all_shards_are_there():
    assert sum("shardId-" in line for line in picture(snapshot_of(*shards_of(1000)), height=None)) == 1000


def test_notes_and_losses_are_shown():
    lines = picture(snapshot_of(), notes=["old", "a", "b", "c " + "x" * 200], lost=2)
    assert lines[-3:-1] == ["a", "b"]
    assert len(lines[-1]) == 80
    assert any("changes were lost 2 times" in line for line in lines)
    assert "old" not in lines


def test_ascii():
    lines = picture(snapshot_of(*shards_of(40)), 60, 24, ascii_only=True, notes=["x" * 100])
    assert "\n".join(lines).isascii()
    assert any(line.startswith("_-# up to") for line in lines)


FIGURE = st.floats(0, 1e9)
ROWS = st.builds(
    ShardRow,
    st.text("0123456789abcdef-", min_size=1, max_size=65),
    st.sampled_from(["open", "closed", "read"]),
    st.integers(0, 10**12),
    FIGURE,
    st.none() | st.floats(0, 1e6),
)


@given(
    st.lists(ROWS, max_size=60),
    st.integers(40, 200),
    st.integers(8, 60),
    st.lists(FIGURE, max_size=300),
    st.lists(st.text("abc ", max_size=300), max_size=5),
    FIGURE,
)
def test_it_fits_whatever_there_is(shards, width, height, history, notes, figure):
    snapshot = snapshot_of(
        *shards, changes=int(figure), rate=figure, calls_rate=figure, history=tuple(history), running=figure
    )
    lines = picture(snapshot, width, height, notes=notes)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    more = [re.fullmatch(r"\.\.\. and ([\d,]+) more", line) for line in lines]
    left_out = sum(int(found[1].replace(",", "")) for found in more if found)
    table = next(number for number, line in enumerate(lines) if line.startswith("SHARD"))
    shown = lines[table + 1 : len(lines) - sum(map(bool, more))]
    if not notes:
        assert len(shown) + left_out == len(shards)


@given(st.lists(FIGURE), st.integers(0, 100), st.integers(0, 1000))
def test_a_sparkline_fits(rates, width, began):
    line = sparkline(rates, width, began)
    assert len(line) <= width
    assert set(line) <= set(BLOCKS)
    if len(rates) <= width:
        assert [bar == BLOCKS[0] for bar in line] == [rate == 0 for rate in rates]


def test_a_bar_keeps_its_rates_while_time_goes_on():
    rates = [float(number * 37 % 11) for number in range(300)]
    at_first = sparkline(rates[:200], 50)
    for began in (4, 8, 80):
        later = sparkline(rates[began : 200 + began], 50, began)
        assert later[: 50 - began // 4] == at_first[began // 4 :]
    for began in range(1, 4):  # where a bar is not whole yet
        assert sparkline(rates[began : 200 + began], 50, began)[:49] == at_first[1:]


def test_the_price_is_that_of_the_documentation():
    text = (DOCS / "performance.md").read_text()
    assert f"${price.DOLLARS_PER_100_000_CALLS} for 100,000" in " ".join(text.split())
    # For one shard in a month, asked every 0.1 s.
    assert f"| {10 * price.SECONDS_A_MONTH:,} | {price.price_a_month(10):.2f} |" in text


# The command


@pytest.fixture(scope="module")
def whole(endpoint):
    """The arguments for a table with seven changes."""
    table = Table(endpoint, name="topped")
    for number in range(7):
        table.put(n={"N": str(number)})
    return ("topped", "--start", "trim-horizon", "--endpoint-url", endpoint)


NOBODY = ("topped", "--endpoint-url", "http://127.0.0.1:1")


class Screen(Terminal):
    """Of `top`, which draws pictures one over the other."""

    def __init__(self, *arguments, columns=80, rows=24, **settings):
        super().__init__("top", *arguments, columns=columns, rows=rows, **settings)

    @property
    def picture(self):
        """The newest whole one."""
        *_, whole, _ = ["", "", *self.screen.split("\x1b[H")]
        return plain(whole).splitlines()

    @property
    def size(self):
        return (max(map(len, self.picture)), len(self.picture)) if self.picture else (0, 0)

    @property
    def last(self):
        """What is left on the terminal."""
        return plain(self.screen.rpartition("\x1b[?1049l")[2]).splitlines()


def shows(*texts):
    return lambda terminal: all(any(text in line for line in terminal.picture) for text in texts)


@pytest.mark.system
def test_on_a_terminal_it_is_live_follows_its_size_and_ctrl_c_restores_it(whole):
    with Screen(*whole, "--every", "0.2") as terminal:
        terminal.wait_for(shows("7 changes", "shardId-", "calls/s"))
        assert terminal.size == (80, 24)
        terminal.resize(60, 10)
        terminal.wait_for(lambda terminal: terminal.size == (60, 10))
        terminal.wait_for(shows("7 changes", "…"))  # the shard's ID is shortened
        assert terminal.end() == 130
        assert terminal.has_its_cursor
        assert "Traceback" not in terminal.screen
        assert terminal.last[0].startswith("topped")
        assert any("7 changes" in line for line in terminal.last)


@pytest.mark.system
def test_a_new_size_is_drawn_at_once(whole):
    with Screen(*whole, "--every", "3600") as terminal:
        terminal.wait_for(lambda terminal: "SHARD" in terminal.screen)
        terminal.resize(60, 10)
        terminal.wait_for(lambda terminal: terminal.screen.count("SHARD") >= 2)
        assert terminal.end() == 130


@pytest.mark.system
def test_terminate_restores_the_terminal(whole):
    with Screen(*whole) as terminal:
        terminal.wait_for(shows("changes"))
        assert terminal.end(signal.SIGTERM) == 143
        assert terminal.has_its_cursor


@pytest.mark.system
def test_the_end_of_the_reading_leaves_the_last_picture(whole):
    with Screen(*whole, "-n", "5") as terminal:
        assert terminal.wait() == 0
        assert any("5 changes" in line for line in terminal.last)
        assert "\x1b[?1049h" not in terminal.screen or terminal.has_its_cursor


@pytest.mark.system
def test_notes_are_shown_below_and_nothing_else_is_written(whole):
    with Screen(*NOBODY, "--every", "0.2") as terminal:
        terminal.wait_for(shows("retrying", "check --region"))
        assert terminal.end() == 130
    with Screen(*whole, "-v", "--every", "0.2") as terminal:
        terminal.wait_for(shows("7 changes", "is read from its oldest change on"))
        assert terminal.end() == 130
        assert " INFO rxddbstream" not in terminal.screen


def test_a_note_is_one_line_that_moves_no_cursor():
    notes = PictureNotes(False, Rates(), is_kept=True)
    notes.say("rxddbstream: warning: two\n  lines\x1b[2J of arn:aws:dynamodb:x: and more")
    assert notes.kept == ("warning: two lines\\x1b[2J: and more",)


def test_a_signal_may_come_at_any_moment_of_a_wait():
    wake = _Alarm()
    raised = []

    def raise_one(frame, event, _):
        if threading.current_thread() is threading.main_thread() and frame not in raised[-1:]:
            raised.append(frame)
            signal.raise_signal(signal.SIGWINCH)
        return raise_one

    before = sys.gettrace()
    with _resized(wake):
        sys.settrace(raise_one)
        try:
            assert wake.wait(PATIENCE)
            wake.set()
            assert wake.wait(PATIENCE)
        finally:
            sys.settrace(before)
    assert raised


@pytest.mark.system
def test_a_picture_in_ages_is_no_overflow(whole):
    with Screen(*whole, "--every", "1e30") as terminal:
        terminal.wait_for("CHANGES")
        assert terminal.end() == 130


@pytest.mark.system
def test_no_color(whole):
    for settings, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Screen(*whole, "--every", "0.2", **settings) as terminal:
            terminal.wait_for(shows("up to"))
            assert terminal.end() == 130
            assert bool(re.search(r"\x1b\[[\d;]*3\d", terminal.screen)) is is_coloured


@pytest.mark.system
def test_an_error_is_told_on_a_terminal_as_elsewhere(endpoint):
    with Screen("nowhere", "--endpoint-url", endpoint) as terminal:
        assert terminal.wait() == 1
        assert terminal.screen.startswith("rxddbstream: error: there is no table 'nowhere'")


def top(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "rxddbstream", "top", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | settings,
    )


@pytest.mark.system
@pytest.mark.parametrize("end", [("--until-end", "--sort", "lag"), ("-n", "7"), ("--for", "3s")])
def test_elsewhere_the_table_is_printed_once_at_the_end(whole, end):
    ended = top(*whole, *end, PYTHONIOENCODING="utf-8")
    assert (ended.returncode, ended.stderr) == (0, "")
    title, changes, *_ = ended.stdout.splitlines()
    assert title.startswith("topped ")
    assert changes.startswith("7 changes, ")
    assert len(re.findall(r"^shardId-\S+ +(?:open|read) +7 ", ended.stdout, re.MULTILINE)) == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", ended.stdout)


@pytest.mark.system
def test_a_dumb_terminal_is_none(whole):
    with Screen(*whole, "-n", "7", TERM="dumb") as terminal:
        assert terminal.wait() == 0
        assert "\x1b" not in terminal.screen
        assert "7 changes" in terminal.screen


@pytest.mark.system
def test_without_rich_it_says_how_to_get_it():
    script = """if True:
        import sys
        sys.modules["rich"] = None
        from rxddbstream.cli.main import main
        sys.exit(main(["top", "orders"]))
    """
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == 'rxddbstream: error: top needs rich: pip install "rxddbstream[cli]"\n'


def test_lost_changes_make_the_exit_status(monkeypatch, capsys):
    from rxddbstream.cli.arguments import parse
    from rxddbstream.cli.top import command

    def lossy(*_, events, **__):
        import reactivex

        events(rxd.Gap("shard-1", None, "read too late"))
        stream = reactivex.of(rxd.Change({}, "shard-1"))
        stream.statistics = rxd.Statistics
        return stream

    monkeypatch.setattr("rxddbstream.reading.stream.changes", lossy)
    assert command.run(parse(["top", "orders"])) == 3
    out, err = capsys.readouterr()
    assert "changes were lost" in out
    assert "changes of shard shard-1 were lost: read too late" in err
