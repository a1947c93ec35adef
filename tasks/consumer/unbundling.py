"""Fills the cache of a host without a network out of a bundle that anybody may have written.

Nothing in the file is interpreted before its digest was checked, no name in it becomes a path, and nothing is
decompressed: from the manifest on, every byte of a bundle is decided by the manifest. The whole file is read
and checked before the cache gets anything.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from tasks.consumer.cache import Cache, release_plan
from tasks.consumer.offline import remember_channel, remembered_channel
from tasks.domain.attestation import PROVENANCE_FILE, RECORD_FILE, SIGNATURE_FILE
from tasks.domain.bundle import (
    LARGEST_DOCUMENT,
    MANIFEST,
    BundleError,
    Contents,
    Opened,
    contents_from_json,
    opened,
    plan_name,
    provenance_name,
)
from tasks.domain.candidate import Candidate
from tasks.domain.channel import Channel
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import ArchiveRefused, DigestMismatch, RequestInvalid
from tasks.domain.plain_tar import BLOCK, described_header, stated_size, tar_ending, tar_header, tar_padding
from tasks.signing.signatures import Trust, check_provenance, trust_demanded
from tasks.store.engine_signatures import check_signed_channel, engine_signature
from tasks.store.ranges import PartFile

_PIECE = 1 << 20
_FIX = "copy the file again; if it is refused again, do not use it: make the bundle again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbundled:
    """What a cache got.

    Attributes:
        contents: what the bundle contains.
        engines: its engines.
        channel: the channel of the bundle; None if it has none.
        former: the later move that the cache has seen and keeps; None: it has seen none.
    """

    contents: Contents
    engines: tuple[Candidate, ...]
    channel: Channel | None
    former: int | None


def unbundle(path: Path, cache: Cache, store: str | None = None) -> Unbundled:
    """Check the bundle at `path`, and put its engines and its channel into `cache`.

    Args:
        path: the bundle.
        cache: the cache.
        store: URL of the store whose bundle it must be; None: of any.

    Raises:
        ArchiveRefused: it is no bundle, is damaged, or has parts too few or too many.
        DigestMismatch: a part has other bytes than the bundle says.
        SignatureRefused: signatures are demanded, and something in it is not signed, or is older than what
            this host has seen.
        RequestInvalid: it is the bundle of another store, or the cache is too small for it.
        DiskFull: there is no space.
    """
    with _bundle(path) as tar:
        bundle = tar.checked()
        _check_store(bundle.contents, store)
        _check_room(bundle.contents, cache)
        trust = trust_demanded()
        signed = _signatures(bundle, trust)
        former = _check_channel(bundle, cache, trust)
        places = {name: place for name, place, _ in bundle.contents.places()}
        with ExitStack() as uses:  # until all are there, none makes room for another
            for engine, record in bundle.engines:
                for files in signed[engine.record.sha256]:
                    beside = {RECORD_FILE: record, **files}
                    kept = cache.engine(engine.plan, beside, partial(tar.plan, places))
                    uses.callback(release_plan, kept)
        if bundle.channel is not None and former is None:
            remember_channel(cache, bundle.contents.store, bundle.channel)
    return Unbundled(
        contents=bundle.contents,
        engines=tuple(engine for engine, _ in bundle.engines),
        channel=bundle.channel,
        former=former,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tar:
    """An open bundle."""

    path: Path
    file: BinaryIO

    def checked(self) -> Opened:
        """Read all of it; return what it is, after checking every byte."""
        contents = self._contents()
        if contents.size != os.fstat(self.file.fileno()).st_size:
            raise self.refused(f"a file that is not {contents.size} bytes long, as its manifest makes it")
        places, documents = list(contents.places()), dict[str, bytes]()
        for name, place, ref in places:
            self._expect(place - BLOCK, tar_header(name, ref.size), name)
            if name.startswith("plans/"):
                self._require(name, ref, _digest(self._pieces(place, ref.size)))
            else:
                documents[name] = b"".join(self._pieces(place, ref.size))
                self._require(name, ref, blob_ref(documents[name]))
            self._expect(place + ref.size, tar_padding(ref.size), f"the end of {name}")
        _, place, ref = places[-1]
        end = place + ref.size + len(tar_padding(ref.size))
        self._expect(end, tar_ending(end), "the end")
        return self._opened(
            contents, {name: documents[name] for name in contents.members if name in documents}
        )

    def plan(self, places: Mapping[str, int], part: PartFile) -> None:
        """Write a plan to `part`, and check it again: the file may have changed since."""
        place = places[plan_name(part.ref.sha256)]
        part.discard()
        digest = hashlib.sha256()
        with part.path.open("wb") as file:
            for piece in self._pieces(place, part.ref.size):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != part.ref.sha256:
            part.discard()
            raise self._differs(plan_name(part.ref.sha256), part.ref, digest.hexdigest())

    def refused(self, problem: str) -> ArchiveRefused:
        """Return the error for a file that is no bundle."""
        return ArchiveRefused(wanted=f"a bundle of engines in {self.path}", found=problem, fix=_FIX)

    def _contents(self) -> Contents:
        header = self._read(0, BLOCK)
        size = stated_size(header)
        if not 0 <= size <= LARGEST_DOCUMENT or header != tar_header(MANIFEST, size):
            raise self.refused(f"a file that does not begin with {MANIFEST}: {described_header(header)}")
        try:
            return contents_from_json(self._read(BLOCK, size))
        except BundleError as error:
            raise self.refused(str(error)) from error

    def _opened(self, contents: Contents, documents: dict[str, bytes]) -> Opened:
        try:
            return opened(contents, documents)
        except BundleError as error:
            raise self.refused(str(error)) from error

    def _expect(self, place: int, wanted: bytes, name: str) -> None:
        read = self._read(place, len(wanted))
        if read != wanted:
            header = len(wanted) == BLOCK and any(wanted)
            raise self.refused(
                f"{described_header(read)} in place of {name}" if header else f"bytes after {name}"
            )

    def _require(self, name: str, wanted: BlobRef, read: BlobRef) -> None:
        if read != wanted:
            raise self._differs(name, wanted, read.sha256)

    def _differs(self, name: str, wanted: BlobRef, sha256: str) -> DigestMismatch:
        return DigestMismatch(
            wanted=f"{name} in {self.path} with SHA-256 {wanted.sha256}", found=f"SHA-256 {sha256}", fix=_FIX
        )

    def _read(self, place: int, size: int) -> bytes:
        return b"".join(self._pieces(place, size))

    def _pieces(self, place: int, size: int) -> Iterator[bytes]:
        self.file.seek(place)
        while size:
            piece = self.file.read(min(size, _PIECE))
            if not piece:
                raise self.refused("the end of the file too early")
            size -= len(piece)
            yield piece


def _digest(pieces: Iterable[bytes]) -> BlobRef:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return BlobRef(sha256=digest.hexdigest(), size=size)


@contextmanager
def _bundle(path: Path) -> Iterator[_Tar]:
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (it is closed below)
    except OSError as error:
        raise RequestInvalid(
            wanted=f"to read the bundle {path}", found=str(error), fix="give the file that was copied here"
        ) from error
    with file:
        tar = _Tar(path=path, file=file)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise tar.refused("no plain file")
        yield tar


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, or a pipe without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_store(contents: Contents, store: str | None) -> None:
    if store is not None and store.rstrip("/") != contents.store:
        raise RequestInvalid(
            wanted=f"a bundle of the store {store}, which --store or ENGINEFARM_STORE names",
            found=f"one of {contents.store}",
            fix=f"give --store {contents.store} if that is meant",
        )


def _check_room(contents: Contents, cache: Cache) -> None:
    needed = sum(ref.size for name, ref in contents.members.items() if name.startswith("plans/"))
    if needed > cache.most_bytes:
        raise RequestInvalid(
            wanted=f"a cache for the plans of the bundle, {needed} bytes",
            found=f"a bound of {cache.most_bytes} bytes",
            fix="set ENGINEFARM_CACHE_SIZE, or bundle fewer engines (--gpu, --precision)",
        )


def _signatures(bundle: Opened, trust: Trust | None) -> dict[str, list[dict[str, bytes]]]:
    """Return the files beside plan and record, one set for each signature, by the digest of the record.

    Raises:
        SignatureRefused: signatures are demanded, and an engine has none that counts.
    """
    return {
        engine.record.sha256: _of_engine(bundle, engine, record, trust) for engine, record in bundle.engines
    }


def _of_engine(
    bundle: Opened, engine: Candidate, record: bytes, trust: Trust | None
) -> list[dict[str, bytes]]:
    stored = dict(bundle.signatures(engine.record.sha256))
    if trust is not None:
        counted = engine_signature(engine, record, trust, lambda: iter(stored.values()))
        stored = {key_id: data for key_id, data in stored.items() if data == counted}
    files = []
    for key_id, signature in stored.items():
        provenance = bundle.documents.get(provenance_name(engine.record.sha256, key_id))
        beside = {} if provenance is None else {PROVENANCE_FILE: provenance}
        if trust is not None and provenance is not None:
            check_provenance(trust, provenance, record)
        files.append({SIGNATURE_FILE: signature, **beside})
    return files or [{}]


def _check_channel(bundle: Opened, cache: Cache, trust: Trust | None) -> int | None:
    """Return the number of a later move that the cache has seen; None if there is none.

    Raises:
        SignatureRefused: signatures are demanded, and the channel has none that counts, or is older.
    """
    channel = bundle.channel
    if channel is None:
        return None
    seen = remembered_channel(cache, bundle.contents.store, channel.model, channel.name)
    number = None if seen is None else seen.move.number
    if trust is not None:

        def stored(signed: str) -> Iterable[bytes]:
            return [data for _, data in bundle.signatures(signed)]

        check_signed_channel(channel, trust, stored, seen=number)
    return number if number is not None and number > channel.move.number else None
