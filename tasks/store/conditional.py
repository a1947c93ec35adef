"""Proves that a server honours conditional writes: otherwise two builders could overwrite each other."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from tasks.domain.errors import FarmError
from tasks.store.s3 import s3_errors
from tasks.store.transfer import Address, put_if_absent, store_unsafe

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LOG = logging.getLogger(__name__)
_PROVEN: set[tuple[str, str]] = set()


def prove_conditional_writes(client: S3Client, bucket: str, root: str) -> None:
    """Write a probe below `root` twice on condition that it does not exist; the second write must be refused.

    Runs once per endpoint and bucket in each process. The probe is deleted afterwards.

    Args:
        client: client of the server.
        bucket: the bucket to write to; servers decide this per bucket.
        root: the prefix of the probe's key; empty, or ends in a slash.

    Raises:
        StoreUnsafe: the server overwrote the probe.
        FarmError: as `s3_errors`.
    """
    place = (client.meta.endpoint_url, bucket)
    if place in _PROVEN:
        return
    probe = Address(bucket=bucket, key=f"{root}probes/{uuid.uuid4().hex}")
    put_if_absent(client, probe, b"1")
    try:
        if put_if_absent(client, probe, b"2"):
            raise store_unsafe(probe, f"{place[0]} overwrote an object that it must not touch")
    finally:
        _delete(client, probe)
    _PROVEN.add(place)


def _delete(client: S3Client, probe: Address) -> None:
    try:
        with s3_errors(f"to delete the probe {probe.url}"):
            client.delete_object(Bucket=probe.bucket, Key=probe.key)
    except FarmError as error:  # a store may forbid deletion: then one probe per process remains
        _LOG.warning("%s", error)
