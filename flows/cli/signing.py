"""`enginefarm sign`, `verify` and `keys new`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from flows.addresses import store_at
from flows.cli.engines import document_at
from flows.cli.options import Json, Model, StoreUrl, Version
from flows.cli.output import print_json, say
from flows.settings import settings
from tasks.domain.attestation import PLAN_FILE, provenance_beside, signature_beside
from tasks.domain.digest import blob_ref
from tasks.domain.errors import DigestMismatch, RequestInvalid
from tasks.domain.hashed_release import HashedRelease
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.domain.trust import TrustedKey, trust_document
from tasks.signing.keys import new_key
from tasks.signing.kms import signer_at
from tasks.signing.signatures import (
    Trust,
    check_engine,
    check_provenance,
    load_trust,
    trust_demanded,
    unsigned,
)
from tasks.store.s3 import s3_errors
from tasks.store.signatures import checked_signature, read_provenance
from tasks.store.store import Store
from tasks.store.transfer import file_ref, stored_ref
from tasks.tensorrt.inside.engine.plan import record_beside

_OF_CPU_HOSTS = (ConversionRecord.ROOT, HashedRelease.ROOT)

keys = typer.Typer(no_args_is_help=True, help="Make keys that sign engines.")

Trusted = Annotated[
    Path | None,
    typer.Option("--trust", metavar="FILE", help="File of trusted keys. Default: $ENGINEFARM_TRUST."),
]


def sign(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Engines to sign, or keys of records in conversions/ or hashed/. Default: all engines.",
        ),
    ] = None,
    *,
    key: Annotated[
        str | None,
        typer.Option("--key", help="A PEM file, or awskms:///KEY. Default: $ENGINEFARM_SIGNING_KEY."),
    ] = None,
    model: Model = None,
    version: Version = None,
    store: StoreUrl = None,
) -> None:
    """Sign stored engines, unless the key has signed them. What they were made from is checked first.

    Records of conversions and releases are signed as they stand, since nothing of them can be checked.
    """
    # Steps import Prefect, which takes seconds.
    from tasks.sign import sign_as_it_stands, sign_stored  # noqa: PLC0415

    signer, place = signer_at(_key_place(key)), store_at(store)
    signed = 0
    for name in _keys_of(place, names, model, version):
        sign_it = sign_as_it_stands if name.startswith(_OF_CPU_HOSTS) else sign_stored
        if sign_it(place, name, signer):
            signed += 1
            say(f"signed {name}")
    say(f"{signed} signed.")


def _key_place(key: str | None) -> str:
    place = key or settings().signing_key
    if not place:
        raise RequestInvalid(
            wanted="a key to sign with",
            found="neither --key nor ENGINEFARM_SIGNING_KEY",
            fix="give --key FILE or --key awskms:///KEY; `enginefarm keys new` makes one",
        )
    return place


def _keys_of(store: Store, names: list[str] | None, model: str | None, version: str | None) -> Iterable[str]:
    if names:
        return [
            name if name.startswith(_OF_CPU_HOSTS) else document_at(store, name).record.key for name in names
        ]
    return [record.key for record in store.records(EngineRecord, model=model, version=version)]


def verify(
    engine: Annotated[
        str,
        typer.Argument(
            metavar="ENGINE",
            help="Name or key of a stored engine, a fetched plan, or a folder with engine.plan.",
        ),
    ],
    *,
    trust: Trusted = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Check that a trusted key signed an engine, and that all its bytes are those signed."""
    keys_file = load_trust(trust) if trust is not None else trust_demanded()
    if keys_file is None:
        raise RequestInvalid(
            wanted="a file of trusted keys",
            found="neither --trust nor ENGINEFARM_TRUST",
            fix="give --trust FILE; `enginefarm keys new` writes one",
        )
    path = Path(engine) / PLAN_FILE if Path(engine).is_dir() else Path(engine)
    local = path.is_file()
    name, provenance = _local(path, keys_file) if local else _stored(store_at(store), engine, keys_file)
    if as_json:
        print_json({"engine": name, "signed": True, "provenance": provenance})
        return
    say(f"{name}: signed by a trusted key" + ("" if provenance is None else ", with its provenance"))


def _local(plan: Path, trust: Trust) -> tuple[str, object]:
    """Check a fetched plan; return the engine's key and its provenance, None if there is none."""
    files = (record_beside(plan), signature_beside(plan))
    if not all(file.is_file() for file in files):
        raise unsigned(f"{plan.name} with its record")
    record, signature = (file.read_bytes() for file in files)
    digest = check_engine(trust, signature, record)
    _require_digest(plan.name, digest, file_ref(plan).sha256)
    beside = provenance_beside(plan)
    provenance = check_provenance(trust, beside.read_bytes(), record) if beside.is_file() else None
    return str(json.loads(record)["key"]), provenance


def _stored(store: Store, name: str, trust: Trust) -> tuple[str, object]:
    """Check a stored engine, like `_local`."""
    document = document_at(store, name)
    key_id, _ = checked_signature(store, document.data, trust)
    address = store.address(document.record.plan.key)
    with s3_errors(f"to read {address.url}"):
        _require_digest(address.url, document.record.plan.sha256, stored_ref(store.client, address).sha256)
    signed = read_provenance(store, blob_ref(document.data).sha256, key_id)
    provenance = None if signed is None else check_provenance(trust, signed, document.data)
    return document.record.key, provenance


def _require_digest(name: str, signed: str, actual: str) -> None:
    if actual != signed:
        raise DigestMismatch(
            wanted=f"{name} with SHA-256 {signed}, which is signed",
            found=f"SHA-256 {actual}",
            fix="fetch the engine again, and find out who changed it",
        )


@keys.command("new", epilog="Example: enginefarm keys new farm.pem --trust trust.json --days 365")
def make_key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File for the new private key, PEM.")],
    *,
    trust: Annotated[
        Path,
        typer.Option("--trust", metavar="FILE", help="File of trusted keys to add it to; it may be new."),
    ],
    days: Annotated[int, typer.Option("--days", min=1, help="For how long it is trusted.")] = 365,
    name: Annotated[str | None, typer.Option("--name", help="Its name. Default: the file's.")] = None,
) -> None:
    """Make a key (EC P-256) that signs engines, and add it to a file of trusted keys."""
    standing = tuple(load_trust(trust).keys.values()) if trust.is_file() else ()
    chosen = name or path.stem
    if any(key.name == chosen for key in standing):
        raise RequestInvalid(
            wanted=f"a new key {chosen}", found=f"a key of that name in {trust}", fix="give another --name"
        )
    pem = new_key(path).public_pem.decode()
    now = datetime.now(UTC).replace(microsecond=0)
    key = TrustedKey(name=chosen, pem=pem, since=now, until=now + timedelta(days=days))
    trust.write_text(json.dumps(trust_document((*standing, key)), indent=2) + "\n", "utf-8")
    say(f"{path}: the private key. Only CPU hosts that sign need it (ENGINEFARM_SIGNING_KEY).")
    say(f"{trust}: trusts it until {key.until.date()}. Give this file to consumers (ENGINEFARM_TRUST).")
