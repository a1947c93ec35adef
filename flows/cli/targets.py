"""`enginefarm targets`: what requests may name under `targets`, and who builds it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from agents.hardware.probe import HostProbe, probe_host
from flows.cli.options import Json, Wide
from flows.cli.output import print_json, say, show
from flows.cli.tables import Column, FittedTable
from flows.settings import settings
from tasks.domain.devices import (
    alternatives,
    capabilities_of,
    likely_devices,
    possible_precisions,
    similar_devices,
    table_devices,
    without_gpu,
)
from tasks.domain.errors import RequestInvalid
from tasks.domain.gpu_models import gpu_slug
from tasks.domain.gpu_table import RTX_PORTABLE, device_slug, gpu_table, unsupported_precision
from tasks.domain.offer import Announcement, Offer
from tasks.domain.request import Precision
from tasks.domain.target import EngineTarget, Flavour
from tasks.store.store import Store

_COLUMNS = (
    Column(name="target"),
    Column(name="GPU", shrinks=True),
    Column(name="compute", rank=1),
    Column(name="precisions", rank=1),
    Column(name="this host", rank=2),
    Column(name="agents", rank=2, shrinks=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """One target.

    Attributes:
        target: as requests write it.
        gpu: the GPU as the driver reports it; for TensorRT-RTX empty.
        compute: its compute capabilities.
        precisions: those that a TensorRT version has for it.
        host: the TensorRT versions of this host that build for it.
        agents: the work pools of agents that build for it.
    """

    target: str
    gpu: str
    compute: tuple[str, ...]
    precisions: tuple[str, ...]
    host: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


def targets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="GPU", help="A GPU or compute capability as you call it: h100, rtx4090, 8.9."),
    ] = None,
    *,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Engine store in which agents announce themselves. Default: $ENGINEFARM_STORE.",
        ),
    ] = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List what build.yaml may name under `targets`, and what this host and the agents build.

    With a GPU as you call it: which target it is.
    """
    with settings().workspace() as work:
        host = asyncio.run(probe_host(settings().interpreters, work=work))
    url = store or settings().store
    announced = [] if url is None else list(Store.connect(url).records(Announcement))
    rows = _rows(host, announced)
    likely = tuple(rows) if name is None else _named(name, rows)
    shown = {*likely, *map(without_gpu, likely)}
    chosen = [row for device, row in rows.items() if device in shown]
    if as_json:
        print_json([asdict(row) for row in chosen])
        return
    show(FittedTable(title="Targets", columns=_COLUMNS, rows=list(map(_cells, chosen)), wide=wide))
    _explain(name, likely, host)


def _explain(name: str | None, likely: Iterable[str], host: HostProbe) -> None:
    if name is not None:
        say(f"For {name} write {alternatives(likely)}.")
        return
    gpus = {gpu.name for probe in host.toolchains for gpu in probe.gpus}
    for gpu in sorted(gpus):
        say(f"This host has {gpu}: {gpu_slug(gpu)}.")
    say("rtx-… are plans of TensorRT-RTX, built without a GPU; rtx-sm86-sm89 is one plan for both.")


def _named(name: str, rows: Mapping[str, TargetRow]) -> tuple[str, ...]:
    """Return the targets that `name` means.

    Raises:
        RequestInvalid: none.
    """
    likely = likely_devices(name, rows) or ((name,) if capabilities_of(name) else ())
    if not likely:
        near = similar_devices(name, rows)
        raise RequestInvalid(
            wanted=f"a target for {name}",
            found="no GPU of that name in the table, on this host or at an agent",
            fix=(f"did you mean {' or '.join(near)}? " if near else "")
            + "`enginefarm targets` lists all. A GPU that is not listed is named after its driver's name, as "
            "`enginefarm doctor` shows it on its host",
        )
    return likely


def _rows(host: HostProbe, announced: Iterable[Announcement]) -> dict[str, TargetRow]:
    """Return a row for each device of the table, and for each further one that is offered, by device."""
    here = {target: str(target.version) for probe in host.toolchains for target in _targets(probe.offer)}
    agents = {target: each.pool for each in announced for target in _targets(each.offer)}
    offered: dict[str, list[EngineTarget]] = {device: [] for device in table_devices()}
    for target in dict.fromkeys((*here, *agents)):
        portable = target.compute_capabilities == gpu_table().portable
        offered.setdefault(RTX_PORTABLE if portable else device_slug(target), []).append(target)
    return {
        device: _row(
            device,
            targets,
            host=(here[target] for target in targets if target in here),
            agents=(agents[target] for target in targets if target in agents),
        )
        for device, targets in offered.items()
    }


def _targets(offer: Offer) -> tuple[EngineTarget, ...]:
    if offer.flavour is not Flavour.RTX:
        return offer.targets()
    return (*offer.targets(), offer.target(None, *gpu_table().portable))


def _row(
    device: str, targets: Sequence[EngineTarget], *, host: Iterable[str], agents: Iterable[str]
) -> TargetRow:
    listed = {gpu.slug: gpu.name for gpu in gpu_table().gpus.values()}
    seen = next((target.gpu for target in targets if target.gpu is not None), "")
    capabilities = targets[0].compute_capabilities if targets else capabilities_of(device)
    possible = {p for target in targets for p in Precision if unsupported_precision(target, p) is None}
    return TargetRow(
        target=device,
        gpu=seen or listed.get(device, ""),
        compute=tuple(map(str, capabilities)),
        precisions=tuple(p for p in Precision if p in (possible or possible_precisions(capabilities))),
        host=tuple(dict.fromkeys(host)),
        agents=tuple(dict.fromkeys(agents)),
    )


def _cells(row: TargetRow) -> tuple[str, ...]:
    lists = (row.compute, row.precisions, row.host, row.agents)
    return (row.target, row.gpu, *(" ".join(values) for values in lists))
