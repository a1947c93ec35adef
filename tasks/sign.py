"""After the last step: signs an engine, on a CPU host that holds the key, after checking all that can be.

Hosts that build hold no key. So whoever takes over one of them can have a wrong plan signed, but no plan of
another model, with other options or tolerances, or with a verdict that its own figures do not bear out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tasks.domain.attestation import document_statement, engine_statement, provenance_statement
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import DigestMismatch, NotStored, RecordInvalid
from tasks.domain.graph_key import graph_key
from tasks.domain.hashed_release import HashedRelease, hashed_release_key
from tasks.domain.keys import conversion_record_key
from tasks.domain.order_check import check_order
from tasks.domain.overrides import Overrides
from tasks.domain.provenance import provenance_of
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.domain.request import BuildRequest
from tasks.domain.signable import order_of, require_conversion, require_verdict
from tasks.domain.timing import timing_key
from tasks.fetch import request_of, required_record
from tasks.signing.keys import Signer, key_id
from tasks.signing.kms import signer_at
from tasks.signing.signatures import sign_statement
from tasks.step import step
from tasks.store.channel_index import add_to_channels
from tasks.store.records import Document
from tasks.store.s3 import s3_errors
from tasks.store.signatures import put_signature, read_signature, sign_record
from tasks.store.store import Store
from tasks.store.timing import find_timing
from tasks.store.transfer import stored_ref
from tasks.tensorrt.engine import graph_precision
from tasks.tensorrt.site import build_tools


@step
async def sign_engine(store_url: str, key: str, signing_key: str, *, plan: BlobRef) -> bool:
    """Sign the engine at `key`, unless this signing key has signed it; return whether it signed it now.

    Args:
        store_url: the store.
        key: key of the engine's record.
        signing_key: path of a PEM file, or `awskms:///` with id, ARN or alias of a key.
        plan: the plan that its build said it published.

    Raises:
        RecordInvalid: the record does not follow from its release, request, conversion and figures.
        DigestMismatch: stored bytes are not those of the record.
        GateError: the gate refused it.
        NotStored: the record, or something that it was made from, is not stored.
        KeyUnusable: the key cannot sign.
    """
    signer = signer_at(signing_key)
    return await asyncio.to_thread(sign_stored, Store.connect(store_url), key, signer, plan=plan)


def sign_stored(store: Store, key: str, signer: Signer, *, plan: BlobRef | None = None) -> bool:
    """Do what `sign_engine` does; without `plan`, the one in the record is taken."""
    document = store.find_document(key, EngineRecord)
    if document is None:
        raise NotStored(
            wanted=f"the engine {key} in {store.url}",
            found="no such record",
            fix="`enginefarm engines list` shows the keys of all engines",
        )
    record = document.record
    if plan is not None and plan != record.plan:
        raise DigestMismatch(
            wanted=f"the engine {key} with the plan {plan.sha256}, which its build published",
            found=f"the plan {record.plan.sha256}",
            fix="find out who replaced the record: it is written once. Restore it from the bucket's versions",
        )
    if read_signature(store, blob_ref(document.data).sha256, key_id(signer.public_pem)) is not None:
        return False
    _check_origin(store, record)
    require_verdict(record)
    _check_blobs(store, record)
    _sign(store, document, signer)
    _sign_timing(store, record, signer)
    add_to_channels(store, record.model, key)  # again: the index gets the signature
    return True


def sign_as_it_stands(store: Store, key: str, signer: Signer) -> bool:
    """Sign the record of a conversion or a release at `key`; return whether it was not signed by this key.

    Nothing of it can be checked without making it again: whoever signs it trusts it.

    Raises:
        NotStored: there is no such record.
        KeyUnusable: the key cannot sign.
    """
    document = store.find_document(
        key, HashedRelease if key.startswith(HashedRelease.ROOT) else ConversionRecord
    )
    if document is None:
        raise NotStored(
            wanted=f"the record {key} in {store.url}",
            found="no such record",
            fix="the error that asks for the signature names the key",
        )
    if read_signature(store, blob_ref(document.data).sha256, key_id(signer.public_pem)) is not None:
        return False
    sign_record(store, key, document.data, signer)
    return True


def _check_origin(store: Store, record: EngineRecord) -> None:
    """Make the order that the record answers again, from the release and the conversion in the store."""
    if record.opset is None:
        raise RecordInvalid(
            wanted=f"the record {record.key} with its opset, so that its build key can be recomputed",
            found="none: an older version wrote it",
            fix="build the engine again",
        )
    release = required_record(store, hashed_release_key(record.release), HashedRelease)
    request, precision = request_of(release), graph_precision(record.target, record.options.precision)
    conversion = _conversion_of(store, record, request)
    check_order(
        order_of(record, store.url, conversion.key, request),
        conversion,
        request,
        graph_precision=precision,
        build_tools=build_tools().keys(),
    )
    require_conversion(record, conversion)


def _conversion_of(store: Store, record: EngineRecord, request: BuildRequest) -> ConversionRecord:
    """Return the conversion that the engine must have been built from."""
    asked = Overrides(inputs=record.input_overrides or {}).applied_to(request)
    tools = {name: version for name, version in record.tools.items() if name not in build_tools()}
    precision = graph_precision(record.target, record.options.precision)
    key = graph_key(record.release, asked, opset=record.opset or 0, precision=precision, tools=tools)
    return required_record(store, conversion_record_key(key), ConversionRecord)


def _check_blobs(store: Store, record: EngineRecord) -> None:
    """Read all that the record names, and hold it against its digests."""
    for ref in dict.fromkeys(_blobs(record)):
        address = store.address(ref.key)
        store.require_blobs(record.key, ref)
        with s3_errors(f"to read {address.url}"):
            stored = stored_ref(store.client, address)
        if stored != ref:
            raise DigestMismatch(
                wanted=f"{address.url}, which the record {record.key} names",
                found=f"{stored.size} bytes with SHA-256 {stored.sha256}",
                fix="restore the object from a backup or from the bucket's versions; find out who changed it",
            )


def _blobs(record: EngineRecord) -> Iterator[BlobRef]:
    yield from (record.plan, record.onnx, record.reference)
    yield from (ref for ref in (record.weights, record.layers) if ref is not None)
    yield from record.profile.files.values()


def _sign(store: Store, document: Document[EngineRecord], signer: Signer) -> None:
    record = document.record
    provenance = provenance_statement(record.key, record.plan.sha256, provenance_of(record))
    statement = engine_statement(document.data, record.key, record.plan.sha256)
    put_signature(
        store,
        blob_ref(document.data).sha256,
        sign_statement(signer, statement),
        provenance=sign_statement(signer, provenance),
    )


def _sign_timing(store: Store, record: EngineRecord, signer: Signer) -> None:
    """Sign the shared timing cache if it is still the one that this engine's build left.

    Nobody can check timings. They are signed with an engine that passed.
    """
    key = timing_key(record.target, record.toolchain.cuda)
    left = None if record.timing is None else record.timing.left
    if key is None or left is None:
        return
    standing = find_timing(store, key.shared, key)
    if standing is None or standing.document is None or standing.document.record.cache != left:
        return
    data = standing.document.data
    put_signature(store, blob_ref(data).sha256, sign_statement(signer, document_statement(key.shared, data)))
