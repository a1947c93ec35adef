"""Which engines a listing shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from tasks.domain.current import current_engines
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug, full_slug
from tasks.domain.record import EngineRecord
from tasks.domain.release import ReleaseRef
from tasks.domain.request import BuildRequest, Precision
from tasks.store.records import Document
from tasks.store.releases import read_request, release_objects
from tasks.store.store import Store

ReleaseFilter = Annotated[
    str | None,
    typer.Option(
        "--release",
        metavar="RELEASE",
        help="Only engines of this release, s3://BUCKET/PREFIX/MODEL/VERSION, or made from the same files.",
    ),
]
TargetFilter = Annotated[
    str | None,
    typer.Option("--target", metavar="DEVICE", help="Only for this device, such as l4 or rtx-sm89."),
]
PrecisionFilter = Annotated[
    list[Precision] | None, typer.Option("--precision", help="Only in this precision. May be repeated.")
]
TensorRTFilter = Annotated[
    str | None,
    typer.Option("--tensorrt", metavar="VERSION", help="Only for this TensorRT, such as 10.13 or 8.6.0.12."),
]
Latest = Annotated[
    bool,
    typer.Option(
        "--latest",
        help="Only the current engine of each release, target and precision: as the release's request is "
        "now, and made last.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFilter:
    """What a listing is limited to. What is empty limits nothing.

    Attributes:
        release: the release; an engine that was made from the same files under another prefix counts.
        target: the device.
        precisions: any of these.
        tensorrt: the TensorRT version, or the first numbers of it.
        latest: only what is current, see `current_engines`.
    """

    release: ReleaseRef | None = None
    target: str | None = None
    precisions: tuple[Precision, ...] = ()
    tensorrt: str | None = None
    latest: bool = False

    def listed(
        self, store: Store, model: str | None, version: str | None
    ) -> Iterator[Document[EngineRecord]]:
        """Yield the engines in `store` that pass, of one model or version only, if named.

        They come as they are read, and none is kept, unless `latest` compares them with each other.

        Raises:
            FarmError: as `s3_errors`.
        """
        if self.release is not None:
            model, version = self.release.model, self.release.version
        is_of_release = _of_release(store, self.release)
        documents = (
            document
            for document in store.documents(EngineRecord, model=model, version=version)
            if self._passes(document.record) and is_of_release(document.record)
        )
        yield from _current(store, documents) if self.latest else documents

    def _passes(self, record: EngineRecord) -> bool:
        version = f"{record.target.version}."
        return (
            (self.target is None or device_slug(record.target) == full_slug(self.target))
            and (not self.precisions or record.options.precision in self.precisions)
            and (self.tensorrt is None or version.startswith(f"{self.tensorrt}."))
        )


def _of_release(store: Store, ref: ReleaseRef | None) -> Callable[[EngineRecord], bool]:
    """Return what says whether an engine was made from the files of the release at `ref`."""
    if ref is None:
        return lambda _record: True
    try:
        objects = release_objects(store.client, ref)
    except FarmError:  # it may be gone, or not ours to read: its engines are there all the same
        objects = {}
    tags = {(path, listed.size, listed.etag) for path, listed in objects.items()}

    def is_of_release(record: EngineRecord) -> bool:
        form = record.release.format
        model = {
            (file.path, file.size, file.etag)
            for file in record.release.files
            if file.path == form or file.path.startswith(f"{form}/")
        }
        return record.release.ref == ref or model <= tags

    return is_of_release


def _current(store: Store, documents: Iterable[Document[EngineRecord]]) -> list[Document[EngineRecord]]:
    listed = {document.record.key: document for document in documents}

    def request_of(ref: ReleaseRef) -> BuildRequest | None:
        try:
            return read_request(store.client, ref)
        except FarmError:
            return None

    records = current_engines((document.record for document in listed.values()), request_of)
    return [listed[record.key] for record in records]
