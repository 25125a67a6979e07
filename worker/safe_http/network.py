"""Connections: a name is resolved once, all its addresses are judged, and one of those is connected to.

httpcore2 keeps the name as the origin, so that TLS's server name, the certificate's check, the Host header and the
pool of open connections all follow the name, while the socket follows the address.
"""

from __future__ import annotations

import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import httpcore2

from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.safe_http.policy import AccessPolicy

Resolver = Callable[[str], Sequence[str]]
"""The addresses of a host name. Raises `OSError`."""

CONNECT_WITHIN = 10.0
"""Seconds that one of several addresses may take to accept a connection."""
_WRITE_BYTES = 65536


def system_resolver(host: str) -> list[str]:
    """The addresses that the system's resolver gives, in its order."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class Deadline:
    """The end of a request, for everything that is done for it. One request per thread at a time."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Everything in the block, in this thread, ends within `seconds`."""
        self._local.end, self._local.seconds = time.monotonic() + seconds, seconds
        try:
            yield
        finally:
            self._local.end = None

    def remaining(self) -> float:
        """Seconds that are left. Raises `TransientError(remote_timeout)` when none are."""
        end = getattr(self._local, "end", None)
        if end is None:
            raise RuntimeError("a response is read by the thread that made the request, inside its block")
        left: float = end - time.monotonic()
        if left <= 0:
            raise self.exceeded()
        return left

    def exceeded(self) -> TransientError:
        return TransientError(
            ErrorCode.REMOTE_TIMEOUT, f"the remote server did not finish within {self._local.seconds:g} s"
        )


class PinningBackend(httpcore2.NetworkBackend):
    """Opens httpcore2's connections."""

    def __init__(self, policy: AccessPolicy, deadline: Deadline, resolve: Resolver) -> None:
        self._policy = policy
        self._deadline = deadline
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to an address of `host` that the policy allows. Raises `SusyError`."""
        addresses = self._addresses(host)
        self._policy.require_addresses(host, addresses)
        reason = ""
        for number, address in enumerate(addresses, start=1):
            left = self._deadline.remaining()
            try:
                connected = _connect(address, port, left if number == len(addresses) else min(left, CONNECT_WITHIN))
            except OSError as error:
                reason = error.strerror or "no answer in time"
            else:
                return DeadlineStream(connected, host, self._deadline)
        self._deadline.remaining()
        raise TransientError(ErrorCode.REMOTE_UNAVAILABLE, f"{host} port {port} cannot be connected to ({reason})")

    def connect_unix_socket(self, *_arguments: Any, **_options: Any) -> httpcore2.NetworkStream:
        raise NotImplementedError

    def _addresses(self, host: str) -> Sequence[str]:
        try:
            ip_address(host)
        except ValueError:
            return self._resolved(host)
        return [host]

    def _resolved(self, host: str) -> Sequence[str]:
        """The resolver runs in a thread of its own: the system's cannot be given a timeout."""
        answers: queue.SimpleQueue[Sequence[str] | OSError | UnicodeError] = queue.SimpleQueue()

        def resolve() -> None:
            try:
                answers.put(self._resolve(host))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=resolve, name="resolver", daemon=True).start()
        try:
            answer = answers.get(timeout=self._deadline.remaining())
        except queue.Empty:
            raise self._deadline.exceeded() from None
        if isinstance(answer, OSError | UnicodeError):
            reason = getattr(answer, "strerror", None) or type(answer).__name__
            raise TransientError(ErrorCode.REMOTE_UNAVAILABLE, f"the host {host} cannot be resolved ({reason})")
        return answer


def _connect(address: str, port: int, timeout: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout)
        connected.connect((address, port))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connected.close()
        raise
    return connected


class DeadlineStream(httpcore2.NetworkStream):
    """A socket, each call of which takes at most the time that is left of the request.

    The timeouts that httpcore2 passes are those of one call; many calls that each bring a byte would never end.
    """

    def __init__(self, connected: socket.socket, host: str, deadline: Deadline) -> None:
        self._socket = connected
        self._host = host
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._socket.settimeout(self._deadline.remaining())
            return self._socket.recv(max_bytes)
        except TimeoutError:
            raise self._deadline.exceeded() from None
        except OSError as error:
            raise httpcore2.ReadError(error.strerror or type(error).__name__) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        try:
            while view:
                self._socket.settimeout(self._deadline.remaining())
                view = view[self._socket.send(view[:_WRITE_BYTES]) :]
        except TimeoutError:
            raise self._deadline.exceeded() from None
        except OSError as error:
            raise httpcore2.WriteError(error.strerror or type(error).__name__) from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """The timeout of a handshake is one for all of its messages."""
        try:
            self._socket.settimeout(self._deadline.remaining())
            encrypted = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise self._translated(error) from error
            raise
        return DeadlineStream(encrypted, self._host, self._deadline)

    def _translated(self, error: OSError) -> SusyError:
        if isinstance(error, TimeoutError):
            return self._deadline.exceeded()
        if isinstance(error, ssl.SSLCertVerificationError):
            return PermanentError(
                ErrorCode.CERTIFICATE_INVALID,
                f"the certificate of {self._host} is not valid ({error.verify_message}); correct it there, or name its "
                "certificate authority",
            )
        return TransientError(
            ErrorCode.REMOTE_UNAVAILABLE,
            f"no encrypted connection to {self._host} ({getattr(error, 'reason', None) or error.strerror})",
        )

    def get_extra_info(self, info: str) -> Any:
        """What httpcore2 asks of a connection: its TLS object, and whether an idle one has been closed by the peer."""
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        if info == "server_addr":
            return self._socket.getpeername()
        if info == "is_readable":
            return _is_readable(self._socket)
        return None


def _is_readable(connected: socket.socket) -> bool:
    if connected.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    return bool(poll.poll(0))
