"""Options that all agents have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Heartbeat = Annotated[
    Path | None, typer.Option(help="A file that is rewritten every few seconds while the agent is well.")
]
HealthPort = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Answer /healthz on this port of the loopback.")
]
