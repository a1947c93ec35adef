"""The store: blobs under their digests, and records, whose conditional write commits them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.children.disk import require_space
from tasks.children.progress import report_progress
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import DigestMismatch, NotStored, RecordInvalid, StoreUnsafe
from tasks.store.conditional import prove_conditional_writes
from tasks.store.listing import pages
from tasks.store.part_files import part_of
from tasks.store.place import StorePlace
from tasks.store.readers import reading_threads
from tasks.store.records import Document, R, check_key, record_from_json, record_to_json
from tasks.store.s3 import s3_errors
from tasks.store.transfer import (
    download,
    file_ref,
    put_file,
    put_if_absent,
    read_small,
    stored_size,
)

_VERSION = 2  # its place in `engines/MODEL/VERSION/...` and `quarantine/MODEL/VERSION/...`
_LARGEST_RECORD = 16 << 20
_READERS = 8
_COMMIT_ROUNDS = 3
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store(StorePlace):
    """A store with everything that the farm does with it."""

    def check_conditional_writes(self) -> None:
        """Prove, once per process, that two builders cannot overwrite each other here.

        Raises:
            StoreUnsafe: they could.
            FarmError: as `s3_errors`.
        """
        prove_conditional_writes(self.client, self.bucket, self.address("").key)

    def put_blob(self, path: Path) -> BlobRef:
        """Store the bytes of `path` under their digest, unless the store has them.

        Raises:
            FarmError: as `s3_errors`.
        """
        ref = file_ref(path)
        address = self.address(ref.key)
        report_progress("publish", path.name, 0.0)
        stored = stored_size(self.client, address)
        if stored is None:
            put_if_absent(self.client, address, path, ref)
        elif stored != ref.size:
            put_file(self.client, address, path, ref)  # the stored bytes are damaged: so says their key
        report_progress("publish", path.name, 1.0)
        return ref

    def has_blob(self, ref: BlobRef) -> bool:
        """Return whether `ref` is stored in its full size. Readers check the bytes."""
        return stored_size(self.client, self.address(ref.key)) == ref.size

    def require_blobs(self, key: str, *refs: BlobRef) -> None:
        """Refuse the record at `key` if one of its blobs is missing.

        Raises:
            NotStored: one of `refs` is not stored in its full size.
        """
        for ref in refs:
            if not self.has_blob(ref):
                raise NotStored(
                    wanted=f"{ref.key}, which the record {key} in {self.url} names",
                    found="no such object of that size",
                    fix="restore it from a backup or from the bucket's versions; if there are none, move the "
                    "record out of the store, keep it, and build again",
                )

    def get_blob(self, ref: BlobRef, into: Path) -> None:
        """Write the bytes of `ref` to the file `into`, which appears only after its digest is checked.

        Raises:
            NotStored: there is no such blob.
            DigestMismatch: the stored bytes are different.
            FarmError: as `s3_errors`.
        """
        address = self.address(ref.key)
        wanted = f"{address.url} with {ref.size} bytes"
        into.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(into)

        def received(size: int) -> None:
            if size > ref.size:  # before it fills the disk
                raise _damaged(wanted, f"at least {size} bytes")
            report_progress("fetch", into.name, size / ref.size)

        try:
            require_space(wanted, ref.size, into.parent)
            with s3_errors(wanted, folder=into.parent):
                received_ref = download(self.client, address, part, received=received).ref
            if received_ref != ref:
                raise _damaged(wanted, f"{received_ref.size} bytes with SHA-256 {received_ref.sha256}")
            part.replace(into)
        finally:
            part.unlink(missing_ok=True)

    def commit(self, record: R, key: str, *, copied_from: Document[Any] | None = None) -> R:
        """Write `record` at `key` unless the store has a record there; return the one in the store.

        The key is relative to the store's root. The record in the store may be another builder's, or ours
        from a call whose response was lost; the `attempt` of an engine record tells them apart. If `record`
        was copied from another, keys of that document that this version does not know are kept.

        Raises:
            RecordInvalid: `record` does not belong at `key`, or the record there cannot be read.
            StoreUnsafe: the server ignores conditional writes.
            FarmError: as `s3_errors`.
        """
        check_key(record, key, f"{self.url}/{key}")
        self.check_conditional_writes()
        address, data = self.address(key), record_to_json(record, over=copied_from)
        for _ in range(_COMMIT_ROUNDS):
            if put_if_absent(self.client, address, data, blob_ref(data)):
                return record
            standing = self.find(key, type(record))
            if standing is not None:
                return standing
        raise StoreUnsafe(
            wanted=f"to write {address.url} once, or to read who wrote it",
            found="contradictory answers: the record is there, and it is not",
            fix="check the S3 server; something may be deleting records at this moment",
        )

    def records(self, kind: type[R], *, model: str | None = None, version: str | None = None) -> Iterator[R]:
        """Yield the records of `kind`; see `documents`."""
        for document in self.documents(kind, model=model, version=version):
            yield document.record

    def documents(
        self, kind: type[R], *, model: str | None = None, version: str | None = None
    ) -> Iterator[Document[R]]:
        """Yield the records of `kind` with their documents, by key; only of one model or version, if given.

        An unreadable record is left out, with a warning in the log.

        Raises:
            FarmError: as `s3_errors`.
        """
        for _, document in self.look_through(kind, model=model, version=version):
            if isinstance(document, RecordInvalid):
                _LOG.warning("left out an unreadable record: %s", document)
            else:
                yield document

    def look_through(
        self, kind: type[R], *, model: str | None = None, version: str | None = None
    ) -> Iterator[tuple[str, Document[R] | RecordInvalid]]:
        """Yield each key of `kind` with its document, or with the error why it cannot be read.

        Raises:
            FarmError: as `s3_errors`.
        """
        root, below = self.address("").key, f"{kind.ROOT}{model}/" if model else kind.ROOT
        if model and version:
            below = f"{below}{version}/"
        # S3 answers each read after tens of milliseconds: sequentially, a thousand take half a minute.
        with reading_threads(_READERS) as readers:
            for page in pages(self.client, self.bucket, f"{root}{below}"):
                keys = [listed.key.removeprefix(root) for listed in page]
                wanted = [key for key in keys if _is_record_key(key, version)]
                documents = readers.map(lambda key: self._document_or_reason(key, kind), wanted)
                yield from (
                    (key, document)
                    for key, document in zip(wanted, documents, strict=True)
                    if document is not None
                )

    def _document_or_reason(self, key: str, kind: type[R]) -> Document[R] | RecordInvalid | None:
        try:
            return self.find_document(key, kind)
        except RecordInvalid as error:
            return error

    def find(self, key: str, kind: type[R]) -> R | None:
        """Return the record of `kind` at `key`, relative to the store's root; None if there is none.

        Raises:
            RecordInvalid: the record there cannot be read, or belongs at another key.
            FarmError: as `s3_errors`.
        """
        document = self.find_document(key, kind)
        return None if document is None else document.record

    def find_document(self, key: str, kind: type[R]) -> Document[R] | None:
        """Return the record of `kind` at `key` with its document, like `find`."""
        data = read_small(self.client, self.address(key), most=_LARGEST_RECORD, refusal=RecordInvalid)
        return None if data is None else self.document(data, key, kind)

    def document(self, data: bytes, key: str, kind: type[R]) -> Document[R]:
        """Parse `data`, read at `key`, as a record of `kind`.

        Raises:
            RecordInvalid: `data` cannot be parsed, or belongs at another key.
        """
        address = self.address(key)
        record = record_from_json(data, kind, source=address.url)
        check_key(record, key, address.url)
        return Document(record=record, data=data)


def _is_record_key(key: str, version: str | None) -> bool:
    return key.endswith(".json") and (version is None or [version] == key.split("/")[_VERSION : _VERSION + 1])


def _damaged(wanted: str, actual: str) -> DigestMismatch:
    fix = "restore the object from a backup or from the bucket's versions, and find out who changed it"
    return DigestMismatch(wanted=wanted, found=actual, fix=fix)
