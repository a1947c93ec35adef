"""Step 1: downloads a release from S3, hashed on its way; later, its conversion."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tasks.domain.digest import blob_ref
from tasks.domain.errors import DigestMismatch, NotStored, RecordInvalid
from tasks.domain.hashed_release import HashedRelease, hashed_release_key
from tasks.domain.keys import conversion_record_key
from tasks.domain.order import EngineOrder
from tasks.domain.order_check import check_order
from tasks.domain.record import WEIGHTS_FILE, ConversionRecord
from tasks.domain.release import REQUEST_FILE, Release, ReleaseRef
from tasks.domain.request import BuildRequest
from tasks.step import step
from tasks.store.releases import check_sample_file, fetch_release, read_request, request_in
from tasks.store.request_file import read_bounded
from tasks.store.s3 import s3_client
from tasks.store.signatures import require_signed_if_demanded
from tasks.store.store import Store
from tasks.tensorflow.models import LocalModel
from tasks.tensorrt.engine import graph_precision
from tasks.tensorrt.site import build_tools

R = TypeVar("R", ConversionRecord, HashedRelease)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedRelease:
    """A release on this host's disk.

    Attributes:
        release: the files that were read, with digests.
        request: what its owner asks for.
        folder: the folder of its files.
    """

    release: Release
    request: BuildRequest
    folder: Path

    @property
    def model(self) -> LocalModel:
        """The model, as it was downloaded."""
        return LocalModel(format=self.release.format, path=self.folder / self.release.format)

    @property
    def request_file(self) -> bytes:
        """The bytes of `build.yaml`."""
        return (self.folder / REQUEST_FILE).read_bytes()

    @property
    def samples(self) -> Path | None:
        """The sample file, if the request names it."""
        return None if self.request.samples is None else self.folder / self.request.samples


@step
async def fetch(ref: ReleaseRef, folder: Path) -> FetchedRelease:
    """Download the release at `ref` into `folder`.

    Raises:
        ReleaseIncomplete: no model, several, or no `build.yaml`.
        RequestInvalid: `build.yaml` has a wrong key or value.
    """
    return await asyncio.to_thread(_fetch, ref, folder)


def _fetch(ref: ReleaseRef, folder: Path) -> FetchedRelease:
    client = s3_client()
    read_request(client, ref)  # first: an invalid request fails before gigabytes are downloaded
    release = fetch_release(client, ref, folder)
    # It may have been replaced meanwhile: only the file with the digest in the record counts.
    request = request_in(ref, read_bounded(folder / REQUEST_FILE))
    check_sample_file(ref, request, [file.path for file in release.files])
    return FetchedRelease(release=release, request=request, folder=folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedConversion:
    """A conversion on this host's disk: the graph, and TensorFlow's answers to compare an engine with."""

    record: ConversionRecord
    onnx: Path
    reference: Path


@step
async def fetch_conversion(order: EngineOrder, folder: Path) -> FetchedConversion:
    """Download what `order` builds from; digests are checked on the way, and the order before.

    Raises:
        NotStored: the conversion or the record of the release is not in the store.
        RecordInvalid: the conversion is not of the order's release, or the order is not what the release's
            request asks for; see `check_order`.
        DigestMismatch: stored bytes do not match the record.
    """
    return await asyncio.to_thread(_fetch_conversion, order, folder)


def _fetch_conversion(order: EngineOrder, folder: Path) -> FetchedConversion:
    store = Store.connect(order.store)
    record = required_record(store, conversion_record_key(order.conversion), ConversionRecord)
    release = required_record(store, hashed_release_key(order.release), HashedRelease)
    if release.release != order.release:
        raise RecordInvalid(
            wanted=f"the record {release.key} of {order.release.ref.url} as the order has it",
            found="other files",
            fix="start build-release, which makes orders, and find out who started this run",
        )
    check_order(
        order,
        record,
        request_of(release),
        graph_precision=graph_precision(order.target, order.options.precision),
        build_tools=build_tools().keys(),
    )
    return _fetch_graph(order.store, record, folder)


def required_record(store: Store, key: str, kind: type[R]) -> R:
    """Return the record of `kind` at `key`, which a CPU host wrote.

    Raises:
        NotStored: there is none.
        SignatureRefused: ENGINEFARM_TRUST demands signatures, and no trusted key signed it.
        FarmError: as `Store.find`.
    """
    document = store.find_document(key, kind)
    if document is None:
        raise NotStored(
            wanted=f"the record {key} in {store.url}",
            found="no such record",
            fix="run build-release, which writes it before it orders engines; update enginefarm on the hosts "
            "that do",
        )
    require_signed_if_demanded(store, key, document.data)
    return document.record


def request_of(hashed: HashedRelease) -> BuildRequest:
    """Return the request in `hashed`, whose bytes are one of the release's files. Raises DigestMismatch."""
    data = hashed.request.encode()
    if blob_ref(data).sha256 != hashed.release.digest_of(REQUEST_FILE):
        raise DigestMismatch(
            wanted=f"the {REQUEST_FILE} whose digest {hashed.key} names",
            found="another text",
            fix="restore the record from a backup or from the bucket's versions, and find out who changed it",
        )
    return request_in(hashed.release.ref, data)


@step
async def fetch_graph(store_url: str, record: ConversionRecord, folder: Path) -> FetchedConversion:
    """Download the graph and the reference of `record`; digests are checked on the way."""
    return await asyncio.to_thread(_fetch_graph, store_url, record, folder)


def _fetch_graph(store_url: str, record: ConversionRecord, folder: Path) -> FetchedConversion:
    store, files = Store.connect(store_url), folder / record.key
    files.mkdir(exist_ok=True)  # a separate folder: the external data beside a graph has a fixed name
    onnx, reference = files / "model.onnx", files / "reference.npz"
    store.get_blob(record.onnx, onnx)
    if record.weights is not None:
        store.get_blob(record.weights, files / WEIGHTS_FILE)
    store.get_blob(record.reference, reference)
    return FetchedConversion(record=record, onnx=onnx, reference=reference)
