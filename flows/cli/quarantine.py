"""`enginefarm quarantine`: what did not pass the gate, and how to see that again."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from agents.hardware.gpu_lock import free_site
from agents.hardware.probe import probe_host
from flows.addresses import store_at
from flows.cli.display import console, documents_json, progress_bars
from flows.cli.engines import Key, StoreUrl
from flows.settings import settings
from tasks.children.workspace import Workspace
from tasks.domain.errors import NotStored, RequestInvalid, TargetUnavailable
from tasks.domain.gate import judge, require_pass, wanted_top1
from tasks.domain.printable import printable
from tasks.domain.quarantine import QuarantineRecord
from tasks.domain.record import WEIGHTS_FILE, Comparison, Verification
from tasks.onnx.graph import compare_graph
from tasks.store.records import Document
from tasks.store.store import Store
from tasks.tensorrt.plugins import plugin_files
from tasks.tensorrt.verification import verify_engine

app = typer.Typer(no_args_is_help=True, help="List, show and reproduce what did not pass the gate.")

_GRAPH, _PLAN, _REFERENCE, _ACTUAL = "model.onnx", "engine.plan", "reference.npz", "actual.npz"


@app.command("list")
def list_quarantined(
    *,
    store: StoreUrl = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    version: Annotated[str | None, typer.Option(help="Only this version of the model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of records.")] = False,
) -> None:
    """List what lies in quarantine."""
    place = store_at(store)
    documents = list(place.documents(QuarantineRecord, model=model, version=version))
    if as_json:
        print(json.dumps(documents_json(documents)))  # noqa: T201
        return
    found = [document.record for document in documents]
    table = Table(title=f"In quarantine in {place.url}: {len(found)}", title_justify="left")
    for name in ("model", "version", "of", "precision", "error", "created"):
        table.add_column(name, no_wrap=True)
    for one in found:
        row = (one.model, one.version, one.device, one.options.precision, one.error["class"], one.created)
        table.add_row(*(escape(printable(text)) for text in row))
    console.print(table)
    for one in found:  # whole, on lines of their own: they are to be copied
        console.print(printable(one.key), markup=False, highlight=False, soft_wrap=True)


@app.command()
def show(key: Key, *, store: StoreUrl = None) -> None:
    """Print one record as JSON: what was compared, what was measured, and the command to see it again."""
    print(json.dumps(json.loads(_document(store_at(store), key).data), indent=2))  # noqa: T201


@app.command()
def reproduce(
    key: Key,
    *,
    store: StoreUrl = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for the graph or engine, the inputs and both answers.")
    ] = None,
) -> None:
    """Run the same comparison again. The exit code is the gate's: 0 where it passes now."""
    place = store_at(store)
    document = _document(place, key)
    record = document.record
    if keep is not None and keep.exists():
        raise RequestInvalid(
            wanted=f"to write the folder {keep}", found="that it is there", fix="give another --keep"
        )
    with progress_bars(), settings().workspace() as work:
        folder = _fetch(place, document, work.folder / "case")
        try:
            verification = asyncio.run(_compare(record, folder, work))
        finally:
            if keep is not None:
                shutil.copytree(folder, keep)
    console.print(_table(record, verification))
    require_pass(verification, f"the {record.subject} in quarantine")
    console.print("It passes now.")


def _fetch(store: Store, document: Document[QuarantineRecord], folder: Path) -> Path:
    """Return `folder` with all that was compared; digests are checked on the way."""
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
    """Hold the graph or the engine against TensorFlow's answers as the gate did."""
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
        fix="run this on a host with that GPU; --keep FOLDER gets the files on any host",
    )


def _table(record: QuarantineRecord, now: Verification) -> Table:
    """Return one row per output and corner: how far it was off then, and is now."""
    before = () if record.verification is None else record.verification.comparisons
    then = {(one.corner, one.output): one for one in before}
    table = Table(
        title=f"{record.key}: tolerance {now.tolerance:.1e}"
        + ("" if now.top1 is None else f", top-1 share {now.top1:g}"),
        title_justify="left",
    )
    table.add_column("corner", no_wrap=True)
    table.add_column("output", overflow="fold")
    for name in ("error then", "error now", "TensorFlow's noise", "top-1 then", "top-1 now"):
        table.add_column(name, justify="right")
    for one in now.comparisons:
        old = then.get((one.corner, one.output))
        error = "none" if old is None else f"{old.relative:.2e}"
        figures = (error, f"{one.relative:.2e}", f"{one.noise:.2e}", _top1(old), _top1(one))
        table.add_row(one.corner, escape(printable(one.output)), *figures)
    return table


def _top1(one: Comparison | None) -> str:
    return "" if one is None or one.top1 is None else f"{one.top1:.3f} of {one.top1_rows}"


def _document(store: Store, key: str) -> Document[QuarantineRecord]:
    document = store.find_document(key, QuarantineRecord)
    if document is None:
        raise NotStored(
            wanted=f"{key} in {store.url}",
            found="no such record",
            fix="`enginefarm quarantine list` shows what is there",
        )
    return document
