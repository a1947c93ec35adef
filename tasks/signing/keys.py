"""Keys that sign: a PEM file, or a key management service behind the same interface."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from tasks.domain.errors import KeyUnusable

_CURVE = ec.SECP256R1
_PRIVATE = 0o600
_NEW_KEY = "`enginefarm keys new` makes a key: EC P-256, without a password, as PEM"


class Signer(Protocol):
    """A private key, wherever it is."""

    @property
    def public_pem(self) -> bytes:
        """Its public key."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`: ECDSA with SHA-256, as ASN.1.

        Raises:
            KeyUnusable: the key cannot sign.
        """


@dataclass(frozen=True, slots=True)
class FileKey:
    """A key that this process holds."""

    private: ec.EllipticCurvePrivateKey

    @property
    def public_pem(self) -> bytes:
        """Its public key."""
        return _pem_of(self.private.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`."""
        return self.private.sign(data, ec.ECDSA(SHA256()))


def new_key(path: Path) -> FileKey:
    """Write a new private key to `path`, which only its owner can read.

    Raises:
        KeyUnusable: the file exists, or cannot be written.
    """
    key = ec.generate_private_key(_CURVE())
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb") as file:
            file.write(data)
    except OSError as error:
        raise KeyUnusable(
            wanted=f"to write a new key to {path}",
            found=str(error.strerror),
            fix="give a path that is not taken",
        ) from error
    return FileKey(key)


def file_key(path: Path) -> FileKey:
    """Return the private key in the PEM file at `path`.

    Raises:
        KeyUnusable: it cannot be read, or is not an EC P-256 key without a password.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyUnusable(
            wanted=f"the private key in {path}", found=f"{type(error).__name__}: {error}", fix=_NEW_KEY
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, _CURVE):
        raise KeyUnusable(wanted=f"an EC P-256 key in {path}", found="another kind of key", fix=_NEW_KEY)
    return FileKey(key)


def key_id(public_pem: bytes) -> str:
    """Return the name of a key: the digest of its PEM, as OpenSSF Model Signing makes it."""
    return hashlib.sha256(public_pem).hexdigest()


def public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key in `pem`.

    Raises:
        ValueError: it is none, or is not on the curve P-256.
    """
    return _on_curve(load_pem_public_key(pem))


def pem_of_der(der: bytes) -> bytes:
    """Return the PEM of the public key `der`.

    Raises:
        ValueError: it is none, or is not on the curve P-256.
    """
    return _pem_of(_on_curve(load_der_public_key(der)))


def canonical_pem(pem: bytes) -> bytes:
    """Return `pem` as every program writes it, whatever its lines and comments.

    Raises:
        ValueError: as `public_key`.
    """
    return _pem_of(public_key(pem))


def _on_curve(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("not a key of an elliptic curve")  # noqa: TRY004 (what was read is wrong)
    if not isinstance(key.curve, _CURVE):
        raise ValueError(f"a key of the curve {key.curve.name}, not of P-256 (secp256r1)")  # noqa: TRY004
    return key


def _pem_of(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
