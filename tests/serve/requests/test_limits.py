"""Bodies that are too large or too slow, headers, slow readers, and too many requests at once."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.databases import Sql
from tests.support.http_service import Client, Service
from tests.support.waiting import eventually
from worker.errors import ErrorCode
from worker.serve.problems import RefusedError
from worker.serve.requests.limits import MAX_BODY
from worker.serve.shared.in_flight import InFlight
from worker.serve.shared.times import DEFAULT_TIMES, TimeLimits


class Raw:
    """A connection on which a test writes bytes."""

    def __init__(self, service: Service, key: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        self.authorization = f"Authorization: Bearer {key}\r\n"

    def send(self, text: str | bytes) -> None:
        self._socket.sendall(text.encode() if isinstance(text, str) else text)

    def begin(self, headers: str) -> None:
        """The head of a submission."""
        self.send(f"POST /v1/checks HTTP/1.1\r\nHost: x\r\n{self.authorization}Content-Type: application/json\r\n")
        self.send(f"{headers}\r\n\r\n")

    def answer(self) -> tuple[str, str]:
        """The status line, and the rest of what comes until the connection ends."""
        received = b""
        try:
            while part := self._socket.recv(65_536):
                received += part
        except ConnectionResetError:
            pass
        head, _, rest = received.decode().partition("\r\n")
        return head, rest

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def connect(service: Service, key: str) -> Iterator[Callable[[], Raw]]:
    """Opens connections."""
    opened: list[Raw] = []

    def connect() -> Raw:
        opened.append(Raw(service, key))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def raw(connect: Callable[[], Raw]) -> Raw:
    return connect()


def nothing_written(run: Sql) -> bool:
    return run("SELECT count(*) FROM susy.checks") == [(0,)]


def test_a_body_that_declares_too_much_is_refused_unread(raw: Raw, run: Sql) -> None:
    raw.begin(f"Content-Length: {MAX_BODY + 1}")
    head, rest = raw.answer()
    assert "413" in head
    assert '"too_large"' in rest
    assert "connection: close" in rest.lower()
    assert nothing_written(run)


@pytest.mark.parametrize(
    ("key", "unauthorized"), [("", ErrorCode.NO_CREDENTIALS), ("susy_wrong", ErrorCode.UNKNOWN_KEY)]
)
def test_a_client_that_sends_its_whole_body_first_gets_the_answer(
    service: Service, key: str, unauthorized: ErrorCode
) -> None:
    """Answered at once, and disconnected with it, the client would see a broken pipe."""
    body = b" " * 12_000_000  # more than the buffers of the connection
    for path, code in (("/v1/checks", ErrorCode.TOO_LARGE), ("/v1/images?source=a", unauthorized)):
        answer = Client(service.url, key or None).post(path, body, Content_Type="image/jpeg")
        assert answer.code == code, answer


def test_a_client_that_waits_to_be_asked_for_its_body_is_answered_at_once(raw: Raw) -> None:
    began = time.monotonic()
    raw.begin(f"Content-Length: {MAX_BODY + 1}\r\nExpect: 100-continue")
    status, _ = raw.answer()
    assert "413" in status
    assert time.monotonic() - began < DEFAULT_TIMES.discarding


@pytest.mark.parametrize("times", [TimeLimits(discarding=0.3)])
def test_what_is_discarded_is_bounded(raw: Raw) -> None:
    raw.begin(f"Content-Length: {MAX_BODY + 1}")
    began = time.monotonic()
    raw.send(b" ")  # and nothing more
    status, _ = raw.answer()
    assert "413" in status
    assert time.monotonic() - began < 5


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(raw: Raw, run: Sql) -> None:
    raw.begin("Transfer-Encoding: chunked")
    sent, chunk = 0, b"%x\r\n%s\r\n" % (100_000, b" " * 100_000)
    try:
        while sent < 20 * MAX_BODY:
            raw.send(chunk)
            sent += 100_000
    except OSError:  # the service has closed the connection
        pass
    head, _ = raw.answer()
    assert "413" in head or head == ""  # what was sent after the answer may have reset the connection
    assert sent < 20 * MAX_BODY
    assert nothing_written(run)


def test_the_largest_list_fits(client: Client) -> None:
    largest = {"source": "s" * 200, "uri": "/" + "u" * 4000, "attributes": {"text": "x" * 16_000}}
    body = [largest | {"external_id": f"{number:0500}"} for number in range(100)]
    assert client.post("/v1/checks", body).document["accepted"] == 100
    assert len(json.dumps(body)) < MAX_BODY


@pytest.mark.parametrize("times", [TimeLimits(body=0.4)])
def test_a_body_that_drips_is_given_up(raw: Raw, run: Sql) -> None:
    raw.begin("Content-Length: 1000")
    began = time.monotonic()
    for _ in range(5):
        raw.send(b"[")
        time.sleep(0.05)
    head, rest = raw.answer()
    assert "408" in head
    assert '"too_slow"' in rest
    assert time.monotonic() - began < 3
    assert nothing_written(run)


@pytest.mark.parametrize("times", [TimeLimits(header=0.4)])
def test_a_header_that_drips_or_never_ends_is_cut_off(connect: Callable[[], Raw]) -> None:
    silent, dripping = connect(), connect()
    began = time.monotonic()
    dripping.send("GET /healthz HTTP/1.1\r\nX-Slow: ")
    assert silent.answer() == dripping.answer() == ("", "")
    assert time.monotonic() - began < 5
    # Also the second request of a connection.
    second = connect()
    second.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.1)
    second.send("GET /healthz HTT")
    head, rest = second.answer()
    assert "200" in head
    assert rest.count("HTTP/1.1") == 0


@pytest.mark.parametrize("endless", ["X-Long: " + "x" * 200_000, "X-Many: x\r\n" * 10_000, "x" * 400_000])
def test_a_header_that_is_too_large_is_refused(service: Service, raw: Raw, endless: str) -> None:
    try:
        raw.send("GET /healthz HTTP/1.1\r\n")
        raw.send(endless)
        raw.send("x" * 400_000)
    except OSError:
        pass
    head, rest = raw.answer()
    assert head == "" or ("400" in head and '"invalid_http"' in rest)
    assert service.client().get("/healthz").status == 200


def test_what_is_not_http_is_a_problem(raw: Raw) -> None:
    raw.send("hello\r\n\r\n")
    head, rest = raw.answer()
    assert "400" in head
    assert json.loads(rest.partition("\r\n\r\n")[2])["code"] == "invalid_http"


@pytest.mark.parametrize("times", [TimeLimits(reading=0.3)])
def test_a_client_that_does_not_read_its_answers_is_disconnected(raw: Raw) -> None:
    request = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\n{raw.authorization}\r\n"

    def is_cut_off() -> bool:
        try:
            raw.send(request * 20)
        except TimeoutError:  # the kernel's buffers are full
            return False
        except OSError:
            return True
        return False

    raw._socket.settimeout(0.2)
    eventually(is_cut_off, 20)


def test_too_many_requests_at_once_are_refused_and_waiting_ones_do_not_count() -> None:
    in_flight = InFlight(2)
    with in_flight.admitted(), in_flight.admitted():
        with pytest.raises(RefusedError) as refused, in_flight.admitted():
            pass
        assert (refused.value.code, refused.value.retry_after) == (ErrorCode.OVERLOADED, 1)
        with in_flight.waiting(), in_flight.admitted():
            pass
    with in_flight.admitted(), in_flight.admitted():
        pass


def test_an_overloaded_service_says_when_to_come_again(service: Service, client: Client) -> None:
    services = service.server.config.loaded_app.state.services
    services.in_flight._most = 0
    refused = client.post("/v1/checks", {"source": "a", "uri": "/a"})
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "overloaded", "1")
