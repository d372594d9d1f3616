"""An S3-compatible server of its own process (moto's), behind a proxy that throttles and cuts off as it is told."""

from __future__ import annotations

import http.client
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.test_cluster import free_port
from trainers.screens.place import Place

SLOW_DOWN = (
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-anybody"}


class Proxy(ThreadingHTTPServer):
    """Passes requests on, unless it is told otherwise."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = port
        self.throttled = 0.0
        """Share of requests that are answered 503 SlowDown."""
        self.away = False
        """Whether connections are closed without a word."""
        self.refused = {"throttled": 0, "cut": 0}
        self.draws = random.Random(5)  # noqa: S311

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed."""


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        if self.server.away:
            self.server.refused["cut"] += 1
            self.close_connection = True
            return
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.draws.random() < self.server.throttled:
            self.server.refused["throttled"] += 1
            self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
            return
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        behind.request(self.command, self.path, content, dict(self.headers))
        answer = behind.getresponse()
        passed = {key: value for key, value in answer.headers.items() if key.lower() not in ("connection", "server")}
        self._answer(answer.status, passed, answer.read())
        behind.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        if self.command != "HEAD":
            headers = {key: value for key, value in headers.items() if key.lower() != "transfer-encoding"}
            headers["Content-Length"] = str(len(content))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def running_s3() -> Iterator[Proxy]:
    """The server with an empty bucket "lab", and the proxy before it."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        env={**os.environ, **CREDENTIALS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    proxy = Proxy(port)
    try:
        deadline = time.monotonic() + 90
        while True:
            assert server.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server did not come up"
            try:
                made = urllib.request.Request(f"http://127.0.0.1:{port}/lab", method="PUT")
                urllib.request.urlopen(made).close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.1)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.kill()
        server.wait()


def fresh(url: str) -> Place:
    """A place that is opened with the environment as it is now."""
    import fsspec

    fsspec.filesystem("s3").clear_instance_cache()
    return Place(url)
