"""Writes an OCI image layout: an image for each engine, an index of them, and their signatures."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.consumer.cache import release_plan
from tasks.consumer.client import Client
from tasks.consumer.selection import Selection, Signed, signatures
from tasks.consumer.tar_files import TarFile, file_pieces, tar_document, tar_pieces, write_errors
from tasks.domain import oci
from tasks.domain.attestation import PLAN_FILE, PROVENANCE_FILE, RECORD_FILE, SIGNATURE_FILE
from tasks.domain.candidate import Candidate
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import RequestInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedImage:
    """An image in a layout.

    Attributes:
        engine: its engine.
        tag: its tag.
        manifest: its manifest.
        referrers: the entries of its signatures in `index.json`.
    """

    engine: Candidate
    tag: str
    manifest: BlobRef
    referrers: tuple[oci.Document, ...]


def export_layout(client: Client, chosen: Selection, output: Path) -> list[ExportedImage]:
    """Write the engines of `chosen` as an image layout to the new folder `output`.

    Every plan passes through the cache of the client, which checks it. The same store makes the same bytes.

    Raises:
        RequestInvalid: the folder exists, or cannot be written.
        SignatureRefused: signatures are demanded, and an engine has none by a trusted key.
        FarmError: as `Client.keep`.
    """
    with _complete_folder(output) as folder:
        blobs = _Blobs(folder=folder / "blobs" / "sha256")
        images = [_export(client, blobs, engine, chosen.name) for engine in chosen.engines]
        listed = [(image.engine, image.manifest) for image in images]
        index = blobs.put(oci.image_index(listed, _annotations(chosen)))
        entries = [oci.tagged(oci.INDEX_TYPE, index, oci.index_tag(chosen.name))]
        for image in images:
            entries += [oci.tagged(oci.MANIFEST_TYPE, image.manifest, image.tag), *image.referrers]
        (folder / "index.json").write_bytes(oci.layout_index(entries))
        (folder / "oci-layout").write_bytes(oci.LAYOUT)
    return images


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blobs:
    """The blobs of a layout."""

    folder: Path

    def put(self, data: bytes) -> BlobRef:
        ref = blob_ref(data)
        (self.folder / ref.sha256).write_bytes(data)
        return ref

    def stream(self, pieces: Iterable[bytes]) -> BlobRef:
        part, digest, size = self.folder / ".part", hashlib.sha256(), 0
        with part.open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                file.write(piece)
        part.rename(self.folder / digest.hexdigest())
        return BlobRef(sha256=digest.hexdigest(), size=size)


def _export(client: Client, blobs: _Blobs, engine: Candidate, name: str) -> ExportedImage:
    stored = signatures(client, engine)
    plan = client.keep(engine)
    try:
        layer = blobs.stream(tar_pieces(_files(plan, engine, stored)))
    finally:
        release_plan(plan)
    config = blobs.put(oci.image_config(engine, layer))
    manifest = blobs.put(oci.image_manifest(engine, config, layer))
    return ExportedImage(
        engine=engine,
        tag=oci.engine_tag(name, engine),
        manifest=manifest,
        referrers=tuple(_referrers(blobs, manifest, stored)),
    )


def _files(plan: Path, engine: Candidate, stored: Mapping[str, Signed]) -> list[TarFile]:
    """Return the files of an image, as `fetch` has them: a runner that demands signatures finds them."""
    files = [
        TarFile(name=PLAN_FILE, ref=engine.plan, pieces=partial(file_pieces, plan)),
        tar_document(RECORD_FILE, plan.with_name(RECORD_FILE).read_bytes()),
    ]
    checked = plan.with_name(SIGNATURE_FILE)
    signed = [checked.read_bytes()] if checked.exists() else [each.signature for each in stored.values()]
    return [*files, *(tar_document(SIGNATURE_FILE, data) for data in signed[:1])]


def _referrers(blobs: _Blobs, image: BlobRef, stored: Mapping[str, Signed]) -> Iterator[oci.Document]:
    if stored:
        blobs.put(oci.EMPTY)
    for signed in stored.values():
        statements = (
            (signed.signature, oci.SIGNATURE_PREDICATE, SIGNATURE_FILE),
            (signed.provenance, oci.PROVENANCE_PREDICATE, PROVENANCE_FILE),
        )
        for data, predicate, file in statements:
            if data is not None:
                manifest = oci.referrer_manifest(image, blobs.put(data), predicate, file)
                yield oci.referrer(blobs.put(manifest), predicate)


def _annotations(chosen: Selection) -> dict[str, str]:
    described = {"enginefarm.model": chosen.wanted.model}
    if chosen.channel is None:
        return {**described, "org.opencontainers.image.version": chosen.wanted.version or ""}
    move = chosen.channel.move
    return {
        **described,
        "enginefarm.channel": chosen.channel.name,
        "enginefarm.move": str(move.number),
        "org.opencontainers.image.version": move.release.version,
    }


@contextmanager
def _complete_folder(output: Path) -> Iterator[Path]:
    """Make the folder `output`, with room for blobs: it appears when all of it is written."""
    if output.exists():
        raise RequestInvalid(wanted=f"to write {output}", found="that it exists", fix="give another name")
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    with write_errors(output):
        try:
            (part / "blobs" / "sha256").mkdir(parents=True)
            yield part
            part.rename(output)
        finally:
            shutil.rmtree(part, ignore_errors=True)
