"""The proxy closes every connection, those included that it accepted at the last moment."""

from __future__ import annotations

import gc
import socket
import ssl
import warnings
from collections.abc import Iterator

import pytest
import trustme

from tests.support.tcp_proxy import TcpProxy


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server that accepts; a connection that nobody closes fails the test."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        yield server
        gc.collect()


def test_a_proxy_that_closes_keeps_no_connection_that_it_just_accepted(server: socket.socket) -> None:
    for clients in range(40):
        proxy = TcpProxy(server.getsockname()[1])
        connected = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(1 + clients % 4)]
        proxy.close()
        for client in connected:
            client.close()


@pytest.mark.parametrize("ended", [True, False])
def test_a_proxy_that_closes_keeps_no_connection_of_tls(server: socket.socket, ended: bool) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    proxy = TcpProxy(server.getsockname()[1], tls=context)
    with (
        socket.create_connection(("127.0.0.1", proxy.port)) as connection,
        trusting.wrap_socket(connection, server_hostname="localhost") as client,
        server.accept()[0] as served,
    ):
        client.sendall(b"ping")
        assert served.recv(4) == b"ping"
        if ended:
            client.close()
            assert served.recv(1) == b"", "the other end hears of it"
        proxy.close()
