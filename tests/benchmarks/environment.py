"""The environment of the processes that are started: dummy credentials, nobody's own settings."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).parent.parent


def environment() -> dict[str, str]:
    """The variables for a process that is to import `benchmarks`, and never to leave this machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), kept.get("PYTHONPATH")])),
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
