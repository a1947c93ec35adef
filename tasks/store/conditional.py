"""Proves that a server honours conditional writes: otherwise two builders could overwrite each other."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from tasks.domain.errors import FarmError
from tasks.store.s3 import s3_errors
from tasks.store.transfer import Address, put_if_absent, put_if_unchanged, store_unsafe

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LOG = logging.getLogger(__name__)
_PROVEN: set[tuple[str, str]] = set()
_NO_ETAG = "0" * 32  # of no bytes that anybody has


def prove_conditional_writes(client: S3Client, bucket: str, root: str) -> None:
    """Write a probe below `root`, then twice on a condition that does not hold; the server must refuse both.

    The first condition is that there is no probe, by which records are committed. The second is that it has
    another ETag, by which leases are taken over and timing caches replaced.

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
        prove_if_match(client, probe, b"1")
    finally:
        _delete(client, probe)
    _PROVEN.add(place)


def prove_if_match(client: S3Client, address: Address, data: bytes) -> None:
    """Write `data`, the bytes at `address`, there again, on condition of an ETag that it does not have.

    Raises:
        StoreUnsafe: the server wrote them, or does not know the condition.
        FarmError: as `s3_errors`.
    """
    if put_if_unchanged(client, address, data, etag=_NO_ETAG):
        raise store_unsafe(address, f"{client.meta.endpoint_url} ignored it", header="If-Match")


def _delete(client: S3Client, probe: Address) -> None:
    try:
        with s3_errors(f"to delete the probe {probe.url}"):
            client.delete_object(Bucket=probe.bucket, Key=probe.key)
    except FarmError as error:  # a store may forbid deletion: then one probe per process remains
        _LOG.warning("%s", error)
