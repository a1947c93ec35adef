"""`enginefarm resolve`: which engine a host gets, or why none."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.addresses import store_at
from flows.cli.options import AllowHostCode, Json, StoreUrl, Version
from flows.cli.output import print_json, say
from tasks.domain.errors import RequestInvalid
from tasks.domain.host import Host
from tasks.domain.host_options import named_gpu, named_tensorrt, named_wanted
from tasks.domain.resolution import Choice
from tasks.domain.resolution_rules import RULES
from tasks.domain.triton_releases import triton_release
from tasks.store.resolving import resolve_stored

Name = Annotated[
    str, typer.Argument(metavar="MODEL[@CHANNEL]", help="The model. Default channel: production.")
]


def resolve(  # noqa: PLR0913 (each is an option)
    name: Name,
    *,
    gpu: Annotated[
        str, typer.Option("--gpu", metavar="GPU", help="The host's GPU, such as l4 or 'NVIDIA L4'.")
    ],
    tensorrt: Annotated[
        str | None,
        typer.Option(
            "--tensorrt", metavar="VERSION", help="Its TensorRT, all four parts; 1.x is TensorRT-RTX."
        ),
    ] = None,
    triton: Annotated[
        str | None,
        typer.Option("--triton", metavar="IMAGE", help="Its image of Triton instead, such as 26.07-trtllm."),
    ] = None,
    version: Version = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", help="Precisions that will do, the best first. May be repeated."),
    ] = None,
    compute: Annotated[
        str | None, typer.Option("--compute", help="Compute capability of a GPU that is not known by name.")
    ] = None,
    driver: Annotated[str | None, typer.Option("--driver", help="Version of its NVIDIA driver.")] = None,
    cuda: Annotated[str | None, typer.Option("--cuda", help="CUDA that its TensorRT was built for.")] = None,
    lean: Annotated[
        list[str] | None,
        typer.Option("--lean-runtime", metavar="VERSION", help="A lean runtime at hand. May be repeated."),
    ] = None,
    system: Annotated[str, typer.Option("--os", help="Operating system.")] = "linux",
    architecture: Annotated[str, typer.Option("--architecture", help="Processor architecture.")] = "x86_64",
    allow_host_code: AllowHostCode = False,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Say which engine a host gets, or for each engine why it does not run there."""
    wanted = named_wanted(name, version, precision or ())
    row, image = named_gpu(gpu, compute), None if triton is None else triton_release(triton)
    if (tensorrt is None) == (image is None):
        raise RequestInvalid(
            wanted="the host's TensorRT",
            found="not exactly one of --tensorrt and --triton",
            fix="give one of both",
        )
    flavour, number = named_tensorrt(tensorrt or str(image and image.tensorrt))
    host = Host(
        gpu=row.name,
        compute=row.compute,
        flavour=flavour,
        version=number,
        os=system,
        architecture=architecture,
        driver=driver,
        cuda=cuda or (image.cuda if image else None),
        host_code=allow_host_code,
        lean_runtimes=frozenset(named_tensorrt(text)[1] for text in lean or ()),
        triton=image.name if image else None,
    )
    resolved = resolve_stored(store_at(store), host, wanted)
    if as_json and resolved.resolution.choice is not None:
        print_json(resolved.to_document())
        return
    if as_json:
        print_json({**resolved.to_document(), "error": resolved.resolution.refusal().to_document()})
    _show(resolved.resolution.chosen())


def _show(choice: Choice) -> None:
    engine = choice.candidate
    say(f"{engine.key}: {engine.precision}, {engine.verdict}, {engine.plan.size} bytes")
    for rule in choice.rules:
        say(f"  {rule}: {RULES[rule].words} ({RULES[rule].source})")
    if choice.marks:
        say(f"  Marks: {', '.join(choice.marks)}")
    if choice.cost is not None:
        cost = choice.cost
        say(f"  Takes {cost.slower} times as long as {cost.than}, measured on {cost.where}")
