"""The parts of a farm on one machine, as data: commands, environments and start order."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flows.local.postgres import own_database
from flows.local.processes import Part
from flows.local.s3 import (
    BUCKET,
    RELEASES,
    endpoint_at,
    environment_for,
    make_bucket,
    queue_url,
    s3_part,
)
from flows.local.server import LocalServer, kept_password
from flows.server.environment import EVERYWHERE

_LOGS = {"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_LOGGING_COLORS": "false"}
_AGENT_SECONDS = 60.0  # to finish its runs, or to hand them back


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Prefect server.

    Attributes:
        api: URL of its API.
        environment: variables for its clients, including the password.
        part: its process; None if the farm did not start it.
        database: its database's process; None for SQLite, and if the farm did not start the server.
        kept_in: its database, for people; empty if the farm did not start the server.
        secret: the file with its password; None if the farm did not start the server.
    """

    api: str
    environment: Mapping[str, str]
    part: Part | None = None
    database: Part | None = None
    kept_in: str = ""
    secret: Path | None = None

    @property
    def page(self) -> str:
        """URL of its UI."""
        return self.api.removesuffix("/api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where releases come from and where engines go.

    Attributes:
        store: URL of the engine store.
        releases: URLs of the places of releases; empty if nothing watches for releases.
        queue: URL of the SQS queue with notifications; empty if new releases are found by listing.
        environment: variables for its clients.
        part: its process; None if the farm did not start it.
    """

    store: str
    releases: tuple[str, ...]
    queue: str
    environment: Mapping[str, str]
    part: Part | None = None


def own_server(data: Path, port: int, *, postgres: bool = False) -> Server:
    """Return a Prefect server on the loopback that has a password and keeps its data below `data`.

    Args:
        data: the farm's folder.
        port: the server's port.
        postgres: whether its database is a PostgreSQL of its own, not SQLite.

    Raises:
        RequestInvalid: as `own_database`.
    """
    secret, home = data / "prefect-password", data / "prefect"
    database = own_database(data) if postgres else None
    server = LocalServer(
        port=port, password=kept_password(secret), home=home, database=database.url if database else None
    )
    return Server(
        api=server.api,
        environment=server.client_environment | _LOGS,
        part=replace(server.part, environment=server.environment | _LOGS),
        database=database.part if database else None,
        kept_in=f"PostgreSQL in {database.folder}" if database else f"SQLite in {home}",
        secret=secret,
    )


def given_server() -> Server | None:
    """Return the server that the environment names; None if it names none."""
    api = os.environ.get("PREFECT_API_URL")
    return Server(api=api, environment=EVERYWHERE | _LOGS) if api else None


def own_storage(port: int) -> Storage:
    """Return S3 and SQS on the loopback, in memory: their content is lost when the process ends."""
    endpoint = endpoint_at(port)
    return Storage(
        store=f"s3://{BUCKET}",
        releases=(RELEASES,),
        queue=queue_url(endpoint),
        environment=environment_for(endpoint),
        part=replace(s3_part(port), after=lambda: make_bucket(endpoint)),
    )


def environment_of(server: Server, storage: Storage) -> dict[str, str]:
    """Return the variables with which agents and shells use the farm, including the password."""
    places = {"ENGINEFARM_STORE": storage.store, "ENGINEFARM_RELEASES": " ".join(storage.releases)}
    return {**storage.environment, **server.environment, **places}


def parts_of(server: Server, storage: Storage, *, gpu: bool, heartbeats: Path) -> tuple[Part, ...]:
    """Return all parts, in the order in which they start.

    Args:
        server: the Prefect server.
        storage: of releases and engines.
        gpu: whether there is a GPU to build for.
        heartbeats: a folder for the agents' heartbeat files, which say when they are ready.
    """
    environment = environment_of(server, storage)
    releases = [argument for place in storage.releases for argument in ("--releases", place)]
    agents = {"cpu-agent": ["agent", "cpu"]}
    if gpu:
        agents["gpu-agent"] = ["agent", "gpu"]
    if releases:
        source = ["--queue", storage.queue] if storage.queue else ["--list-every", "1"]
        agents["s3-agent"] = ["agent", "s3", *releases, *source]
    commands = [
        Part(name="deploy", command=_enginefarm("deploy", "--yes"), environment=environment, once=True),
        *(
            Part(
                name=name,
                command=_enginefarm(*arguments, "--heartbeat", str(heartbeats / name)),
                environment=environment,
                ready=partial(agent_is_ready, heartbeats / name),
                end_seconds=_AGENT_SECONDS,
            )
            for name, arguments in agents.items()
        ),
    ]
    return (*(part for part in (storage.part, server.database, server.part) if part), *commands)


def agent_is_ready(heartbeat: Path) -> bool:
    """Return whether all workers of the agent that writes `heartbeat` have started."""
    try:
        workers = json.loads(heartbeat.read_text("utf-8"))["workers"]
    except (OSError, ValueError):  # it has not written yet
        return False
    return bool(workers) and all(worker["state"] != "starts" for worker in workers.values())


def _enginefarm(*arguments: str) -> tuple[str, ...]:
    return sys.executable, "-P", "-m", "flows.cli.main", *arguments
