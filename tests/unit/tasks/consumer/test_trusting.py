"""A consumer that demands signatures takes a channel and an engine only as a trusted key signed them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.consumer import api
from tasks.domain.attestation import RECORD_FILE, SIGNATURE_FILE
from tasks.domain.errors import DigestMismatch, NoEngineFits, SignatureRefused
from tasks.domain.record import EngineRecord
from tasks.domain.request import Precision
from tasks.store.channel_index import refresh_channel
from tests.support.consumer_store import PLAN, consumer_store
from tests.support.signed import trusted, write_trust
from tests.support.signed_store import SignedStore


@pytest.fixture
def signed(
    s3_env: str, engine_record: EngineRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SignedStore:
    made = SignedStore(consumer_store(f"s3://{s3_env}/farm", engine_record, tmp_path), tmp_path)
    monkeypatch.setenv("ENGINEFARM_TRUST", str(made.trust_file))
    return made


@pytest.fixture
def options(signed: SignedStore, tmp_path: Path) -> dict[str, Any]:
    return {"store": signed.made.url, "host": signed.made.host, "cache": tmp_path / "cache"}


def fetch(signed: SignedStore, options: dict[str, Any]) -> Path:
    return api.fetch(f"{signed.made.engine.model}@production", **options)


def nothing_was_downloaded(options: dict[str, Any]) -> bool:
    return not list(options["cache"].glob("plans/*")) and not list(options["cache"].glob("parts/*"))


def test_a_signed_engine_is_fetched_with_its_signature_also_without_a_network(
    signed: SignedStore, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(signed, options)
    assert path.read_bytes() == PLAN
    names = {each.name for each in path.parent.iterdir()}
    assert names == {path.name, RECORD_FILE, SIGNATURE_FILE}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert fetch(signed, {**options, "offline": True}) == path
    write_trust(signed.trust_file, trusted("another", until=datetime.now(UTC) + timedelta(days=9)))
    with pytest.raises(SignatureRefused):
        fetch(signed, {**options, "offline": True})


def test_an_engine_or_a_channel_that_nobody_signed_is_refused(
    signed: SignedStore, options: dict[str, Any]
) -> None:
    signed.move(key="")
    with pytest.raises(SignatureRefused, match="production"):
        fetch(signed, options)
    unsigned = json.loads(signed.made.record)
    unsigned["warnings"] = ["one more"]
    data = json.dumps(unsigned).encode()
    address = signed.made.store.address(signed.made.engine.key)
    signed.made.store.client.put_object(Bucket=address.bucket, Key=address.key, Body=data)
    with pytest.raises(SignatureRefused, match="engines/"):
        api.fetch(signed.made.engine.model, version=signed.made.engine.version, **options)
    assert nothing_was_downloaded(options)


def test_a_channel_that_points_elsewhere_is_refused(signed: SignedStore, options: dict[str, Any]) -> None:
    document = json.loads(signed.document())
    for place, value in {"version": "v0", "url": "s3://evil/v0", "digest": "0" * 64}.items():
        changed = json.loads(signed.document())
        changed["release"][place] = value
        signed.put_document(json.dumps(changed).encode())
        with pytest.raises(SignatureRefused):
            fetch(signed, options)
        signed.put_document(json.dumps(document).encode())
    for place in ("number", "since", "by", "why"):
        changed = {**document, place: 9 if place == "number" else "changed"}
        signed.put_document(json.dumps(changed).encode())
        with pytest.raises(SignatureRefused):
            fetch(signed, options)
    assert nothing_was_downloaded(options)


def test_a_channel_older_than_what_the_host_has_seen_is_refused(
    signed: SignedStore, options: dict[str, Any]
) -> None:
    former = signed.document()
    signed.move()
    fetch(signed, options)
    signed.put_document(former)
    with pytest.raises(SignatureRefused, match="older than number 3"):
        fetch(signed, options)


def test_an_index_that_describes_a_signed_engine_as_another_is_only_slow(
    signed: SignedStore, options: dict[str, Any]
) -> None:
    """The index is not signed: an engine of another precision is not passed off as what is wanted."""
    signed.move(precision=Precision.INT8)
    wanted = {**options, "precision": "int8"}
    with pytest.raises((NoEngineFits, DigestMismatch)):
        fetch(signed, wanted)
    assert nothing_was_downloaded(options)
    assert fetch(signed, options).read_bytes() == PLAN


def test_a_lost_channel_is_trusted_again_although_who_rebuilt_it_has_no_key(
    signed: SignedStore, options: dict[str, Any]
) -> None:
    model = signed.made.engine.model
    address = signed.made.store.address(f"channels/{model}/production.json")
    signed.made.store.client.delete_object(Bucket=address.bucket, Key=address.key)
    rebuilt = refresh_channel(signed.made.store, model, "production")
    assert rebuilt is not None
    assert rebuilt.signature is None
    assert rebuilt.engines[0].signature is not None
    assert fetch(signed, options).read_bytes() == PLAN
