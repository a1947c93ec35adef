"""Signs statements, and checks signatures against the keys that are trusted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tasks.domain.attestation import (
    AttestationError,
    Bundle,
    bundle_from_document,
    bundle_from_json,
    document_number,
    document_statement,
    engine_statement,
    provenance_predicate,
    require_statement,
    signed_bytes,
)
from tasks.domain.errors import KeyUnusable, SignatureRefused
from tasks.domain.trust import Purpose, TrustedKey, trust_from_json
from tasks.signing.keys import Signer, canonical_pem, key_id, public_key

TRUST_VARIABLE = "ENGINEFARM_TRUST"
_SIGN = "sign it on a host with a trusted key (`enginefarm sign`), or correct the file of trusted keys"
_CHANGED = (
    "fetch it again; if it is refused again, do not use it, and find out who changed the store or the files"
)


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys that count, by their ids."""

    keys: Mapping[str, TrustedKey]

    def key_ids(self, purpose: Purpose, now: datetime | None = None) -> list[str]:
        """Return the ids of the keys that count for `purpose` now, the one that expires last first."""
        time = now or _now()
        valid = [(key.until, name) for name, key in self.keys.items() if not key.why_not(purpose, time)]
        return [name for _, name in sorted(valid, reverse=True)]

    def payload(self, bundle: Bundle, purpose: Purpose, what: str, now: datetime | None = None) -> bytes:
        """Return the statement in `bundle` after checking who signed it.

        Raises:
            SignatureRefused: its key is not trusted for `purpose` now, or did not sign it.
        """
        key = self.keys.get(bundle.key_id)
        problem = (
            f"a signature of the key {bundle.key_id[:16]!r}…, which is not trusted"
            if key is None
            else key.why_not(purpose, now or _now())
        )
        if key is None or problem:
            raise SignatureRefused(
                wanted=f"{what} signed by a key that {TRUST_VARIABLE} trusts", found=problem, fix=_SIGN
            )
        try:
            public_key(key.pem.encode()).verify(
                bundle.signature, signed_bytes(bundle.payload), ec.ECDSA(SHA256())
            )
        except InvalidSignature as error:
            raise _refused(what, f"a signature that the key {key.name!r} did not make") from error
        return bundle.payload


def load_trust(path: Path) -> Trust:
    """Return the keys in the file at `path`.

    Raises:
        KeyUnusable: it cannot be read, or has a key that cannot be used.
    """
    try:
        keys = trust_from_json(path.read_bytes())
        return Trust({key_id(canonical_pem(key.pem.encode())): key for key in keys})
    except (OSError, ValueError) as error:
        raise KeyUnusable(
            wanted=f"a file of trusted keys in {path}, which {TRUST_VARIABLE} names",
            found=f"{type(error).__name__}: {error}",
            fix="correct it: SECURITY.md describes the file, and `enginefarm keys new` writes one",
        ) from error


def trust_demanded() -> Trust | None:
    """Return the keys that ENGINEFARM_TRUST names; None if it is not set: then nothing has to be signed.

    Raises:
        KeyUnusable: as `load_trust`. A file that is missing does not mean that nothing has to be signed.
    """
    path = os.environ.get(TRUST_VARIABLE)
    return load_trust(Path(path)) if path else None


def sign_statement(signer: Signer, statement: bytes) -> Bundle:
    """Return `statement`, signed.

    Raises:
        KeyUnusable: the key cannot sign.
    """
    signature = signer.sign(signed_bytes(statement))
    return Bundle(payload=statement, signature=signature, key_id=key_id(signer.public_pem))


def check_engine(trust: Trust, bundle: bytes, record: bytes, *, now: datetime | None = None) -> str:
    """Check the signature of an engine before anything in its record is used; return the plan's SHA-256.

    Args:
        trust: the keys that count.
        bundle: the signature, as it was stored.
        record: the record, as it was stored.
        now: the time at which keys must be valid; None: this moment.

    Raises:
        SignatureRefused: the signature is not one of this record by a trusted key.
    """
    key, plan = _named(record)
    try:
        payload = trust.payload(bundle_from_json(bundle), Purpose.ENGINES, f"the engine {key}", now)
        require_statement(payload, engine_statement(record, key, plan), key)
    except AttestationError as error:
        raise _refused(f"the engine {key}", str(error)) from error
    return plan


def check_provenance(trust: Trust, bundle: bytes, record: bytes, *, now: datetime | None = None) -> Any:
    """Return the signed provenance of the engine with this `record`; see `check_engine`."""
    key, plan = _named(record)
    try:
        payload = trust.payload(bundle_from_json(bundle), Purpose.ENGINES, f"the provenance of {key}", now)
        return provenance_predicate(payload, key, plan)
    except AttestationError as error:
        raise _refused(f"the provenance of {key}", str(error)) from error


def _named(record: bytes) -> tuple[str, str]:
    """Return the key and the plan's digest that a record names; nothing else of it is used."""
    try:
        document = json.loads(record)
        key, plan = document["key"], document["plan"]["sha256"]
        bytes.fromhex(plan)
        return str(key), str(plan)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused("an engine", f"a record that cannot be read: {type(error).__name__}") from error


def sign_document(signer: Signer, key: str, data: bytes, number: int | None = None) -> dict[str, Any]:
    """Return the signature of `data`, which belongs at `key`, as a JSON-ready document.

    Args:
        signer: the key that signs.
        key: where the document belongs, relative to the store's root.
        data: its bytes.
        number: grows with each new document at that key; None if old ones do no harm.

    Raises:
        KeyUnusable: the key cannot sign.
    """
    return sign_statement(signer, document_statement(key, data, number)).to_document()


def check_document(  # noqa: PLR0913 (what it must be)
    trust: Trust,
    bundle: Any,
    key: str,
    data: bytes,
    *,
    purpose: Purpose,
    at_least: int | None = None,
    now: datetime | None = None,
) -> int | None:
    """Check the signature of a document, and that it is no older one; return its number.

    Args:
        trust: the keys that count.
        bundle: what `sign_document` returned; None if there is no signature.
        key: where the document belongs.
        data: its bytes.
        purpose: what the key must be trusted for.
        at_least: the highest number seen so far at that key.
        now: the time at which keys must be valid; None: this moment.

    Raises:
        SignatureRefused: there is no signature of this document by a trusted key, or it is an older one.
    """
    if bundle is None:
        raise unsigned(key)
    try:
        number = document_number(trust.payload(bundle_from_document(bundle), purpose, key, now), key, data)
    except AttestationError as error:
        raise _refused(key, str(error)) from error
    if at_least is not None and (number is None or number < at_least):
        raise _refused(key, f"number {number}, older than number {at_least}, which was seen before")
    return number


def unsigned(what: str) -> SignatureRefused:
    """Return the error for something without a signature by a trusted key."""
    return SignatureRefused(
        wanted=f"{what} signed, as {TRUST_VARIABLE} demands",
        found="no signature by a key that is trusted now",
        fix=_SIGN,
    )


def _refused(what: str, problem: str) -> SignatureRefused:
    return SignatureRefused(wanted=f"{what} with its signature", found=problem, fix=_CHANGED)


def _now() -> datetime:
    return datetime.now(timezone.utc)  # noqa: UP017 (Python 3.10 has no datetime.UTC)
