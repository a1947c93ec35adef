"""Downloads large objects in parallel ranges, and resumes a download that was killed.

The bytes go to a `.part` file. A note beside it lists the ranges that are complete, so the next process goes
on from there. The note may be wrong, for example after a power failure: the digest of all bytes decides.
Runs on consumers: Python 3.10.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.domain.digest import BlobRef
from tasks.domain.errors import DigestMismatch, StoreUnsafe
from tasks.store.readers import reading_threads
from tasks.store.s3 import is_range_refused, s3_errors
from tasks.store.transfer import Address, read_range

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

RANGE_BYTES = 8 << 20
"""The size of a range; a kill loses at most so much per thread."""

# As many as the client has connections; on few processors, more threads only wait for each other.
_READERS = max(4, min(10, 2 * len(os.sched_getaffinity(0))))
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFile:
    """A download in progress. Only one process may use it at a time.

    Attributes:
        path: the file with the bytes so far.
        ref: the bytes that it will have.
    """

    path: Path
    ref: BlobRef

    @property
    def note(self) -> Path:
        """The file that lists the complete ranges."""
        return self.path.with_suffix(".note")

    @property
    def ranges(self) -> tuple[range, ...]:
        """Every range of the file, in order."""
        size = self.ref.size
        return tuple(range(start, min(start + RANGE_BYTES, size)) for start in range(0, size, RANGE_BYTES))

    def complete(self) -> frozenset[int]:
        """Return the numbers of the ranges that a former process completed."""
        try:
            header, *lines = self.note.read_text("ascii").split("\n")
            whole = self.path.stat().st_size == self.ref.size
        except (OSError, ValueError):
            return frozenset()
        if not whole or header != self._header:
            return frozenset()
        # A process that was killed may have left half a line at the end.
        numbers = {int(line[:-1]) for line in lines if re.fullmatch(r"\d{1,9};", line)}
        return frozenset(number for number in numbers if number < len(self.ranges))

    def prepare(self, complete: frozenset[int]) -> None:
        """Make both files ready for the ranges that are not in `complete`."""
        if not complete:
            self.discard()
            self.note.write_text(f"{self._header}\n", "ascii")
            with self.path.open("wb") as file:
                file.truncate(self.ref.size)

    def discard(self) -> None:
        """Remove both files."""
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @property
    def _header(self) -> str:
        return f"{self.ref.sha256} {self.ref.size} {RANGE_BYTES};"


def download_in_ranges(
    client: S3Client,
    address: Address,
    part: PartFile,
    *,
    received: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the object at `address` to `part`, check its digest, and remove the note.

    What a former process completed is kept, and hashed again. If the digest is wrong then, everything is
    downloaded once more. If this process fails, the complete ranges stay for the next one.

    Args:
        client: the S3 client.
        address: the object to read.
        part: the file to write.
        received: called with the number of bytes, from the first on, that are complete and hashed.

    Raises:
        DigestMismatch: the object has other bytes.
        StoreUnsafe: the server does not answer ranges.
        FarmError: as `s3_errors`.
    """
    complete = part.complete()
    digest = _downloaded(client, address, part, complete, received)
    if digest != part.ref.sha256 and complete:
        digest = _downloaded(client, address, part, frozenset(), received)
    part.note.unlink()
    if digest != part.ref.sha256:
        part.discard()
        raise _other_bytes(address, part.ref, f"{part.ref.size} bytes with SHA-256 {digest}")


def _downloaded(
    client: S3Client,
    address: Address,
    part: PartFile,
    complete: frozenset[int],
    received: Callable[[int], None],
) -> str:
    """Download the ranges that are not `complete`; return the SHA-256 of all bytes."""
    with s3_errors(f"to read {address.url}", folder=part.path.parent):
        part.prepare(complete)
        with _opened(part) as (file, note), reading_threads(_READERS) as readers:
            writer = _Writer(file)

            def fetch(number: int) -> None:
                _fetch_range(client, address, part, part.ranges[number], writer)
                os.write(note, f"{number};\n".encode())

            missing = [number for number in range(len(part.ranges)) if number not in complete]
            fetched = {number: readers.submit(fetch, number) for number in missing}
            try:
                return _hashed(file, part, fetched, received)
            finally:  # before the files are closed: their numbers may soon be those of other files
                writer.stopped.set()
                readers.shutdown(cancel_futures=True)


@contextmanager
def _opened(part: PartFile) -> Iterator[tuple[int, int]]:
    """Yield descriptors of the file and of its note."""
    file = os.open(part.path, os.O_RDWR)
    try:
        note = os.open(part.note, os.O_WRONLY | os.O_APPEND)
        try:
            yield file, note
        finally:
            os.close(note)
    finally:
        os.close(file)


def _hashed(
    file: int, part: PartFile, fetched: dict[int, Future[None]], received: Callable[[int], None]
) -> str:
    """Return the SHA-256 of the file. Each range is hashed as soon as all ranges before it are complete."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_PIECE))
    for number, span in enumerate(part.ranges):
        if number in fetched:
            fetched.pop(number).result()
        for start in range(span.start, span.stop, _PIECE):
            piece = buffer[: min(_PIECE, span.stop - start)]
            digest.update(piece[: os.preadv(file, [piece], start)])
        received(span.stop)
    return digest.hexdigest()


class _StoppedError(Exception):
    """The download has failed elsewhere, so nobody waits for this range."""


class _Writer:
    """Writes to a file from several threads, until it is stopped."""

    def __init__(self, file: int) -> None:
        self.stopped = threading.Event()
        self._file = file

    def write(self, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`."""
        if self.stopped.is_set():
            raise _StoppedError
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, offset)
            view, offset = view[written:], offset + written


def _fetch_range(client: S3Client, address: Address, part: PartFile, span: range, writer: _Writer) -> None:
    """Write one range of the object.

    Raises:
        DigestMismatch: the object has another size.
        StoreUnsafe: the server sends other bytes than the range.
        ClientError: S3's response.
        BotoCoreError: the connection broke at each attempt.
    """
    try:
        sent = read_range(client, address, span, lambda data, start: writer.write(data, span.start + start))
    except Exception as error:
        if not is_range_refused(error):
            raise
        raise _other_bytes(address, part.ref, f"at most {span.start} bytes") from error
    if sent.total not in (None, part.ref.size):
        raise _other_bytes(address, part.ref, f"{sent.total} bytes")
    if sent.total is None or sent.size != len(span):
        raise StoreUnsafe(
            wanted=f"bytes {span.start} to {span.stop - 1} of {address.url}",
            found=f"{sent.size} bytes, of {sent.total or 'an unknown number'}",
            fix="use an S3 server that answers requests with a Range, or reach it without the proxy",
        )


def _other_bytes(address: Address, ref: BlobRef, actual: str) -> DigestMismatch:
    return DigestMismatch(
        wanted=f"{address.url} with {ref.size} bytes and SHA-256 {ref.sha256}",
        found=actual,
        fix="restore the object from a backup or from the bucket's versions, and find out who changed it",
    )
