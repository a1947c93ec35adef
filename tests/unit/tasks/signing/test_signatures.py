"""Only what a trusted key signed counts, and only as what it was signed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tasks.domain.attestation import bundle_from_json, provenance_statement
from tasks.domain.errors import KeyUnusable, SignatureRefused
from tasks.domain.trust import Purpose, TrustedKey, trust_document, trust_from_json
from tasks.signing.signatures import (
    check_document,
    check_engine,
    check_provenance,
    load_trust,
    sign_document,
    sign_statement,
    trust_demanded,
)
from tests.support.signed import NOW, RECORD, SignedEngine, signing_key, trust_in, trusted, write_trust

ENGINE = SignedEngine()
CHANNEL = "channels/resnet/production.json"


def refused(record: bytes, bundle: bytes) -> bool:
    try:
        check_engine(trust_in(), bundle, record, now=NOW)
    except SignatureRefused:
        return True
    return False


def test_a_signed_engine_is_accepted_and_its_plan_named() -> None:
    digest = check_engine(trust_in(), ENGINE.signature(), ENGINE.record, now=NOW)
    assert digest == json.loads(RECORD)["plan"]["sha256"]


def _changed(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield each value in `document` with its place, and another value for it."""
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in items:
            yield from _changed(value, (*path, key))
    elif isinstance(document, bool) or document is None:
        yield path, not document
    elif isinstance(document, int | float):
        yield path, document + 1
    else:
        yield path, f"{document}x"


def test_a_record_with_any_field_changed_is_refused() -> None:
    engine, places = SignedEngine(record=json.dumps(json.loads(RECORD)).encode()), 0
    bundle = engine.signature()
    assert not refused(engine.record, bundle)
    for path, value in _changed(json.loads(RECORD)):
        document = json.loads(RECORD)
        parent = document
        for part in path[:-1]:
            parent = parent[part]
        parent[path[-1]] = value
        assert refused(json.dumps(document).encode(), bundle), path
        places += 1
    assert places > 90
    for key in json.loads(RECORD):
        document = {other: value for other, value in json.loads(RECORD).items() if other != key}
        assert refused(json.dumps(document).encode(), bundle), key


def test_each_of_500_flipped_bits_of_record_and_signature_is_refused() -> None:
    drawn = random.Random(17)  # noqa: S311 (not a secret)
    bundle = ENGINE.signature()
    for number in range(500):
        files = {"record": bytearray(ENGINE.record), "signature": bytearray(bundle)}
        data = files["record" if number % 2 else "signature"]
        place = drawn.randrange(len(data))
        data[place] ^= 1 << drawn.randrange(8)
        assert refused(bytes(files["record"]), bytes(files["signature"])), (number, place)


def test_the_signature_of_another_engine_is_refused() -> None:
    other = json.loads(RECORD)
    other["key"] = other["key"].replace(other["version"], "older")
    engine = SignedEngine(record=json.dumps(other).encode())
    with pytest.raises(SignatureRefused, match="a signature of engines/"):
        check_engine(trust_in(), engine.signature(), ENGINE.record, now=NOW)


def test_a_signature_of_another_statement_by_the_same_key_is_refused() -> None:
    """A key signs provenance and documents, too: none of them passes as an engine's."""
    digest = json.loads(RECORD)["plan"]["sha256"]
    provenance = sign_statement(signing_key(), provenance_statement(ENGINE.key, digest, {})).to_json()
    document = json.dumps(sign_document(signing_key(), ENGINE.key, RECORD)).encode()
    assert refused(RECORD, provenance)
    assert refused(RECORD, document)
    assert check_provenance(trust_in(), provenance, RECORD, now=NOW) == {}
    with pytest.raises(SignatureRefused):
        check_provenance(trust_in(), ENGINE.signature(), RECORD, now=NOW)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (trusted(until=NOW), "expired at"),
        (trusted(since=NOW + timedelta(days=1)), "valid from"),
        (trusted(purposes=frozenset({Purpose.CHANNELS})), "not trusted for engines"),
        (trusted("other"), "which is not trusted"),
        (trusted(pem=trusted("other").pem), "which is not trusted"),
    ],
)
def test_a_key_that_does_not_count_now_for_this_is_refused(key: TrustedKey, problem: str) -> None:
    with pytest.raises(SignatureRefused, match=problem):
        check_engine(trust_in(key), ENGINE.signature(), ENGINE.record, now=NOW)


def test_a_hint_that_names_a_trusted_key_does_not_make_a_signature_its() -> None:
    bundle = replace(
        bundle_from_json(ENGINE.signature("other")), key_id=bundle_from_json(ENGINE.signature()).key_id
    )
    with pytest.raises(SignatureRefused, match="did not make"):
        check_engine(trust_in(), bundle.to_json(), ENGINE.record, now=NOW)


def test_after_a_rotation_either_key_counts_until_the_old_one_expires() -> None:
    trust = trust_in(trusted("old", until=NOW + timedelta(days=1)), trusted("new"))
    for key in ("old", "new"):
        check_engine(trust, ENGINE.signature(key), ENGINE.record, now=NOW)
    later = NOW + timedelta(days=2)
    check_engine(trust, ENGINE.signature("new"), ENGINE.record, now=later)
    with pytest.raises(SignatureRefused, match="expired"):
        check_engine(trust, ENGINE.signature("old"), ENGINE.record, now=later)


def test_other_bundles_are_refused() -> None:
    document = json.loads(ENGINE.signature())
    envelope = document["dsseEnvelope"]
    twice = {**document, "dsseEnvelope": {**envelope, "signatures": envelope["signatures"] * 2}}
    payload = {**document, "dsseEnvelope": {**envelope, "payloadType": "text/plain"}}
    older = {**document, "mediaType": document["mediaType"].replace("0.3", "0.2")}
    unsigned = {**document, "note": "not signed"}
    others: list[Any] = [twice, payload, older, unsigned, {}, [], None]
    for other in others:
        assert refused(RECORD, json.dumps(other).encode())
    for data in (b"", b"{", b"\xff", b"[" * 100_000, b" " * (1 << 21)):
        assert refused(RECORD, data)


def test_the_newest_document_of_a_channel_is_accepted_and_an_old_or_other_one_is_refused() -> None:
    signed = sign_document(signing_key(), CHANNEL, b"points to 7", 7)

    def check(
        bundle: Any = signed, key: str = CHANNEL, data: bytes = b"points to 7", **more: Any
    ) -> int | None:
        arguments: dict[str, Any] = {"purpose": Purpose.CHANNELS, "at_least": 7, "now": NOW} | more
        return check_document(trust_in(), bundle, key, data, **arguments)

    assert check() == 7
    with pytest.raises(SignatureRefused, match="older than number 8"):
        check(at_least=8)
    with pytest.raises(SignatureRefused, match="no signature"):
        check(None)
    changes: list[dict[str, Any]] = [
        {"data": b"points to 8"},
        {"key": "channels/resnet/candidate.json"},
        {"bundle": {}},
    ]
    for change in changes:
        with pytest.raises(SignatureRefused):
            check(**change)
    unnumbered = sign_document(signing_key(), CHANNEL, b"points to 7")
    assert check(unnumbered, at_least=None) is None
    with pytest.raises(SignatureRefused, match="older than number 7"):
        check(unnumbered)


def test_a_trust_file_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = trusted(purposes=frozenset({Purpose.ENGINES}))
    assert trust_from_json(json.dumps(trust_document((key,))).encode()) == (key,)
    monkeypatch.setenv("ENGINEFARM_TRUST", str(write_trust(tmp_path / "trust.json", key)))
    assert trust_demanded() == trust_in(key)
    monkeypatch.setenv("ENGINEFARM_TRUST", "")
    assert trust_demanded() is None


def _pem(curve: ec.EllipticCurve) -> str:
    public = ec.generate_private_key(curve).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"pem": _pem(ec.SECP384R1())},
        {"pem": _pem(ec.SECP256K1())},
        {"pem": base64.b64encode(b"no key").decode()},
        {"from": "2026-01-01"},
        {"until": "soon"},
        {"for": "engines"},
        {"for": ["everything"]},
        {"only": "on Mondays"},
    ],
)
def test_a_trust_file_with_another_curve_or_a_limit_that_is_not_understood_is_refused(
    change: dict[str, object], tmp_path: Path
) -> None:
    document = trust_document((trusted(),))
    document["keys"][0].update(change)
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(document))
    with pytest.raises(KeyUnusable):
        load_trust(path)


def test_a_trust_file_that_is_missing_does_not_mean_that_nothing_must_be_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEFARM_TRUST", str(tmp_path / "none.json"))
    with pytest.raises(KeyUnusable):
        trust_demanded()
