"""What Prefect must be told before it is imported."""

from __future__ import annotations

import os

EVERYWHERE = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Where no server is named, the farm says so, or starts one that outlives Ctrl-C; see `temporary_server`.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_CLI_COLORS": "false",
}
"""For servers, agents and commands alike."""

_WANTED = {**EVERYWHERE, "PREFECT_LOGGING_LEVEL": "CRITICAL"}  # errors are shown once, by the command line

# What workers of an agent and their runs are told. A run that lost its server waits for it, for minutes.
_WANTED_OF_WORKERS = {
    **_WANTED,
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_CLIENT_MAX_RETRIES": "9",
}


def agent_environment() -> dict[str, str]:
    """Return the environment of workers: the user's, and what is wanted. Comes before `prepare_prefect`."""
    return _WANTED_OF_WORKERS | os.environ


def prepare_prefect() -> None:
    """Set what the user has not set."""
    for name, value in _WANTED.items():
        os.environ.setdefault(name, value)
