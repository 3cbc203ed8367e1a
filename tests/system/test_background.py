"""The tests themselves as a background job, which a shell starts with Ctrl-C ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from support.checkout import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="of POSIX")

WAITING = "import sys; print('waiting', flush=True); sys.stdin.read()"
IN_THE_BACKGROUND = ("sh", "-c", '"$@" & wait $!', "sh")


def test_ctrl_c_ends_what_a_test_starts() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"waiting\n"
        child.send_signal(signal.SIGINT)
    assert child.returncode == -signal.SIGINT


def test_ctrl_c_ends_it_also_where_the_tests_run_in_the_background() -> None:
    test = f"{__file__}::{test_ctrl_c_ends_what_a_test_starts.__name__}"
    command = [*IN_THE_BACKGROUND, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
