"""`enginefarm engines`: what is stored, and how to get it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from flows.addresses import store_at
from flows.cli.display import console, documents_json, engine_table, progress_bars, show_profile
from tasks.domain.errors import NotStored, RequestInvalid
from tasks.domain.gpu_table import device_slug, full_slug
from tasks.domain.order import ReleaseOutcome
from tasks.domain.printable import printable
from tasks.domain.record import EngineRecord
from tasks.store.records import Document, record_schema
from tasks.store.store import Store
from tasks.tensorrt.inside.engine.plan import record_beside

app = typer.Typer(no_args_is_help=True, help="List, show and fetch stored engines.")

StoreUrl = Annotated[
    str | None, typer.Option("--store", help="s3://BUCKET or s3://BUCKET/PREFIX; default: ENGINEFARM_STORE.")
]
Key = Annotated[str, typer.Argument(help="Key of the record, as `enginefarm engines list` shows it.")]


@app.command("list")
def list_engines(
    *,
    store: StoreUrl = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    version: Annotated[str | None, typer.Option(help="Only this version of the model.")] = None,
    target: Annotated[str | None, typer.Option(help="Only this device, for example rtx-sm89.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of records.")] = False,
) -> None:
    """List the engines of a store."""
    place = store_at(store)
    found = [
        document
        for document in place.documents(EngineRecord, model=model, version=version)
        if target is None or device_slug(document.record.target) == full_slug(target)
    ]
    if as_json:
        print(json.dumps(documents_json(found)))  # noqa: T201
        return
    records = [document.record for document in found]
    console.print(engine_table(records, title=f"Engines in {place.url}: {len(records)}"))


@app.command()
def show(key: Key, *, store: StoreUrl = None) -> None:
    """Print the record of one engine as JSON: what it is, what it was made from, what was measured."""
    print(json.dumps(json.loads(document_at(store_at(store), key).data), indent=2))  # noqa: T201


@app.command()
def fetch(
    key: Key,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the plan; default: named after the engine."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    store: StoreUrl = None,
) -> None:
    """Download one engine's plan, and its record beside it: what runs the plan needs both.

    The plan appears only after its size and digest are checked.
    """
    place = store_at(store)
    document = document_at(place, key)
    record = document.record
    path = output or Path(_file_name(record))
    for file in (path, record_beside(path)):
        if file.exists() and not force:
            raise RequestInvalid(
                wanted=f"to write {file}",
                found="a file that is there",
                fix="give another --output, or --force",
            )
    with progress_bars():
        fetch_engine(place, document, path)
    text = (
        f"{path}: {record.plan.size} bytes, SHA-256 {record.plan.sha256}, for {device_slug(record.target)} "
        f"with {record.target.flavour} {record.target.version}"
    )
    console.print(printable(text), highlight=False, soft_wrap=True, markup=False)


@app.command()
def layers(key: Key, *, store: StoreUrl = None) -> None:
    """Print what TensorRT's engine inspector tells of an engine's layers, as JSON."""
    place = store_at(store)
    record = record_at(place, key)
    if record.layers is None:
        raise NotStored(
            wanted=f"the layers of {key}",
            found=record.no_layers or "a record of before they were kept",
            fix="build the engine on a host with its GPU",
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "layers.json"
        place.get_blob(record.layers, path)
        print(path.read_text("utf-8"), end="")  # noqa: T201


def fetch_engine(store: Store, document: Document[EngineRecord], path: Path) -> None:
    """Write the plan to `path`, checked, and its record beside it, byte by byte as the store holds it.

    Raises:
        NotStored: the plan is gone.
        DigestMismatch: what is stored has other bytes.
        FarmError: as `tasks.store.s3.s3_errors`.
    """
    store.get_blob(document.record.plan, path)
    record_beside(path).write_bytes(document.data)


def _file_name(record: EngineRecord) -> str:
    """Return a name that no other engine has."""
    target = record.target
    parts = (record.model, record.version, device_slug(target), str(target.version), record.options.precision)
    return "-".join((*parts, record.build_key[:8])) + ".plan"


@app.command("profile")
def show_engine_profile(
    key: Key,
    *,
    charts: Annotated[
        Path | None,
        typer.Option(
            help="Write the charts (SVG, PNG) and profile.json, which has every layer, to this folder."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the profile as JSON.")] = False,
    store: StoreUrl = None,
) -> None:
    """Show what one engine does on its GPU: latency, throughput, memory and the time of its layers."""
    place = store_at(store)
    document = document_at(place, key)
    record = document.record
    files = {} if charts is None else {charts / name: ref for name, ref in record.profile.files.items()}
    for path, ref in files.items():
        place.get_blob(ref, path)
    if as_json:
        profile = json.loads(document.data).get("profile", asdict(record.profile))
        print(json.dumps(profile, indent=2))  # noqa: T201
    else:
        show_profile(record)


@app.command()
def schema() -> None:
    """Print the JSON Schema of records."""
    print(json.dumps(record_schema(), indent=2))  # noqa: T201


def read_all(outcome: ReleaseOutcome) -> list[EngineRecord]:
    """Return the records of all cells of `outcome`."""
    return [document.record for document in read_documents(outcome)]


def read_documents(outcome: ReleaseOutcome) -> list[Document[EngineRecord]]:
    """Return the records of all cells of `outcome`, with their documents."""
    store = Store.connect(outcome.store)
    return [document_at(store, cell.key) for cell in outcome.cells]


def record_at(store: Store, key: str) -> EngineRecord:
    """Return the record at `key`, like `document_at`."""
    return document_at(store, key).record


def document_at(store: Store, key: str) -> Document[EngineRecord]:
    """Return the record at `key` with its document.

    Raises:
        NotStored: there is none.
        RecordInvalid: it cannot be read.
    """
    document = store.find_document(key, EngineRecord)
    if document is None:
        raise NotStored(
            wanted=f"the engine {key} in {store.url}",
            found="no such record",
            fix="`enginefarm engines list` shows what is there",
        )
    return document
