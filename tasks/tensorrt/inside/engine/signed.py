"""Refuses engines that are not signed, in a process whose user demands signatures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tasks.domain.attestation import signature_beside
from tasks.domain.errors import KeyUnusable

_LARGEST_SIGNATURE = 1 << 20


def require_signed(plan: Path, record: bytes | None, trust_file: Path | None) -> None:
    """Refuse a plan whose `record` no trusted key signed; with the record, its digest is signed.

    Args:
        plan: the plan; its signature is beside it.
        record: the bytes of its record; None if there is none.
        trust_file: the file of trusted keys; None: the one that ENGINEFARM_TRUST names. If there is neither,
            nothing has to be signed.

    Raises:
        SignatureRefused: no trusted key signed it.
        KeyUnusable: the file cannot be used, or this interpreter cannot check signatures.
    """
    place = trust_file or os.environ.get("ENGINEFARM_TRUST")
    if not place:
        return
    try:
        from tasks.signing.signatures import check_engine, load_trust, unsigned  # noqa: PLC0415 (see below)
    except ImportError as error:  # toolchains that check no signatures need no `cryptography`
        raise KeyUnusable(
            wanted=f"to check the signature of {plan.name}",
            found=f"{type(error).__name__}: {error} in {sys.executable}",
            fix="install cryptography into this interpreter's environment",
        ) from error
    trust, signature = load_trust(Path(place)), signature_beside(plan)
    if record is None or not signature.is_file():
        raise unsigned(f"{plan.name} with its record")
    with signature.open("rb") as file:
        check_engine(trust, file.read(_LARGEST_SIGNATURE + 1), record)
