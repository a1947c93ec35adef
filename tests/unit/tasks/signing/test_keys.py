"""A key is a PEM file or in a KMS; both sign alike, and stock model_signing accepts what they sign."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from moto import mock_aws

from tasks.domain.attestation import PLAN_FILE, RECORD_FILE, SIGNATURE_FILE, engine_statement
from tasks.domain.errors import KeyUnusable
from tasks.signing.keys import key_id, new_key
from tasks.signing.kms import signer_at
from tasks.signing.signatures import Trust, check_engine, sign_statement
from tests.support.signed import NOW, RECORD, SignedEngine, trusted

ENGINE = SignedEngine()
PLAN = RECORD  # any bytes will do


def test_a_new_key_is_for_its_owner_alone_and_overwrites_none(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    key = new_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert signer_at(str(path)).public_pem == key.public_pem
    with pytest.raises(KeyUnusable):
        new_key(path)


@pytest.mark.parametrize("data", [b"", b"no key", None])
def test_a_file_without_a_usable_key_is_refused(data: bytes | None, tmp_path: Path) -> None:
    if data is None:
        other = ec.generate_private_key(ec.SECP384R1())
        data = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    with pytest.raises(KeyUnusable, match="keys new"):
        signer_at(str(path))
    with pytest.raises(KeyUnusable):
        signer_at(str(tmp_path / "none.pem"))


@pytest.fixture
def kms_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        kms = boto3.client("kms")
        key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]
        kms.create_alias(AliasName="alias/enginefarm", TargetKeyId=key["KeyId"])
        kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P384")
        yield "awskms:///alias/enginefarm"


def test_a_key_in_kms_signs_like_one_in_a_file(kms_key: str) -> None:
    signer = signer_at(kms_key)
    pem = signer.public_pem
    trust = Trust({key_id(pem): trusted(pem=pem.decode())})
    digest = SignedEngine().key
    bundle = sign_statement(signer, engine_statement(RECORD, digest, _plan_digest()))
    assert check_engine(trust, bundle.to_json(), RECORD, now=NOW) == _plan_digest()
    with pytest.raises(KeyUnusable, match="ECC_NIST_P256"):
        signer_at("awskms:///alias/none")


def _plan_digest() -> str:
    return str(json.loads(RECORD)["plan"]["sha256"])


@pytest.mark.long
def test_model_signing_accepts_a_signed_engine_and_refuses_a_changed_one(tmp_path: Path) -> None:
    """The real `model_signing` of PyPI, in an environment of its own."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    key = new_key(tmp_path / "key.pem")
    (tmp_path / "key.pub").write_bytes(key.public_pem)
    (folder / PLAN_FILE).write_bytes(PLAN)
    (folder / RECORD_FILE).write_bytes(RECORD)
    statement = engine_statement(RECORD, ENGINE.key, hashlib.sha256(PLAN).hexdigest())
    (folder / SIGNATURE_FILE).write_bytes(sign_statement(key, statement).to_json())
    (folder / "engine.plan.provenance").write_bytes(b"beside it")

    def verify() -> str:
        uv = shutil.which("uv") or pytest.skip("needs uv")
        command = [uv, "run", "--no-project", "--python", "3.11", "--with", "model-signing==1.1.1"]
        command += ["--with", "pyopenssl", "model_signing", "verify", "key", str(folder)]
        command += ["--signature", str(folder / SIGNATURE_FILE), "--public_key", str(tmp_path / "key.pub")]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        return answer.stdout + answer.stderr

    assert "Verification succeeded" in verify()
    (folder / PLAN_FILE).write_bytes(PLAN + b"x")
    assert "Hash mismatch for 'engine.plan'" in verify()
