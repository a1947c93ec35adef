"""Signatures in channels and their indexes, and what consumers make of them. Consumers: Python 3.10."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tasks.domain.attestation import AttestationError, Bundle, bundle_from_document, bundle_from_json
from tasks.domain.candidate import Candidate, CandidateError, candidate_of_record
from tasks.domain.channel import Channel
from tasks.domain.digest import blob_ref
from tasks.domain.errors import DigestMismatch, RecordInvalid, SignatureRefused
from tasks.domain.trust import Purpose
from tasks.signing.kms import signer_at
from tasks.signing.signatures import (
    Trust,
    check_document,
    check_engine,
    sign_document,
    trust_demanded,
    unsigned,
)
from tasks.store.candidates import Place
from tasks.store.signatures import checked_signature, put_signature, read_signature, signers_of
from tasks.store.transfer import read_small

_LARGEST_RECORD = 16 << 20


def signature_of(place: Place, candidate: Candidate) -> Mapping[str, Any] | None:
    """Return what signs `candidate`, for its entry in an index; None: nothing does.

    If this host demands signatures, only those of a key that it trusts count.

    Raises:
        FarmError: as `s3_errors`.
    """
    try:
        bundle = _stored_bundle(place, candidate, trust_demanded())
        return None if bundle is None else bundle_from_json(bundle).to_document()
    except (SignatureRefused, AttestationError):
        return None


def _stored_bundle(place: Place, candidate: Candidate, trust: Trust | None) -> bytes | None:
    digest = candidate.record.sha256
    if trust is None:
        key_id = next(signers_of(place, digest), None)
        return None if key_id is None else read_signature(place, digest, key_id)
    address = place.address(candidate.key)
    record = read_small(place.client, address, most=_LARGEST_RECORD, refusal=RecordInvalid)
    return None if record is None else checked_signature(place, record, trust)[1]


def signing_channels(place: Place, signing_key: str) -> Callable[[Channel], Channel]:
    """Return a function that signs channels; it returns them as they are if `signing_key` is empty.

    The signature is also stored by itself: whoever makes a lost document again may not hold the key.

    Raises:
        KeyUnusable: the key cannot sign.
    """
    if not signing_key:
        return lambda channel: channel
    signer = signer_at(signing_key)

    def sign(channel: Channel) -> Channel:
        data = channel.pointer_bytes
        signature = sign_document(signer, channel.key, data, channel.move.number)
        put_signature(place, blob_ref(data).sha256, bundle_from_document(signature))
        return replace(channel, signature=signature)

    return sign


def require_signed_channel(place: Place, channel: Channel, trust: Trust, *, seen: int | None) -> None:
    """Refuse a channel of `place` that no trusted key signed; see `check_signed_channel`."""

    def stored(signed: str) -> Iterator[bytes]:
        for key_id in trust.key_ids(Purpose.CHANNELS):
            bundle = read_signature(place, signed, key_id)
            yield from () if bundle is None else (bundle,)

    check_signed_channel(channel, trust, stored, seen=seen)


def check_signed_channel(
    channel: Channel, trust: Trust, stored: Callable[[str], Iterable[bytes]], *, seen: int | None
) -> None:
    """Refuse a channel that no trusted key signed, or that is older than what this host has seen.

    Args:
        channel: the channel as it was read.
        trust: the keys that count.
        stored: returns signatures of the bytes with a SHA-256, besides that in the channel's document.
        seen: the highest number of a move that this host has seen; None: none.

    Raises:
        SignatureRefused: it is refused.
        FarmError: of `stored`.
    """
    refusal = unsigned(f"the channel {channel.key}")
    for bundle in _channel_bundles(channel, stored):
        try:
            check_document(
                trust, bundle, channel.key, channel.pointer_bytes, purpose=Purpose.CHANNELS, at_least=seen
            )
        except SignatureRefused as error:
            refusal = error
        else:
            return
    raise refusal


def _channel_bundles(channel: Channel, stored: Callable[[str], Iterable[bytes]]) -> Iterator[Any]:
    if channel.signature is not None:
        yield dict(channel.signature)
    for bundle in stored(blob_ref(channel.pointer_bytes).sha256):
        try:
            yield bundle_from_json(bundle).to_document()
        except AttestationError:
            continue


def engine_signature(
    candidate: Candidate, record: bytes, trust: Trust, stored: Callable[[], Iterator[bytes]]
) -> bytes:
    """Return the signature of a chosen engine, after checking it.

    Args:
        candidate: the engine, by an index or by its record.
        record: the bytes of its record.
        trust: the keys that count.
        stored: returns other signatures of it.

    Raises:
        SignatureRefused: no trusted key signed it.
        DigestMismatch: the index describes another engine than the record; it may be signed, and be wrong.
    """
    require_described(candidate, record)
    refusal = unsigned(f"the engine {candidate.key}")
    for bundle in _engine_bundles(candidate, stored):
        try:
            check_engine(trust, bundle, record)
        except SignatureRefused as error:
            refusal = error
        else:
            return bundle
    raise refusal


def _engine_bundles(candidate: Candidate, stored: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    try:
        signature = candidate.signature
        entry: Bundle | None = None if signature is None else bundle_from_document(dict(signature))
    except AttestationError:
        entry = None
    if entry is not None:
        yield entry.to_json()
    yield from stored()


def require_described(candidate: Candidate, record: bytes) -> None:
    """Refuse an entry of an index that says something else than the record of its engine.

    Raises:
        DigestMismatch: it does.
    """
    try:
        read = candidate_of_record(record)
        same = replace(read, signature=None) == replace(candidate, signature=None)
    except CandidateError:
        same = False
    if not same:
        raise DigestMismatch(
            wanted=f"an entry in the index of a channel as the record {candidate.key} makes it",
            found="another one",
            fix=f"`enginefarm channel refresh {candidate.model}@CHANNEL`, and find out who changed the index",
        )
