"""What keeps an engine from running on a host: field by field, with the command that mends it.

Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.domain.candidate import Candidate
from tasks.domain.gpu_table import rtx_slug
from tasks.domain.host import Host, Wanted
from tasks.domain.resolution_rules import (
    DRIVER_FLOORS,
    FIRST_COMPATIBLE,
    FIRST_LEAN_GPU,
    HARDWARE,
    PRECISION_FLOORS,
    VERSIONS,
    Device,
    HardwareRow,
    VersionRow,
)
from tasks.domain.target import Flavour, TensorRTVersion
from tasks.domain.text_enum import StrEnum


class Field(StrEnum):
    """What must fit, in the order in which it is looked at."""

    PRECISION = "precision"
    FLAVOUR = "flavour"
    PLATFORM = "platform"
    WEIGHTS = "weights"
    GPU = "gpu"
    TENSORRT = "tensorrt"
    LEAN_RUNTIME = "lean_runtime"
    HOST_CODE = "host_code"
    DRIVER = "driver"


FIELDS = tuple(Field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """A field of an engine that does not fit the host.

    Attributes:
        field: which.
        rule: id of the rule that says so; empty for what the consumer asked for.
        wanted: the host's value.
        actual: the engine's value.
        fix: what to do, with the command.
    """

    field: Field
    rule: str
    wanted: str
    actual: str
    fix: str


def hardware_row(host: Host, candidate: Candidate) -> HardwareRow | None:
    """Return the first row by which the plan runs on the host's GPU; None if no row says so."""
    return next((row for row in HARDWARE if _fits_device(row, host, candidate)), None)


def _fits_device(row: HardwareRow, host: Host, candidate: Candidate) -> bool:
    target = candidate.target
    if row.flavour is not target.flavour or row.level not in (None, candidate.read_back):
        return False
    if row.never.intersection((host.compute, *target.compute_capabilities)):
        return False
    if row.least is not None and min(host.compute, *target.compute_capabilities) < row.least:
        return False
    return {
        Device.MODEL: target.gpu == host.gpu and host.compute in target.compute_capabilities,
        Device.IN_SET: host.compute in target.compute_capabilities,
        Device.SAME_CAPABILITY: host.compute in target.compute_capabilities,
        Device.FROM_CAPABILITY: True,
    }[row.device]


def version_row(host: Host, candidate: Candidate) -> VersionRow | None:
    """Return the first row by which the plan loads in the host's TensorRT; None if no row says so.

    Which runtime then runs it is another question.
    """
    return next((row for row in VERSIONS if _fits_version(row, host, candidate)), None)


def _fits_version(row: VersionRow, host: Host, candidate: Candidate) -> bool:
    built, here = candidate.target.version, host.version
    if row.flavour is not candidate.target.flavour:
        return False
    if not row.later:
        return built == here
    if not candidate.version_compatible or not FIRST_COMPATIBLE <= built < here:
        return False
    if row.majors is None:
        return built.major == here.major
    return (built.major, here.major) in row.majors


def misfits(host: Host, wanted: Wanted, candidate: Candidate) -> tuple[Misfit, ...]:
    """Return every field of `candidate` that does not fit, in the order of `Field`; empty if it runs."""
    checks = (_precision(wanted, candidate), *_of_host(host, candidate))
    return tuple(misfit for misfit in checks if misfit is not None)


def _of_host(host: Host, candidate: Candidate) -> Iterator[Misfit | None]:
    yield _flavour(host, candidate)
    yield _platform(host, candidate)
    yield _weights(candidate)
    yield _gpu(host, candidate)
    yield _tensorrt(host, candidate)
    yield _lean_runtime(host, candidate)
    yield _host_code(host, candidate)
    yield _driver(host)


def _submit(candidate: Candidate, *options: str) -> str:
    return " ".join(("enginefarm submit", candidate.release, *options))


def build_command(host: Host, candidate: Candidate) -> str:
    """Return the command that asks the farm for an engine like `candidate` for the host's GPU."""
    device = host.device if host.flavour is Flavour.TENSORRT else rtx_slug((host.compute,))
    return _submit(candidate, "--target", device, "--precision", candidate.precision.value)


def _precision(wanted: Wanted, candidate: Candidate) -> Misfit | None:
    if candidate.precision in wanted.order:
        return None
    return Misfit(
        field=Field.PRECISION,
        rule="",
        wanted=" or ".join(wanted.order),
        actual=candidate.precision.value,
        fix=f"`{_submit(candidate, '--precision', wanted.order[0].value)}`, or take {candidate.precision}",
    )


def _flavour(host: Host, candidate: Candidate) -> Misfit | None:
    flavour = candidate.target.flavour
    if flavour is host.flavour:
        return None
    return Misfit(
        field=Field.FLAVOUR,
        rule="R16" if flavour is Flavour.RTX else "R1",
        wanted=host.flavour.value,
        actual=flavour.value,
        fix=f"`{build_command(host, candidate)}`, or run it with {flavour} {candidate.target.version}",
    )


def _platform(host: Host, candidate: Candidate) -> Misfit | None:
    target = candidate.target
    if (target.os, target.architecture) == (host.os, host.architecture):
        return None
    return Misfit(
        field=Field.PLATFORM,
        rule="R2",
        wanted=f"{host.os} {host.architecture}",
        actual=f"{target.os} {target.architecture}",
        fix=f"`{build_command(host, candidate)}` on a farm with an agent on {host.os} {host.architecture}",
    )


def _weights(candidate: Candidate) -> Misfit | None:
    if not candidate.stripped:
        return None
    return Misfit(
        field=Field.WEIGHTS,
        rule="",
        wanted="a plan with its weights",
        actual="a plan without weights",
        fix="refit it with the graph that its record names, or build the release without `stripped`",
    )


def _gpu(host: Host, candidate: Candidate) -> Misfit | None:
    target, floor = candidate.target, PRECISION_FLOORS.get(candidate.precision)
    lacking = floor is not None and host.compute < floor
    if not lacking and hardware_row(host, candidate) is not None:
        return None
    rtx = target.flavour is Flavour.RTX
    same = host.compute in target.compute_capabilities and not rtx
    return Misfit(
        field=Field.GPU,
        rule="" if lacking else "R17" if rtx else "R15" if same else "R1",
        wanted=f"{host.device} ({host.compute})",
        actual=f"{candidate.precision}, from {floor} on" if lacking else _built_for(candidate),
        fix="take another precision" if lacking else f"`{build_command(host, candidate)}`",
    )


def _built_for(candidate: Candidate) -> str:
    """Return on which GPUs the plan runs, for people."""
    capabilities = ", ".join(map(str, candidate.target.compute_capabilities))
    if candidate.target.flavour is Flavour.RTX:
        return f"any GPU of {capabilities}"
    level = "not read back" if candidate.read_back is None else candidate.read_back.value
    return f"{candidate.device} ({capabilities}), hardware compatibility {level}"


def _tensorrt(host: Host, candidate: Candidate) -> Misfit | None:
    built, here = candidate.target.version, host.version
    if candidate.target.flavour is not host.flavour or version_row(host, candidate) is not None:
        return None
    agents = f"on a farm with an agent of {here}: `enginefarm targets {host.device}` lists them"
    return Misfit(
        field=Field.TENSORRT,
        rule=_version_rule(host, candidate),
        wanted=str(here),
        actual=str(built),
        fix=f"`{build_command(host, candidate)}` {agents}; or run TensorRT {built}",
    )


def _version_rule(host: Host, candidate: Candidate) -> str:
    """Return the rule by which the versions do not fit."""
    built, here = candidate.target.version, host.version
    if candidate.target.flavour is Flavour.RTX:
        return "R16"
    if here < built:
        return "R5"
    if not candidate.version_compatible:
        return "R1"
    return "R6" if built < FIRST_COMPATIBLE else "R4"


def _needs_lean(host: Host, candidate: Candidate) -> bool:
    row = version_row(host, candidate)
    return row is not None and row.later


def _lean_runtime(host: Host, candidate: Candidate) -> Misfit | None:
    """Return what lacks to run a plan of another version: a GPU for the lean runtime, or the runtime."""
    built = candidate.target.version
    if not _needs_lean(host, candidate):
        return None
    if host.compute < FIRST_LEAN_GPU:
        return Misfit(
            field=Field.LEAN_RUNTIME,
            rule="R9",
            wanted=f"compute capability {host.compute}",
            actual=f"a plan of {built}, which the lean runtime runs from {FIRST_LEAN_GPU} on",
            fix=f"`{build_command(host, candidate)}`",
        )
    if candidate.lean_runtime or built in host.lean_runtimes:
        return None
    return Misfit(
        field=Field.LEAN_RUNTIME,
        rule="R7",
        wanted=f"lean runtime {built}, to run its plans in {host.version}",
        actual=_listed(host.lean_runtimes),
        fix=f"install NVIDIA's lean runtime {built} on the host, or `{build_command(host, candidate)}` on a "
        f"farm with an agent of {host.version}",
    )


def _host_code(host: Host, candidate: Candidate) -> Misfit | None:
    if not candidate.carries_code or host.host_code:
        return None
    return Misfit(
        field=Field.HOST_CODE,
        rule="R7",
        wanted="no native code in the plan",
        actual="a plan with a lean runtime inside, which is native code",
        fix="if you trust everybody who can write to the store, give --allow-host-code; `compatibility: "
        "{version: true, lean_runtime: false}` in build.yaml builds plans without code",
    )


def _driver(host: Host) -> Misfit | None:
    """Return why the host's own driver is too old for its own TensorRT; None if nothing says so."""
    major = _numbers(host.cuda)[:1]
    if not major or _driver_takes(host, major[0]):
        return None
    floor = ".".join(f"{part:02d}" for part in DRIVER_FLOORS.get(major[0], ()))
    return Misfit(
        field=Field.DRIVER,
        rule="R20",
        wanted=f"a driver for CUDA {host.cuda} of TensorRT {host.version}: {floor or 'see NVIDIA'} or later",
        actual=f"CUDA {host.driver_cuda}" if host.driver_cuda else f"driver {host.driver}",
        fix="update NVIDIA's driver, or install its forward compatibility package on a data centre GPU",
    )


def _driver_takes(host: Host, cuda: int) -> bool:
    if host.driver_cuda is not None:
        return _numbers(host.driver_cuda)[:1] >= (cuda,)
    driver = _numbers(host.driver)
    return not driver or driver >= DRIVER_FLOORS.get(cuda, ())


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text or "")))


def _listed(versions: frozenset[TensorRTVersion]) -> str:
    return ", ".join(map(str, sorted(versions))) or "none at hand"
