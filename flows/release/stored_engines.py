"""What the store holds of a release, by records alone: nothing is fetched, and nothing of Prefect is needed.

The model's digest is part of every key. Engines of the same release name each file with its digest and with
S3's entity tag, so if the tags are still the same, the model need not be read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from agents.hardware.probe import probe_host
from flows.settings import settings
from tasks.domain.cells import Cell, cells_of, refused_cells
from tasks.domain.errors import NotStored, RecordInvalid
from tasks.domain.gpu_table import base_opsets, graph_opset
from tasks.domain.graph_key import graph_key
from tasks.domain.keys import conversion_record_key
from tasks.domain.order import CellOutcome, ReleaseOutcome, order_for
from tasks.domain.order_check import check_conversion
from tasks.domain.overrides import Overrides
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.domain.release import Release, ReleaseFile, ReleaseRef
from tasks.domain.request import BuildRequest, Precision
from tasks.find import find_engine
from tasks.store.listing import Listed
from tasks.store.names import check_paths, model_format
from tasks.store.releases import check_sample_file, read_request, release_objects
from tasks.store.store import Store
from tasks.tensorflow.models import conversion_tools
from tasks.tensorrt.engine import graph_precision
from tasks.tensorrt.site import build_tools


async def stored_outcome(ref: ReleaseRef, overrides: Overrides) -> ReleaseOutcome | None:
    """Return what the release comes to on this host if the store has every engine; None if it may not.

    Raises:
        RequestInvalid: `build.yaml` or an option has a wrong key or value.
        ReleaseIncomplete: no model, several, or no `build.yaml`.
        TargetUnavailable: nothing of what is asked for can be built here.
        FarmError: as `s3_errors`.
    """
    place = Store.connect(settings().store_for(ref))
    request = overrides.applied_to(read_request(place.client, ref))
    objects = release_objects(place.client, ref)
    check_paths(objects, place=ref.url)
    form = model_format(objects, place=ref.url)
    check_sample_file(ref, request, list(objects))
    with settings().workspace() as work:
        host = await probe_host(settings().interpreters, work=work)
    chosen = host.choose(request.targets)
    cells, skipped = cells_of(request, chosen.targets)
    if chosen.lost or refused_cells(request, skipped):
        return None
    files = _known_files(place, ref, objects, request.samples, form)
    if files is None:
        return None
    asked = _Asked(store=place, request=request, release=Release(ref=ref, format=form, files=files))
    outcomes = [await asked.engine_of(cell) for cell in cells]
    stored = tuple(outcome for outcome in outcomes if outcome is not None)
    if len(stored) < len(cells):
        return None
    return ReleaseOutcome(release=ref, store=place.url, cells=stored, skipped=skipped)


def _known_files(
    store: Store, ref: ReleaseRef, objects: Mapping[str, Listed], samples: str | None, form: str
) -> tuple[ReleaseFile, ...] | None:
    """Return the files that decide keys with their digests; None if no engine was made from the same ones."""
    wanted = {path for path in objects if path in (form, samples) or path.startswith(f"{form}/")}
    known: dict[str, ReleaseFile] = {}
    for file in _files_of_engines(store, ref):
        listed = objects.get(file.path)
        if listed is not None and (file.size, file.etag) == (listed.size, listed.etag):
            known[file.path] = file
        if wanted <= known.keys():
            return tuple(known[path] for path in sorted(wanted))
    return None


def _files_of_engines(store: Store, ref: ReleaseRef) -> Iterable[ReleaseFile]:
    for record in store.records(EngineRecord, model=ref.model, version=ref.version):
        if record.release.ref == ref:
            yield from record.release.files


@dataclass(kw_only=True)
class _Asked:
    """A release whose digests are known, and what is asked for of it."""

    store: Store
    request: BuildRequest
    release: Release
    _graphs: dict[tuple[int, Precision], ConversionRecord | None] = field(default_factory=dict)

    async def engine_of(self, cell: Cell) -> CellOutcome | None:
        """Return the engine of `cell`; None if the store has none that can be read."""
        with suppress(NotStored, RecordInvalid):  # the flow says what is wrong with it, and builds the others
            return await self._engine_of(cell)
        return None

    async def _engine_of(self, cell: Cell) -> CellOutcome | None:
        target, precision = cell
        graph = self._graph_of(cell)
        if graph is None:
            return None
        order = order_for(
            store=self.store.url,
            release=self.release,
            conversion=graph,
            request=self.request,
            target=target,
            precision=precision,
            build_tools=build_tools(),
        )
        return await find_engine(order)

    def _graph_of(self, cell: Cell) -> ConversionRecord | None:
        """Return the graph that `cell` is built from, as `convert_for` finds it."""
        target, precision = cell
        bases = (self._stored(opset, Precision.FP32) for opset in base_opsets(target, self.release.format))
        base = next((record for record in bases if record is not None), None)
        written = graph_precision(target, precision)
        if base is None or written is Precision.FP32:
            return base
        return self._stored(graph_opset(base.opset, written), written)

    def _stored(self, opset: int, precision: Precision) -> ConversionRecord | None:
        if (opset, precision) not in self._graphs:
            tools = conversion_tools(self.release.format)
            key = graph_key(self.release, self.request, opset=opset, precision=precision, tools=tools)
            record = self.store.find(conversion_record_key(key), ConversionRecord)
            if record is not None:
                check_conversion(record, self.release, self.request, precision)
            self._graphs[opset, precision] = record
        return self._graphs[opset, precision]
