"""`enginefarm agent`: what runs on the hosts of a farm."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents.hardware.interpreters import interpreters_at
from agents.hardware.probe import HostProbe, probe_host
from agents.host.seats import Place, Seat, cpu_places, gpu_places, seat_at
from flows.cli.agent_options import HealthPort, Heartbeat
from flows.cli.agent_s3 import s3
from flows.cli.display import console
from flows.cli.withdraw import withdraw
from flows.server.environment import agent_environment, prepare_prefect
from flows.settings import settings
from tasks.domain.errors import RequestInvalid
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import CPU_POOL
from tasks.domain.printable import printable
from tasks.store.store import Store

if TYPE_CHECKING:
    from agents.health import Health
    from agents.host.host import Host

app = typer.Typer(no_args_is_help=True, help="What runs on the hosts of a farm.")
app.command()(s3)
app.command()(withdraw)

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
    joining = _join(name)
    probe = _look(toolchain)
    _serve(joining, probe, gpu_places(probe, gpu or ()), drain_seconds, (heartbeat, health_port))


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
    joining = _join(name)
    probe = _look(toolchain)
    places = cpu_places(probe, releases=releases, builds=settings().parallel_builds)
    _serve(joining, probe, places, drain_seconds, (heartbeat, health_port))


@dataclass(frozen=True, kw_only=True)
class _Joining:
    """Which farm an agent joins, and as whom; `environment` is that of its workers."""

    name: str
    store: Store
    api: str
    environment: dict[str, str]


def _join(name: str | None) -> _Joining:
    """Return what an agent needs to join a farm, before anything takes long."""
    name, store, environment = _checked_name(name), _store(), agent_environment()
    prepare_prefect()
    # Prefect takes seconds to import, and reads its settings then.
    from flows.server.client import farm_api  # noqa: PLC0415

    return _Joining(name=name, store=store, api=farm_api(), environment=environment)


def _look(toolchains: list[str] | None) -> HostProbe:
    interpreters = interpreters_at((*settings().interpreters, *(toolchains or ())))
    with settings().workspace() as work:
        return asyncio.run(probe_host(interpreters, work=work))


def _serve(
    joining: _Joining,
    probe: HostProbe,
    places: tuple[Place, ...],
    drain_seconds: float,
    health: tuple[Path | None, int | None],
) -> None:
    from agents.health import Health  # noqa: PLC0415
    from agents.host.host import Host, only_agent  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.deployments import register  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    host = Host(
        name=joining.name,
        store=joining.store,
        connect=farm_client,
        register=lambda client, seat: register(client, seat.pool, seat.tags),
        found=_found(probe, places, joining.name),
        workspace=settings().workspace,
    )
    _show(joining, probe, host.found)
    with only_agent(host.name, places):
        shown = Health(file=health[0], port=health[1])
        status = asyncio.run(_run(host, joining.environment, drain_seconds, shown))
    if status:
        raise typer.Exit(status)


async def _run(host: Host, environment: dict[str, str], drain_seconds: float, health: Health) -> int:
    from agents.host.supervisor import Supervisor  # noqa: PLC0415
    from agents.server.janitor import keep_house  # noqa: PLC0415
    from flows.server.deployments import ENTRYPOINTS  # noqa: PLC0415

    keeps_house = any(seat.pool == CPU_POOL for seat in host.found.values())
    supervisor = Supervisor(
        host=host, flows=ENTRYPOINTS, environment=environment, drain_seconds=drain_seconds, health=health,
        beside=[partial(keep_house, host.on_server)] if keeps_house else [],
    )  # fmt: skip
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


def _show(joining: _Joining, probe: HostProbe, found: Mapping[Place, Seat]) -> None:
    lines = [f"{joining.name} joins {joining.api} and {joining.store.url}", *map(_line, found.values())]
    lines += [f"left out: {one.interpreter}: {one.error}" for one in probe.broken]
    for line in lines:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _line(seat: Seat) -> str:
    place = seat.place
    line = f"{place.label}: {place.limit} at a time from {seat.pool}"
    if seat.offer is None or place.toolchain is None:
        return f"{line}: conversions and releases"
    offer = seat.offer
    devices = ", ".join(map(device_slug, offer.targets()))
    gpus = ", ".join(f"{name} ({compute})" for name, compute in offer.gpus) or "no GPU"
    gpu = f" {place.gpu_uuid}" if place.gpu_uuid else ""
    return (
        f"{line}: builds for {devices} with {offer.flavour} {offer.version} "
        f"of {place.toolchain.interpreter}, on {gpus}{gpu}"
    )
