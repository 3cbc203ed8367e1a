"""What stands between this machine and the service, as botocore and urllib3 really tell of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rxddbstream.aws.connect import connect
from rxddbstream.errors import ConfigurationError, ConnectionLost

Answering = Callable[[bytes], int]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Makes a port that answers whatever comes."""
    listening: list[tuple[socket.socket, threading.Thread]] = []

    def listen(answer: bytes) -> int:
        there = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                try:
                    connection, _ = there.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        listening.append((there, thread))
        port: int = there.getsockname()[1]
        return port

    yield listen
    for there, thread in listening:
        there.shutdown(socket.SHUT_RDWR)
        there.close()
        thread.join()


def look_up(endpoint_url: str | None = None) -> None:
    connect("orders", now=lambda: datetime.now(UTC), endpoint_url=endpoint_url)


@pytest.mark.parametrize(
    ("scheme", "status", "kind"),
    [
        ("https", "407 Proxy Authentication Required", ConfigurationError),
        ("https", "403 Forbidden", ConfigurationError),
        ("https", "503 Service Unavailable", ConnectionLost),
        ("http", "407 Proxy Authentication Required", ConfigurationError),
    ],
)
def test_a_proxy_that_refuses(
    scheme: str, status: str, kind: type[Exception], answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://user:secret@127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "")

    with pytest.raises(kind, match=status.split()[0]) as raised:
        look_up(f"{scheme}://dynamodb.example")

    assert "secret" not in str(raised.value)
    assert ("HTTPS_PROXY" in str(raised.value)) is (kind is ConfigurationError)


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_certificates_that_cannot_be_read(
    name: str, is_there: bool, answering: Answering, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if is_there:
        file.write_text("no certificates")
    monkeypatch.setenv(name, str(file))

    with pytest.raises(ConfigurationError, match=f"certificates to trust: {name} names {file}"):
        look_up(f"https://localhost:{answering(b'')}")


def test_an_endpoint_that_speaks_no_tls_may_be_an_http_one(answering: Answering) -> None:
    with pytest.raises(ConnectionLost, match="SSL validation failed"):
        look_up(f"https://localhost:{answering(b'HTTP/1.1 400 Bad Request')}")


@pytest.mark.parametrize(
    "url",
    ["ftp://there", "http://localhost:99999", "http://localhost:-1", "http://localhost:0", "http://[::1"],
)
@pytest.mark.parametrize("is_set", [False, True])
def test_an_endpoint_that_cannot_be(url: str, is_set: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_set:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(ConfigurationError):
        look_up(None if is_set else url)


def test_a_proxys_url_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://localhost:99999")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(ConfigurationError, match="HTTP_PROXY"):
        look_up("http://dynamodb.example")
