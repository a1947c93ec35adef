"""A store whose engine and channel are signed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.domain.attestation import engine_statement
from tasks.domain.digest import blob_ref
from tasks.signing.keys import FileKey, new_key
from tasks.signing.signatures import Trust, load_trust, sign_statement
from tasks.store.channels import channel_at, move_channel, next_move
from tasks.store.engine_signatures import signature_of, signing_channels
from tasks.store.signatures import put_signature
from tests.support.consumer_store import ConsumerStore
from tests.support.signed import trusted, write_trust


class SignedStore:
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
