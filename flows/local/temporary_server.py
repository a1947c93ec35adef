"""A Prefect server for one command, where none is set.

Prefect would start one by itself, in the command's own process group: Ctrl-C ended it before the run could
tell how it ended, and the command tried to tell it for a minute.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from flows.local.farm import free_port
from flows.local.processes import answers, dying_with_us
from flows.server.environment import prepare_prefect
from tasks.domain.farm_errors import ServerUnreachable

_HOST = "127.0.0.1"
_START_SECONDS, _POLL_SECONDS, _END_SECONDS = 120.0, 0.1, 5.0
_SHOWN = 2000
# Nothing is scheduled there, and what else is in the user's database stays as it is.
_WITHOUT = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "REPOSSESSOR")


@contextmanager
def temporary_server() -> Iterator[None]:
    """Have a Prefect server for what runs inside: the one that is set, or one of its own that ends with it.

    Its own one keeps its database where Prefect's settings say, and asks for a password that nobody else has.

    Raises:
        ServerUnreachable: it did not start.
    """
    prepare_prefect()
    # Not at the top: Prefect reads its settings when it is imported.
    from prefect.settings import (  # noqa: PLC0415
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        get_current_settings,
        temporary_settings,
    )

    if get_current_settings().api.url:
        yield
        return
    port, credentials = free_port(0, "PREFECT_API_URL"), f"enginefarm:{secrets.token_urlsafe(24)}"
    api = f"http://{_HOST}:{port}/api"
    with ExitStack() as stack:
        _start(port, credentials, stack)
        with temporary_settings({PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: credentials}):
            yield


def _start(port: int, credentials: str, stack: ExitStack) -> None:
    """Start the server and wait until it serves; `stack` ends it.

    Raises:
        ServerUnreachable: as `temporary_server`.
    """
    # Workaround (Prefect 3.8.8): its own temporary server is in the command's process group, so Ctrl-C ends
    # it before the run can report how it ended. Remove when Prefect starts it in a session of its own; 3.9.1
    # does not.
    prefect = (sys.executable, "-P", "-m", "flows.local.prefect_server")
    services = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _WITHOUT}
    printed = tempfile.TemporaryFile()  # noqa: SIM115 (the stack closes it)
    stack.enter_context(printed)
    process = subprocess.Popen(
        dying_with_us((*prefect, "--host", _HOST, "--port", str(port), "--no-ui")),
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=printed,
        env=os.environ | services | {"PREFECT_SERVER_API_AUTH_STRING": credentials},
        start_new_session=True,
    )
    stack.callback(_end, process)
    # Takes seconds, as the start of the server does.

    _wait(process, f"http://{_HOST}:{port}/api/health", printed)


def _wait(process: subprocess.Popen[bytes], url: str, printed: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(url):
        if process.poll() is not None:
            raise _not_started(f"it ended with status {process.returncode}", printed)
        if time.monotonic() > deadline:
            raise _not_started(f"it does not answer after {_START_SECONDS:.0f} s", printed)
        time.sleep(_POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _not_started(found: str, printed: IO[bytes]) -> ServerUnreachable:
    printed.seek(0)
    last = printed.read().decode(errors="replace")[-_SHOWN:].strip()
    return ServerUnreachable(
        wanted="a temporary Prefect server for this command",
        found=f"{found}; the last of what it printed:\n{last}",
        fix="correct what it says there, or set PREFECT_API_URL to a server that runs",
    )
