"""The parts of a farm on one machine, as data: what runs, with what it is told, in which order."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
_AGENT_SECONDS = 60.0  # to end what it builds, or to hand it back


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Prefect server.

    Attributes:
        api: URL of its API.
        environment: what its clients are told, the password included.
        part: its process; None where it is somebody else's.
        database: its database's process; None for SQLite, and where the server is somebody else's.
        kept_in: its database, for people; empty where the server is somebody else's.
        secret: the file with its password; None where it is somebody else's.
    """

    api: str
    environment: Mapping[str, str]
    part: Part | None = None
    database: Part | None = None
    kept_in: str = ""
    secret: Path | None = None

    @property
    def page(self) -> str:
        """Its pages for people."""
        return self.api.removesuffix("/api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where releases come from and where engines go.

    Attributes:
        store: URL of the engine store.
        releases: URLs of the places of releases; empty where nothing watches for them.
        queue: URL of the SQS queue that tells of new releases; empty where they are found by listing.
        environment: what clients are told.
        part: its process; None where it is somebody else's.
    """

    store: str
    releases: tuple[str, ...]
    queue: str
    environment: Mapping[str, str]
    part: Part | None = None


def own_server(data: Path, port: int, *, postgres: bool = False) -> Server:
    """Return a Prefect server on the loopback with a password and with all it keeps below `data`.

    Args:
        data: the farm's folder.
        port: of the server.
        postgres: whether it has a PostgreSQL of its own; else SQLite.

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
    """Return the server that the environment names; None where it names none."""
    api = os.environ.get("PREFECT_API_URL")
    return Server(api=api, environment=EVERYWHERE | _LOGS) if api else None


def own_storage(port: int) -> Storage:
    """Return S3 and SQS on the loopback, in memory: all they hold goes when the process ends."""
    endpoint = endpoint_at(port)
    return Storage(
        store=f"s3://{BUCKET}",
        releases=(RELEASES,),
        queue=queue_url(endpoint),
        environment=environment_for(endpoint),
        part=replace(s3_part(port), after=lambda: make_bucket(endpoint)),
    )


def environment_of(server: Server, storage: Storage) -> dict[str, str]:
    """Return what agents and shells must be told to use the farm; it has the password."""
    places = {"ENGINEFARM_STORE": storage.store, "ENGINEFARM_RELEASES": " ".join(storage.releases)}
    return {**storage.environment, **server.environment, **places}


def parts_of(server: Server, storage: Storage, *, gpu: bool) -> tuple[Part, ...]:
    """Return all that runs, in the order in which it starts."""
    environment = environment_of(server, storage)
    releases = [argument for place in storage.releases for argument in ("--releases", place)]
    agents = {"cpu-agent": ["agent", "cpu"]}
    if gpu:
        agents["gpu-agent"] = ["agent", "gpu"]
    if releases:
        told_by = ["--queue", storage.queue] if storage.queue else ["--list-every", "1"]
        agents["s3-agent"] = ["agent", "s3", *releases, *told_by]
    commands = [
        Part(name="deploy", command=_enginefarm("deploy", "--yes"), environment=environment, once=True),
        *(
            Part(
                name=name,
                command=_enginefarm(*arguments),
                environment=environment,
                end_seconds=_AGENT_SECONDS,
            )
            for name, arguments in agents.items()
        ),
    ]
    return (*(part for part in (storage.part, server.database, server.part) if part), *commands)


def _enginefarm(*arguments: str) -> tuple[str, ...]:
    return sys.executable, "-P", "-m", "flows.cli.main", *arguments
