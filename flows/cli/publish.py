"""`enginefarm check | publish | requests`: a folder becomes a release, and its request may be corrected."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents.hardware.probe import probe_host
from flows.addresses import release_at
from flows.cli.display import progress_bars
from flows.cli.options import Json, Release
from flows.cli.output import print_json, say, show
from flows.cli.tables import Column, FittedTable
from flows.settings import settings
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import Announcement
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.step_text import size_text
from tasks.store.publishing import Upload, plan_upload, publish_release
from tasks.store.releases import release_objects
from tasks.store.request_history import RequestVersion, read_request_version, request_versions
from tasks.store.s3 import s3_client
from tasks.store.store import Store

if TYPE_CHECKING:
    from flows.release.folder_check import CheckedFolder
    from flows.release.full_check import CheckedGraph

Folder = Annotated[Path, typer.Argument(help="Folder with one model and a build.yaml.")]


def check(
    folder: Folder,
    *,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Also load and convert the model, and compare the graph of each precision with TensorFlow.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a folder before it is published: its request, model file, samples and targets.

    Needs no S3, server, GPU or TensorFlow: the model's files are read in a sandbox. With --full, TensorFlow
    loads the model there.
    """
    from flows.release.folder_check import check_folder  # noqa: PLC0415 (it imports NumPy)
    from flows.release.full_check import failure_of_graphs  # noqa: PLC0415 (likewise)

    checked = check_folder(folder, offered=_devices_here)
    graphs = _check_model(checked, full=full)
    if as_json:
        print_json(_document(checked) | {"graphs": [_graph_document(graph) for graph in graphs]})
    else:
        _show_checked(checked)
        if graphs:
            show(_graph_table(graphs))
    failure = failure_of_graphs(graphs)
    if failure is not None:
        raise failure
    if not as_json:
        say(f"{folder} can be published.")


def publish(
    folder: Folder,
    release: Release,
    *,
    replace_request: Annotated[
        bool,
        typer.Option(
            "--replace-request",
            help="Replace the build.yaml of a published release, and keep the former one. "
            "The folder needs no model.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and say what would be uploaded; write nothing."),
    ] = False,
) -> None:
    """Check a folder and upload it as a release, build.yaml last. The model in S3 never changes."""
    from flows.release.folder_check import check_folder  # noqa: PLC0415 (it imports NumPy)

    ref, client = release_at(release), s3_client()
    published = release_objects(client, ref) if replace_request else {}
    complete = published if REQUEST_FILE in published else ()
    checked = check_folder(folder, offered=partial(_devices_of_agents, ref), published=complete)
    _check_model(checked)
    for note in checked.notes:
        say(f"Note: {note}.", style="yellow")
    with progress_bars():
        act = plan_upload if dry_run else publish_release
        upload = act(client, ref, folder, replace_request=replace_request)
    _show_upload(upload, dry_run=dry_run)


def requests(
    release: Release,
    *,
    number: Annotated[
        int | None, typer.Option("--show", metavar="NUMBER", help="Print this version.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the versions of a release's build.yaml, the current one last."""
    ref, client = release_at(release), s3_client()
    if number is not None:
        print(read_request_version(client, ref, number).decode("utf-8-sig"), end="")  # noqa: T201
        return
    versions = request_versions(client, ref)
    if as_json:
        print_json([asdict(version) | {"modified": version.modified.isoformat()} for version in versions])
        return
    show(_versions_table(ref, versions))


def _check_model(checked: CheckedFolder, *, full: bool = False) -> list[CheckedGraph]:
    """Check the model's files in a sandbox; with `full`, also convert it and return its graphs.

    A folder may have only a request.
    """
    from flows.release.full_check import check_conversion, check_model  # noqa: PLC0415 (it imports NumPy)

    if checked.format is None:
        return []
    with progress_bars() if full else nullcontext(), settings().workspace() as work:
        if full:
            return asyncio.run(check_conversion(checked, checked.format, work))
        asyncio.run(check_model(checked, checked.format, work))
    return []


def _devices_here() -> set[str]:
    """Return what toolchains of this host build for."""
    with settings().workspace() as work:
        host = asyncio.run(probe_host(settings().interpreters, work=work))
    return {device_slug(target) for target in host.targets()}


def _devices_of_agents(ref: ReleaseRef) -> set[str]:
    """Return what agents and this host build for; whoever publishes may have no access to the store."""
    try:
        announced = list(Store.connect(settings().store_for(ref)).records(Announcement))
    except FarmError:
        announced = []
    offered = {device_slug(target) for announcement in announced for target in announcement.offer.targets()}
    return offered | _devices_here()


def _versions_table(ref: ReleaseRef, versions: Sequence[RequestVersion]) -> FittedTable:
    columns = (
        Column(name="version", right=True),
        Column(name="written"),
        Column(name="bytes", right=True),
        Column(name="file"),
    )
    rows = [
        (
            str(version.number),
            f"{version.modified:%F %T} UTC",
            str(version.size),
            version.key.removeprefix(ref.key),
        )
        for version in versions
    ]
    return FittedTable(title=f"Requests of {ref.url}", columns=columns, rows=rows)


def _document(checked: CheckedFolder) -> dict[str, object]:
    request = checked.request
    return {
        "model": checked.format,
        "files": {path: file.stat().st_size for path, file in checked.files.items()},
        "precisions": request.precisions,
        "targets": request.targets,
        "samples": request.samples,
        "notes": checked.notes,
    }


def _graph_document(graph: CheckedGraph) -> dict[str, object]:
    outcome = graph.outcome
    result = {"error": outcome.to_document()} if isinstance(outcome, FarmError) else asdict(outcome)
    return {"precision": graph.precision, "opset": graph.opset, "nodes": graph.nodes, **result}


def _graph_table(graphs: Sequence[CheckedGraph]) -> FittedTable:
    columns = (
        Column(name="precision"),
        Column(name="opset", right=True),
        Column(name="nodes", right=True),
        Column(name="result"),
        Column(name="error", right=True),
        Column(name="tolerance", right=True),
    )
    return FittedTable(
        title="Graphs against the reference", columns=columns, rows=list(map(_graph_row, graphs))
    )


def _graph_row(graph: CheckedGraph) -> tuple[str, ...]:
    first = (graph.precision, str(graph.opset), str(graph.nodes))
    outcome = graph.outcome
    if isinstance(outcome, FarmError):
        return (*first, outcome.class_name, "", "")
    worst = outcome.worst
    error = "" if worst is None else f"{worst.relative:.1e}"
    return (*first, outcome.verdict, error, f"{outcome.tolerance:g}")


def _show_checked(checked: CheckedFolder) -> None:
    size = sum(file.stat().st_size for file in checked.files.values())
    request = checked.request
    say(f"Model: {checked.format}; {len(checked.files)} files, {size_text(size)}")
    say(f"Request: {', '.join(request.precisions)} for {', '.join(request.targets)}")
    say(f"Samples: {request.samples or 'none, so drawn numbers are compared'}")
    for note in checked.notes:
        say(f"Note: {note}.", style="yellow")


def _show_upload(upload: Upload, *, dry_run: bool) -> None:
    url = upload.ref.url
    if not upload.new:
        say(f"{url} is complete already, with the same files: nothing to upload.")
        return
    if dry_run:
        for path, file in upload.new.items():
            verb = "replace" if path == REQUEST_FILE and upload.replaces is not None else "upload"
            say(f"Would {verb} {path}, {size_text(file.stat().st_size)}")
        say(f"Nothing was written to {url}.")
        return
    if upload.replaces is not None:
        say(f"The request of {url} was replaced; `enginefarm requests {url}` lists the former ones.")
        say(f"On a farm without an S3 agent, `enginefarm submit {url}` builds what it changes.")
        return
    say(f"{url} is complete. To build it: enginefarm build {url}")
