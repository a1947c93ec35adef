"""Leases: of many hosts that want the same result, one makes it and the others wait.

A lease is a small object that its holder rewrites, so that its ETag changes, several times per lease time.
Whoever sees one ETag for a whole lease time on its own monotonic clock takes the lease over: clocks of two
hosts are never compared. A process that is gone is followed at once by those on its host. Taking, renewing
and taking over are conditional writes, so of several hosts one succeeds. A lease saves work and guards
nothing: where two hold one, because a holder was paused or the server ignores a condition, both make the
result, and the conditional write of its record settles which one stands.

A holder that finds out that the result cannot be made, because of what was asked for and not of its own host,
leaves its error in the lease: those that waited for it have their answer, and later callers retry.

A lease that is taken over is a new document, since the old one spoke of another holder. One that is renewed
keeps the keys that this version does not know.
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

from tasks.domain.errors import FarmError, error_from_document
from tasks.store.holder import Holder, this_process
from tasks.store.records import UPDATE
from tasks.store.s3 import is_missing, is_missing_bucket, is_refused_write, s3_errors
from tasks.store.store import Store

LEASE_SECONDS = 30.0
"""How long a holder that died keeps the others waiting."""

_SCHEMA, _MAJOR = "enginefarm.lease", 1
_LOG = logging.getLogger(__name__)
_LONGEST = 600.0
_LARGEST_BODY = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """The lease as it lies in the store.

    Attributes:
        etag: changes with every renewal.
        owner: the caller that has it.
        seconds: its own lease time.
        holder: its process, where that is known.
        failed: how it ended, if it did.
        document: all of it, with keys that this version does not know.
    """

    etag: str
    owner: str | None
    seconds: float
    holder: Holder | None
    failed: FarmError | None
    document: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Lease:
    """One caller's side of a lease. Its calls block; they come from one thread at a time.

    Attributes:
        store: where the lease lies.
        key: what it is for, such as the key of the record that its holder will write.
        seconds: how long it stays the holder's without a renewal.
        owner: tells this caller from all others.
    """

    store: Store
    key: str
    seconds: float = LEASE_SECONDS
    owner: str = field(default_factory=lambda: f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}")
    _beat: int = 0
    _etag: str | None = None  # of the last write of ours, while the lease is ours
    _held_until: float = 0.0
    _kept: Mapping[str, Any] = field(default_factory=dict)  # what others wrote into our lease
    _seen: tuple[_Standing, float] | None = None  # another's lease, and since when

    @property
    def held(self) -> bool:
        """Whether the lease is surely still this caller's: nobody takes it over before its time is up."""
        return self._etag is not None and monotonic() < self._held_until

    def take(self) -> bool:
        """Try once to become the holder; return whether this caller is.

        Call it again after a while: each call looks whether the holder still renews, and takes the lease
        over where it was not renewed for a whole lease time. While S3 is away nobody can renew: the watch
        restarts.

        Raises:
            FarmError: the one with which the holder failed that this caller waited for; else as `s3_errors`.
        """
        standing = self._look()
        self._kept = {}
        if standing is None:
            return self._write(IfNoneMatch="*")
        if standing.owner == self.owner:  # the answer to our own write was lost
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
            standing = self._read()
        except FarmError:
            self._seen = None
            raise
        if monotonic() - started > self.seconds / 2:
            self._seen = None
        return standing

    def renew(self) -> bool:
        """Keep the lease for another lease time; return False where another has it by now.

        Raises:
            FarmError: as `s3_errors`; the lease may still be held.
        """
        if self._etag is None:
            return False
        if self._write(IfMatch=self._etag):
            return True
        standing = self._read()  # a lost answer makes botocore write again, which then finds our own ETag
        if standing is None or standing.owner != self.owner:
            return False
        self._kept = standing.document
        return self._write(IfMatch=standing.etag)

    def release(self, failure: BaseException | None = None) -> None:
        """Give the lease back, so that nobody has to wait. What may be another's by now is left alone.

        Args:
            failure: why there is no result; None if there is one.

        Raises:
            FarmError: as `s3_errors`; the lease then runs out.
        """
        etag, held = self._etag, self.held
        if etag is None or not held:
            self._etag = None
            return
        if isinstance(failure, FarmError) and failure.about_request:
            self._write(failure, IfMatch=etag)
            self._etag = None
            return
        self._etag = None
        with s3_errors(f"to give back the lease {self.store.url}/{self._place['Key']}"):
            try:
                # Some servers ignore the condition: `held` says the same, but for a slow network.
                self.store.client.delete_object(**self._place, IfMatch=etag)
            except ClientError as error:
                if not is_refused_write(error):
                    raise

    @property
    def _place(self) -> dict[str, Any]:
        prefix = f"{self.store.prefix}/" if self.store.prefix else ""
        return {"Bucket": self.store.bucket, "Key": f"{prefix}leases/{self.key}"}

    def _write(self, failure: FarmError | None = None, **condition: Any) -> bool:
        """Make the lease ours, or keep it, or end it by `failure`, if `condition` holds."""
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
        # Counted from before the call: others count from after it, so they never come too early.
        self._etag, self._held_until = answer["ETag"].strip('"'), started + self.seconds
        return True

    def _read(self) -> _Standing | None:
        with s3_errors(f"to read the lease s3://{self._place['Bucket']}/{self._place['Key']}"):
            try:
                answer = self.store.client.get_object(**self._place)
                body = answer["Body"].read(_LARGEST_BODY)
            except ClientError as error:
                if is_missing(error) and not is_missing_bucket(error):
                    return None
                raise
        return _standing(answer["ETag"].strip('"'), body)


def _written_over(former: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return `document` with the keys that only `former` has, at every level."""
    return {**former} | {
        key: _written_over(former[key], value)
        if isinstance(value, dict) and isinstance(former.get(key), dict)
        else value
        for key, value in document.items()
    }


def _standing(etag: str, body: bytes) -> _Standing:
    """Read the lease; one that is damaged or of another major version has no owner and runs out."""
    document: dict[str, Any] = {}
    try:
        document = json.loads(body)
        _check_schema(document)
        owner, seconds = str(document["owner"]), float(document["seconds"])
        failed = error_from_document(document["failed"]) if "failed" in document else None
        holder = Holder.from_document(document["process"]) if "process" in document else None
    except (ValueError, KeyError, TypeError):
        document, owner, seconds, failed, holder = {}, None, LEASE_SECONDS, None, None
    seconds = seconds if 0 < seconds <= _LONGEST else _LONGEST
    return _Standing(etag=etag, owner=owner, seconds=seconds, failed=failed, holder=holder, document=document)


def _check_schema(document: object) -> None:
    """Refuse a lease of another major version; one without a schema is from before leases had any.

    Raises:
        ValueError, TypeError: it has, or it is no document of ours.
    """
    if not isinstance(document, dict):
        raise TypeError("no JSON object")
    schema = document.get("schema", f"{_SCHEMA}/{_MAJOR}")
    match = re.fullmatch(rf"{re.escape(_SCHEMA)}/(\d+)", str(schema))
    if match is None or int(match[1]) != _MAJOR:
        _LOG.warning("a lease with schema %r: %s", schema, UPDATE)
        raise ValueError("another schema")
