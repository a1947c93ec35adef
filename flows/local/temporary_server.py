"""A Prefect server for one command, if no server is configured.

Prefect would start one itself, but in the command's process group: Ctrl-C then ends that server before the
run can report its final state, and the command retries the report for a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.local.processes import free_port, running
from flows.local.server import LocalServer, new_password
from flows.server.environment import prepare_prefect
from tasks.domain.errors import ChildFailed, RequestInvalid, ServerUnreachable

# Nothing is scheduled on it, and it must leave everything else in the user's database alone.
_WITHOUT = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "REPOSSESSOR")


@contextmanager
def temporary_server() -> Iterator[None]:
    """Provide a Prefect server while the block runs: the configured server, or a temporary one.

    The temporary server uses the database of Prefect's settings, and requires a new random password.

    Raises:
        RequestInvalid: PREFECT_HOME names a folder that cannot be made.
        ServerUnreachable: it did not start.
    """
    prepare_prefect()
    # Not at the top: importing Prefect reads its settings.
    from prefect.settings import (  # noqa: PLC0415
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        get_current_settings,
        temporary_settings,
    )

    from agents.server.no_results import load_no_results  # noqa: PLC0415

    load_no_results()
    if get_current_settings().api.url:
        yield
        return
    _make_home(get_current_settings().home)
    server = LocalServer(
        port=free_port(0, "PREFECT_API_URL"), password=new_password(), ui=False, without=_WITHOUT
    )
    client_settings = {PREFECT_API_URL: server.api, PREFECT_API_AUTH_STRING: server.credentials}
    with _served_by(server), temporary_settings(client_settings):
        yield


def _make_home(home: Path) -> None:
    """Make Prefect's folder: SQLite says no more than that it cannot open a file in a folder that is missing.

    Raises:
        RequestInvalid: as `temporary_server`.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestInvalid(
            wanted=f"a folder for Prefect's database at {home}",
            found=str(error),
            fix="set PREFECT_HOME to a folder that you may write to",
        ) from error


@contextmanager
def _served_by(server: LocalServer) -> Iterator[None]:
    """Run `server` while the block runs.

    Raises:
        ServerUnreachable: as `temporary_server`.
    """
    # Workaround (Prefect 3.8.8): its own temporary server is in the command's process group, so Ctrl-C ends
    # it before the run can report its final state. Remove when Prefect starts it in a session of its own;
    # 3.9.1 does not.
    with ExitStack() as stack:
        try:
            stack.enter_context(running(server.part))
        except ChildFailed as error:
            raise ServerUnreachable(
                wanted="a temporary Prefect server for this command",
                found=error.found,
                fix="correct the error above, or set PREFECT_API_URL to a running server",
            ) from error
        yield
