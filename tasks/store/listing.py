"""Lists the objects below a prefix of a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tasks.store.s3 import s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An object in a listing.

    Attributes:
        key: its full key.
        size: number of bytes.
        etag: S3's entity tag, unquoted.
        modified: when it was written, in UTC.
    """

    key: str
    size: int
    etag: str
    modified: datetime


def pages(client: S3Client, bucket: str, prefix: str) -> Iterator[list[Listed]]:
    """Yield the objects below `prefix` in the order of keys, by S3's pages of at most 1,000.

    Raises:
        FarmError: as `s3_errors`.
    """
    answers = iter(client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
    while True:
        # Not around the yield: errors of the caller are not S3's.
        with s3_errors(f"to list s3://{bucket}/{prefix}"):
            answer = next(answers, None)
        if answer is None:
            return
        yield [
            Listed(
                key=entry["Key"],
                size=entry["Size"],
                etag=entry["ETag"].strip('"'),
                modified=entry["LastModified"],
            )
            for entry in answer.get("Contents", [])
        ]
