"""A Prefect server of its own for tests."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from prefect.context import refresh_global_settings_context
from prefect.settings import (
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from flows.local import processes
from flows.local.processes import start
from flows.local.server import LocalServer
from tests.support.waiting import PATIENCE


@dataclass(kw_only=True)
class Server:
    """A Prefect server as a team starts one, which can be killed and started again on what it kept."""

    folder: Path
    port: int
    without: tuple[str, ...] = ()
    """Services of the server that do not run."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def database(self) -> str:
        return f"sqlite+aiosqlite:///{self.folder}/prefect.db"

    def start(self) -> None:
        server = LocalServer(port=self.port, home=self.folder, without=self.without)
        patience = patch.object(processes, "_START_SECONDS", PATIENCE)
        with patience, (self.folder / "server.log").open("a+b") as log:
            self._process = start(server.part, log)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()


@contextmanager
def serving(server: Server) -> Iterator[str]:
    """Give the API's URL while `server` runs; Prefect in this process and all of its threads use it."""
    server.start()
    own = {"PREFECT_API_URL": server.url, "PREFECT_SERVER_DATABASE_CONNECTION_URL": server.database}
    # Ten runs at once on a busy machine: SQLite sometimes answers 503, which is to be tried again.
    again = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_CLIENT_MAX_RETRIES: 10}
    try:
        with patch.dict(os.environ, own):
            refresh_global_settings_context()
        with temporary_settings(again):
            yield server.url
    finally:
        server.kill()
        refresh_global_settings_context()
