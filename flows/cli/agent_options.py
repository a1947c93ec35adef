"""Options that all agents have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Heartbeat = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Rewrite this file every few seconds while the agent is healthy."),
]
HealthPort = Annotated[
    int | None,
    typer.Option(metavar="PORT", min=1, max=65535, help="Answer /healthz on this port of the loopback."),
]
Name = Annotated[
    str | None, typer.Option(help="Name of this host, unique in the farm. Default: its host name.")
]
DrainSeconds = Annotated[
    float,
    typer.Option(
        min=0, help="How long running builds may take after SIGTERM, before they go to other agents."
    ),
]
