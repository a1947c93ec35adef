"""Signatures in the store: beside the records, under the digest of what they sign and the id of the key.

Nobody replaces one: a new key adds a signature. Whoever deletes one makes its engine unusable for those who
demand it, and no more. Consumers use this, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from tasks.domain.attestation import AttestationError, Bundle, bundle_from_json, document_statement
from tasks.domain.digest import blob_ref
from tasks.domain.errors import SignatureRefused
from tasks.domain.trust import Purpose
from tasks.signing.keys import Signer
from tasks.signing.signatures import (
    Trust,
    check_document,
    check_engine,
    sign_statement,
    trust_demanded,
    unsigned,
)
from tasks.store.candidates import Place
from tasks.store.listing import pages
from tasks.store.transfer import put_if_absent, read_small

ROOT = "signatures/"
_LARGEST = 1 << 20
_ENDING = ".sig.json"
_PROVENANCE_ENDING = ".provenance.json"


def signature_key(signed: str, key_id: str) -> str:
    """Return the key of the signature of the bytes with the SHA-256 `signed` by the key with this id."""
    return f"{_root_of(signed)}{key_id}{_ENDING}"


def _provenance_key(signed: str, key_id: str) -> str:
    return f"{_root_of(signed)}{key_id}{_PROVENANCE_ENDING}"


def _root_of(signed: str) -> str:
    return f"{ROOT}{signed[:2]}/{signed}/"


def put_signature(place: Place, signed: str, bundle: Bundle, provenance: Bundle | None = None) -> None:
    """Store the signature of the bytes with the SHA-256 `signed`, after the provenance, unless it is there.

    Raises:
        FarmError: as `s3_errors`.
    """
    if provenance is not None:
        key = _provenance_key(signed, bundle.key_id)
        put_if_absent(place.client, place.address(key), provenance.to_json())
    put_if_absent(place.client, place.address(signature_key(signed, bundle.key_id)), bundle.to_json())


def read_signature(place: Place, signed: str, key_id: str) -> bytes | None:
    """Return the stored signature of the bytes with the SHA-256 `signed`, unchecked; None if there is none.

    Raises:
        SignatureRefused: it is too large for one.
        FarmError: as `s3_errors`.
    """
    address = place.address(signature_key(signed, key_id))
    return read_small(place.client, address, most=_LARGEST, refusal=SignatureRefused)


def read_provenance(place: Place, signed: str, key_id: str) -> bytes | None:
    """Return the stored provenance, as `read_signature` does with the signature."""
    address = place.address(_provenance_key(signed, key_id))
    return read_small(place.client, address, most=_LARGEST, refusal=SignatureRefused)


def signers_of(place: Place, signed: str) -> Iterator[str]:
    """Yield the ids of the keys with a stored signature of bytes by their SHA-256, trusted or not.

    Raises:
        FarmError: as `s3_errors`.
    """
    root = place.address(_root_of(signed)).key
    for page in pages(place.client, place.bucket, root):
        names = [listed.key.removeprefix(root) for listed in page]
        yield from (name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING))


def sign_record(place: Place, key: str, data: bytes, signer: Signer) -> None:
    """Sign the record with the bytes `data`, which belongs at `key`; see `require_signed`.

    Raises:
        KeyUnusable: the key cannot sign.
        FarmError: as `s3_errors`.
    """
    put_signature(place, blob_ref(data).sha256, sign_statement(signer, document_statement(key, data)))


def require_signed_if_demanded(place: Place, key: str, data: bytes) -> None:
    """Do what `require_signed` does for records of CPU hosts, if ENGINEFARM_TRUST demands signatures."""
    trust = trust_demanded()
    if trust is not None:
        require_signed(place, key, data, trust, Purpose.ENGINES)


def require_signed(place: Place, key: str, data: bytes, trust: Trust, purpose: Purpose) -> None:
    """Refuse the record with the bytes `data`, read at `key`, if no trusted key signed it.

    Raises:
        SignatureRefused: none did.
        FarmError: as `s3_errors`.
    """
    refusal = unsigned(key)
    for key_id in trust.key_ids(purpose):
        bundle = read_signature(place, blob_ref(data).sha256, key_id)
        if bundle is None:
            continue
        try:
            check_document(trust, bundle_from_json(bundle).to_document(), key, data, purpose=purpose)
        except AttestationError:
            continue
        except SignatureRefused as error:  # somebody may have replaced one of several
            refusal = error
        else:
            return
    raise refusal


def checked_signature(place: Place, record: bytes, trust: Trust) -> tuple[str, bytes]:
    """Return the id of a trusted key and its signature of the engine with this `record`, after checking it.

    Raises:
        SignatureRefused: no trusted key signed it.
        FarmError: as `s3_errors`.
    """
    refusal = unsigned("the engine's record")
    for key_id in trust.key_ids(Purpose.ENGINES):
        bundle = read_signature(place, blob_ref(record).sha256, key_id)
        if bundle is None:
            continue
        try:
            check_engine(trust, bundle, record)
        except SignatureRefused as error:  # somebody may have replaced one of several
            refusal = error
        else:
            return key_id, bundle
    raise refusal
