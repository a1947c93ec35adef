"""`enginefarm quarantine`: lists, inspects and reproduces results that failed the accuracy check."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from agents.hardware.gpu_lock import free_site
from agents.hardware.probe import probe_host
from flows.addresses import release_at, store_at
from flows.cli.display import documents_json, progress_bars
from flows.cli.options import WIDE_HINT, AllowHostCode, Json, Model, StoreUrl, Version, Wide
from flows.cli.output import print_json, print_json_list, say, show
from flows.cli.tables import Column, FittedTable
from flows.settings import settings
from tasks.children.workspace import Workspace
from tasks.domain.errors import NotStored, RequestInvalid, TargetUnavailable
from tasks.domain.gate import judge, require_pass, wanted_top1
from tasks.domain.quarantine import QuarantineRecord
from tasks.domain.record import WEIGHTS_FILE, Comparison, Verification
from tasks.domain.release import ReleaseRef
from tasks.onnx.graph import compare_graph
from tasks.signing.signatures import trust_demanded, unsigned
from tasks.store.record_names import RecordRoot, key_named, names_in
from tasks.store.records import Document
from tasks.store.store import Store
from tasks.tensorrt.inside.engine.plan import require_host_code_allowed
from tasks.tensorrt.plugins import plugin_files
from tasks.tensorrt.verification import verify_engine

app = typer.Typer(
    no_args_is_help=True, help="List, inspect and reproduce results that failed the accuracy check."
)

_GRAPH, _PLAN, _REFERENCE, _ACTUAL = "model.onnx", "engine.plan", "reference.npz", "actual.npz"

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name or key of the record, as `enginefarm quarantine list` shows it. 7 digits are enough.",
    ),
]

_LISTED = (
    Column(name="name"),
    Column(name="release", shrinks=True),
    Column(name="target", shrinks=True),
    Column(name="precision"),
    Column(name="error"),
    Column(name="created", rank=2),
    Column(name="key", rank=3),
)


@app.command("list")
def list_quarantined(  # noqa: PLR0913 (each is an option)
    *,
    store: StoreUrl = None,
    release: Annotated[
        str | None,
        typer.Option(
            "--release", metavar="RELEASE", help="Only of this release, s3://BUCKET/PREFIX/MODEL/VERSION."
        ),
    ] = None,
    model: Model = None,
    version: Version = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List what failed the accuracy check."""
    place = store_at(store)
    documents = _documents(place, None if release is None else release_at(release), model, version)
    if as_json:
        print_json_list(documents_json(documents))
        return
    records = [document.record for document in documents]
    names = names_in(place, RecordRoot.QUARANTINE)
    table = FittedTable(
        title=f"In quarantine in {place.url}: {len(records)}",
        columns=_LISTED,
        rows=[_record_row(record, names.get(record.key, "")) for record in records],
        wide=wide,
        hint=WIDE_HINT,
    )
    show(table)


def _documents(
    place: Store, ref: ReleaseRef | None, model: str | None, version: str | None
) -> list[Document[QuarantineRecord]]:
    if ref is not None:
        model, version = ref.model, ref.version
    return [
        document
        for document in place.documents(QuarantineRecord, model=model, version=version)
        if ref is None or document.record.release.ref == ref
    ]


def _record_row(record: QuarantineRecord, name: str) -> tuple[str, ...]:
    precision, failure = record.options.precision, record.error["class"]
    release = record.release.ref.key.rstrip("/")
    return name, release, record.device, precision, failure, record.created, record.key


@app.command("show")
def show_record(name: Name, *, store: StoreUrl = None) -> None:
    """Print a record as JSON: what was compared, what was measured, and the command that repeats it."""
    print_json(json.loads(_quarantined_at(store_at(store), name).data), indent=2)


@app.command(epilog="Example: enginefarm quarantine reproduce 3f9a1c07 --store s3://my-bucket --keep case")
def reproduce(
    name: Name,
    *,
    store: StoreUrl = None,
    allow_host_code: AllowHostCode = False,
    keep: Annotated[
        Path | None,
        typer.Option(help="New folder for the graph or engine, the inputs and the outputs of both sides."),
    ] = None,
) -> None:
    """Repeat the comparison that failed. The exit code is 0 if it passes now."""
    place = store_at(store)
    document = _quarantined_at(place, name)
    record = document.record
    if record.plan is not None and record.options.compatibility.carries_code:
        require_host_code_allowed(record.key, allowed=allow_host_code)
    _check_folder(keep)
    with progress_bars(), settings().workspace() as work:
        folder = _fetch(place, document, work.folder / "case")
        try:
            verification = asyncio.run(_compare(record, folder, work))
        finally:
            if keep is not None:
                shutil.copytree(folder, keep)
    show(_comparison_table(record, verification))
    require_pass(verification, f"the {record.subject} in quarantine")
    say("It passes now.")


def _check_folder(keep: Path | None) -> None:
    if keep is not None and keep.exists():
        raise RequestInvalid(
            wanted=f"to write the folder {keep}",
            found="a folder that exists already",
            fix="give another --keep",
        )


def _fetch(store: Store, document: Document[QuarantineRecord], folder: Path) -> Path:
    """Download everything that was compared to `folder`, verified by digests, and return the folder."""
    record = document.record
    files = {
        _GRAPH: record.onnx, WEIGHTS_FILE: record.weights, _PLAN: record.plan, _REFERENCE: record.reference,
        _ACTUAL: record.actual,
    }  # fmt: skip
    for name, blob in files.items():
        if blob is not None:
            store.get_blob(blob, folder / name)
    (folder / "record.json").write_bytes(document.data)
    return folder


async def _compare(record: QuarantineRecord, folder: Path, work: Workspace) -> Verification:
    """Compare the graph or the engine with TensorFlow's outputs, as the gate did."""
    comparisons = await (_run_graph if record.plan is None else _run_engine)(record, folder, work)
    options = record.options
    return judge(
        comparisons,
        compared=f"the {record.subject} in quarantine, again",
        inputs=record.inputs,
        tolerance=options.tolerance,
        top1=wanted_top1(options.precision, options.top1, samples=options.samples is not None),
    )


async def _run_graph(record: QuarantineRecord, folder: Path, work: Workspace) -> tuple[Comparison, ...]:
    del record
    return await compare_graph(
        folder / _GRAPH,
        folder / _REFERENCE,
        actual=folder / "again.npz",
        work=work,
    )


async def _run_engine(record: QuarantineRecord, folder: Path, work: Workspace) -> tuple[Comparison, ...]:
    host = await probe_host(settings().interpreters, work=work)
    if record.target is None or record.plan is None:
        raise _no_gpu(record)
    if trust_demanded() is not None:
        raise unsigned(f"the plan of {record.key}, which was refused,")
    async with free_site(host.sites_of(record.target)) as site:
        if site.gpu_index is None:
            raise _no_gpu(record)
        return await verify_engine(
            site.toolchain,
            folder / _PLAN,
            record.plan,
            folder / _REFERENCE,
            actual=folder / "again.npz",
            plugins=plugin_files(record.options.plugins, settings().plugins),
            carries_code=record.options.compatibility.carries_code,
            gpu_index=site.gpu_index,
            work=work,
        )


def _no_gpu(record: QuarantineRecord) -> TargetUnavailable:
    return TargetUnavailable(
        wanted=f"to run an engine for {record.device}",
        found="no such GPU on this host",
        fix="run this on a host with that GPU; --keep FOLDER saves the files on any host",
    )


def _comparison_table(record: QuarantineRecord, now: Verification) -> FittedTable:
    """Return one row per output and corner, with the error then and now."""
    before = () if record.verification is None else record.verification.comparisons
    then = {(row.corner, row.output): row for row in before}
    share = "" if now.top1 is None else f", top-1 share {now.top1:g}"
    return FittedTable(
        title=f"{record.key}: tolerance {now.tolerance:.1e}{share}",
        columns=_COMPARED,
        rows=[_comparison_row(then.get((row.corner, row.output)), row) for row in now.comparisons],
    )


_COMPARED = (
    Column(name="corner"),
    Column(name="output", shrinks=True),
    Column(name="error then", right=True),
    Column(name="error now", right=True),
    Column(name="TensorFlow's noise", rank=2, right=True),
    Column(name="top-1 then", rank=1, right=True),
    Column(name="top-1 now", rank=1, right=True),
)


def _comparison_row(then: Comparison | None, now: Comparison) -> tuple[str, ...]:
    error = "none" if then is None else f"{then.relative:.2e}"
    return now.corner, now.output, error, f"{now.relative:.2e}", f"{now.noise:.2e}", _top1(then), _top1(now)


def _top1(row: Comparison | None) -> str:
    return "" if row is None or row.top1 is None else f"{row.top1:.3f} of {row.top1_rows}"


def _quarantined_at(store: Store, name: str) -> Document[QuarantineRecord]:
    key = key_named(store, RecordRoot.QUARANTINE, name)
    document = store.find_document(key, QuarantineRecord)
    if document is None:
        raise NotStored(
            wanted=f"{key} in {store.url}",
            found="no such record",
            fix="`enginefarm quarantine list` shows the names and keys of all records",
        )
    return document
