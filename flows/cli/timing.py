"""`enginefarm timing`: the timing caches of a store."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from flows.addresses import store_at
from flows.cli.display import console
from flows.cli.engines import StoreUrl
from tasks.domain.errors import RecordInvalid
from tasks.domain.printable import printable
from tasks.domain.timing import TimingRecord
from tasks.store.records import Document
from tasks.store.timing import drop_timing

app = typer.Typer(no_args_is_help=True, help="List and drop timing caches, which make builds faster.")


@app.command("list")
def list_caches(
    *,
    store: StoreUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of records.")] = False,
) -> None:
    """List the timing caches of a store: for which builds, how large, and since when."""
    place = store_at(store)
    found = list(place.look_through(TimingRecord))
    if as_json:
        print(json.dumps([_json(key, document) for key, document in found]))  # noqa: T201
        return
    table = Table(title=f"Timing caches in {place.url}: {len(found)}", title_justify="left")
    for name in ("GPU", "TensorRT", "CUDA", "KiB", "created"):
        table.add_column(name, no_wrap=True)
    for _, document in found:
        table.add_row(*(escape(printable(text)) for text in _row(document)))
    console.print(table)
    for key, _ in found:  # whole, on lines of their own: they are to be copied
        console.print(printable(key), markup=False, highlight=False, soft_wrap=True)


@app.command()
def drop(
    key: Annotated[str, typer.Argument(help="Key of the record, as `enginefarm timing list` shows it.")],
    *,
    store: StoreUrl = None,
) -> None:
    """Drop one timing cache. Builds then measure anew, and engines stay what they are."""
    drop_timing(store_at(store), key)


def _row(document: Document[TimingRecord] | RecordInvalid) -> tuple[str, ...]:
    if isinstance(document, RecordInvalid):
        reason = "written by a newer enginefarm" if document.newer else "cannot be read"
        return (reason, "", "", "", "")
    record = document.record
    made_for = record.made_for
    size = f"{record.cache.size / 1024:.0f}"
    return made_for.gpu, str(made_for.version), made_for.cuda, size, record.created


def _json(key: str, document: Document[TimingRecord] | RecordInvalid) -> dict[str, Any]:
    return {"key": key} if isinstance(document, RecordInvalid) else dict(json.loads(document.data))
