"""Ctrl-C and SIGTERM end `run` in order: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from support.waiting import PATIENCE

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform == "win32", reason="no signals to another process"),
]

SCRIPT = """
    import signal, sys, threading, time
    from datetime import timedelta
    import rxddbstream as rxd
    from reactivex import operators as ops
    from reactivex.scheduler import NewThreadScheduler
    from rxddbstream import operators as dops
    from rxddbstream.testing import SimulatedStream

    # However the tests were started: a child inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    sim, store = SimulatedStream(), rxd.MemoryCheckpoints()
    for number in range(5):
        sim.put(number)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)

    def tell(text):
        print(text, flush=True)

    def done():
        numbers = [record["dynamodb"]["SequenceNumber"] for record in sim.records]
        kept = store.load(sim.arn)[sim.shards[0].id].split()[-1]
        return [int(number) for number in numbers].index(int(kept)) + 1 if kept.isdigit() else 0

    def handle(change):
        tell("in hand")
        time.sleep({takes})
        tell("through")

    try:
        {body}
    finally:
        left = [each for each in threading.enumerate() if each.name.startswith("rxddbstream")]
        for thread in left:
            thread.join({patience})
        tell(f"{done()} done, {sum(map(threading.Thread.is_alive, left))} threads left")
"""


def end(body: str, takes: float, *signals: signal.Signals, before: str = "") -> tuple[int, list[str], str]:
    """Run the script, and send it signals once a handler has a change in hand: its status and output."""
    code = textwrap.dedent(SCRIPT).replace("{takes}", str(takes)).replace("{patience}", str(PATIENCE))
    code = code.replace("{body}", body).replace("try:\n", f"{before}\ntry:\n", 1)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "in hand\n", process.communicate()
        for number in signals:
            process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out.splitlines(), err


RUN = "rxd.run(source, handle)"
IN_ORDER = ["through", "1 done, 0 threads left"]


def test_a_handler_in_hand_may_finish_and_counts() -> None:
    status, out, err = end(RUN, 0.5, signal.SIGTERM)
    assert (status, out, err) == (143, IN_ORDER, "")


def test_ctrl_c_likewise() -> None:
    status, out, err = end(RUN, 0.5, signal.SIGINT)
    assert (status, out) == (-signal.SIGINT, IN_ORDER)
    assert err.endswith("KeyboardInterrupt\n")


def test_what_takes_longer_than_its_grace_is_interrupted_and_is_not_done() -> None:
    status, out, err = end("rxd.run(source, handle, grace=0.3)", 2 * PATIENCE, signal.SIGTERM)
    assert (status, out, err) == (143, ["0 done, 0 threads left"], "")


def test_a_grace_may_be_a_timedelta() -> None:
    body = "rxd.run(source, handle, grace=timedelta(seconds=0.3))"
    assert end(body, 2 * PATIENCE, signal.SIGTERM)[:2] == (143, ["0 done, 0 threads left"])


def test_a_second_ctrl_c_does_not_wait() -> None:
    status, out, _ = end("rxd.run(source, handle, grace=1e9)", 2 * PATIENCE, signal.SIGINT, signal.SIGTERM)
    assert (status, out) in (
        (143, ["0 done, 0 threads left"]),
        (-signal.SIGINT, ["0 done, 0 threads left"]),
    )


def test_a_handler_that_swallows_the_interruption_is_interrupted_again() -> None:
    before = textwrap.dedent("""
        def handle(change):
            tell("in hand")
            for _ in range(2):
                try:
                    time.sleep(1000)
                except BaseException:
                    tell("swallowed")
    """)
    body = "rxd.run(source, handle, grace=0.1)"
    status, out, _ = end(body, 0, signal.SIGTERM, before=before)
    assert (status, out[:2]) == (143, ["swallowed", "swallowed"])


def test_sigterm_that_the_program_has_made_ctrl_c_is_ctrl_c() -> None:
    before = "signal.signal(signal.SIGTERM, signal.default_int_handler)"
    _, out, err = end(RUN, 0.5, signal.SIGTERM, before=before)
    assert out == IN_ORDER
    assert err.endswith("KeyboardInterrupt\n")


def test_a_programs_own_handler_is_left_alone() -> None:
    before = "signal.signal(signal.SIGTERM, lambda *_: tell('mine'))"
    body = "rxd.run(source.pipe(ops.take(2)), handle)"
    assert end(body, 0.5, signal.SIGTERM, before=before)[:2] == (
        0,
        ["mine", "through", "in hand", "through", "1 done, 0 threads left"],
    )


def test_the_handlers_from_before_are_there_again() -> None:
    body = "rxd.run(source.pipe(ops.take(1)), handle); tell(signal.getsignal(signal.SIGTERM))"
    status, out, _ = end(body, 0)
    assert (status, out[:2]) == (0, ["through", "0"])


def test_a_signal_while_nothing_is_in_hand_ends_it_at_once() -> None:
    before = "sim.records[1:] = []"
    body = "rxd.run(source.pipe(ops.do_action(lambda change: tell('in hand')), ops.ignore_elements()))"
    status, out, err = end(body, 0, signal.SIGTERM, before=before)
    assert (status, err) == (143, "")
    assert out[-1].endswith("done, 0 threads left")


def test_a_signal_is_not_taken_for_an_error_to_try_again_after() -> None:
    # Between two changes, or in a handler whose time is up: `retry` must not begin anew.
    for grace in ("", ", grace=0.1"):
        body = f"rxd.run(source.pipe(ops.retry()), handle{grace})"
        status, out, err = end(body, 0.5, signal.SIGTERM)
        assert (status, err) == (143, "")
        assert out[-1] in {"1 done, 0 threads left", "0 done, 0 threads left"}
        assert "in hand" not in out
