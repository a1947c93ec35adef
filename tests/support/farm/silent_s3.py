"""An S3 server that takes calls and does not answer, so that flows wait where a test wants them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class SilentS3:
    """Listens on the loopback as long as it is entered."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self._dropping = threading.Event()
        threading.Thread(target=self._take, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                caller, _ = self._listener.accept()
                self._held.append(caller)
                if self._dropping.is_set():
                    self._drop()

    def _drop(self) -> None:
        while self._held:
            self._held.pop().close()

    @contextlib.contextmanager
    def dropping(self) -> Iterator[None]:
        """End all calls: threads that wait for S3 come back with an error."""
        self._dropping.set()
        self._drop()
        yield
        self._dropping.clear()

    def close(self) -> None:
        """Take no more calls."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()
