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
from tasks.domain.printable import printable
from tasks.domain.timing import TimingRecord
from tasks.store.records import record_to_json
from tasks.store.timing import drop_timing, timing_records

app = typer.Typer(no_args_is_help=True, help="List and drop timing caches, which make builds faster.")


@app.command("list")
def list_caches(
    *,
    store: StoreUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of records.")] = False,
) -> None:
    """List the timing caches of a store: for which builds, how large, and since when."""
    place = store_at(store)
    found = list(timing_records(place))
    if as_json:
        print(json.dumps([_document(key, record) for key, record in found]))  # noqa: T201
        return
    table = Table(title=f"Timing caches in {place.url}: {len(found)}", title_justify="left")
    for name in ("GPU", "TensorRT", "CUDA", "KiB", "created"):
        table.add_column(name, no_wrap=True)
    for _, record in found:
        table.add_row(*(escape(printable(text)) for text in _row(record)))
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


def _row(record: TimingRecord | None) -> tuple[str, ...]:
    if record is None:
        return ("cannot be read", "", "", "", "")
    made_for = record.made_for
    size = f"{record.cache.size / 1024:.0f}"
    return made_for.gpu, str(made_for.version), made_for.cuda, size, record.created


def _document(key: str, record: TimingRecord | None) -> dict[str, Any]:
    return {"key": key} if record is None else dict(json.loads(record_to_json(record)))
