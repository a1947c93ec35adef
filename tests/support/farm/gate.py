"""A way to a server that can be shut: to those who take it the server is away."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_POLL_SECONDS = 0.1
# The body of the request before it ends without a line's end.
_REQUEST = re.compile(rb"(GET|POST|PUT|PATCH|DELETE|HEAD) (/[!-~]*) HTTP/1\.1\Z")
_NUMBER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST_LINE = 8192


@dataclass(kw_only=True)
class Gate:
    """A loopback port that leads to another one, while it is open.

    Attributes:
        url: where to call.
        refused: how many calls found it shut.
        requests: how many requests of each kind went through, as `GET /path`, without what is not HTTP/1.1.
        sent: how many bytes went through to the server, of websockets, too.
    """

    url: str = ""
    refused: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    _open: bool = True
    _silent: bool = False
    _through: set[asyncio.StreamWriter] = field(default_factory=set)

    def shut(self) -> None:
        """Break all connections and take no more."""
        self._open = False
        for writer in tuple(self._through):
            writer.transport.abort()

    def hush(self) -> None:
        """Take connections and answer nothing; once it is open again, those are broken."""
        self._silent = True

    def open(self) -> None:
        """Let calls through again."""
        self._open, self._silent = True, False

    async def pass_on(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            self.refused += 1
            writer.transport.abort()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        self._through |= {writer, inner_writer}
        to_server = self._copy(reader, inner_writer, self._count)
        with contextlib.suppress(asyncio.CancelledError):  # the gate ends before the connection
            await asyncio.gather(to_server, self._copy(inner_reader, writer, lambda line, _: line))
        self._through -= {writer, inner_writer}

    def _count(self, line: bytes, data: bytes) -> bytes:
        """Count what `data` asks for; return the line that it begins, which the next one goes on with."""
        self.sent += len(data)
        *lines, last = (line + data).split(b"\r\n")
        for match in filter(None, map(_REQUEST.search, lines)):
            self.requests[_NUMBER.sub("…", f"{match[1].decode()} {match[2].decode()}")] += 1
        return last[-_LONGEST_LINE:]

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        count: Callable[[bytes, bytes], bytes],
    ) -> None:
        line = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self._silent:
                    await self._break_once_open(writer)
                    return
                line = count(line, data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _break_once_open(self, writer: asyncio.StreamWriter) -> None:
        while self._silent:  # noqa: ASYNC110 (it is opened from another thread)
            await asyncio.sleep(_POLL_SECONDS)
        for stream in (writer, *self._through):
            stream.transport.abort()


@contextmanager
def gate_to(url: str) -> Iterator[Gate]:
    """Make a gate to the server at `url`, open at first."""
    parts = urlsplit(url)
    target, gate, loop = parts.port, Gate(), asyncio.new_event_loop()
    assert target is not None

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(
            lambda reader, writer: gate.pass_on(target, reader, writer), "127.0.0.1", 0
        )

    server = loop.run_until_complete(serve())
    gate.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{parts.path}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield gate
    finally:
        loop.call_soon_threadsafe(server.close)
        for step in (gate.shut, loop.stop):
            loop.call_soon_threadsafe(step)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
