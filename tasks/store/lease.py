"""Leases: if many hosts want the same result, one makes it and the others wait.

A lease is a small object. Its holder rewrites it several times per lease time, which changes its ETag. A
waiter that sees the same ETag for a whole lease time on its own monotonic clock takes the lease over: clocks
of two hosts are never compared. If the holder's process has ended, waiters on its host take over at once.
Taking, renewing and taking over are conditional writes, so only one host succeeds. A lease saves work but
guards nothing: if a holder was paused or the server ignores a condition, two hosts may hold it. Then both
make the result, and the conditional write of its record decides which one counts.

If the result cannot be made because of the request, not because of its host, the holder writes its error into
the lease. Those that waited for it raise that error; later callers retry.

A takeover writes a new document, because the old one describes another holder. A renewal keeps the keys that
this version does not know.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from botocore.exceptions import ClientError

from tasks.domain.error_documents import error_from_document
from tasks.domain.errors import FarmError
from tasks.store.holder import Holder, this_process
from tasks.store.records import UPDATE
from tasks.store.s3 import is_missing, is_missing_bucket, is_refused_write, s3_errors
from tasks.store.store import Store
from tasks.store.transfer import read_beginning

LEASE_SECONDS = 30.0
"""How long others wait for a holder that died."""

_SCHEMA, _MAJOR = "enginefarm.lease", 1
_LOG = logging.getLogger(__name__)
_LONGEST = 600.0
_LARGEST_BODY = 1 << 20
# What a stranger's document can raise: nested too deeply, numbers that no type holds, parts of other kinds.
_GARBAGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """The lease in the store.

    Attributes:
        etag: changes with every renewal.
        owner: the caller that holds it.
        seconds: its lease time.
        holder: its process, if known.
        failed: the error that ended it, if any.
        document: the whole document, with keys that this version does not know.
    """

    etag: str
    owner: str | None
    seconds: float
    holder: Holder | None
    failed: FarmError | None
    document: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Lease:
    """One caller's side of a lease. Its calls block; only one thread at a time may make them.

    Attributes:
        store: the store of the lease.
        key: what it is for, for example the key of the record that its holder will write.
        seconds: how long the holder keeps it without a renewal.
        owner: distinguishes this caller from all others.
    """

    store: Store
    key: str
    seconds: float = LEASE_SECONDS
    owner: str = field(default_factory=lambda: f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}")
    _beat: int = 0
    _etag: str | None = None  # of our last write, while we hold the lease
    _held_until: float = 0.0
    _kept: Mapping[str, Any] = field(default_factory=dict)  # keys that others wrote into our lease
    _seen: tuple[_Standing, float] | None = None  # the lease of another caller, and since when

    @property
    def held(self) -> bool:
        """Whether this caller certainly still holds the lease: nobody takes it over before its time is up."""
        return self._etag is not None and monotonic() < self._held_until

    def take(self) -> bool:
        """Try once to become the holder; return whether this caller holds the lease.

        Poll it: each call checks whether the holder still renews, and takes the lease over if it was not
        renewed for a whole lease time. While S3 is away nobody can renew, so the watch restarts.

        Raises:
            FarmError: the error of the holder that this caller waited for; else as `s3_errors`.
        """
        standing = self._look()
        self._kept = {}
        if standing is None:
            return self._write(IfNoneMatch="*")
        if standing.owner == self.owner:  # the response to our own write was lost
            self._kept = standing.document
            return self._write(IfMatch=standing.etag)
        if standing.failed is not None:
            if self._seen is not None and self._seen[0].owner == standing.owner:
                raise standing.failed
            return self._write(IfMatch=standing.etag)
        if standing.holder is not None and standing.holder.is_gone():
            return self._write(IfMatch=standing.etag)
        now = monotonic()
        if self._seen is None or self._seen[0].etag != standing.etag:
            self._seen = (standing, now)
            return False
        return now - self._seen[1] >= standing.seconds and self._write(IfMatch=standing.etag)

    def _look(self) -> _Standing | None:
        started = monotonic()
        try:
            standing = self._fetch()
        except FarmError:
            self._seen = None
            raise
        if monotonic() - started > self.seconds / 2:
            self._seen = None
        return standing

    def renew(self) -> bool:
        """Keep the lease for another lease time; return False if another caller holds it by now.

        Raises:
            FarmError: as `s3_errors`; the lease may still be held.
        """
        if self._etag is None:
            return False
        if self._write(IfMatch=self._etag):
            return True
        standing = self._fetch()  # if a response was lost, botocore writes again and then meets our own ETag
        if standing is None or standing.owner != self.owner:
            return False
        self._kept = standing.document
        return self._write(IfMatch=standing.etag)

    def release(self, failure: BaseException | None = None) -> None:
        """Give the lease back, so that nobody has to wait. A lease that may be another's is not touched.

        Args:
            failure: why there is no result; None if there is one.

        Raises:
            FarmError: as `s3_errors`; the lease then expires.
        """
        etag, still_held = self._etag, self.held
        if etag is None or not still_held:
            self._etag = None
            return
        if isinstance(failure, FarmError) and failure.about_request:
            self._write(failure, IfMatch=etag)
            self._etag = None
            return
        self._etag = None
        with s3_errors(f"to give back the lease {self.store.url}/{self._place['Key']}"):
            try:
                # Some servers ignore the condition. `held` checks the same, except on a slow network.
                self.store.client.delete_object(**self._place, IfMatch=etag)
            except ClientError as error:
                if not is_refused_write(error):
                    raise

    @property
    def _place(self) -> dict[str, Any]:
        prefix = f"{self.store.prefix}/" if self.store.prefix else ""
        return {"Bucket": self.store.bucket, "Key": f"{prefix}leases/{self.key}"}

    def _write(self, failure: FarmError | None = None, **condition: Any) -> bool:
        """Take the lease, keep it, or end it with `failure`, if `condition` holds."""
        self._beat += 1
        document: dict[str, Any] = {
            "schema": f"{_SCHEMA}/{_MAJOR}", "owner": self.owner, "seconds": self.seconds, "beat": self._beat,
        }  # fmt: skip
        holder = this_process()
        if holder is not None:
            document["process"] = holder.to_document()
        if failure is not None:
            document["failed"] = failure.to_document()
        body = json.dumps(_written_over(self._kept, document)).encode()
        started = monotonic()
        with s3_errors(f"to write the lease s3://{self._place['Bucket']}/{self._place['Key']}"):
            try:
                answer = self.store.client.put_object(
                    **self._place, Body=body, ContentType="application/json", **condition
                )
            except ClientError as error:
                if not is_refused_write(error):
                    raise
                self._etag = None
                return False
        # Counted from before the call: others count from after it, so they never take over too early.
        self._etag, self._held_until = answer["ETag"].strip('"'), started + self.seconds
        return True

    def _fetch(self) -> _Standing | None:
        with s3_errors(f"to read the lease s3://{self._place['Bucket']}/{self._place['Key']}"):
            try:
                answer = self.store.client.get_object(**self._place)
                body = read_beginning(answer["Body"], _LARGEST_BODY)
            except ClientError as error:
                if is_missing(error) and not is_missing_bucket(error):
                    return None
                raise
            etag = answer["ETag"].strip('"')
        return _standing(etag, body)


def _written_over(former: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return `document` plus the keys that only `former` has, at every level."""
    return {**former} | {
        key: _written_over(former[key], value)
        if isinstance(value, dict) and isinstance(former.get(key), dict)
        else value
        for key, value in document.items()
    }


def _standing(etag: str, body: bytes) -> _Standing:
    """Parse the lease. If it is damaged or of another major version, it has no owner and expires."""
    document: dict[str, Any] = {}
    try:
        document = json.loads(body)
        _check_schema(document)
        owner, seconds = str(document["owner"]), float(document["seconds"])
        failed = error_from_document(document["failed"]) if "failed" in document else None
        holder = Holder.from_document(document["process"]) if "process" in document else None
    except _GARBAGE:
        document, owner, seconds, failed, holder = {}, None, LEASE_SECONDS, None, None
    seconds = seconds if 0 < seconds <= _LONGEST else _LONGEST
    return _Standing(etag=etag, owner=owner, seconds=seconds, failed=failed, holder=holder, document=document)


def _check_schema(document: object) -> None:
    """Refuse a lease of another major version; leases without a schema are older than schemas.

    Raises:
        ValueError, TypeError: it is of another major version, or not a lease.
    """
    if not isinstance(document, dict):
        raise TypeError("not a JSON object")
    schema = document.get("schema", f"{_SCHEMA}/{_MAJOR}")
    match = re.fullmatch(rf"{re.escape(_SCHEMA)}/(\d+)", str(schema))
    if match is None or int(match[1]) != _MAJOR:
        _LOG.warning("a lease with schema %r: %s", schema, UPDATE)
        raise ValueError("another schema")
