"""The proxy closes every connection, those included that it accepted at the last moment."""

from __future__ import annotations

import gc
import socket
import warnings

from tests.support.tcp_proxy import TcpProxy


def test_a_proxy_that_closes_keeps_no_connection_that_it_just_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server, warnings.catch_warnings():
        warnings.simplefilter("error")  # a connection that nobody closed is a ResourceWarning, and fails this test
        for clients in range(40):
            proxy = TcpProxy(server.getsockname()[1])
            connected = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(1 + clients % 4)]
            proxy.close()
            for client in connected:
                client.close()
        gc.collect()
