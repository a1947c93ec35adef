"""A key, the trust in it, and an engine that it signed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from tasks.domain.attestation import engine_statement
from tasks.domain.trust import TrustedKey, trust_document
from tasks.signing.keys import FileKey, key_id
from tasks.signing.signatures import Trust, sign_statement

RECORD = (Path(__file__).parents[1] / "assets/engine-record.json").read_bytes()
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def signing_key(name: str = "2026") -> FileKey:
    return _key(name)


@cache
def _key(name: str) -> FileKey:
    del name  # each has a key of its own
    return FileKey(ec.generate_private_key(ec.SECP256R1()))


def trusted(name: str = "2026", **change: object) -> TrustedKey:
    pem = signing_key(name).public_pem.decode()
    since, until = NOW - timedelta(days=30), NOW + timedelta(days=335)
    return replace(TrustedKey(name=name, pem=pem, since=since, until=until), **change)  # type: ignore[arg-type]


def trust_in(*keys: TrustedKey) -> Trust:
    return Trust({key_id(key.pem.encode()): key for key in keys or (trusted(),)})


def write_trust(path: Path, *keys: TrustedKey) -> Path:
    path.write_text(json.dumps(trust_document(keys or (trusted(),))))
    return path


@dataclass(frozen=True, kw_only=True)
class SignedEngine:
    record: bytes = RECORD
    plan: bytes = b""

    @property
    def key(self) -> str:
        return str(json.loads(self.record)["key"])

    def signature(self, key: str = "2026") -> bytes:
        digest = json.loads(self.record)["plan"]["sha256"]
        statement = engine_statement(self.record, self.key, digest)
        return sign_statement(signing_key(key), statement).to_json()
