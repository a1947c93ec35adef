"""`enginefarm engines`: lists, inspects and downloads stored engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from flows.addresses import release_at, store_at
from flows.cli.display import documents_json, engine_table, progress_bars, show_profile
from flows.cli.engine_filters import (
    EngineFilter,
    Latest,
    PrecisionFilter,
    ReleaseFilter,
    TargetFilter,
    TensorRTFilter,
)
from flows.cli.options import WIDE_HINT, Force, Json, Model, StoreUrl, Version, Wide
from flows.cli.output import (
    STANDARD_OUTPUT,
    print_file,
    print_json,
    print_json_list,
    refuse_terminal,
    say,
    show,
)
from tasks.domain.attestation import provenance_beside, signature_beside
from tasks.domain.digest import blob_ref
from tasks.domain.errors import NotStored, RequestInvalid
from tasks.domain.gpu_table import device_slug
from tasks.domain.order import ReleaseOutcome
from tasks.domain.record import EngineRecord
from tasks.signing.signatures import trust_demanded
from tasks.store.part_files import part_of
from tasks.store.record_names import RecordRoot, key_named, names_in
from tasks.store.records import Document, record_schema
from tasks.store.s3 import s3_errors
from tasks.store.signatures import checked_signature, read_provenance, read_signature, signers_of
from tasks.store.store import Store
from tasks.tensorrt.inside.engine.plan import record_beside

app = typer.Typer(no_args_is_help=True, help="List, inspect and download stored engines.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name or key of the engine, as `enginefarm engines list` shows it. 7 digits are enough.",
    ),
]


PlanFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write the plan to, a folder, or - for standard output, without the record. "
        "Default: a name made from the engine's.",
    ),
]


@app.command("list", epilog="Example: enginefarm engines list --store s3://my-bucket --target l4")
def list_engines(  # noqa: PLR0913 (each is an option)
    *,
    store: StoreUrl = None,
    release: ReleaseFilter = None,
    model: Model = None,
    version: Version = None,
    target: TargetFilter = None,
    precision: PrecisionFilter = None,
    tensorrt: TensorRTFilter = None,
    latest: Latest = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List the engines in a store."""
    place = store_at(store)
    chosen = EngineFilter(
        release=None if release is None else release_at(release),
        target=target,
        precisions=tuple(precision or ()),
        tensorrt=tensorrt,
        latest=latest,
    )
    documents = chosen.listed(place, model, version)
    if as_json:
        print_json_list(documents_json(documents))
        return
    names = names_in(place, RecordRoot.ENGINES)
    records = (document.record for document in documents)
    table = engine_table(records, title=f"Engines in {place.url}", names=names, wide=wide, hint=WIDE_HINT)
    show(replace(table, title=f"{table.title}: {len(table.rows)}"))


@app.command("show", epilog="Example: enginefarm engines show 3f9a1c07 --store s3://my-bucket")
def show_record(name: Name, *, store: StoreUrl = None) -> None:
    """Print an engine's record as JSON: its target, what it was built from, and what was measured."""
    print_json(json.loads(document_at(store_at(store), name).data), indent=2)


@app.command(epilog="Example: enginefarm engines fetch 3f9a1c07 --store s3://my-bucket -o resnet.plan")
def fetch(
    name: Name,
    *,
    output: PlanFile = None,
    force: Force = False,
    store: StoreUrl = None,
) -> None:
    """Download an engine's plan, and its record next to it. You need both to run the engine.

    The file appears only after its size and digest have been checked.
    """
    place = store_at(store)
    document = document_at(place, name)
    record = document.record
    if output == STANDARD_OUTPUT:
        _print_plan(place, document)
        return
    path = _plan_path(output, record)
    for file in (path, record_beside(path)):
        if file.exists() and not force:
            raise RequestInvalid(
                wanted=f"to write {file}",
                found="a file that exists already",
                fix="give another --output, or --force to overwrite it",
            )
    with progress_bars():
        fetch_engine(place, document, path)
    say(
        f"{path}: {record.plan.size} bytes, SHA-256 {record.plan.sha256}, for {device_slug(record.target)} "
        f"with {record.target.flavour} {record.target.version}"
    )
    for note in _notes(record):
        say(note)


def _notes(record: EngineRecord) -> Iterator[str]:
    """Yield what a user of the plan must know: whether its key was recomputed, and whether it has code."""
    if record.opset is None:
        yield "Its key was not recomputed: the record is from before records had the opset."
    if record.options.compatibility.carries_code:
        yield "It contains native code: --allow-host-code runs it, if you trust who writes to the store."


@app.command()
def layers(name: Name, *, store: StoreUrl = None) -> None:
    """Print an engine's layers as JSON, as TensorRT's engine inspector describes them."""
    place = store_at(store)
    record = document_at(place, name).record
    if record.layers is None:
        raise NotStored(
            wanted=f"the layers of {record.key}",
            found=record.no_layers or "a record that was written before layers were stored",
            fix="build the engine on a host with its GPU",
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "layers.json"
        place.get_blob(record.layers, path)
        print(path.read_text("utf-8"), end="")  # noqa: T201


def _plan_path(output: Path | None, record: EngineRecord) -> Path:
    """Return where to write a plan that is to go to `output`, a file or a folder."""
    name = Path(_file_name(record))
    if output is None:
        return name
    return output / name if output.is_dir() else output


def _print_plan(store: Store, document: Document[EngineRecord]) -> None:
    """Write the plan to standard output, after it is checked.

    Raises:
        RequestInvalid: that is a terminal.
        FarmError: as `fetch_engine`.
    """
    refuse_terminal("the plan")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "engine.plan"
        fetch_engine(store, document, path)
        print_file(path)


def fetch_engine(store: Store, document: Document[EngineRecord], path: Path) -> None:
    """Write the plan to `path`, verified by its digest, and its record and signature next to it.

    The record is written byte by byte as stored.

    Raises:
        SignatureRefused: ENGINEFARM_TRUST demands a signature, and there is none: then nothing is downloaded.
        NotStored: the plan is not in the store.
        DigestMismatch: the stored plan has other bytes.
        DiskFull: there is no space for all; then none is written.
        FarmError: as `tasks.store.s3.s3_errors`.
    """
    signed = _signatures(store, document.data)
    files = {record_beside(path): document.data}
    files |= {beside(path): data for beside, data in signed.items() if data is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {part_of(file): file for file in files}
    try:
        with s3_errors(f"to write {path.name}.json", folder=path.parent):
            for part, file in parts.items():
                part.write_bytes(files[file])  # first: a plan without its record does not run
            store.get_blob(document.record.plan, path)
            for part, file in parts.items():
                part.replace(file)
            for beside, data in signed.items():
                if data is None:
                    beside(path).unlink(missing_ok=True)  # that of another engine, which was there before
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _signatures(store: Store, record: bytes) -> dict[Callable[[Path], Path], bytes | None]:
    """Return signature and provenance of the engine with this `record`: a trusted key's, if demanded."""
    trust, digest = trust_demanded(), blob_ref(record).sha256
    if trust is None:
        key_id = next(signers_of(store, digest), "")
        signature = read_signature(store, digest, key_id) if key_id else None
    else:
        key_id, signature = checked_signature(store, record, trust)
    provenance = read_provenance(store, digest, key_id) if key_id else None
    return {signature_beside: signature, provenance_beside: provenance}


def _file_name(record: EngineRecord) -> str:
    """Return a file name that is unique to the engine."""
    target = record.target
    parts = (record.model, record.version, device_slug(target), str(target.version), record.options.precision)
    return "-".join((*parts, record.build_key[:8])) + ".plan"


@app.command(
    "profile", epilog="Example: enginefarm engines profile 3f9a1c07 --store s3://my-bucket --charts charts"
)
def show_engine_profile(
    name: Name,
    *,
    charts: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the charts (SVG and PNG) and for profile.json, which lists every layer."
        ),
    ] = None,
    as_json: Json = False,
    store: StoreUrl = None,
) -> None:
    """Show how fast an engine is on its GPU: latency, throughput, memory and the slowest layers."""
    place = store_at(store)
    document = document_at(place, name)
    record = document.record
    files = {} if charts is None else {charts / name: ref for name, ref in record.profile.files.items()}
    for path, ref in files.items():
        place.get_blob(ref, path)
    if as_json:
        print_json(json.loads(document.data).get("profile", asdict(record.profile)), indent=2)
    else:
        show_profile(record)


@app.command()
def schema() -> None:
    """Print the JSON Schema of engine records."""
    print_json(record_schema(), indent=2)


def read_all(outcome: ReleaseOutcome) -> list[EngineRecord]:
    """Return the records of all cells of `outcome`."""
    return [document.record for document in read_documents(outcome)]


def read_documents(outcome: ReleaseOutcome) -> list[Document[EngineRecord]]:
    """Return the records of all cells of `outcome`, with their documents."""
    store = Store.connect(outcome.store)
    return [document_at(store, cell.key) for cell in outcome.cells]


def names_of(outcome: ReleaseOutcome) -> dict[str, str]:
    """Return the short names of the engines in the store of `outcome`, by their keys."""
    return names_in(Store.connect(outcome.store), RecordRoot.ENGINES)


def document_at(store: Store, name: str) -> Document[EngineRecord]:
    """Return the engine record with this name or key, with its document.

    Raises:
        NotStored: there is none.
        NameAmbiguous: several have that name.
        RecordInvalid: it cannot be read.
    """
    key = key_named(store, RecordRoot.ENGINES, name)
    document = store.find_document(key, EngineRecord)
    if document is None:
        raise NotStored(
            wanted=f"the engine {key} in {store.url}",
            found="no such record",
            fix="`enginefarm engines list` shows the names and keys of all engines",
        )
    return document
