"""`enginefarm publish`: a folder becomes a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.addresses import release_at
from flows.cli.display import console, progress_bars
from tasks.domain.printable import printable
from tasks.store.releases import publish_release
from tasks.store.s3 import s3_client


def publish(
    folder: Annotated[Path, typer.Argument(help="Folder with one model and a build.yaml.")],
    release: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX/MODEL/VERSION")],
) -> None:
    """Upload a folder as a release, its build.yaml last. Nothing in S3 is ever overwritten."""
    ref = release_at(release)
    with progress_bars():
        publish_release(s3_client(), ref, folder)
    console.print(printable(f"{ref.url} is complete."), highlight=False, soft_wrap=True, markup=False)
