"""`enginefarm doctor`: checks what this machine can build, what is missing, and how to fix it."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated

import typer

from agents.hardware.interpreters import interpreters_at
from agents.hardware.probe import HostProbe, probe_host
from flows.cli.findings import Finding, Level
from flows.cli.options import Json, Toolchains
from flows.cli.output import console, describe, print_json, say
from flows.settings import settings
from tasks.children.run import ChildProgram, Confinement
from tasks.children.sandbox import protection
from tasks.domain.errors import FarmError
from tasks.domain.gpu_models import gpu_slug
from tasks.domain.gpu_table import device_slug
from tasks.store.store import Store
from tasks.tensorrt.toolchain import ToolchainProbe

_SECONDS = 5
_WANTS_LOGIN = (401, 403)


def doctor(
    *,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Engine store to check. Default: $ENGINEFARM_STORE.")
    ] = None,
    toolchain: Toolchains = None,
    as_json: Json = False,
) -> None:
    """Check this machine: what it can build, what is missing, and how to fix it.

    The exit code is 1 if something is broken.
    """
    findings = list(_examine(store or settings().store, tuple(toolchain or ())))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show_findings(findings)
    if any(finding.level is Level.BROKEN for finding in findings):
        raise typer.Exit(1)


def _examine(store: str | None, toolchains: tuple[str, ...]) -> Iterator[Finding]:
    yield _python()
    yield asyncio.run(_tensorflow())
    yield _sandbox()
    yield from asyncio.run(_toolchains(interpreters_at((*settings().interpreters, *toolchains))))
    yield _s3(store)
    yield (server := _prefect())
    if server.level is Level.FINE:
        # Prefect reads its settings when it is imported.
        from flows.cli.schedules import check_schedules  # noqa: PLC0415

        yield asyncio.run(check_schedules())


def _python() -> Finding:
    return Finding(
        subject="Python", level=Level.FINE, text=f"{sys.version.split()[0]}, {os.cpu_count()} cores"
    )


async def _tensorflow() -> Finding:
    """Load TensorFlow: it may be installed and still not run on this processor."""
    program = ChildProgram(module="tasks.tensorflow.version_child", step="TensorFlow")
    try:
        with settings().workspace() as work:
            answer = await work.run(program, {})
    except FarmError as error:
        return Finding(subject="TensorFlow", level=Level.BROKEN, text=error.found, fix=error.fix)
    text = ", ".join(f"{name} {number}" for name, number in answer.result.items())
    return Finding(subject="TensorFlow", level=Level.FINE, text=f"{text}, loaded in {answer.seconds:.0f} s")


def _sandbox() -> Finding:
    """Check what the sandbox denies a process that loads an untrusted model."""
    holds = protection()
    return Finding(
        subject="Sandbox",
        level=Level.ABSENT if holds.allowed else Level.FINE,
        text=holds.text,
        fix=f"this host lacks {'; '.join(holds.missing)}" if holds.missing else "",
    )


async def _toolchains(interpreters: tuple[str, ...]) -> list[Finding]:
    with settings().workspace() as work:
        host = await probe_host(interpreters, work=work)
    findings = [
        Finding(
            subject=f"Toolchain {probe.toolchain.flavour}",
            level=Level.FINE if probe.targets() else Level.ABSENT,
            text=f"{probe.version} in Python {probe.info.python} can build for "
            + (", ".join(device_slug(target) for target in probe.targets()) or "nothing here")
            + _on_gpu(probe),
            fix=_toolchain_fix(probe),
        )
        for probe in host.toolchains
    ]
    findings += [
        Finding(
            subject="Toolchain",
            level=Level.BROKEN,
            text=f"{broken.interpreter}: {broken.error.found}",
            fix=broken.error.fix,
        )
        for broken in host.broken
    ]
    return [*findings, _gpus(host)]


def _on_gpu(probe: ToolchainProbe) -> str:
    """Return what the sandbox denies to the processes that use a GPU."""
    if not probe.gpus:
        return ""
    closed = probe.toolchain.on_gpu is Confinement.DEVICE
    return "; its GPU processes are closed off" + ("" if closed else " from the internet only")


def _toolchain_fix(probe: ToolchainProbe) -> str:
    if not probe.targets():
        return "run on a host with an NVIDIA GPU and its driver"
    if probe.gpus and not probe.runs:
        return f"to verify engines: {probe.toolchain.interpreter} -m pip install pycuda"
    return ""


def _gpus(host: HostProbe) -> Finding:
    gpus = {gpu.uuid: gpu for probe in host.toolchains for gpu in probe.gpus}
    if not gpus:
        return Finding(
            subject="GPU",
            level=Level.ABSENT,
            text="none: TensorRT-RTX engines can be built here, but not run",
            fix="for TensorRT itself, run on a host with an NVIDIA GPU and its driver",
        )
    text = ", ".join(
        f"{gpu.name} ({gpu_slug(gpu.name)}, {gpu.compute}, {gpu.memory_mib} MiB, {gpu.uuid})"
        for gpu in gpus.values()
    )
    return Finding(subject="GPU", level=Level.FINE, text=text)


def _s3(store: str | None) -> Finding:
    if store is None:
        return Finding(
            subject="S3", level=Level.ABSENT, text="no store is named", fix="give --store s3://BUCKET"
        )
    try:
        Store.connect(store).check_conditional_writes()
    except FarmError as error:
        return Finding(subject="S3", level=Level.BROKEN, text=f"{store}: {error.found}", fix=error.fix)
    return Finding(subject="S3", level=Level.FINE, text=f"{store}: writable, conditional writes work")


def _prefect() -> Finding:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Finding(
            subject="Prefect API",
            level=Level.ABSENT,
            text=f"Prefect {version('prefect')}, no PREFECT_API_URL: commands start a temporary server",
            fix="to share runs, start a farm (`enginefarm up`, or agents/README.md) and set PREFECT_API_URL",
        )
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=_SECONDS):  # noqa: S310 (the user's own URL)
            return Finding(subject="Prefect API", level=Level.FINE, text=f"{url} answers")
    except urllib.error.HTTPError as error:
        error.close()
        return Finding(
            subject="Prefect API",
            level=Level.FINE if error.code in _WANTS_LOGIN else Level.BROKEN,
            text=f"{url} answers with status {error.code}",
            fix="set PREFECT_API_AUTH_STRING or PREFECT_API_KEY, if commands are refused",
        )
    except (OSError, ValueError) as error:
        return Finding(
            subject="Prefect API",
            level=Level.BROKEN,
            text=f"{url}: {error}",
            fix="start the server, or correct PREFECT_API_URL",
        )


_COLOURS = {Level.FINE: "green", Level.ABSENT: "yellow", Level.BROKEN: "red"}


def _show_findings(findings: list[Finding]) -> None:
    say("This machine", style="italic")
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        fix = f"To fix: {finding.fix}" if finding.fix else ""
        # In a file, each finding is one line.
        text = f"\n{fix}" if console.file.isatty() else f". {fix}"
        label = f"{finding.level:6}  {finding.subject:{width}}  "
        describe(label, f"{finding.text}{text if fix else ''}", style=_COLOURS[finding.level])
