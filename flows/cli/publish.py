"""`enginefarm publish`: a folder becomes a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.addresses import release_at
from flows.cli.display import progress_bars
from flows.cli.options import Release
from flows.cli.output import say
from tasks.store.releases import publish_release
from tasks.store.s3 import s3_client


def publish(
    folder: Annotated[Path, typer.Argument(help="Folder with one model and a build.yaml.")],
    release: Release,
) -> None:
    """Upload a folder as a release, build.yaml last. Nothing in S3 is overwritten."""
    ref = release_at(release)
    with progress_bars():
        publish_release(s3_client(), ref, folder)
    say(f"{ref.url} is complete.")
