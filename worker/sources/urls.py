"""Images by URL, requested under the policy of the `SUSY_URL_…` settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import ErrorCode, PermanentError
from worker.extras import require_extra
from worker.safe_http.policy import AccessPolicy
from worker.safe_http.urls import parse_url
from worker.settings import PUBLIC, Settings
from worker.sources.fetched import Fetched, Received, named
from worker.sources.statuses import status_error

if TYPE_CHECKING:
    from worker.safe_http.client import SafeClient
    from worker.safe_http.network import Resolver

SCHEMES = ("https", "http")


def access_policy(settings: Settings) -> AccessPolicy:
    """The policy of the settings."""
    return AccessPolicy(
        hosts=tuple(host for host in settings.url_hosts if host != PUBLIC),
        any_public_host=PUBLIC in settings.url_hosts,
        networks=settings.url_networks,
        http=settings.url_http,
        ports=frozenset(settings.url_ports),
        ca_file=settings.ca_file,
    )


def locate_url(uri: str, settings: Settings) -> str:
    """The canonical form of a URL that the settings allow. Connects to nothing and resolves nothing.

    Raises `PermanentError` with the code of what is refused, as `SafeClient` does.
    """
    if not settings.url_hosts:
        raise PermanentError(
            ErrorCode.UNSUPPORTED_SOURCE,
            "images are not read by URL here; set SUSY_URL_HOSTS to the hosts they may be read from",
        )
    url = parse_url(uri)
    access_policy(settings).require(url)
    return str(url)


class UrlReader:
    """Reads images by URL; thread-safe. Needs the extra `http` if the settings allow any host."""

    def __init__(self, settings: Settings, resolve: Resolver | None = None) -> None:
        self._settings = settings
        self._client = _client(settings, resolve) if settings.url_hosts else None

    def read(self, uri: str, received: Received) -> Fetched:
        """The image at `uri`.

        Raises `PermanentError` with the code of what is refused, `not_found`, `gone`, `access_denied`,
        `unexpected_status`, `too_many_bytes`, `encoding_refused`; `TransientError` (`remote_timeout`,
        `remote_unavailable`).
        """
        url = locate_url(uri, self._settings)
        assert self._client is not None, "without hosts, every URL is refused above"
        with self._client.stream(url, deadline=self._settings.fetch_timeout) as response:
            if response.status != 200:
                shown, retry_after = response.url.shown, response.retry_after
                raise status_error(response.status, shown, retry_after=retry_after)
            parts = []
            for chunk in response.chunks(self._settings.max_bytes):
                received(len(chunk))
                parts.append(chunk)
            return Fetched(b"".join(parts), named(response.headers.get("etag")))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _client(settings: Settings, resolve: Resolver | None) -> SafeClient:
    require_extra("http", what="SUSY_URL_HOSTS")
    from worker.safe_http.client import SafeClient
    from worker.safe_http.network import system_resolver

    return SafeClient(access_policy(settings), resolve=resolve or system_resolver)
