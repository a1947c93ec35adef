"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.domain.request import Precision

Release = Annotated[
    str, typer.Argument(metavar="RELEASE", help="The release: s3://BUCKET/PREFIX/MODEL/VERSION.")
]
Precisions = Annotated[
    list[Precision] | None,
    typer.Option("--precision", help="Build only this precision. May be repeated."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="DEVICE",
        help="Build only for this device, such as l4 or rtx-sm89. May be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Also show debug logs, with tracebacks of enginefarm's own errors.")
]
WIDE_HINT = "--wide shows everything"
Wide = Annotated[
    bool,
    typer.Option("--wide", help="Print all columns, with complete keys, however narrow the terminal is."),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Engine store: s3://BUCKET or s3://BUCKET/PREFIX. Default: $ENGINEFARM_STORE.",
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="Only this model.")]
Version = Annotated[str | None, typer.Option("--version", help="Only this version of the model.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
AllowHostCode = Annotated[
    bool,
    typer.Option(
        "--allow-host-code",
        help="Let a version-compatible plan run the native code that it contains. Only if you trust "
        "everybody who can write to the store.",
    ),
]
Toolchains = Annotated[
    list[str] | None,
    typer.Option(
        "--toolchain",
        metavar="PATH",
        help="A toolchain in addition to those in $ENGINEFARM_TOOLCHAINS: an interpreter, an "
        "environment, or a folder of environments. May be repeated.",
    ),
]
