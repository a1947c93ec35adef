"""`enginefarm agent`: the agents on the hosts of a farm."""

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
from agents.host.slots import WorkerSlot, WorkerSpec, cpu_slots, gpu_slots, spec_at
from flows.addresses import store_at
from flows.cli.agent_options import DrainSeconds, HealthPort, Heartbeat, Name
from flows.cli.agent_s3 import s3
from flows.cli.options import StoreUrl, Toolchains
from flows.cli.output import say
from flows.server.environment import agent_environment, prepare_prefect
from flows.settings import settings
from tasks.domain.errors import RequestInvalid
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import CPU_POOL
from tasks.store import announcements
from tasks.store.store import Store

if TYPE_CHECKING:
    from agents.health import Health
    from agents.host.context import AgentContext

app = typer.Typer(no_args_is_help=True, help="Run the agents of a farm on its hosts.")

_INTERRUPTED = 130
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@app.command()
def gpu(  # noqa: PLR0913 (options of a command)
    *,
    gpu: Annotated[
        list[int] | None, typer.Option(metavar="INDEX", min=0, help="Use only this GPU. May be repeated.")
    ] = None,
    toolchain: Toolchains = None,
    name: Name = None,
    drain_seconds: DrainSeconds = 600,
    heartbeat: Heartbeat = None,
    health_port: HealthPort = None,
) -> None:
    """Build engines for this host's GPUs, with every TensorRT installed here."""
    joining = _join(name)
    probe = _probe_toolchains(toolchain)
    _serve(joining, probe, gpu_slots(probe, gpu or ()), drain_seconds, (heartbeat, health_port))


@app.command()
def cpu(  # noqa: PLR0913 (options of a command)
    *,
    toolchain: Toolchains = None,
    releases: Annotated[int, typer.Option(min=1, help="How many releases to work on at a time.")] = 4,
    name: Name = None,
    drain_seconds: DrainSeconds = 600,
    heartbeat: Heartbeat = None,
    health_port: HealthPort = None,
) -> None:
    """Convert models, distribute their builds, and build TensorRT-RTX engines."""
    joining = _join(name)
    probe = _probe_toolchains(toolchain)
    slots = cpu_slots(probe, releases=releases, builds=settings().parallel_builds)
    _serve(joining, probe, slots, drain_seconds, (heartbeat, health_port))


@dataclass(frozen=True, kw_only=True)
class _Joining:
    """The farm that an agent joins, and its name there; `environment` is that of its workers."""

    name: str
    store: Store
    api: str
    environment: dict[str, str]


def _join(name: str | None) -> _Joining:
    """Return what an agent needs to join a farm; checked before anything slow starts."""
    name, store, environment = _checked_name(name), _store(), agent_environment()
    prepare_prefect()
    # Importing Prefect takes seconds, and reads its settings.
    from flows.server.client import farm_api  # noqa: PLC0415

    return _Joining(name=name, store=store, api=farm_api(), environment=environment)


def _probe_toolchains(toolchains: list[str] | None) -> HostProbe:
    interpreters = interpreters_at((*settings().interpreters, *(toolchains or ())))
    with settings().workspace() as work:
        return asyncio.run(probe_host(interpreters, work=work))


def _serve(
    joining: _Joining,
    probe: HostProbe,
    slots: tuple[WorkerSlot, ...],
    drain_seconds: float,
    health: tuple[Path | None, int | None],
) -> None:
    from agents.health import Health  # noqa: PLC0415
    from agents.host.context import AgentContext, only_agent  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.deployments import register  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    host = AgentContext(
        name=joining.name,
        store=joining.store,
        connect=farm_client,
        register=lambda client, spec: register(client, spec.pool, spec.tags),
        first_specs=_first_specs(probe, slots, joining.name),
        workspace=settings().workspace,
    )
    _show_joining(joining, probe, host.first_specs)
    with only_agent(host.name, slots):
        shown = Health(file=health[0], port=health[1])
        status = asyncio.run(_run_agent(host, joining.environment, drain_seconds, shown))
    if status:
        raise typer.Exit(status)


async def _run_agent(
    host: AgentContext, environment: dict[str, str], drain_seconds: float, health: Health
) -> int:
    from agents.host.agent import Agent  # noqa: PLC0415
    from agents.server.janitor import run_janitor  # noqa: PLC0415
    from flows.server.deployments import ENTRYPOINTS  # noqa: PLC0415

    runs_janitor = any(spec.pool == CPU_POOL for spec in host.first_specs.values())
    agent = Agent(
        host=host, flows=ENTRYPOINTS, environment=environment, drain_seconds=drain_seconds, health=health,
        background=[partial(run_janitor, host.on_server)] if runs_janitor else [],
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.stop)
    return 0 if await agent.run() else _INTERRUPTED


def _first_specs(probe: HostProbe, slots: tuple[WorkerSlot, ...], host: str) -> dict[WorkerSlot, WorkerSpec]:
    probes = {toolchain.toolchain: toolchain for toolchain in probe.toolchains}
    specs = {}
    for slot in slots:
        spec = spec_at(slot, None if slot.toolchain is None else probes[slot.toolchain], host=host)
        if spec is not None:
            specs[slot] = spec
    return specs


def _checked_name(name: str | None) -> str:
    name = name or socket.gethostname()
    if _NAME.fullmatch(name) is None:
        raise RequestInvalid(
            wanted="a name for this host: at most 63 letters, digits, '.', '_' and '-'",
            found=repr(name),
            fix="give another --name",
        )
    return name


def _store() -> Store:
    url = settings().store
    if url is None:
        raise RequestInvalid(
            wanted="the farm's store, where agents announce what they build",
            found="ENGINEFARM_STORE is not set",
            fix="set it to s3://BUCKET or s3://BUCKET/PREFIX, with the same value on every host of the farm",
        )
    return Store.connect(url)


def _show_joining(joining: _Joining, probe: HostProbe, specs: Mapping[WorkerSlot, WorkerSpec]) -> None:
    lines = [f"{joining.name} joins {joining.api} and {joining.store.url}", *map(_describe, specs.values())]
    lines += [f"left out: {broken.interpreter}: {broken.error}" for broken in probe.broken]
    for line in lines:
        say(line)


def _describe(spec: WorkerSpec) -> str:
    slot = spec.slot
    line = f"{slot.label}: {slot.limit} at a time from {spec.pool}"
    if spec.offer is None or slot.toolchain is None:
        return f"{line}: conversions and releases"
    offer = spec.offer
    devices = ", ".join(map(device_slug, offer.targets()))
    gpus = ", ".join(f"{name} ({compute})" for name, compute in offer.gpus) or "no GPU"
    gpu = f" {slot.gpu_uuid}" if slot.gpu_uuid else ""
    return (
        f"{line}: builds for {devices} with {offer.flavour} {offer.version} "
        f"of {slot.toolchain.interpreter}, on {gpus}{gpu}"
    )


app.command()(s3)


@app.command()
def withdraw(
    pool: Annotated[str, typer.Argument(help="Work pool, as `enginefarm status` shows it.")],
    *,
    store: StoreUrl = None,
) -> None:
    """Stop sending builds to a pool whose hosts are gone for good.

    Stored engines do not change. Releases that wait for the pool give up within a minute. If an agent of
    the pool starts again, it announces the pool itself.
    """
    place = store_at(store)
    announcements.withdraw(place, pool)
    say(f"{pool} is no longer announced in {place.url}.")
