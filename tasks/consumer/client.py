"""Resolves, fetches and keeps engines: what the public functions and the command line have in common."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tasks.consumer.cache import Cache
from tasks.consumer.offline import offline_resolution, remember_channel, remembered_channel
from tasks.domain.attestation import RECORD_FILE, SIGNATURE_FILE
from tasks.domain.candidate import Candidate
from tasks.domain.channel import Channel
from tasks.domain.digest import blob_ref
from tasks.domain.errors import DigestMismatch, NotStored, RecordInvalid, RequestInvalid
from tasks.domain.host import Host, Wanted
from tasks.domain.resolution import Choice, Resolution, resolve
from tasks.domain.trust import Purpose
from tasks.signing.signatures import trust_demanded
from tasks.store.candidates import stored_candidates
from tasks.store.engine_signatures import engine_signature, require_signed_channel
from tasks.store.place import StorePlace
from tasks.store.ranges import PartFile, download_in_ranges
from tasks.store.resolving import Resolved, resolve_stored
from tasks.store.signatures import read_signature
from tasks.store.transfer import read_small

_LARGEST_RECORD = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Client:
    """A consumer of a store.

    Attributes:
        store: URL of the store.
        cache: where engines are kept.
        offline: use the cache only.
    """

    store: str
    cache: Cache
    offline: bool = False

    @classmethod
    def from_environment(cls, store: str | None, cache: Path | None, *, offline: bool | None) -> Client:
        """Return the client of ENGINEFARM_STORE, ENGINEFARM_CACHE and ENGINEFARM_OFFLINE, unless given.

        Raises:
            RequestInvalid: no store is given, or a value cannot be used.
        """
        url = store or os.environ.get("ENGINEFARM_STORE")
        if not url:
            raise RequestInvalid(
                wanted="the URL of a store",
                found="none",
                fix="give --store s3://..., or set ENGINEFARM_STORE",
            )
        return cls(
            store=url,
            cache=cache_at(cache),
            offline=os.environ.get("ENGINEFARM_OFFLINE", "") not in {"", "0"} if offline is None else offline,
        )

    @cached_property
    def place(self) -> StorePlace:
        """The store; it is looked up when it is first needed."""
        return StorePlace.connect(self.store)

    def resolve(self, wanted: Wanted, host: Host) -> Resolution:
        """Return the engine for `host`, or why there is none.

        Raises:
            NotStored: there is no such channel; offline: the cache has never seen it.
            FarmError: as `tasks.store.s3.s3_errors`.
        """
        if self.offline:
            return offline_resolution(self.cache, self.store, wanted, host)
        return self._resolved(wanted, host).resolution

    def fetch(self, wanted: Wanted, host: Host) -> tuple[Path, Choice]:
        """Return the path of the plan for `host`, with its record beside it, and why it was chosen.

        Raises:
            NoEngineFits: there is none; the error has the reasons.
            DigestMismatch: stored bytes are not those that were stored.
            FarmError: as `resolve` and `Cache.engine`.
        """
        if self.offline:
            choice = offline_resolution(self.cache, self.store, wanted, host).chosen()
            return self.keep(choice.candidate), choice
        answer = self._resolved(wanted, host)
        choice = answer.resolution.chosen()
        try:
            return self.keep(choice.candidate), choice
        except (NotStored, DigestMismatch):
            if not answer.from_index:
                raise
        # The index names an engine that is gone, or another record: the records decide.
        choice = self._from_records(answer, wanted, host).chosen()
        return self.keep(choice.candidate), choice

    def _resolved(self, wanted: Wanted, host: Host) -> Resolved:
        answer = resolve_stored(self.place, host, wanted)
        if answer.channel is not None:
            self.check_channel(answer.channel)
            remember_channel(self.cache, self.store, answer.channel)
        return answer

    def _from_records(self, answer: Resolved, wanted: Wanted, host: Host) -> Resolution:
        move = None if answer.channel is None else answer.channel.move
        engines = [
            candidate
            for release in (() if move is None else move.releases)
            for candidate in stored_candidates(self.place, release.model, release.version)
            if move is not None and move.has(candidate)
        ]
        return resolve(host, wanted, engines)

    def check_channel(self, channel: Channel) -> None:
        """Refuse a channel that is not signed, or older than one that this cache has seen, if it must be."""
        trust = trust_demanded()
        if trust is not None:
            seen = remembered_channel(self.cache, self.store, channel.model, channel.name)
            number = None if seen is None else seen.move.number
            require_signed_channel(self.place, channel, trust, seen=number)

    def keep(self, candidate: Candidate) -> Path:
        """Return the path of the plan of `candidate`, checked, with its record and what signs it beside it.

        Raises:
            NotStored: the plan or the record is gone.
            DigestMismatch: stored bytes are not those that were stored.
            SignatureRefused: a signature is demanded, and no trusted key signed it.
            FarmError: as `Cache.engine`.
        """
        record = self.record(candidate)
        files = {RECORD_FILE: record, **self._signature(candidate, record)}
        return self.cache.engine(candidate.plan, files, self._download)

    def record(self, candidate: Candidate) -> bytes:
        """Return the bytes of the record of `candidate`, checked.

        Raises:
            NotStored: it is gone.
            DigestMismatch: it was replaced.
            FarmError: as `tasks.store.s3.s3_errors`.
        """
        return self.cache.record(candidate.plan, candidate.record) or self._record(candidate)

    def _signature(self, candidate: Candidate, record: bytes) -> dict[str, bytes]:
        """Return the file with the signature of the engine, after checking it; nothing if it needs none."""
        trust = trust_demanded()
        if trust is None:
            return {}

        def stored() -> Iterator[bytes]:
            yield from self.cache.signatures(candidate.plan, candidate.record)
            for key_id in () if self.offline else trust.key_ids(Purpose.ENGINES):
                bundle = read_signature(self.place, candidate.record.sha256, key_id)
                yield from () if bundle is None else (bundle,)

        return {SIGNATURE_FILE: engine_signature(candidate, record, trust, stored)}

    def _record(self, candidate: Candidate) -> bytes:
        address = self.place.address(candidate.key)
        data = read_small(self.place.client, address, most=_LARGEST_RECORD, refusal=RecordInvalid)
        if data is None:
            raise NotStored(
                wanted=f"the record {address.url}",
                found="no such object",
                fix="`enginefarm engines list` shows what is there",
            )
        if blob_ref(data) != candidate.record:
            raise DigestMismatch(
                wanted=f"{address.url} with SHA-256 {candidate.record.sha256}",
                found=f"SHA-256 {blob_ref(data).sha256}",
                fix="restore the object from a backup or from the bucket's versions, and find out who did it",
            )
        return data

    def _download(self, part: PartFile) -> None:
        if self.offline:
            raise NotStored(
                wanted=f"the plan {part.ref.sha256} in the cache {self.cache.folder}",
                found="a file that was changed or removed, and no network to fetch it again",
                fix="fetch it with a network",
            )
        download_in_ranges(self.place.client, self.place.address(part.ref.key), part)


def cache_at(folder: Path | None) -> Cache:
    """Return the cache at `folder`; None: that of the environment.

    Raises:
        RequestInvalid: ENGINEFARM_CACHE_SIZE is not a size.
    """
    cache = Cache.from_environment()
    return cache if folder is None else Cache(folder=folder, most_bytes=cache.most_bytes)
