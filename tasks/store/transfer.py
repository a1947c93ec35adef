"""Transfers bytes between the disk and S3, hashed on their way."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError
from botocore.response import StreamingBody

from tasks.domain.backoff import Backoff
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import FarmError, RequestInvalid, StoreUnreachable, StoreUnsafe
from tasks.store.s3 import (
    is_conflict,
    is_missing,
    is_missing_bucket,
    is_precondition_failed,
    is_refused_write,
    s3_errors,
)
from tasks.store.stalls import WINDOW_SECONDS, Exchange, ended_if_stalled

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")

_CHUNK = 1 << 20
_RANGE_CHUNK = 256 << 10  # eight readers at a time
_READ_ATTEMPTS = 3
_BROKEN_CONNECTION = (ResponseStreamingError, IncompleteReadError)
_CONFLICT_ATTEMPTS = 7
_BACKOFF = Backoff(first=0.1, longest=6.4, jitter=0.5)
_LARGEST_PUT = 5 << 30
_NOT_IMPLEMENTED = "NotImplemented"


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """The result of a download: digest and size of the written bytes, and S3's ETag and version of them."""

    ref: BlobRef
    etag: str
    version_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of an object in S3."""

    bucket: str
    key: str

    @property
    def url(self) -> str:
        """The object's URL."""
        return f"s3://{self.bucket}/{self.key}"


def file_ref(path: Path) -> BlobRef:
    """Return the reference to the bytes in `path`."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:  # consumers have Python 3.10, without `hashlib.file_digest`
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return BlobRef(sha256=digest.hexdigest(), size=size)


def download(
    client: S3Client,
    address: Address,
    path: Path,
    *,
    etag: str | None = None,
    received: Callable[[int], None] = lambda _: None,
) -> Downloaded:
    """Write the object at `address` to `path` while hashing it.

    Args:
        client: the S3 client.
        address: the object to read.
        path: the file to write; it is overwritten, and removed if the download fails.
        etag: the version to read, unquoted; None: any.
        received: called with the number of bytes of this object so far.

    Raises:
        ClientError: S3's response; 412 if the object has another ETag.
        BotoCoreError: the connection broke at each attempt.
    """
    # radosgw requires the tag without quotes; other servers take both.
    condition: dict[str, Any] = {} if etag is None else {"IfMatch": etag}

    def read() -> Downloaded:
        answer = client.get_object(Bucket=address.bucket, Key=address.key, **condition)
        with path.open("wb") as file:
            ref = _receive(answer["Body"], file.write, received)
        return Downloaded(ref=ref, etag=answer["ETag"].strip('"'), version_id=answer.get("VersionId"))

    try:
        return _retrying(read)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _retrying(read: Callable[[], T]) -> T:
    """Restart the read if the connection breaks during it; botocore does not do that."""
    for _ in range(_READ_ATTEMPTS - 1):
        with contextlib.suppress(*_BROKEN_CONNECTION):
            return read()
    return read()


def read_beginning(body: StreamingBody, most: int) -> bytes:
    """Return at most `most` bytes of `body`.

    Raises:
        StoreUnreachable: they come too slowly.
        BotoCoreError: the connection broke.
    """
    with _watched(body):
        return body.read(most)


@contextlib.contextmanager
def _watched(body: StreamingBody) -> Iterator[Exchange]:
    """Close `body` at the end, and end reads of it that stall."""
    # `shutdown` lets another thread end a read that waits; urllib3 has it since 2.3.
    end = getattr(getattr(body, "_raw_stream", None), "shutdown", body.close)
    with contextlib.closing(body), ended_if_stalled(end) as exchange, _named_stall(exchange):
        yield exchange


def _receive(
    body: StreamingBody, write: Callable[[bytes], object], received: Callable[[int], None] = lambda _: None
) -> BlobRef:
    """Pass the bytes of `body` on to `write` and return their reference.

    Raises:
        StoreUnreachable: the bytes come too slowly.
        BotoCoreError: the connection broke.
    """
    digest, size = hashlib.sha256(), 0
    with _watched(body) as exchange:
        for chunk in body.iter_chunks(_CHUNK):
            exchange.take_chunk()
            write(chunk)
            digest.update(chunk)
            size += len(chunk)
            received(size)
    return BlobRef(sha256=digest.hexdigest(), size=size)


@contextlib.contextmanager
def _named_stall(exchange: Exchange) -> Iterator[None]:
    """Raise `StoreUnreachable` if `exchange` was ended inside because it stalled."""
    try:
        yield
    except _BROKEN_CONNECTION:
        if not exchange.stalled:
            raise
    if exchange.stalled:
        raise StoreUnreachable(
            wanted=f"at least {_CHUNK >> 20} MiB of an object from S3 within {WINDOW_SECONDS:g} s",
            found="fewer bytes; the download was ended",
            fix="check the network to the S3 server and the server's load, then retry",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The answer to a request for a range.

    Attributes:
        size: how many bytes were sent.
        total: the size of the whole object; None if the server did not answer with a range.
    """

    size: int
    total: int | None


def read_range(
    client: S3Client, address: Address, span: range, write: Callable[[bytes, int], object]
) -> Sent:
    """Pass the bytes of `span` of the object on to `write`, with their offsets in `span`.

    Stops after the first byte that is not in `span`.

    Raises:
        StoreUnreachable: the bytes come too slowly.
        ClientError: S3's response.
        BotoCoreError: the connection broke at each attempt.
    """

    def read() -> Sent:
        bounds = f"bytes={span.start}-{span.stop - 1}"
        answer = client.get_object(Bucket=address.bucket, Key=address.key, Range=bounds)
        total = answer.get("ContentRange", "").rpartition("/")[2]
        size = 0
        with _watched(answer["Body"]) as download:
            for chunk in answer["Body"].iter_chunks(_RANGE_CHUNK):
                download.take_chunk()
                size += len(chunk)
                if size > len(span):
                    break
                write(chunk, size - len(chunk))
        return Sent(size=size, total=int(total) if total.isdecimal() else None)

    return _retrying(read)


def read_small(client: S3Client, address: Address, *, most: int, refusal: type[FarmError]) -> bytes | None:
    """Return the object at `address`; None if the bucket has none.

    Raises:
        FarmError: a `refusal` if it has more than `most` bytes; else as `s3_errors`.
    """

    def read() -> bytes:
        answer = client.get_object(Bucket=address.bucket, Key=address.key)
        if answer["ContentLength"] > most:
            answer["Body"].close()
            raise refusal(
                wanted=f"at most {most} bytes in {address.url}",
                found=f"{answer['ContentLength']} bytes",
                fix="look at what was stored there: the farm expects a short text",
            )
        chunks: list[bytes] = []
        _receive(answer["Body"], chunks.append)
        return b"".join(chunks)

    with s3_errors(f"to read {address.url}"):
        try:
            return _retrying(read)
        except ClientError as error:
            if is_missing(error) and not is_missing_bucket(error):
                return None
            raise


def stored_size(client: S3Client, address: Address) -> int | None:
    """Return the size of the object at `address` in bytes; None if there is none.

    Raises:
        FarmError: as `s3_errors`.
    """
    with s3_errors(f"to look for {address.url}"):
        try:
            return client.head_object(Bucket=address.bucket, Key=address.key)["ContentLength"]
        except ClientError as error:
            if is_missing(error):
                return None
            raise


def stored_ref(client: S3Client, address: Address) -> BlobRef:
    """Return the reference to the bytes at `address`; downloads all of them.

    Raises:
        ClientError: S3's response.
        BotoCoreError: the connection broke.
    """

    def read() -> BlobRef:
        body = client.get_object(Bucket=address.bucket, Key=address.key)["Body"]
        return _receive(body, lambda _: None)

    return _retrying(read)


def put_file(client: S3Client, address: Address, path: Path, ref: BlobRef) -> None:
    """Store the bytes of `path`, whatever is at `address`. The server checks the digest if it can."""
    with s3_errors(f"to write {address.url}"):
        _put(client, address, path, ref, None)


def put_if_absent(
    client: S3Client,
    address: Address,
    body: Path | bytes,
    ref: BlobRef | None = None,
    *,
    sent: Callable[[int], None] | None = None,
) -> bool:
    """Store `body` unless `address` has an object; return whether this call stored it.

    False may also follow a success: the connection can break after the server stored the bytes. `sent` is
    told how many bytes of a file have been read; a retry starts again at 0.

    Raises:
        StoreUnsafe: the server reports that it does not support conditional writes.
        FarmError: as `s3_errors`.
    """
    ref = ref or (blob_ref(body) if isinstance(body, bytes) else file_ref(body))
    wanted = f"to write {address.url} once"
    with s3_errors(wanted):
        for pause in islice(_BACKOFF, _CONFLICT_ATTEMPTS):
            try:
                _put(client, address, body, ref, sent, IfNoneMatch="*")
            except ClientError as error:
                if is_precondition_failed(error):
                    return False
                if error.response["Error"].get("Code") == _NOT_IMPLEMENTED:
                    raise store_unsafe(address, str(error)) from error
                if not is_conflict(error):
                    raise
                # botocore does not retry if two conditional writes conflict.
                time.sleep(pause)
            else:
                return True
    raise StoreUnreachable(
        wanted=wanted,
        found=f"other writes to the same key during {_CONFLICT_ATTEMPTS} attempts",
        fix="try again",
    )


def put_if_unchanged(client: S3Client, address: Address, body: Path | bytes, *, etag: str) -> bool:
    """Store `body` if `address` still has `etag`; return whether this call stored it.

    Raises:
        StoreUnsafe: the server reports that it does not support conditional writes.
        FarmError: as `s3_errors`.
    """
    ref = blob_ref(body) if isinstance(body, bytes) else file_ref(body)
    with s3_errors(f"to replace {address.url}"):
        try:
            _put(client, address, body, ref, None, IfMatch=etag)  # radosgw: the tag without quotes
        except ClientError as error:
            if error.response["Error"].get("Code") == _NOT_IMPLEMENTED:
                raise store_unsafe(address, str(error), header="If-Match") from error
            if not is_refused_write(error):
                raise
            return False
    return True


def store_unsafe(address: Address, problem: str, *, header: str = "If-None-Match") -> StoreUnsafe:
    """Return the error for a server on which two builders could overwrite each other."""
    return StoreUnsafe(
        wanted=f"a server that honours {header} when it writes {address.url}",
        found=problem,
        fix="use an S3 server with conditional writes: AWS S3, Ceph radosgw from 16 on, or a recent MinIO",
    )


class _Reported(io.BufferedReader):
    """A file that tells how far it has been read."""

    def __init__(self, path: Path, sent: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._sent = sent

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self._sent(self.tell())
        return data


def _put(
    client: S3Client,
    address: Address,
    body: Path | bytes,
    ref: BlobRef,
    sent: Callable[[int], None] | None,
    **condition: Any,
) -> None:
    if ref.size > _LARGEST_PUT:
        raise RequestInvalid(
            wanted=f"at most 5 GiB for {address.url}, which S3 takes in one conditional write",
            found=f"{ref.size} bytes",
            fix="make the model smaller",
        )
    checksum = base64.b64encode(bytes.fromhex(ref.sha256)).decode()
    where = {"Bucket": address.bucket, "Key": address.key, "ChecksumSHA256": checksum} | condition
    if isinstance(body, bytes):
        client.put_object(Body=body, ContentType="application/json", **where)
        return
    with body.open("rb") if sent is None else _Reported(body, sent) as file:
        client.put_object(Body=file, **where)
