"""Signatures in the store: beside the records, under the digest of what they sign and the id of the key.

Nobody replaces one: a new key adds a signature. Whoever deletes one makes its engine unusable for those who
demand it, and no more. Consumers use this, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from tasks.domain.attestation import Bundle
from tasks.domain.errors import SignatureRefused
from tasks.domain.trust import Purpose
from tasks.signing.signatures import Trust, check_engine, unsigned
from tasks.store.listing import pages
from tasks.store.transfer import Address, put_if_absent, read_small

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ROOT = "signatures/"
_LARGEST = 1 << 20
_ENDING = ".sig.json"
_PROVENANCE_ENDING = ".provenance.json"


class Place(Protocol):
    """What of a store is needed here."""

    @property
    def client(self) -> S3Client:
        """The S3 client."""

    @property
    def bucket(self) -> str:
        """The bucket."""

    def address(self, key: str) -> Address:
        """Return the address of `key`, which is relative to the store's root."""


def signature_key(signed: bytes, key_id: str) -> str:
    """Return the key of the signature of the bytes `signed` by the key with this id."""
    return f"{_root_of(signed)}{key_id}{_ENDING}"


def _provenance_key(signed: bytes, key_id: str) -> str:
    return f"{_root_of(signed)}{key_id}{_PROVENANCE_ENDING}"


def _root_of(signed: bytes) -> str:
    digest = hashlib.sha256(signed).hexdigest()
    return f"{ROOT}{digest[:2]}/{digest}/"


def put_signature(place: Place, signed: bytes, bundle: Bundle, provenance: Bundle | None = None) -> None:
    """Store the signature of `signed`, and before it the provenance, unless they are there.

    Raises:
        FarmError: as `s3_errors`.
    """
    if provenance is not None:
        key = _provenance_key(signed, bundle.key_id)
        put_if_absent(place.client, place.address(key), provenance.to_json())
    put_if_absent(place.client, place.address(signature_key(signed, bundle.key_id)), bundle.to_json())


def read_signature(place: Place, signed: bytes, key_id: str) -> bytes | None:
    """Return the stored signature of `signed` by a key, unchecked; None if there is none.

    Raises:
        SignatureRefused: it is too large for one.
        FarmError: as `s3_errors`.
    """
    address = place.address(signature_key(signed, key_id))
    return read_small(place.client, address, most=_LARGEST, refusal=SignatureRefused)


def read_provenance(place: Place, signed: bytes, key_id: str) -> bytes | None:
    """Return the stored provenance, as `read_signature` does with the signature."""
    address = place.address(_provenance_key(signed, key_id))
    return read_small(place.client, address, most=_LARGEST, refusal=SignatureRefused)


def signers_of(place: Place, signed: bytes) -> Iterator[str]:
    """Yield the ids of the keys whose signatures of `signed` are stored, trusted or not.

    Raises:
        FarmError: as `s3_errors`.
    """
    root = place.address(_root_of(signed)).key
    for page in pages(place.client, place.bucket, root):
        names = [listed.key.removeprefix(root) for listed in page]
        yield from (name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING))


def checked_signature(place: Place, record: bytes, trust: Trust) -> tuple[str, bytes]:
    """Return the id of a trusted key and its signature of the engine with this `record`, after checking it.

    Raises:
        SignatureRefused: no trusted key signed it.
        FarmError: as `s3_errors`.
    """
    refusal = unsigned("the engine's record")
    for key_id in trust.key_ids(Purpose.ENGINES):
        bundle = read_signature(place, record, key_id)
        if bundle is None:
            continue
        try:
            check_engine(trust, bundle, record)
        except SignatureRefused as error:  # somebody may have replaced one of several
            refusal = error
        else:
            return key_id, bundle
    raise refusal
