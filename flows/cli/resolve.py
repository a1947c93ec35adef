"""`enginefarm resolve`: which engine a host gets, or why none."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.addresses import store_at
from flows.cli.host_options import (
    Architecture,
    Compute,
    Cuda,
    Driver,
    GpuName,
    LeanRuntimes,
    System,
    TensorRT,
    Triton,
    WantedPrecisions,
)
from flows.cli.options import AllowHostCode, Json, StoreUrl, Version
from flows.cli.output import print_json, say
from tasks.domain.host_options import described_host, named_wanted
from tasks.domain.resolution import Choice
from tasks.domain.resolution_rules import RULES
from tasks.store.resolving import Resolved, resolve_stored

Name = Annotated[
    str, typer.Argument(metavar="MODEL[@CHANNEL]", help="The model. Default channel: production.")
]


def resolve(  # noqa: PLR0913 (each is an option)
    name: Name,
    *,
    gpu: GpuName,
    tensorrt: TensorRT = None,
    triton: Triton = None,
    version: Version = None,
    precision: WantedPrecisions = None,
    compute: Compute = None,
    driver: Driver = None,
    cuda: Cuda = None,
    lean: LeanRuntimes = None,
    system: System = "linux",
    architecture: Architecture = "x86_64",
    allow_host_code: AllowHostCode = False,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Say which engine a host gets, or for each engine why it does not run there."""
    host = described_host(
        gpu, tensorrt=tensorrt, triton=triton, compute=compute, driver=driver, cuda=cuda, lean=lean or (),
        system=system, architecture=architecture, host_code=allow_host_code,
    )  # fmt: skip
    resolved = resolve_stored(store_at(store), host, named_wanted(name, version, precision or ()))
    if as_json:
        print_json(_document(resolved))
    choice = resolved.resolution.chosen()
    if not as_json:
        _show(choice)


def _document(resolved: Resolved) -> dict[str, object]:
    """Return it JSON-ready, with the error if no engine fits."""
    if resolved.resolution.choice is not None:
        return resolved.to_document()
    return {**resolved.to_document(), "error": resolved.resolution.refusal().to_document()}


def _show(choice: Choice) -> None:
    engine = choice.candidate
    say(f"{engine.key}: {engine.precision}, {engine.verdict}, {engine.plan.size} bytes")
    for rule in choice.rules:
        say(f"  {rule}: {RULES[rule].words} ({RULES[rule].source})")
    if choice.marks:
        say(f"  Marks: {', '.join(choice.marks)}")
    if choice.gain is not None:
        say(f"  Its FP16 sibling takes {choice.gain} times as long")
    if choice.cost is not None:
        cost = choice.cost
        say(f"  Takes {cost.slower} times as long as {cost.than}, measured on {cost.where}")
