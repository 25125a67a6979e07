"""The client against a real server: what is sent, followed, limited and ended."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.support.web import HOST, Authority, Connection, WebServer, web_server
from worker.errors import ConfigurationError, ErrorCode, PermanentError, SusyError, TransientError
from worker.safe_http.client import SafeClient
from worker.safe_http.policy import AccessPolicy

LOOPBACK = (ip_network("127.0.0.0/8"),)
OTHER = "other.images.test"


def to_loopback(host: str) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
def policy(https: WebServer, authority: Authority) -> AccessPolicy:
    return AccessPolicy(
        hosts=(HOST, f"*.{HOST}"), networks=LOOPBACK, ports=frozenset({https.port}), ca_file=authority.ca_file
    )


@pytest.fixture
def client(policy: AccessPolicy) -> Iterator[SafeClient]:
    with SafeClient(policy, resolve=to_loopback) as client:
        yield client


def fetched(client: SafeClient, url: str, *, limit: int = 1000, deadline: float = 5.0, **headers: str) -> bytes:
    with client.stream(url, headers=headers, deadline=deadline) as response:
        assert response.status == 200
        return response.read(limit)


@contextmanager
def refused(kind: type[SusyError], code: ErrorCode) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.code is code, caught.value
    assert "hunter2" not in caught.value.message


def test_the_name_is_kept_while_the_address_is_connected_to(client: SafeClient, https: WebServer) -> None:
    assert fetched(client, https.serve("/a", b"bytes")) == b"bytes"
    (request,) = https.requests
    assert https.names == [HOST]
    assert request.headers == {
        "host": f"{HOST}:{https.port}",
        "user-agent": "susy-worker",
        "accept": "*/*",
        "accept-encoding": "identity",
    }


def test_a_connection_is_reused_for_its_host_only(client: SafeClient, https: WebServer) -> None:
    https.serve("/a", b"bytes")
    for host in (HOST, HOST, OTHER, HOST):
        assert fetched(client, https.url("/a", host)) == b"bytes"
    assert https.names == [HOST, OTHER]


def test_environment_proxies_and_credentials_are_not_used(
    policy: AccessPolicy, https: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text(f"machine {HOST} login user password hunter2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with SafeClient(policy, resolve=to_loopback) as client:
        assert fetched(client, https.serve("/a", b"bytes")) == b"bytes"
    assert "authorization" not in https.requests[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(client: SafeClient, https: WebServer, status: int) -> None:
    https.serve("/b", b"bytes")
    https.serve("/a", status=status, Location=https.url("/b", OTHER))
    assert fetched(client, https.url("/a"), Authorization="hunter2") == b"bytes"
    first, second = https.requests
    assert first.headers["authorization"] == "hunter2"
    assert "authorization" not in second.headers


def test_three_redirects_are_followed_and_not_four(client: SafeClient, https: WebServer) -> None:
    https.serve("/4", b"bytes")
    for number in range(4):
        https.serve(f"/{number}", status=302, Location=f"/{number + 1}")
    assert fetched(client, https.url("/1")) == b"bytes"
    with refused(PermanentError, ErrorCode.REDIRECT_REFUSED):
        fetched(client, https.url("/0"))


def test_a_post_follows_no_redirect(client: SafeClient, https: WebServer) -> None:
    url = https.serve("/a", status=307, Location=https.url("/b"))
    response = client.request("POST", url, headers={"Content-Type": "text/x"}, content=b"{}")
    assert (response.status, response.headers["location"]) == (307, https.url("/b"))
    (request,) = https.requests
    assert (request.method, request.body, request.headers["content-type"]) == ("POST", b"{}", "text/x")


def test_an_answer_to_a_post_is_cut_at_its_limit(client: SafeClient, https: WebServer) -> None:
    response = client.request("POST", https.serve("/a", b"x" * 100_000, 500), content=b"", max_bytes=10)
    assert (response.status, response.content, response.is_whole) == (500, b"x" * 10, False)
    assert client.request("POST", https.serve("/b", b"x" * 10), content=b"", max_bytes=10).is_whole


def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_bytes(client: SafeClient, https: WebServer) -> None:
    assert fetched(client, https.serve("/a", b"x" * 1000)) == b"x" * 1000
    with refused(PermanentError, ErrorCode.TOO_MANY_BYTES):
        fetched(client, https.serve("/a", b"x" * 1001))

    def endless(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.send(b"40\r\n" + b"x" * 64 + b"\r\n")

    https.answers["/b"] = endless
    with refused(PermanentError, ErrorCode.TOO_MANY_BYTES):
        fetched(client, https.url("/b?hunter2"))


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "identity, gzip", "deflate"])
def test_a_compressed_body_is_refused(client: SafeClient, https: WebServer, encoding: str) -> None:
    with refused(PermanentError, ErrorCode.ENCODING_REFUSED):
        fetched(client, https.serve("/a", b"bytes", content_encoding=encoding))
    assert fetched(client, https.serve("/a", b"bytes", content_encoding="identity")) == b"bytes"


def drip_headers(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.send(b"X: y\r\n")
        time.sleep(0.05)


def drip_body(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.send(b"x")
        time.sleep(0.05)


def drip_interim(connection: Connection) -> None:
    while True:
        connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        time.sleep(0.05)


def silence(connection: Connection) -> None:
    time.sleep(1)


@pytest.mark.parametrize("answer", [drip_headers, drip_body, drip_interim, silence])
def test_the_deadline_ends_a_slow_answer(
    client: SafeClient, https: WebServer, answer: Callable[[Connection], None]
) -> None:
    https.answers["/a"] = answer
    began = time.monotonic()
    with refused(TransientError, ErrorCode.REMOTE_TIMEOUT):
        fetched(client, https.url("/a"), deadline=0.4)
    assert time.monotonic() - began < 0.8


def test_the_deadline_covers_redirects(client: SafeClient, https: WebServer) -> None:
    def slow(connection: Connection) -> None:
        time.sleep(0.2)
        connection.answer(302, Location="/a")

    https.answers["/a"] = slow
    with refused(TransientError, ErrorCode.REMOTE_TIMEOUT):
        fetched(client, https.url("/a"), deadline=0.5)


def test_the_deadline_ends_the_sending_of_a_body_that_nobody_reads(policy: AccessPolicy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        plain = replace(policy, http=True, ports=frozenset({port}))
        with SafeClient(plain, resolve=to_loopback) as client, refused(TransientError, ErrorCode.REMOTE_TIMEOUT):
            client.request("POST", f"http://{HOST}:{port}/", content=bytes(50_000_000), deadline=0.3)


def test_the_deadline_ends_a_slow_handshake(policy: AccessPolicy) -> None:
    """A server that sends the beginning of a TLS record byte by byte."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connected, _ = listener.accept()
            with connected:
                record = iter(b"\x16\x03\x03\x40\x00" + bytes(1000))
                try:
                    for byte in record:
                        connected.send(bytes([byte]))
                        time.sleep(0.05)
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        port = listener.getsockname()[1]
        began = time.monotonic()
        client = SafeClient(replace(policy, ports=frozenset({port})), resolve=to_loopback)
        with client, refused(TransientError, ErrorCode.REMOTE_TIMEOUT):
            fetched(client, f"https://{HOST}:{port}/", deadline=0.4)
        assert time.monotonic() - began < 0.8
        thread.join()


def test_the_deadline_ends_a_slow_resolver(policy: AccessPolicy, https: WebServer) -> None:
    released = threading.Event()

    def stuck(host: str) -> list[str]:
        released.wait(5)
        return ["127.0.0.1"]

    with SafeClient(policy, resolve=stuck) as client, refused(TransientError, ErrorCode.REMOTE_TIMEOUT):
        fetched(client, https.url("/a"), deadline=0.2)
    released.set()
    assert https.connections == 0


def test_a_name_that_does_not_exist_is_transient(policy: AccessPolicy, https: WebServer) -> None:
    def missing(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with SafeClient(policy, resolve=missing) as client, refused(TransientError, ErrorCode.REMOTE_UNAVAILABLE):
        fetched(client, https.url("/a"))


def test_the_second_address_is_tried_when_the_first_does_not_answer(policy: AccessPolicy, https: WebServer) -> None:
    https.serve("/a", b"bytes")
    with socket.create_server(("127.0.0.9", 0)) as taken:  # nobody listens there at the server's port
        assert taken
    both = ["127.0.0.1", "::1"]
    allowed = replace(policy, networks=(*LOOPBACK, ip_network("::1/128")))
    with SafeClient(allowed, resolve=lambda host: both[::-1]) as client:
        assert fetched(client, https.url("/a")) == b"bytes"


def test_a_server_that_breaks_off_is_transient(client: SafeClient, https: WebServer) -> None:
    def cut(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbytes")
        connection.socket.shutdown(socket.SHUT_RDWR)

    def garbage(connection: Connection) -> None:
        connection.send(b"SSH-2.0-OpenSSH\r\n\r\n")

    for answer in (cut, garbage):
        https.answers["/a"] = answer
        with refused(TransientError, ErrorCode.REMOTE_UNAVAILABLE):
            fetched(client, https.url("/a"))
    plain = SafeClient(AccessPolicy(hosts=(HOST,), networks=LOOPBACK, http=True), resolve=to_loopback)
    with plain, refused(TransientError, ErrorCode.REMOTE_UNAVAILABLE):
        fetched(plain, f"http://{HOST}/")  # nobody listens on port 80


def test_an_endless_header_is_refused(client: SafeClient, https: WebServer) -> None:
    def endless(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.send(b"x" * 10_000)

    https.answers["/a"] = endless
    with refused(TransientError, ErrorCode.REMOTE_UNAVAILABLE):
        fetched(client, https.url("/a"))


def test_a_certificate_that_is_not_valid_is_refused(
    policy: AccessPolicy, https: WebServer, authority: Authority, tmp_path: Path
) -> None:
    https.serve("/a", b"bytes")
    untrusting = SafeClient(replace(policy, ca_file=None), resolve=to_loopback)
    with untrusting, refused(PermanentError, ErrorCode.CERTIFICATE_INVALID):
        fetched(untrusting, https.url("/a"))
    misled = SafeClient(replace(policy, hosts=("elsewhere.test",)), resolve=to_loopback)
    with misled, refused(PermanentError, ErrorCode.CERTIFICATE_INVALID):
        fetched(misled, https.url("/a", "elsewhere.test"))
    with web_server(authority, "127.0.0.1") as by_address:  # an address is checked as an address
        allowed = replace(policy, hosts=("127.0.0.1",), ports=frozenset({by_address.port}))
        with SafeClient(allowed) as client:
            by_address.serve("/a", b"bytes")
            assert fetched(client, by_address.url("/a", "127.0.0.1")) == b"bytes"
    assert https.requests == []


def test_a_server_without_tls_is_no_server_of_https(policy: AccessPolicy, authority: Authority) -> None:
    with web_server() as plain, SafeClient(replace(policy, ports=frozenset({plain.port})), resolve=to_loopback) as ours:
        with refused(TransientError, ErrorCode.REMOTE_UNAVAILABLE):
            fetched(ours, f"https://{HOST}:{plain.port}/")
        with refused(PermanentError, ErrorCode.SCHEME_REFUSED):
            fetched(ours, plain.url("/"))


def test_only_a_current_protocol_is_spoken(policy: AccessPolicy, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    with SafeClient(policy) as client:
        ours = client._pool._ssl_context
        assert ours is not None
        assert (ours.verify_mode, ours.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_empty_policy_allows_nothing(https: WebServer) -> None:
    with SafeClient(AccessPolicy()) as client:
        for url in ("https://8.8.8.8/", "https://example.com/"):
            with refused(PermanentError, ErrorCode.HOST_REFUSED):
                fetched(client, url)


@pytest.mark.parametrize("host", ["evilimages.test", "images.test.evil.example", "x.images.test.evil.example"])
def test_a_listed_host_is_not_a_pattern(policy: AccessPolicy, client: SafeClient, https: WebServer, host: str) -> None:
    with refused(PermanentError, ErrorCode.HOST_REFUSED):
        fetched(client, https.url("/", host))
    assert policy.lists("a.b.images.test")


def test_a_header_with_a_line_break_is_refused(client: SafeClient, https: WebServer) -> None:
    with refused(PermanentError, ErrorCode.INVALID_MESSAGE):
        client.request("POST", https.url("/"), headers={"X-Id": "a\r\nHost: evil"}, content=b"")
    assert https.requests == []


def test_authorities_that_cannot_be_read_are_a_mistake_of_the_setup(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "bad.pem"):
        (tmp_path / "bad.pem").write_text("not PEM")
        with pytest.raises(ConfigurationError, match=path.name):
            SafeClient(AccessPolicy(ca_file=path))


def test_a_response_is_read_inside_its_block(client: SafeClient, https: WebServer) -> None:
    with client.stream(https.serve("/a", b"x" * 1_000_000)) as response:
        pass
    with pytest.raises(RuntimeError, match="thread"):
        response.read(1_000_000)


def test_many_threads_share_a_client(client: SafeClient, https: WebServer) -> None:
    from worker.machine.threads import map_in_threads

    for number in range(40):
        https.serve(f"/{number}", str(number).encode())
    bodies = map_in_threads(lambda number: fetched(client, https.url(f"/{number}")), range(40), 8)
    assert list(bodies) == [str(number).encode() for number in range(40)]
