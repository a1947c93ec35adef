"""Writes a bundle: engines, records, signatures and the channel in one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tasks.consumer.cache import release_plan
from tasks.consumer.client import Client
from tasks.consumer.selection import Selection, Signed, channel_signatures, signatures
from tasks.consumer.tar_files import TarFile, complete_file, file_pieces, tar_document, tar_pieces
from tasks.domain.bundle import (
    CHANNEL,
    KEYS,
    MANIFEST,
    SUMS,
    Contents,
    members_of,
    plan_name,
    provenance_name,
    record_name,
    signature_name,
    sums,
)
from tasks.domain.candidate import Candidate
from tasks.domain.digest import blob_ref, canonical_json
from tasks.domain.trust import trust_document
from tasks.signing.signatures import trust_demanded


def write_bundle(client: Client, chosen: Selection, output: Path) -> Contents:
    """Write a bundle of `chosen` to the new file `output`; the same store makes the same bytes.

    Every plan passes through the cache of the client, which checks it.

    Raises:
        RequestInvalid: the file exists, or cannot be written.
        SignatureRefused: signatures are demanded, and an engine has none by a trusted key.
        FarmError: as `Client.keep`.
    """
    documents = _documents(client, chosen)
    by_plan = {engine.plan.sha256: engine for engine in chosen.engines}
    plans = {plan_name(engine.plan.sha256): engine.plan for engine in chosen.engines}
    contents = Contents(
        store=client.store.rstrip("/"),
        model=chosen.wanted.model,
        version=chosen.wanted.version,
        channel=chosen.wanted.channel,
        members=members_of(documents, plans),
    )
    files = [tar_document(name, data) for name, data in documents.items()]
    files += [
        TarFile(name=plan_name(sha256), ref=engine.plan, pieces=partial(_plan, client, engine))
        for sha256, engine in by_plan.items()
    ]
    files.append(tar_document(MANIFEST, contents.manifest))
    listed = {file.name: file.ref for file in files}
    files.append(tar_document(SUMS, sums(listed)))
    with complete_file(output) as tar:
        for piece in tar_pieces(sorted(files, key=lambda file: file.name)):
            tar.write(piece)
    return contents


def _documents(client: Client, chosen: Selection) -> dict[str, bytes]:
    documents: dict[str, bytes] = {}
    for engine in chosen.engines:
        documents[record_name(engine.record.sha256)] = client.record(engine)
        for key_id, signed in signatures(client, engine).items():
            documents.update(_of_signature(engine.record.sha256, key_id, signed))
    if chosen.channel is not None:
        documents[CHANNEL] = canonical_json(chosen.channel.to_document())
        pointer = blob_ref(chosen.channel.pointer_bytes).sha256
        for key_id, signed in channel_signatures(client, chosen.channel).items():
            documents.update(_of_signature(pointer, key_id, signed))
    trust = trust_demanded()
    if trust is not None:
        document = trust_document(tuple(trust.keys.values()))
        documents[KEYS] = json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
    return documents


def _of_signature(signed: str, key_id: str, stored: Signed) -> dict[str, bytes]:
    documents = {signature_name(signed, key_id): stored.signature}
    if stored.provenance is not None:
        documents[provenance_name(signed, key_id)] = stored.provenance
    return documents


def _plan(client: Client, engine: Candidate) -> Iterator[bytes]:
    path = client.keep(engine)
    try:
        yield from file_pieces(path)
    finally:
        release_plan(path)
