"""Options that describe the host which needs an engine."""

from __future__ import annotations

from typing import Annotated

import typer

GpuName = Annotated[
    str, typer.Option("--gpu", metavar="GPU", help="The host's GPU, such as l4 or 'NVIDIA L4'.")
]
TensorRT = Annotated[
    str | None,
    typer.Option("--tensorrt", metavar="VERSION", help="Its TensorRT, all four parts; 1.x is TensorRT-RTX."),
]
Triton = Annotated[
    str | None,
    typer.Option("--triton", metavar="IMAGE", help="Its image of Triton instead, such as 26.07-trtllm."),
]
WantedPrecisions = Annotated[
    list[str] | None,
    typer.Option("--precision", help="Precisions that will do, the best first. May be repeated."),
]
Compute = Annotated[
    str | None, typer.Option("--compute", help="Compute capability of a GPU that is not known by name.")
]
Driver = Annotated[str | None, typer.Option("--driver", help="Version of its NVIDIA driver.")]
Cuda = Annotated[str | None, typer.Option("--cuda", help="CUDA that its TensorRT was built for.")]
LeanRuntimes = Annotated[
    list[str] | None,
    typer.Option("--lean-runtime", metavar="VERSION", help="A lean runtime at hand. May be repeated."),
]
System = Annotated[str, typer.Option("--os", help="Operating system.")]
Architecture = Annotated[str, typer.Option("--architecture", help="Processor architecture.")]
