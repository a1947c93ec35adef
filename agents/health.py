"""The health of an agent: for whatever restarts it when it hangs, and for people."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tasks.domain.errors import RequestInvalid

_BEAT_SECONDS = 5.0
_REQUEST_SECONDS = 5.0
_LONGEST_LINE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The health of an agent.

    Attributes:
        well: whether all its workers are alive; an outage of the server does not make an agent unhealthy.
        workers: the state of each worker, by its name.
    """

    well: bool
    workers: Mapping[str, Mapping[str, Any]]

    def to_json(self) -> str:
        """Return the report as JSON, with the current time."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return json.dumps({"well": self.well, "seen": now, "workers": self.workers})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    does: str
    since: str
    until: float


class Steps:
    """Deadlines for the next step of each task of an agent. Thread-safe."""

    def __init__(self) -> None:
        self._last: dict[str, _Step] = {}

    def take(self, task: str, does: str, *, within: float) -> None:
        """Record that `task` is alive and what it `does` now; the next step is due `within` seconds."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._last[task] = _Step(does=does, since=now, until=time.monotonic() + within)

    def report(self) -> Report:
        """Return the agent's health: well, unless a task has missed a deadline."""
        last = self._last.copy()
        now = time.monotonic()
        return Report(
            well=all(now < step.until for step in last.values()),
            workers={task: {"state": step.does, "since": step.since} for task, step in last.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Where an agent reports its health.

    Attributes:
        file: heartbeat file, rewritten every few seconds while the agent is well; it is stale otherwise.
        port: port of the loopback where `/healthz` answers 200 while the agent is well, and 503 otherwise.
    """

    file: Path | None = None
    port: int | None = None

    async def show(self, report: Callable[[], Report]) -> None:
        """Publish what `report` returns until cancelled.

        Raises:
            RequestInvalid: the port is taken, or the file cannot be written.
        """
        if self.file is not None:
            _require_writable(self.file)
        async with contextlib.AsyncExitStack() as stack:
            if self.port is not None:
                await stack.enter_async_context(await _start_server(_Serve(report), self.port))
            while True:
                now = report()
                if self.file is not None and now.well:
                    with contextlib.suppress(OSError):  # a full disk: the file becomes stale
                        _replace(self.file, now.to_json())
                await asyncio.sleep(_BEAT_SECONDS)


class _Serve:
    """Answers health checks in the agent's own event loop.

    A server in a thread of its own would still answer for an agent whose event loop hangs.
    """

    def __init__(self, report: Callable[[], Report]) -> None:
        self._report = report

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                line = (await reader.readline())[:_LONGEST_LINE]
                while (await reader.readline()).strip():
                    pass
                writer.write(self._answer(line))
                await writer.drain()
        writer.close()

    def _answer(self, line: bytes) -> bytes:
        if line.split()[:2] != [b"GET", b"/healthz"]:
            status, body = HTTPStatus.NOT_FOUND, ""
        else:
            report = self._report()
            status = HTTPStatus.OK if report.well else HTTPStatus.SERVICE_UNAVAILABLE
            body = report.to_json()
        head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


async def _start_server(serve: _Serve, port: int) -> asyncio.Server:
    try:
        return await asyncio.start_server(serve, "127.0.0.1", port)
    except OSError as error:
        raise RequestInvalid(
            wanted=f"port {port} of the loopback for /healthz",
            found=str(error),
            fix="give another --health-port: each agent on a host needs its own",
        ) from error


def _require_writable(file: Path) -> None:
    """Check that `file` can be written, before anything waits for it.

    Raises:
        RequestInvalid: it cannot.
    """
    try:
        _replace(file, "")
    except OSError as error:
        raise RequestInvalid(
            wanted=f"to write the heartbeat file {file}",
            found=str(error),
            fix="give a --heartbeat file in a folder that exists and is writable",
        ) from error
    file.unlink()


def _replace(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.{os.getpid()}")
    new.write_text(text, "utf-8")
    new.replace(file)
