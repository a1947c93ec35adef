"""An S3 server whose listings come at once, and whose objects come a byte at a time; or all answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIZE = 1 << 20
_KEYS = "".join(
    f"<Contents><Key>engines/m/1/d/8/fp32-{number:012x}.json</Key><Size>9</Size><ETag>x</ETag>"
    "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
    for number in range(40)
)
_LISTING = f"<ListBucketResult><IsTruncated>false</IsTruncated>{_KEYS}</ListBucketResult>".encode()
_HEAD = 'HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: "x"\r\n\r\n'


class SlowS3:
    """The server.

    Attributes:
        url: its endpoint.
        asked: set once an object has been asked for.
        begins: with what each answer begins before it drips; None if only objects drip.
    """

    def __init__(self, server: socket.socket) -> None:
        self.begins: str | None = None
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}"
        self.asked = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._listen, args=(server,), daemon=True).start()

    def close(self) -> None:
        """End what is being sent."""
        self._over.set()

    def _listen(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            if self.begins is not None:
                connection.recv(1 << 16)
                connection.sendall(self.begins.encode())
                self._drip(connection)
                return
            while b"list-type" in (request := connection.recv(1 << 16)):
                connection.sendall(_HEAD.format(len(_LISTING)).encode() + _LISTING)
            if not request:
                return
            self.asked.set()
            connection.sendall(_HEAD.format(SIZE).encode())
            self._drip(connection)

    def _drip(self, connection: socket.socket) -> None:
        while not self._over.wait(0.02):
            try:
                connection.sendall(b" ")
            except OSError:
                return


@contextmanager
def slow_s3() -> Iterator[SlowS3]:
    """Serve on a loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        running = SlowS3(server)
        try:
            yield running
        finally:
            running.close()
