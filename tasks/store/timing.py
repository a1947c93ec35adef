"""Timing caches in the store: one that all builds on a GPU model share, and those that requests name.

A record names the bytes of the shared cache. A build that adds to it replaces the record by compare-and-swap.
If two do so at the same time, the second fails, merges what the first stored, and retries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from botocore.exceptions import ClientError

from tasks.domain.backoff import Backoff
from tasks.domain.digest import BlobRef
from tasks.domain.errors import (
    BuildRefused,
    DigestMismatch,
    NotStored,
    RecordInvalid,
    SignatureRefused,
    StoreUnreachable,
)
from tasks.domain.timing import CacheFile, TimingCacheKey, TimingRecord
from tasks.domain.trust import Purpose
from tasks.signing.signatures import trust_demanded
from tasks.store.records import Document, record_to_json
from tasks.store.s3 import is_missing, is_missing_bucket, is_refused_write, s3_errors
from tasks.store.signatures import require_signed
from tasks.store.store import Store
from tasks.store.transfer import put_file, read_beginning

Merge = Callable[[CacheFile, CacheFile], Awaitable[CacheFile]]

_LOG = logging.getLogger(__name__)
_LARGEST_RECORD = 1 << 20
_ROUNDS = 10
_BACKOFF = Backoff(first=0.2, longest=1.0, jitter=1.0)
# A stored cache with one of these errors is of no use to anybody.
_UNUSABLE = (DigestMismatch, NotStored, BuildRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A record in the store.

    Attributes:
        etag: the ETag of these bytes.
        document: the record; None if it cannot be read or belongs at another key.
        problem: why it cannot be read; None if it can.
    """

    etag: str
    document: Document[TimingRecord] | None
    problem: RecordInvalid | None = None

    @property
    def record(self) -> TimingRecord | None:
        """What this version understands of it."""
        return None if self.document is None else self.document.record


def find_timing(store: Store, key: str, made_for: TimingCacheKey | None = None) -> Standing | None:
    """Return the record at `key`; None if there is none.

    Args:
        store: where to look.
        key: relative to the store's root.
        made_for: the builds that it must be for, so that none uses another GPU's timings; None: any.

    Raises:
        FarmError: as `s3_errors`.
    """
    address = store.address(key)
    with s3_errors(f"to read {address.url}"):
        try:
            answer = store.client.get_object(Bucket=address.bucket, Key=address.key)
            body = read_beginning(answer["Body"], _LARGEST_RECORD)
        except ClientError as error:
            if is_missing(error) and not is_missing_bucket(error):
                return None
            raise
    etag = answer["ETag"].strip('"')  # radosgw requires the ETag without quotes
    try:
        document = store.document(body, key, TimingRecord)
        _check_made_for(document.record, made_for, address.url)
    except RecordInvalid as error:
        _LOG.warning("%s", error)
        return Standing(etag=etag, document=None, problem=error)
    return Standing(etag=etag, document=document)


def is_trusted(store: Store, standing: Standing) -> bool:
    """Return whether builds may use the cache: a trusted key signed its record, or nothing must be signed.

    Raises:
        KeyUnusable: ENGINEFARM_TRUST names a file that cannot be used.
        FarmError: as `s3_errors`.
    """
    trust = trust_demanded()
    if trust is None or standing.document is None:
        return trust is None
    key, data = standing.document.record.key, standing.document.data
    try:
        require_signed(store, key, data, trust, Purpose.TIMING)
    except SignatureRefused:
        return False
    return True


def _check_made_for(record: TimingRecord, made_for: TimingCacheKey | None, url: str) -> None:
    other = record.made_for
    if made_for not in (None, other):
        raise RecordInvalid(
            wanted=f"the timing cache of {url}",
            found=f"one for {other.gpu} and TensorRT {other.version}",
            fix="nothing: the next build for this GPU and TensorRT replaces it",
        )


def swap_timing(store: Store, record: TimingRecord, over: Standing | None) -> bool:
    """Write `record` at its key if `over` is still the record there; return whether it was written.

    Keys of `over` that this version does not know are kept.

    Raises:
        FarmError: as `s3_errors`.
    """
    address = store.address(record.key)
    condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over.etag}
    body = record_to_json(record, over=None if over is None else over.document)
    with s3_errors(f"to write {address.url}"):
        try:
            store.client.put_object(
                Bucket=address.bucket, Key=address.key, Body=body, ContentType="application/json",
                **condition,  # type: ignore[arg-type]
            )  # fmt: skip
        except ClientError as error:
            if not is_refused_write(error):
                raise
            return False
    return True


def put_cache(store: Store, cache: CacheFile) -> None:
    """Store the bytes of `cache` under their digest, even over damaged bytes.

    Raises:
        FarmError: as `s3_errors`; `DigestMismatch` if the file does not match its reference.
    """
    put_file(store.client, store.address(cache.ref.key), cache.path, cache.ref)


async def share_timing(
    store: Store, cache: CacheFile, record: TimingRecord, *, base: BlobRef | None, merge: Merge
) -> TimingRecord:
    """Merge `cache` into the cache that all builds share; return its new record.

    Args:
        store: the store.
        cache: the cache that a build wrote.
        record: the record of `cache`.
        base: the shared cache that the build started with, which `cache` includes.
        merge: merges two caches into a new file.

    Raises:
        RecordInvalid: a newer version of enginefarm wrote the shared record.
        StoreUnreachable: other builds were faster in each attempt.
        FarmError: of `merge`, and as `s3_errors`.
    """
    for pause in islice(_BACKOFF, _ROUNDS):
        standing = await asyncio.to_thread(find_timing, store, record.key, record.made_for)
        if standing is not None and standing.problem is not None and standing.problem.newer:
            raise standing.problem
        theirs = None if standing is None or standing.record is None else standing.record.cache
        if standing is not None and not await asyncio.to_thread(is_trusted, store, standing):
            base = theirs  # TensorRT must not parse it: this build's cache replaces it
        if theirs is not None and theirs not in (base, cache.ref):
            cache, base = await _merged(store, cache, theirs, merge), theirs
            record = replace(record, cache=cache.ref)
        if theirs == cache.ref and standing is not None and standing.record is not None:
            return standing.record
        await asyncio.to_thread(put_cache, store, cache)
        if await asyncio.to_thread(swap_timing, store, record, standing):
            return record
        await asyncio.sleep(pause)
    raise StoreUnreachable(
        wanted=f"to add to the timing cache {record.key} in {store.url}",
        found=f"that other builds added to it during each of {_ROUNDS} attempts",
        fix="only time is lost: the next build adds what this one measured",
    )


async def _merged(store: Store, cache: CacheFile, theirs: BlobRef, merge: Merge) -> CacheFile:
    """Return both, merged; `cache` alone if theirs is of no use to anybody."""
    try:
        other = await asyncio.to_thread(fetch_cache, store, theirs, cache.path.parent)
        return await merge(cache, other)
    except _UNUSABLE as error:
        _LOG.warning("replaced a timing cache: %s", error)
        return cache


def fetch_cache(store: Store, ref: BlobRef, folder: Path) -> CacheFile:
    """Download `ref` to a file below `folder`.

    Raises:
        NotStored: there is no such blob.
        DigestMismatch: the stored bytes are different.
        FarmError: as `s3_errors`.
    """
    path = folder.absolute() / f"timing-{ref.sha256}.cache"
    store.get_blob(ref, path)
    return CacheFile(path=path, ref=ref)


def drop_timing(store: Store, key: str) -> None:
    """Delete the record at `key`: the next build starts without timings.

    Raises:
        NotStored: there is none.
        FarmError: as `s3_errors`.
    """
    if not key.startswith(TimingRecord.ROOT) or find_timing(store, key) is None:
        raise NotStored(
            wanted=f"the timing cache {key} in {store.url}",
            found="no such record",
            fix="`enginefarm timing list` shows what is there",
        )
    address = store.address(key)
    with s3_errors(f"to delete {address.url}"):
        store.client.delete_object(Bucket=address.bucket, Key=address.key)
