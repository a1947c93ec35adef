"""Leases: of many hosts that want the same result, one makes it and the others wait.

A lease is a small object that its holder rewrites, so that its ETag changes, several times per lease time.
Whoever sees one ETag for a whole lease time on its own monotonic clock takes the lease over: clocks of two
hosts are never compared. Taking, renewing and taking over are conditional writes, so of several hosts one
succeeds. A lease saves work and guards nothing: where two hold one, because a holder was paused or the server
ignores a condition, both make the result, and the conditional write of its record settles which one stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from tasks.domain.errors import FarmError
from tasks.store.s3 import is_conflict, is_missing, is_missing_bucket, is_precondition_failed, s3_errors
from tasks.store.store import Store

T = TypeVar("T")

LEASE_SECONDS = 30.0
"""How long a holder that died keeps the others waiting."""

_BEATS = 3
_POLL_SECONDS = 1.0
_LONGEST = 600.0
_LARGEST_BODY = 4096
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """The lease as it lies in the store; `seconds` is its holder's own lease time."""

    etag: str
    owner: str | None
    seconds: float


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
    _seen: tuple[str, float] | None = None  # an ETag of another's, and since when

    @property
    def held(self) -> bool:
        """Whether the lease is surely still this caller's: nobody takes it over before its time is up."""
        return self._etag is not None and monotonic() < self._held_until

    def take(self) -> bool:
        """Try once to become the holder; return whether this caller is.

        Call it again after a while: each call looks whether the holder still renews, and takes the lease
        over where it was not renewed for a whole lease time.

        Raises:
            FarmError: as `s3_errors`.
        """
        standing = self._read()
        if standing is None:
            return self._write(IfNoneMatch="*")
        if standing.owner == self.owner:  # the answer to our own write was lost
            return self._write(IfMatch=standing.etag)
        now = monotonic()
        if self._seen is None or self._seen[0] != standing.etag:
            self._seen = (standing.etag, now)
            return False
        return now - self._seen[1] >= standing.seconds and self._write(IfMatch=standing.etag)

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
        ours = standing is not None and standing.owner == self.owner
        return ours and standing is not None and self._write(IfMatch=standing.etag)

    def release(self) -> None:
        """Give the lease back, so that nobody has to wait. What may be another's by now is left alone.

        Raises:
            FarmError: as `s3_errors`; the lease then runs out.
        """
        etag, held = self._etag, self.held
        self._etag = None
        if etag is None or not held:
            return
        with s3_errors(f"to give back the lease {self.store.url}/{self._place['Key']}"):
            try:
                # Some servers ignore the condition: `held` says the same, but for a slow network.
                self.store.client.delete_object(**self._place, IfMatch=etag)
            except ClientError as error:
                if not _refused(error):
                    raise

    @property
    def _place(self) -> dict[str, Any]:
        prefix = f"{self.store.prefix}/" if self.store.prefix else ""
        return {"Bucket": self.store.bucket, "Key": f"{prefix}leases/{self.key}"}

    def _write(self, **condition: Any) -> bool:
        """Make the lease ours, or keep it, if `condition` holds."""
        self._beat += 1
        body = json.dumps({"owner": self.owner, "seconds": self.seconds, "beat": self._beat}).encode()
        started = monotonic()
        with s3_errors(f"to write the lease s3://{self._place['Bucket']}/{self._place['Key']}"):
            try:
                answer = self.store.client.put_object(
                    **self._place, Body=body, ContentType="application/json", **condition
                )
            except ClientError as error:
                if not _refused(error):
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


def _standing(etag: str, body: bytes) -> _Standing:
    """Read the lease; one that is damaged has no owner and runs out like any other."""
    try:
        document = json.loads(body)
        owner, seconds = str(document["owner"]), float(document["seconds"])
    except (ValueError, KeyError, TypeError):
        owner, seconds = None, LEASE_SECONDS
    return _Standing(etag=etag, owner=owner, seconds=seconds if 0 < seconds <= _LONGEST else _LONGEST)


def _refused(error: ClientError) -> bool:
    """Say whether a condition did not hold, or another's write came at the same moment."""
    gone = is_missing(error) and not is_missing_bucket(error)
    return is_precondition_failed(error) or is_conflict(error) or gone


async def once(lease: Lease, find: Callable[[], Awaitable[T | None]], make: Callable[[], Awaitable[T]]) -> T:
    """Return what `find` finds, or `make` it while all others that ask for the same lease wait.

    Args:
        lease: of the result, not held.
        find: looks for the result in the store; asked again and again while another holds the lease.
        make: makes the result and stores it, so that `find` finds it from then on.

    Raises:
        FarmError: of `find` and `make`, and as `s3_errors`. One of `make` ends this caller's attempt only:
            the next that waits makes its own.
    """
    while True:
        found = await find()
        if found is not None:
            return found
        if await asyncio.to_thread(lease.take):
            break
        # Not all at the same moment.
        await asyncio.sleep(min(_POLL_SECONDS, lease.seconds / _BEATS) * random.uniform(0.5, 1.5))  # noqa: S311
    async with _kept(lease):
        found = await find()  # the last holder may have finished between our two looks
        return found if found is not None else await make()


@contextlib.asynccontextmanager
async def _kept(lease: Lease) -> AsyncIterator[None]:
    """Renew the held `lease` in the background, and give it back at the end."""
    done = asyncio.Event()
    beats = asyncio.create_task(_renew_until(done, lease))
    try:
        yield
    finally:
        done.set()
        await beats
        try:
            await asyncio.shield(asyncio.to_thread(lease.release))
        except FarmError as error:
            _LOG.warning("%s", error)


async def _renew_until(done: asyncio.Event, lease: Lease) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), lease.seconds / _BEATS)
            return
        try:
            if not await asyncio.to_thread(lease.renew):
                _LOG.warning("another host took over the lease of %s: the work may be done twice", lease.key)
                return
        except FarmError as error:
            _LOG.warning("%s", error)
