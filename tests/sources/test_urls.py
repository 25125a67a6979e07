"""Images by URL: what the statuses and the limits become."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.sources.conftest import MakeSettings
from tests.support.web import HOST, Connection, WebServer
from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.sources.sources import Sources, locate


def refusal(sources: Sources, uri: str) -> SusyError:
    with pytest.raises(SusyError) as caught:
        sources.read(uri)
    assert "hunter2" not in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value


def test_an_image_is_read_with_its_entity_tag(from_urls: Sources, https: WebServer) -> None:
    arrived: list[int] = []
    url = https.serve("/a", b"x" * 1000, ETag='W/"v1"', content_type="text/html")
    fetched = from_urls.read(f"{url}?signature=hunter2#part", received=arrived.append)
    assert (fetched.content, fetched.etag, fetched.version_id) == (b"x" * 1000, "v1", None)
    assert sum(arrived) == 1000
    assert https.requests[0].target == "/a?signature=hunter2"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (204, PermanentError, ErrorCode.UNEXPECTED_STATUS),
        (206, PermanentError, ErrorCode.UNEXPECTED_STATUS),
        (304, PermanentError, ErrorCode.UNEXPECTED_STATUS),
        (400, PermanentError, ErrorCode.UNEXPECTED_STATUS),
        (401, PermanentError, ErrorCode.ACCESS_DENIED),
        (403, PermanentError, ErrorCode.ACCESS_DENIED),
        (404, PermanentError, ErrorCode.NOT_FOUND),
        (410, PermanentError, ErrorCode.GONE),
        (451, PermanentError, ErrorCode.UNEXPECTED_STATUS),
        (408, TransientError, ErrorCode.REMOTE_UNAVAILABLE),
        (425, TransientError, ErrorCode.REMOTE_UNAVAILABLE),
        (429, TransientError, ErrorCode.REMOTE_UNAVAILABLE),
        (500, TransientError, ErrorCode.REMOTE_UNAVAILABLE),
        (503, TransientError, ErrorCode.REMOTE_UNAVAILABLE),
    ],
)
def test_a_status_is_permanent_unless_it_may_pass(
    from_urls: Sources, https: WebServer, status: int, kind: type[SusyError], code: ErrorCode
) -> None:
    error = refusal(from_urls, https.serve("/a", b"" if status in (204, 304) else b"page", status) + "?token=hunter2")
    assert (type(error), error.code) == (kind, code)
    assert str(status) in error.message


def test_the_wait_that_a_server_asks_for_is_kept(from_urls: Sources, https: WebServer) -> None:
    assert refusal(from_urls, https.serve("/a", status=429, Retry_After="120")).retry_after == 120  # type: ignore[attr-defined]
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    error = refusal(from_urls, https.serve("/a", status=503, Retry_After=later))
    assert isinstance(error, TransientError)
    assert error.retry_after == pytest.approx(100, abs=3)
    for invalid in ("soon", "-5", "١٢٠", "Thu, 99 Nov 2026 00:00:00 GMT"):
        error = refusal(from_urls, https.serve("/a", status=503, Retry_After=invalid.encode().decode("latin-1")))
        assert isinstance(error, TransientError)
        assert error.retry_after is None


def test_a_slow_body_is_ended_by_the_total_time(made: MakeSettings, https: WebServer) -> None:
    def drip(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        while True:
            connection.send(b"x")
            time.sleep(0.02)

    https.answers["/a"] = drip
    began = time.monotonic()
    with Sources(made(fetch_timeout=0.4), resolve=lambda host: ["127.0.0.1"]) as sources:
        error = refusal(sources, https.url("/a"))
    assert (type(error), error.code) == (TransientError, ErrorCode.REMOTE_TIMEOUT)
    assert time.monotonic() - began < 1


def test_a_body_over_the_limit_is_too_many_bytes(from_urls: Sources, https: WebServer) -> None:
    error = refusal(from_urls, https.serve("/a", b"x" * 1001))
    assert (type(error), error.code) == (PermanentError, ErrorCode.TOO_MANY_BYTES)
    assert "SUSY_MAX_BYTES" in error.message


def test_urls_are_refused_unless_hosts_are_listed(made: MakeSettings, https: WebServer) -> None:
    closed = made(url_hosts=(), url_networks=())
    with Sources(closed) as sources:
        error = refusal(sources, https.serve("/a", b"bytes") + "?hunter2")
    assert error.code is ErrorCode.UNSUPPORTED_SOURCE
    assert "SUSY_URL_HOSTS" in error.message
    assert https.connections == 0


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("http://images.test:{port}/a", ErrorCode.SCHEME_REFUSED),
        ("https://elsewhere.test:{port}/a", ErrorCode.HOST_REFUSED),
        ("https://images.test/a", ErrorCode.PORT_REFUSED),
        ("https://user:hunter2@images.test:{port}/a", ErrorCode.URL_CREDENTIALS),
        ("https://images.test:{port}/a b", ErrorCode.URL_INVALID),
    ],
)
def test_a_url_is_checked_before_it_is_submitted(
    made: MakeSettings, https: WebServer, uri: str, code: ErrorCode
) -> None:
    with pytest.raises(PermanentError) as caught:
        locate(uri.format(port=https.port), made())
    assert caught.value.code is code
    assert "hunter2" not in caught.value.message
    assert locate(https.url("/ä?x#y"), made()) == https.url("/%C3%A4?x")


def test_a_name_that_strangers_choose_never_leads_to_an_allowed_network(made: MakeSettings, https: WebServer) -> None:
    """`public` beside listed hosts: the network is open to the listed ones only."""
    https.serve("/a", b"bytes")
    settings = made(url_hosts=f"public,{HOST}")
    with Sources(settings, resolve=lambda host: ["127.0.0.1"]) as sources:
        assert sources.read(https.url("/a")).content == b"bytes"
        assert refusal(sources, https.url("/a", "mine.example")).code is ErrorCode.ADDRESS_REFUSED
