"""Requests to untrusted hosts, under an `AccessPolicy`.

No proxy, no credentials and no cookies come from anywhere: a request consists of what its caller passes.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpcore2

from worker.errors import ConfigurationError, ErrorCode, PermanentError, TransientError
from worker.safe_http.network import Deadline, PinningBackend, Resolver, system_resolver
from worker.safe_http.policy import AccessPolicy
from worker.safe_http.retry_after import parse_retry_after
from worker.safe_http.urls import Url, parse_url

USER_AGENT = "susy-worker"
MAX_CONNECTIONS = 100
IDLE_CONNECTIONS = 20
IDLE_SECONDS = 30.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Response:
    """The answer to `SafeClient.request`."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case; of a repeated one the first."""
    content: bytes
    """The body's first bytes, as sent: what a Content-Encoding did is not undone."""
    is_whole: bool
    """Whether `content` is the whole body."""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the header Retry-After asks to wait; None without a valid one."""
        return parse_retry_after(self.headers.get("retry-after"))


class StreamedResponse:
    """A response whose body has not been read. Used inside the block of `SafeClient.stream`, in its thread."""

    def __init__(self, response: httpcore2.Response, url: Url) -> None:
        self._response = response
        self.url = url
        """Where it came from, after redirects."""
        self.status = response.status
        self.headers = _headers(response)
        """By names in lower case; of a repeated one the first."""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the header Retry-After asks to wait; None without a valid one."""
        return parse_retry_after(self.headers.get("retry-after"))

    def chunks(self, max_bytes: int) -> Iterator[bytes]:
        """The body, piece by piece as it arrives.

        Raises `PermanentError` (`too_many_bytes` before more than `max_bytes` were returned, `encoding_refused` for a
        compressed body, whose size says nothing of what it unpacks to) and `TransientError` (`remote_timeout`,
        `remote_unavailable`).
        """
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise PermanentError(
                ErrorCode.ENCODING_REFUSED,
                f"{self.url.shown} was sent compressed although that was refused; serve the image as it is",
            )
        left = max_bytes
        if int(self.headers.get("content-length", 0)) > left:  # h11 has checked that it is a number
            raise self._too_large(max_bytes)
        with _translated(self.url):
            for chunk in self._response.iter_stream():
                left -= len(chunk)
                if left < 0:
                    raise self._too_large(max_bytes)
                yield chunk

    def read(self, max_bytes: int) -> bytes:
        """The whole body. Raises as `chunks` does."""
        return b"".join(self.chunks(max_bytes))

    def _too_large(self, max_bytes: int) -> PermanentError:
        return PermanentError(
            ErrorCode.TOO_MANY_BYTES,
            f"{self.url.shown} is larger than SUSY_MAX_BYTES ({max_bytes} bytes); make it smaller, or raise the limit",
        )


class SafeClient:
    """Makes requests that `policy` allows, and no others; thread-safe. Close it, or use it in a `with` block.

    Every error names the URL without its query. Besides those below, each call raises `PermanentError` with the code of
    what the policy or the parser refused (`url_invalid`, `url_credentials`, `scheme_refused`, `port_refused`,
    `host_refused`, `address_refused`, `certificate_invalid`).
    """

    def __init__(self, policy: AccessPolicy, *, resolve: Resolver = system_resolver) -> None:
        self._policy = policy
        self._deadline = Deadline()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=_tls(policy.ca_file),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=PinningBackend(policy, self._deadline, resolve),
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        deadline: float = 30.0,
        max_bytes: int = 65536,
    ) -> Response:
        """Send one request, follow no redirect, and read at most `max_bytes` of the answer's body.

        `deadline` is in seconds and covers everything: resolving, connecting, sending and reading. Whatever the status,
        the answer is returned. Raises `TransientError` (`remote_timeout`, `remote_unavailable`).
        """
        target = self._allowed(parse_url(url))
        with self._deadline.within(deadline), self._sent(method, target, headers, content, deadline) as response:
            parts: list[bytes] = []
            left = max_bytes
            with _translated(target):
                for chunk in response.iter_stream():
                    parts.append(chunk[:left])
                    left -= len(chunk)
                    if left < 0:
                        break
            return Response(response.status, _headers(response), b"".join(parts), left >= 0)

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None, deadline: float = 30.0
    ) -> Iterator[StreamedResponse]:
        """GET `url`, following redirects as far as the policy allows; each is judged like the first URL.

        A redirect never leads from `https` to `http`, and `headers` are not sent to another origin. `deadline` is in
        seconds and covers the whole block. Raises `PermanentError(redirect_refused)` and `TransientError`
        (`remote_timeout`, `remote_unavailable`).
        """
        target = self._allowed(parse_url(url))
        first = target
        with self._deadline.within(deadline), ExitStack() as stack:
            for _ in range(self._policy.max_redirects + 1):
                own = headers if target.origin == first.origin else None
                response = stack.enter_context(self._sent("GET", target, own, None, deadline))
                if response.status not in _REDIRECTS:
                    yield StreamedResponse(response, target)
                    return
                target = self._redirected(target, _headers(response).get("location"))
                stack.pop_all().close()
        raise PermanentError(
            ErrorCode.REDIRECT_REFUSED, f"{first.shown} redirects more than {self._policy.max_redirects} times"
        )

    def close(self) -> None:
        """Close the open connections."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _allowed(self, url: Url) -> Url:
        self._policy.require(url)
        return url

    def _redirected(self, source: Url, location: str | None) -> Url:
        if location is None:
            raise PermanentError(ErrorCode.REDIRECT_REFUSED, f"{source.shown} redirects without saying where to")
        target = self._allowed(source.join(location))
        if source.scheme == "https" and target.scheme != "https":
            raise PermanentError(
                ErrorCode.REDIRECT_REFUSED, f"{source.shown} redirects to {target.shown}, which is not encrypted"
            )
        return target

    @contextmanager
    def _sent(
        self, method: str, url: Url, headers: Mapping[str, str] | None, content: bytes | None, deadline: float
    ) -> Iterator[httpcore2.Response]:
        # Names in lower case, so that a caller's own values take the place of these.
        sent = {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": "identity"}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        target = httpcore2.URL(
            scheme=url.scheme.encode(), host=url.host.encode(), port=url.port, target=url.target.encode()
        )
        sent["host"] = url.origin.partition("://")[2]
        with _translated(url):
            request = self._pool.stream(
                method, target, headers=list(sent.items()), content=content, extensions={"timeout": {"pool": deadline}}
            )
            response = request.__enter__()
        try:
            yield response
        finally:
            request.__exit__(None, None, None)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies certificates and names. Raises `ConfigurationError` where `ca_file` cannot be used."""
    context = httpcore2.default_ssl_context()
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{ca_file} cannot be read as certificate authorities ({error.strerror}); give PEM"
        ) from error
    return context


def _headers(response: httpcore2.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reversed(response.headers)}


@contextmanager
def _translated(url: Url) -> Iterator[None]:
    """The one place where httpcore2's errors become ours."""
    try:
        yield
    except httpcore2.TimeoutException as error:  # no connection of the pool became free
        raise TransientError(ErrorCode.REMOTE_TIMEOUT, f"no connection to {url.shown} was free in time") from error
    except httpcore2.LocalProtocolError as error:
        raise PermanentError(
            ErrorCode.INVALID_MESSAGE, f"the request to {url.shown} is not valid HTTP ({error})"
        ) from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise TransientError(
            ErrorCode.REMOTE_UNAVAILABLE, f"{url.shown} broke off the connection or did not answer in HTTP ({error})"
        ) from error
