"""What `-m "not system"` promises."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_a_test_that_starts_a_process_must_be_marked() -> None:
    with pytest.raises(pytest.fail.Exception, match="has the marker `system`"):
        subprocess.run([sys.executable, "--version"])


def test_folder_and_emulator_make_the_mark(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        is_of_system = "/system/" in item.nodeid or item.get_closest_marker("local") is not None
        assert not is_of_system or item.get_closest_marker("system")
