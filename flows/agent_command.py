"""`enginefarm agent`: what runs on the hosts of a farm."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from agents.interpreters import interpreters_at
from agents.probe import HostProbe, probe_host
from agents.seats import Place, Seat, cpu_places, gpu_places, seat_at
from flows.display import console
from flows.prefect_environment import agent_environment, prepare_farm
from flows.s3_command import s3
from flows.settings import settings
from tasks.children.workspace import workspace
from tasks.domain.errors import RequestInvalid
from tasks.domain.gpu_table import device_slug
from tasks.domain.printable import printable
from tasks.store.store import Store

if TYPE_CHECKING:
    from agents.health import Health
    from agents.host import Host

app = typer.Typer(no_args_is_help=True, help="What runs on the hosts of a farm.")
app.command()(s3)

_INTERRUPTED = 130
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

Toolchains = Annotated[
    list[str] | None,
    typer.Option(
        help="A toolchain beside those of ENGINEFARM_TOOLCHAINS: an interpreter, environment or folder of "
        "environments; may be given several times."
    ),
]
Name = Annotated[
    str | None, typer.Option(help="What this host is called; no other may be. Default: its host name.")
]
DrainSeconds = Annotated[
    float,
    typer.Option(min=0, help="How long runs may take once the agent is told to end; then others get them."),
]
Heartbeat = Annotated[
    Path | None, typer.Option(help="A file that is rewritten every few seconds while the agent is well.")
]
HealthPort = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Answer /healthz on this port of the loopback.")
]


@app.command()
def gpu(  # noqa: PLR0913 (options of a command)
    *,
    gpu: Annotated[
        list[int] | None, typer.Option(min=0, help="Only this GPU, by its index; may be given several times.")
    ] = None,
    toolchain: Toolchains = None,
    name: Name = None,
    drain_seconds: DrainSeconds = 600,
    heartbeat: Heartbeat = None,
    health_port: HealthPort = None,
) -> None:
    """Build engines for this host's GPUs, with each TensorRT that it has, until told to end."""
    probe = _look(toolchain)
    places = gpu_places(probe, gpu or ())
    _serve(probe, places, name, drain_seconds, (heartbeat, health_port))


@app.command()
def cpu(  # noqa: PLR0913 (options of a command)
    *,
    toolchain: Toolchains = None,
    releases: Annotated[int, typer.Option(min=1, help="Releases at a time.")] = 4,
    name: Name = None,
    drain_seconds: DrainSeconds = 600,
    heartbeat: Heartbeat = None,
    health_port: HealthPort = None,
) -> None:
    """Convert models, hand their builds out, and build for TensorRT-RTX, until told to end."""
    probe = _look(toolchain)
    places = cpu_places(probe, releases=releases, builds=settings().parallel_builds)
    _serve(probe, places, name, drain_seconds, (heartbeat, health_port))


def _look(toolchains: list[str] | None) -> HostProbe:
    interpreters = interpreters_at((*settings().interpreters, *(toolchains or ())))
    with workspace(settings().work_dir) as work:
        return asyncio.run(probe_host(interpreters, workdir=work, limits=settings().limits))


def _serve(
    probe: HostProbe,
    places: tuple[Place, ...],
    name: str | None,
    drain_seconds: float,
    health: tuple[Path | None, int | None],
) -> None:
    found = _found(probe, places, _checked_name(name))
    store = _store()
    environment = agent_environment()
    prepare_farm()
    # Prefect takes seconds to import, and reads its settings then.
    from agents.health import Health  # noqa: PLC0415
    from agents.host import Host, only_agent  # noqa: PLC0415
    from flows.deployments import register  # noqa: PLC0415
    from flows.farm_server import farm_api, farm_client  # noqa: PLC0415

    api = farm_api()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    host = Host(
        name=_checked_name(name),
        store=store,
        connect=farm_client,
        register=lambda client, seat: register(client, seat.pool, seat.tags),
        found=found,
        work_dir=settings().work_dir,
        limits=settings().limits,
    )
    _show(probe, found, f"{store.url} and {api}")
    with only_agent(host.name, places):
        status = asyncio.run(_run(host, environment, drain_seconds, Health(file=health[0], port=health[1])))
    if status:
        raise typer.Exit(status)


async def _run(host: Host, environment: dict[str, str], drain_seconds: float, health: Health) -> int:
    from agents.supervisor import Supervisor  # noqa: PLC0415
    from flows.deployments import ENTRYPOINTS  # noqa: PLC0415

    supervisor = Supervisor(
        host=host, flows=ENTRYPOINTS, environment=environment, drain_seconds=drain_seconds, health=health
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.tell)
    return 0 if await supervisor.run() else _INTERRUPTED


def _found(probe: HostProbe, places: tuple[Place, ...], host: str) -> dict[Place, Seat]:
    probes = {one.toolchain: one for one in probe.toolchains}
    found = {}
    for place in places:
        seat = seat_at(place, None if place.toolchain is None else probes[place.toolchain], host=host)
        if seat is not None:
            found[place] = seat
    return found


def _checked_name(name: str | None) -> str:
    name = name or socket.gethostname()
    if _NAME.fullmatch(name) is None:
        raise RequestInvalid(
            wanted="a name for this host of letters, digits, '.', '_' and '-', at most 63",
            found=repr(name),
            fix="give another --name",
        )
    return name


def _store() -> Store:
    url = settings().store
    if url is None:
        raise RequestInvalid(
            wanted="the farm's store, where agents say what they build",
            found="ENGINEFARM_STORE is not set",
            fix="set it to s3://BUCKET or s3://BUCKET/PREFIX, the same on every host of the farm",
        )
    return Store.connect(url)


def _show(probe: HostProbe, found: dict[Place, Seat], joins: str) -> None:
    table = Table(title="This agent", title_justify="left")
    for name in ("worker", "takes runs from", "at a time", "builds for", "with"):
        table.add_column(name, overflow="fold")
    for place, seat in found.items():
        devices = "" if seat.offer is None else ", ".join(map(device_slug, seat.offer.targets()))
        tool = "" if place.toolchain is None else place.toolchain.interpreter
        row = (seat.worker, seat.pool, str(place.limit), devices or "conversions, releases", tool)
        table.add_row(*(escape(printable(text)) for text in row))
    console.print(table)
    for one in probe.broken:
        console.print(printable(f"left out: {one.interpreter}: {one.error}"), highlight=False, markup=False)
    console.print(printable(f"joins {joins} as process {os.getpid()}"), highlight=False, markup=False)
