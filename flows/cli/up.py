"""`enginefarm up`: runs a whole farm on this machine."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from agents.hardware.probe import HostProbe, probe_host
from flows.addresses import place_at
from flows.cli.output import say
from flows.local.farm import (
    Server,
    Storage,
    environment_of,
    given_server,
    own_server,
    own_storage,
    parts_of,
)
from flows.local.processes import LocalFarm, Part, free_port
from flows.settings import settings
from tasks.domain.errors import RequestInvalid
from tasks.domain.target import Flavour

_ENVIRONMENT = "environment"
_IN_MEMORY = "in memory: its content is lost when this command ends; --store uses your own S3"


Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Where to keep databases and logs. Default: ~/.local/share/enginefarm."
    ),
]
Postgres = Annotated[
    bool,
    typer.Option("--postgres", help="Run PostgreSQL for the Prefect server, for teams. Default: SQLite."),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Engine store in your own S3. Default: an embedded S3 server, in memory."
    ),
]
Releases = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="With --store: build the releases uploaded below s3://BUCKET/PREFIX. May be repeated.",
    ),
]
Queue = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="With --releases: SQS queue with the bucket's notifications. Default: the bucket is listed.",
    ),
]


def up(  # noqa: PLR0913 (each is an option)
    *,
    data: Data = None,
    port: Annotated[int, typer.Option(help="Port of Prefect's UI and API.")] = 4200,
    postgres: Postgres = False,
    s3_port: Annotated[int, typer.Option(help="Port of the embedded S3 server.")] = 4566,
    store: StoreUrl = None,
    releases: Releases = None,
    queue: Queue = None,
) -> None:
    """Run a whole farm on this machine: Prefect server, S3, and agents for the CPU and any GPUs.

    If PREFECT_API_URL is set, the farm uses that server instead of starting one. Ctrl-C ends everything.
    """
    home = (data or Path.home() / ".local/share/enginefarm").absolute()
    storage = _given_or_own_storage(store or settings().store, tuple(releases or ()), queue, s3_port)
    server = _given_or_own_server(home, port, postgres=postgres)
    say("Looking for GPUs and toolchains")
    host = asyncio.run(_probe_host())
    gpu = any(target.flavour is Flavour.TENSORRT for target in host.targets())
    parts = parts_of(server, storage, gpu=gpu, heartbeats=_empty_folder(home / "heartbeats"))
    file = write_environment(home, server, storage)
    run_parts(parts, home / "logs", lambda: show_page(server, storage, host, file, home / "logs"))


def _given_or_own_server(home: Path, port: int, *, postgres: bool) -> Server:
    """Return the server that the environment names, or a new server that keeps its data in `home`.

    Raises:
        RequestInvalid: as `own_server`, or `--postgres` was given for a server that runs already.
    """
    server = given_server()
    if server is None:
        return own_server(home, free_port(port, "--port"), postgres=postgres)
    if postgres:
        raise RequestInvalid(
            wanted="to start a Prefect server with PostgreSQL (`--postgres`)",
            found=f"PREFECT_API_URL names {server.api}, which has a database already",
            fix="leave out --postgres, or unset PREFECT_API_URL",
        )
    return server


def _given_or_own_storage(
    store: str | None, releases: tuple[str, ...], queue: str | None, port: int
) -> Storage:
    """Return the embedded storage, or the user's own if a store is named.

    Raises:
        RequestInvalid: a queue was given without releases, or releases without a store.
    """
    if (queue and not releases) or (releases and not store):
        raise RequestInvalid(
            wanted="--releases with --store, and --queue with both",
            found="only some of them",
            fix="give --store and --releases to build new releases in your own S3 automatically",
        )
    for place in releases:
        place_at(place)
    if store is None:
        return own_storage(free_port(port, "--s3-port"))
    return Storage(store=store, releases=releases, queue=queue or "", environment={})


def _empty_folder(folder: Path) -> Path:
    """Make `folder`, without the files of an earlier farm."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder


async def _probe_host() -> HostProbe:
    with settings().workspace() as work:
        return await probe_host(settings().interpreters, work=work)


def run_parts(parts: tuple[Part, ...], logs: Path, started: Callable[[], None]) -> None:
    """Run `parts` until Ctrl-C or SIGTERM; a second one kills them.

    Raises:
        ChildFailed: a part did not start.
        Interrupted: a signal came before everything was started.
    """

    async def run() -> None:
        farm = LocalFarm(parts=parts, logs=logs, say=say)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, farm.stop)
        await farm.run(started)

    asyncio.run(run())


def write_environment(home: Path, server: Server, storage: Storage) -> Path:
    """Write the variables that a shell needs to use the farm to a file that only its owner can read."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / _ENVIRONMENT
    wanted = sorted(environment_of(server, storage).items())
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in wanted]
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.writelines(lines)
    return file


def show_page(server: Server, storage: Storage, host: HostProbe, file: Path, logs: Path) -> None:
    """Print where everything is."""
    rows = {"UI": server.page}
    if server.secret:
        rows["password"] = f"enginefarm:… with the content of {server.secret}"
    rows["API"] = server.api
    if server.kept_in:
        rows["database"] = server.kept_in
    rows["engine store"] = storage.store + (f", {_IN_MEMORY}" if storage.part else "")
    if storage.part:
        rows["S3"] = storage.environment["AWS_ENDPOINT_URL"]
    rows["new releases"] = ", ".join(storage.releases) or "not watched (see --releases)"
    rows["builds for"] = (
        ", ".join(_working_toolchains(host)) or "nothing: no toolchain works here (enginefarm doctor)"
    )
    rows["logs"] = str(logs)
    say("The farm is up", style="italic")
    for name, text in rows.items():
        say(f"  {name:17}{text}")
    place = storage.releases[0] if storage.releases else "s3://BUCKET/PREFIX"
    lines = (
        "In another shell:",
        f"  . {shlex.quote(str(file))}",
        f"  enginefarm publish FOLDER {place}/MODEL/VERSION",
        "Ctrl-C ends the farm.",
    )
    for line in lines:
        say(line)


def _working_toolchains(host: HostProbe) -> list[str]:
    """Return one line per TensorRT that works here."""
    return [
        f"{probe.toolchain.flavour} {probe.version}"
        + (f" on {', '.join(sorted({gpu.name for gpu in probe.gpus}))}" if probe.gpus else "")
        for probe in host.toolchains
    ]
