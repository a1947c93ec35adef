"""A key in AWS KMS: the private key never leaves it. Its policy says who signs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tasks.domain.errors import KeyUnusable
from tasks.signing.keys import Signer, file_key, pem_of_der

_SCHEME = "awskms:///"
_ALGORITHM = "ECDSA_SHA_256"
_LARGEST_MESSAGE = 4096  # more must be hashed here


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A key of AWS KMS: `SIGN_VERIFY`, `ECC_NIST_P256`.

    Attributes:
        client: the client of KMS.
        name: id, ARN or alias of the key.
        public_pem: its public key.
    """

    client: Any
    name: str
    public_pem: bytes

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`.

        Raises:
            KeyUnusable: KMS does not sign.
        """
        large = len(data) > _LARGEST_MESSAGE
        try:
            answer = self.client.sign(
                KeyId=self.name,
                Message=hashlib.sha256(data).digest() if large else data,
                MessageType="DIGEST" if large else "RAW",
                SigningAlgorithm=_ALGORITHM,
            )
        except (ClientError, BotoCoreError) as error:
            raise _unusable(self.name, error, "kms:Sign") from error
        return bytes(answer["Signature"])


def signer_at(place: str) -> Signer:
    """Return the key at `place`: the path of a PEM file, or `awskms:///` with the key's id, ARN or alias.

    Raises:
        KeyUnusable: there is no such key, or it cannot sign here.
    """
    if not place.startswith(_SCHEME):
        return file_key(Path(place))
    name = place.removeprefix(_SCHEME)
    try:
        client = boto3.client("kms")
        public_pem = pem_of_der(client.get_public_key(KeyId=name)["PublicKey"])
    except (ClientError, BotoCoreError, ValueError) as error:
        raise _unusable(name, error, "kms:GetPublicKey") from error
    return KmsKey(client, name, public_pem)


def _unusable(name: str, error: Exception, permission: str) -> KeyUnusable:
    return KeyUnusable(
        wanted=f"the key {name} in AWS KMS",
        found=f"{type(error).__name__}: {error}",
        fix=f"it must be SIGN_VERIFY, ECC_NIST_P256, and its policy must allow {permission}",
    )
