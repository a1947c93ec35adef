"""A consumer that demands signatures takes a channel and an engine only as a trusted key signed them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.consumer import api
from tasks.domain.attestation import RECORD_FILE, SIGNATURE_FILE, engine_statement
from tasks.domain.digest import blob_ref
from tasks.domain.errors import DigestMismatch, NoEngineFits, SignatureRefused
from tasks.domain.record import EngineRecord
from tasks.domain.request import Precision
from tasks.signing.keys import FileKey, new_key
from tasks.signing.signatures import Trust, load_trust, sign_statement
from tasks.store.channel_index import refresh_channel
from tasks.store.channels import channel_at, move_channel, next_move
from tasks.store.engine_signatures import signature_of, signing_channels
from tasks.store.signatures import put_signature
from tests.support.consumer_store import PLAN, ConsumerStore, consumer_store
from tests.support.signed import trusted, write_trust


class Signed:
    """A store whose engine and channel are signed."""

    def __init__(self, made: ConsumerStore, folder: Path) -> None:
        self.made, self.key_file = made, folder / "key.pem"
        self.key: FileKey = new_key(self.key_file)
        pem, until = self.key.public_pem.decode(), datetime.now(UTC) + timedelta(days=9)
        self.trust_file = write_trust(folder / "trust.json", trusted(pem=pem, until=until))
        self.sign(made.record)
        self.move()

    @property
    def trust(self) -> Trust:
        return load_trust(self.trust_file)

    def sign(self, record: bytes) -> None:
        document = json.loads(record)
        statement = engine_statement(record, document["key"], document["plan"]["sha256"])
        put_signature(self.made.store, blob_ref(record).sha256, sign_statement(self.key, statement))

    def move(self, *, key: str | None = None, **change: Any) -> None:
        """Move the channel, signed with the key in the file `key`."""
        store = self.made.store
        over = channel_at(store, self.made.engine.model, "production")
        entry = replace(self.made.engine, signature=signature_of(store, self.made.engine), **change)
        channel = replace(over, move=next_move(over, over.move), engines=(entry,), signature=None)
        place = str(self.key_file) if key is None else key
        move_channel(store, channel, over=over, sign=signing_channels(store, place))

    def document(self) -> bytes:
        address = self.made.store.address(f"channels/{self.made.engine.model}/production.json")
        return self.made.store.client.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()

    def put_document(self, data: bytes) -> None:
        address = self.made.store.address(f"channels/{self.made.engine.model}/production.json")
        self.made.store.client.put_object(Bucket=address.bucket, Key=address.key, Body=data)


@pytest.fixture
def signed(
    s3_env: str, engine_record: EngineRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Signed:
    made = Signed(consumer_store(f"s3://{s3_env}/farm", engine_record, tmp_path), tmp_path)
    monkeypatch.setenv("ENGINEFARM_TRUST", str(made.trust_file))
    return made


@pytest.fixture
def options(signed: Signed, tmp_path: Path) -> dict[str, Any]:
    return {"store": signed.made.url, "host": signed.made.host, "cache": tmp_path / "cache"}


def fetch(signed: Signed, options: dict[str, Any]) -> Path:
    return api.fetch(f"{signed.made.engine.model}@production", **options)


def nothing_was_downloaded(options: dict[str, Any]) -> bool:
    return not list(options["cache"].glob("plans/*")) and not list(options["cache"].glob("parts/*"))


def test_a_signed_engine_is_fetched_with_its_signature_also_without_a_network(
    signed: Signed, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
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
    signed: Signed, options: dict[str, Any]
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


def test_a_channel_that_points_elsewhere_is_refused(signed: Signed, options: dict[str, Any]) -> None:
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
    signed: Signed, options: dict[str, Any]
) -> None:
    former = signed.document()
    signed.move()
    fetch(signed, options)
    signed.put_document(former)
    with pytest.raises(SignatureRefused, match="older than number 3"):
        fetch(signed, options)


def test_an_index_that_describes_a_signed_engine_as_another_is_only_slow(
    signed: Signed, options: dict[str, Any]
) -> None:
    """The index is not signed: an engine of another precision is not passed off as what is wanted."""
    signed.move(precision=Precision.INT8)
    wanted = {**options, "precision": "int8"}
    with pytest.raises((NoEngineFits, DigestMismatch)):
        fetch(signed, wanted)
    assert nothing_was_downloaded(options)
    assert fetch(signed, options).read_bytes() == PLAN


def test_a_lost_channel_is_trusted_again_although_who_rebuilt_it_has_no_key(
    signed: Signed, options: dict[str, Any]
) -> None:
    model = signed.made.engine.model
    address = signed.made.store.address(f"channels/{model}/production.json")
    signed.made.store.client.delete_object(Bucket=address.bucket, Key=address.key)
    rebuilt = refresh_channel(signed.made.store, model, "production")
    assert rebuilt is not None
    assert rebuilt.signature is None
    assert rebuilt.engines[0].signature is not None
    assert fetch(signed, options).read_bytes() == PLAN
