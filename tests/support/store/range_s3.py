"""An S3 server with one object at every key: it counts what is read, and can be held up at any range."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class RangeS3:
    """The server.

    Attributes:
        data: the object.
        url: where to call.
        answers: how many ranges it answers before it holds up all others; None: all.
        whole: it ignores ranges, as some proxies do.
        ranges: the first byte of each range that was answered.
    """

    data: bytes
    url: str = ""
    answers: int | None = None
    whole: bool = False
    ranges: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _let_go: threading.Event = field(default_factory=threading.Event)

    def let_go(self) -> None:
        """Answer all ranges from now on."""
        self.answers = None
        self._let_go.set()

    def admit(self, start: int) -> None:
        """Return once the range from `start` on may be answered."""
        with self._lock:
            held = self.answers is not None and len(self.ranges) >= self.answers
            if not held:
                self.ranges.append(start)
        if held:
            self._let_go.wait()
            with self._lock:
                self.ranges.append(start)


def _handler(s3: RangeS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, stop = (int(match[1]), int(match[2]) + 1) if match else (0, len(s3.data))
            s3.admit(start)
            if start >= len(s3.data):
                self._answer(416, b"", "")
            elif s3.whole:
                self._answer(200, s3.data, "")
            else:
                body = s3.data[start:stop]
                self._answer(206, body, f"bytes {start}-{start + len(body) - 1}/{len(s3.data)}")

        def _answer(self, status: int, body: bytes, content_range: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"tag"')
            if content_range:
                self.send_header("Content-Range", content_range)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def range_s3(data: bytes) -> Iterator[RangeS3]:
    """Serve `data` on the loopback."""
    s3 = RangeS3(data=data)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(s3))
    server.daemon_threads = True
    server.block_on_close = False
    s3.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        s3.let_go()
        server.shutdown()
        server.server_close()
        thread.join()
