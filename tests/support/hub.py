"""A local server that speaks enough of the Hugging Face hub's protocol to download a file from it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "54d4d55" + "0" * 33


@dataclass
class Hub:
    """What the server holds, and how it misbehaves."""

    repo: str
    files: dict[str, bytes] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    """Bytes to send instead of the announced ones."""
    breaks_after: dict[str, int] = field(default_factory=dict)
    """Bytes after which the connection drops, once."""
    commit: str = COMMIT
    announces_lfs: bool = True
    endpoint: str = ""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run `hub` on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            hub.requests.append((self.command, self.path, {key.lower(): value for key, value in self.headers.items()}))
            prefix, _, rest = self.path.partition("/resolve/")
            revision, _, name = rest.partition("/")
            if prefix != f"/{hub.repo}" or name not in hub.files or not hub.commit.startswith(revision):
                self._missing()
                return
            content = hub.served.get(name, hub.files[name])
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
            digest = hashlib.sha256(hub.files[name]).hexdigest()
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{digest}"' if hub.announces_lfs else '"d41d8cd98f00b204"')
            self.send_header("X-Repo-Commit", hub.commit)
            if hub.announces_lfs:
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Linked-Size", str(len(hub.files[name])))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if body:
                end = start + hub.breaks_after.pop(name, len(content))
                self.wfile.write(content[start:end])
                self.close_connection = end < len(content)

        def _missing(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
