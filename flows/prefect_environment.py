"""What Prefect must be told before it is imported."""

from __future__ import annotations

import os

_WANTED = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Without PREFECT_API_URL a command starts a temporary server; its start takes 10 s, more when cold.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are shown once, by the command line
    "PREFECT_CLI_COLORS": "false",
}


# A temporary server gets the same Ctrl-C as the command. If it is gone first, the run's last state is not
# offered to it for a minute.
_WANTED_OF_TEMPORARY = {"PREFECT_CLIENT_MAX_RETRIES": "1"}


# What asks the farm's own server must not start a temporary one because a URL is missing.
_WANTED_OF_FARM = {"PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}


def prepare_farm() -> None:
    """Set what the user has not set, for commands that need the farm's own server."""
    for name, value in (_WANTED | _WANTED_OF_FARM).items():
        os.environ.setdefault(name, value)


# What workers of an agent and their runs are told. A run that lost its server waits for it, for minutes.
_WANTED_OF_WORKERS = {
    **_WANTED,
    **_WANTED_OF_FARM,
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_CLIENT_MAX_RETRIES": "9",
}


def agent_environment() -> dict[str, str]:
    """Return the environment of workers: the user's, and what is wanted. Comes before `prepare_farm`."""
    return _WANTED_OF_WORKERS | os.environ


def prepare_prefect() -> None:
    """Set what the user has not set."""
    temporary = {} if "PREFECT_API_URL" in os.environ else _WANTED_OF_TEMPORARY
    for name, value in (_WANTED | temporary).items():
        os.environ.setdefault(name, value)
