"""A Prefect server for one command, where none is set.

Prefect would start one by itself, in the command's own process group: Ctrl-C ended it before the run could
tell how it ended, and the command tried to tell it for a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flows.local.processes import free_port, running
from flows.local.server import LocalServer, new_password
from flows.server.environment import prepare_prefect
from tasks.domain.errors import ChildFailed, ServerUnreachable

# Nothing is scheduled there, and what else is in the user's database stays as it is.
_WITHOUT = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "REPOSSESSOR")


@contextmanager
def temporary_server() -> Iterator[None]:
    """Have a Prefect server for what runs inside: the one that is set, or a temporary one.

    The temporary one keeps its database where Prefect's settings say, and asks for a password that nobody
    else has.

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
    server = LocalServer(
        port=free_port(0, "PREFECT_API_URL"), password=new_password(), ui=False, without=_WITHOUT
    )
    client_settings = {PREFECT_API_URL: server.api, PREFECT_API_AUTH_STRING: server.credentials}
    with _served_by(server), temporary_settings(client_settings):
        yield


@contextmanager
def _served_by(server: LocalServer) -> Iterator[None]:
    """Run `server` for what runs inside.

    Raises:
        ServerUnreachable: as `temporary_server`.
    """
    # Workaround (Prefect 3.8.8): its own temporary server is in the command's process group, so Ctrl-C ends
    # it before the run can report how it ended. Remove when Prefect starts it in a session of its own; 3.9.1
    # does not.
    with ExitStack() as stack:
        try:
            stack.enter_context(running(server.part))
        except ChildFailed as error:
            raise ServerUnreachable(
                wanted="a temporary Prefect server for this command",
                found=error.found,
                fix="correct what it says there, or set PREFECT_API_URL to a server that runs",
            ) from error
        yield
