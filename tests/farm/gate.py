"""A way to a server that can be shut: to those who take it the server is away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(kw_only=True)
class Gate:
    """A loopback port that leads to another one, while it is open.

    Attributes:
        url: where to call.
        refused: how many calls found it shut.
    """

    url: str = ""
    refused: int = 0
    _open: bool = True
    _through: set[asyncio.StreamWriter] = field(default_factory=set)

    def shut(self) -> None:
        """Break all connections and take no more."""
        self._open = False
        for writer in tuple(self._through):
            writer.transport.abort()

    def open(self) -> None:
        """Let calls through again."""
        self._open = True

    async def pass_on(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            self.refused += 1
            writer.transport.abort()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        self._through |= {writer, inner_writer}
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        self._through -= {writer, inner_writer}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


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
