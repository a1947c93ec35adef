"""What earlier tests converted and built, kept outside of their buckets for tests of what comes after it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tasks.store.s3 import s3_client

# Blobs last: tests of other processes add to the folder, blobs first, and what is incomplete is not seen.
CONVERSIONS = ("conversions", "blobs")
ENGINES = ("engines",)


def keep(folder: Path, bucket: str) -> None:
    """Copy what tests converted and built in `bucket` to `folder`, unless it is there."""
    client = s3_client()
    for prefix in ("blobs/", "conversions/", "engines/"):
        for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            file = folder / entry["Key"]
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                part = file.with_name(f"{file.name}.{os.getpid()}.part")
                client.download_file(bucket, entry["Key"], str(part))
                part.replace(file)


def restore(folder: Path, bucket: str, prefixes: Sequence[str]) -> None:
    """Copy what is below `prefixes` in `folder` to `bucket`."""
    client = s3_client()
    for prefix in prefixes:
        for file in (folder / prefix).rglob("*"):
            if file.is_file() and file.suffix != ".part":
                client.upload_file(str(file), bucket, str(file.relative_to(folder)))
