"""Environment variables that Prefect needs before it is imported."""

from __future__ import annotations

import os

EVERYWHERE = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Without a configured server, the farm says so, or starts one that survives Ctrl-C (`temporary_server`).
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_CLI_COLORS": "false",
}
"""For servers, agents and commands alike."""

_WANTED = {**EVERYWHERE, "PREFECT_LOGGING_LEVEL": "CRITICAL"}  # errors are shown once, by the command line

# For workers of an agent and their runs. A run retries for minutes if its server is down.
_WANTED_OF_WORKERS = {
    **_WANTED,
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_CLIENT_MAX_RETRIES": "9",
}


def agent_environment() -> dict[str, str]:
    """Return the environment of workers: the user's, over defaults. Call it before `prepare_prefect`."""
    return _WANTED_OF_WORKERS | os.environ


def prepare_prefect() -> None:
    """Set the variables that the user has not set."""
    for name, value in _WANTED.items():
        os.environ.setdefault(name, value)
