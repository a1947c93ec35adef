"""`enginefarm timing`: lists and deletes the timing caches of a store."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from flows.addresses import store_at
from flows.cli.options import WIDE_HINT, Json, StoreUrl, Wide
from flows.cli.output import print_json, show
from flows.cli.tables import Column, FittedTable
from tasks.domain.errors import RecordInvalid
from tasks.domain.timing import TimingRecord
from tasks.store.record_names import RecordRoot, key_named, names_in
from tasks.store.records import Document
from tasks.store.timing import drop_timing

app = typer.Typer(no_args_is_help=True, help="List and delete timing caches, which make builds faster.")

_COLUMNS = (
    Column(name="name"),
    Column(name="GPU", shrinks=True),
    Column(name="TensorRT"),
    Column(name="CUDA"),
    Column(name="KiB", right=True),
    Column(name="created", rank=2),
    Column(name="key", rank=3),
)


@app.command("list")
def list_caches(*, store: StoreUrl = None, wide: Wide = False, as_json: Json = False) -> None:
    """List the timing caches of a store: which builds use them, their size and age."""
    place = store_at(store)
    caches = list(place.look_through(TimingRecord))
    if as_json:
        print_json([_cache_document(key, document) for key, document in caches])
        return
    names = names_in(place, RecordRoot.TIMING)
    table = FittedTable(
        title=f"Timing caches in {place.url}: {len(caches)}",
        columns=_COLUMNS,
        rows=[(names.get(key, ""), *_cache_row(document), key) for key, document in caches],
        wide=wide,
        hint=WIDE_HINT,
    )
    show(table)


@app.command(epilog="Example: enginefarm timing drop 5c0de7a1 --store s3://my-bucket")
def drop(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name or key of the cache, as `enginefarm timing list` shows it."
        ),
    ],
    *,
    store: StoreUrl = None,
) -> None:
    """Delete a timing cache. The next build measures everything again; stored engines do not change."""
    place = store_at(store)
    drop_timing(place, key_named(place, RecordRoot.TIMING, name))


def _cache_row(document: Document[TimingRecord] | RecordInvalid) -> tuple[str, ...]:
    if isinstance(document, RecordInvalid):
        reason = "written by a newer enginefarm" if document.newer else "cannot be read"
        return (reason, "", "", "", "")
    record = document.record
    made_for = record.made_for
    size = f"{record.cache.size / 1024:.0f}"
    return made_for.gpu, str(made_for.version), made_for.cuda, size, record.created


def _cache_document(key: str, document: Document[TimingRecord] | RecordInvalid) -> dict[str, Any]:
    return {"key": key} if isinstance(document, RecordInvalid) else dict(json.loads(document.data))
