"""The parts of a farm on one machine, as data: what runs, with what it is told, in which order."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.local.embedded_bucket import BUCKET, RELEASES, make_bucket, queue_url
from flows.local.processes import Part, answers
from flows.local.s3 import environment_for
from tasks.domain.errors import RequestInvalid

_HOST = "127.0.0.1"
_PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_CLI_COLORS": "false",
}
_AGENT_SECONDS = 60.0  # to end what it builds, or to hand it back


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Prefect server.

    Attributes:
        api: URL of its API.
        environment: what its clients are told, the password included.
        part: its process; None where it is somebody else's.
        secret: the file with its password; None where it is somebody else's.
    """

    api: str
    environment: Mapping[str, str]
    part: Part | None = None
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


def free_port(port: int, option: str) -> int:
    """Return `port` where nothing listens on it; for 0 any such port.

    Raises:
        RequestInvalid: something listens.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise RequestInvalid(
                wanted=f"port {port} of the loopback",
                found=str(error),
                fix=f"end what uses it, or give another one as {option}",
            ) from error
        return int(probe.getsockname()[1])


def password(file: Path) -> str:
    """Return the password in `file`, which only its owner can read; it is made where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return file.read_text("utf-8").strip()
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(made := secrets.token_urlsafe(24))
    return made


def own_server(data: Path, port: int, database: str | None = None) -> Server:
    """Return a Prefect server on the loopback with a password and with all it keeps below `data`.

    Args:
        data: the farm's folder.
        port: of the server.
        database: URL of its database; None: SQLite below `data`.
    """
    secret = data / "prefect-password"
    credentials = f"enginefarm:{password(secret)}"
    base = f"http://{_HOST}:{port}"
    clients = {
        **_PREFECT,
        "PREFECT_HOME": str(data / "prefect"),
        "PREFECT_API_URL": f"{base}/api",
        "PREFECT_API_AUTH_STRING": credentials,
        "NO_PROXY": f"{_HOST},localhost",
    }
    environment = {
        **clients,
        "PREFECT_SERVER_API_AUTH_STRING": credentials,
        "PREFECT_SERVER_UI_API_URL": f"{base}/api",
        # Workaround (Prefect 3.8.8): in the newer pages, browsers contact a third party even with analytics
        # off. Remove when they no longer do.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        **({"PREFECT_API_DATABASE_CONNECTION_URL": database} if database else {}),
    }
    program = (sys.executable, "-P", "-m", "flows.local.prefect_server")
    part = Part(
        name="server",
        command=(*program, "--host", _HOST, "--port", str(port)),
        environment=environment,
        ready=lambda: answers(f"{base}/api/health"),
    )
    return Server(api=f"{base}/api", environment=clients, part=part, secret=secret)


def given_server() -> Server | None:
    """Return the server that the environment names; None where it names none."""
    api = os.environ.get("PREFECT_API_URL")
    return Server(api=api, environment=_PREFECT) if api else None


def own_storage(port: int) -> Storage:
    """Return S3 and SQS on the loopback, in memory: all they hold goes when the process ends."""
    endpoint = f"http://{_HOST}:{port}"
    part = Part(
        name="s3",
        command=(sys.executable, "-P", "-m", "moto.server", "-H", _HOST, "-p", str(port)),
        ready=lambda: answers(f"{endpoint}/moto-api/"),
        after=lambda: make_bucket(endpoint),
    )
    return Storage(
        store=f"s3://{BUCKET}",
        releases=(RELEASES,),
        queue=queue_url(endpoint),
        environment=environment_for(endpoint),
        part=part,
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
    return (*(part for part in (storage.part, server.part) if part), *commands)


def _enginefarm(*arguments: str) -> tuple[str, ...]:
    return sys.executable, "-P", "-m", "flows.cli.main", *arguments
