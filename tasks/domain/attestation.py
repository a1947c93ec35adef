"""Signed statements: sigstore bundle v0.3, in it a DSSE envelope, in it an in-toto statement.

The first of an engine's two statements is that of OpenSSF Model Signing, so that `model_signing verify key`
accepts the folder with the engine. Nothing here computes or checks a signature. Runs on consumers: Python
3.10, the standard library alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.domain.digest import canonical_json

PLAN_FILE = "engine.plan"
RECORD_FILE = "engine.plan.json"
SIGNATURE_FILE = "engine.plan.sig"
PROVENANCE_FILE = "engine.plan.provenance"

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MODEL_TYPE = "https://model_signing/signature/v1.0"
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
_DOCUMENT_TYPE = "urn:enginefarm:document:1"
_SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [PROVENANCE_FILE, SIGNATURE_FILE],  # of the folder: the rest of it is signed
}
_LARGEST_BUNDLE = 1 << 20
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


def signature_beside(plan: Path) -> Path:
    """Return the path of the plan's signature: `resnet.plan.sig` beside `resnet.plan`."""
    return plan.with_name(f"{plan.name}.sig")


def provenance_beside(plan: Path) -> Path:
    """Return the path of the plan's signed provenance: `resnet.plan.provenance` beside `resnet.plan`."""
    return plan.with_name(f"{plan.name}.provenance")


class AttestationError(ValueError):
    """A document is not a signed statement of the wanted form, or it states something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A signed statement.

    Attributes:
        payload: the statement's bytes.
        signature: the signature of `signed_bytes(payload)`, as ASN.1.
        key_id: SHA-256 of the public key's PEM: it says which key to try.
    """

    payload: bytes
    signature: bytes
    key_id: str

    def to_document(self) -> dict[str, Any]:
        """Return the sigstore bundle, JSON-ready."""
        return {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": self.key_id}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": _PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(self.signature).decode(), "keyid": ""}],
            },
        }

    def to_json(self) -> bytes:
        """Return the sigstore bundle as JSON."""
        return json.dumps(self.to_document(), separators=(",", ":")).encode()


def bundle_from_json(data: bytes) -> Bundle:
    """Parse what `Bundle.to_json` wrote.

    Raises:
        AttestationError: it is nothing like that.
    """
    if len(data) > _LARGEST_BUNDLE:
        raise AttestationError(f"{len(data)} bytes, more than a signature has")
    try:
        document = json.loads(data, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise AttestationError(f"not a JSON document: {error}") from error
    return bundle_from_document(document)


def bundle_from_document(document: Any) -> Bundle:
    """Parse what `Bundle.to_document` returned. Nothing unsigned besides is let through.

    Raises:
        AttestationError: it is nothing like that.
    """
    try:
        envelope = document["dsseEnvelope"]
        bundle = Bundle(
            payload=_bytes_of(envelope["payload"]),
            signature=_bytes_of(envelope["signatures"][0]["sig"]),
            key_id=str(document["verificationMaterial"]["publicKey"]["hint"]),
        )
    except _UNREADABLE as error:
        raise AttestationError(
            f"not a sigstore bundle with a key: {type(error).__name__}: {error}"
        ) from error
    if bundle.to_document() != document:
        raise AttestationError("not a sigstore bundle v0.3 with one signature of an in-toto statement")
    return bundle


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object has a key twice")
    return document


def _bytes_of(text: str) -> bytes:
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode() != text:  # the last digit of a text can have bits that say nothing
        raise binascii.Error("not the canonical base64 of its bytes")
    return data


def signed_bytes(payload: bytes) -> bytes:
    """Return what is signed for `payload`: DSSE's pre-authentication encoding."""
    head = f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} "
    return head.encode() + payload


def engine_statement(record: bytes, key: str, plan: str) -> bytes:
    """Return the statement about an engine: a folder with its plan and its record.

    Args:
        record: the bytes of the record.
        key: the record's key.
        plan: the SHA-256 of the plan.
    """
    digests = {PLAN_FILE: plan, RECORD_FILE: hashlib.sha256(record).hexdigest()}
    joined = b"".join(bytes.fromhex(digest) for digest in digests.values())
    predicate = {
        "serialization": _SERIALIZATION,
        "resources": [
            {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in digests.items()
        ],
    }
    return _statement(key, hashlib.sha256(joined).hexdigest(), MODEL_TYPE, predicate)


def provenance_statement(key: str, plan: str, predicate: Mapping[str, Any]) -> bytes:
    """Return the SLSA provenance of a plan: how it was built, and from what."""
    return _statement(key, plan, PROVENANCE_TYPE, predicate)


def document_statement(key: str, data: bytes, number: int | None = None) -> bytes:
    """Return the statement that `data` belongs at `key`.

    Args:
        key: the document's key, relative to the store's root.
        data: its bytes.
        number: grows with each new document at that key, so that an old one can be told; None: there is none.
    """
    digest = hashlib.sha256(data).hexdigest()
    return _statement(key, digest, _DOCUMENT_TYPE, {"number": number})


def document_number(payload: bytes, key: str, data: bytes) -> int | None:
    """Return the number in a statement about `data` at `key`.

    Raises:
        AttestationError: it states something else.
    """
    try:
        number = json.loads(payload)["predicate"]["number"]
    except _UNREADABLE as error:
        raise AttestationError("not a statement about a document with a number") from error
    if number is not None and type(number) is not int:
        raise AttestationError(f"{number!r} is not a number of a document")
    require_statement(payload, document_statement(key, data, number), key)
    return number


def provenance_predicate(payload: bytes, key: str, plan: str) -> dict[str, Any]:
    """Return what a provenance says about the `plan` of the engine at `key`.

    Raises:
        AttestationError: it states something else.
    """
    try:
        predicate: dict[str, Any] = json.loads(payload)["predicate"]
        expected = provenance_statement(key, plan, predicate)
    except _UNREADABLE as error:
        raise AttestationError("not a provenance") from error
    require_statement(payload, expected, key)
    return predicate


def require_statement(payload: bytes, expected: bytes, name: str) -> None:
    """Refuse a statement other than `expected`: each has exactly one form in bytes.

    Raises:
        AttestationError: it is another.
    """
    if payload == expected:
        return
    subject = _named_in(payload)
    raise AttestationError(
        f"a signature of other bytes of {name}" if subject == name else f"a signature of {subject}"
    )


def _named_in(payload: bytes) -> str:
    try:
        return str(json.loads(payload)["subject"][0]["name"])
    except _UNREADABLE:
        return "something else"


def _statement(name: str, digest: str, kind: str, predicate: Mapping[str, Any]) -> bytes:
    return canonical_json(
        {
            "_type": _STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest}}],
            "predicateType": kind,
            "predicate": dict(predicate),
        }
    )
