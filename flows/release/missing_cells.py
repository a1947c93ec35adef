"""Finds which engines of which releases are missing, from S3 alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TypeVar

from agents.s3.request_files import request_files
from flows.settings import settings
from tasks.domain.cells import Cell, cells_of
from tasks.domain.current import answers_request
from tasks.domain.errors import FarmError, RecordInvalid, StoreUnreachable
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import Announcement, Offer, select
from tasks.domain.priority import Priority
from tasks.domain.quarantine import QuarantineRecord, Subject
from tasks.domain.record import EngineRecord
from tasks.domain.release import ReleaseRef
from tasks.domain.release_place import CreatedObject, LocationUnknown, ReleasePlace, release_of
from tasks.domain.request import BuildRequest
from tasks.store.readers import reading_threads
from tasks.store.releases import read_request
from tasks.store.store import Store
from tasks.tensorflow.models import conversion_tools
from tasks.tensorrt.engine import graph_precision
from tasks.tensorrt.site import build_tools

R = TypeVar("R", EngineRecord, QuarantineRecord)

UNSEEN = timedelta(days=30)
"""A pool that has not been announced for this long gets no more builds."""

_READERS = 4
_EVER = datetime.min.replace(tzinfo=UTC)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRelease:
    """A release from a listing.

    Attributes:
        ref: the release.
        modified: when its request file was written, in UTC.
    """

    ref: ReleaseRef
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNeeds:
    """What a release lacks.

    Attributes:
        release: the release.
        priority: the priority in its request.
        missing: cells without an engine, as text for people.
        stale: cells whose engines were all built with other code or other versions of libraries.
        newer: cells that a newer version of enginefarm built, with the keys of its records, which this
            version cannot read.
        unoffered: devices in its request that no agent builds for.
        problem: why nothing can be checked or built; empty if there is no problem.
        away: the error, if the problem is that S3 did not answer.
    """

    release: ListedRelease
    priority: Priority = Priority.DEFAULT
    missing: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    unoffered: tuple[str, ...] = ()
    problem: str = ""
    away: StoreUnreachable | None = None

    @property
    def is_to_build(self) -> bool:
        """Whether a run would build something."""
        return not self.problem and bool(self.missing or self.stale)


def releases_below(place: ReleasePlace) -> list[ListedRelease]:
    """Return the releases directly below `place`.

    Raises:
        FarmError: as `s3_errors`.
    """
    releases = []
    for file in request_files(place, _EVER):
        try:
            ref = release_of(CreatedObject(bucket=place.bucket, key=file.key), (place,))
        except LocationUnknown:  # a file of that name inside a model
            continue
        releases.append(ListedRelease(ref=ref, modified=file.modified))
    return releases


def needs_of(releases: Iterable[ListedRelease], now: datetime) -> list[ReleaseNeeds]:
    """Return what each of `releases` lacks: production first, then the newest.

    A release that cannot be checked has the reason as its `problem`.
    """
    offers = cache(partial(recent_offers, now=now))
    with reading_threads(_READERS) as readers:
        return in_turn(readers.map(lambda release: _release_needs(release, offers), releases))


def in_turn(needs: Iterable[ReleaseNeeds]) -> list[ReleaseNeeds]:
    """Return `needs` in the order in which builds start."""
    return sorted(needs, key=_turn)


def _turn(needs: ReleaseNeeds) -> tuple[bool, float]:
    return needs.priority is not Priority.PRODUCTION, -needs.release.modified.timestamp()


def recent_offers(store_url: str, *, now: datetime) -> tuple[Offer, ...]:
    """Return the offers of agents that were announced recently."""
    announced = Store.connect(store_url).records(Announcement)
    return tuple(announcement.offer for announcement in announced if _lives(announcement, now))


def _lives(announcement: Announcement, now: datetime) -> bool:
    try:
        seen = datetime.fromisoformat(announcement.seen)
    except ValueError:
        return False
    return now - (seen if seen.tzinfo else seen.replace(tzinfo=UTC)) < UNSEEN


def _release_needs(release: ListedRelease, offers: Callable[[str], tuple[Offer, ...]]) -> ReleaseNeeds:
    try:
        store = Store.connect(settings().store_for(release.ref))
        request = read_request(store.client, release.ref)
        targets, unoffered = select(offers(store.url), request.targets)
        if not targets:
            problem = f"no agent builds for {', '.join(unoffered)}"
            return ReleaseNeeds(
                release=release, priority=request.priority, unoffered=unoffered, problem=problem
            )
        return _lacking(release, request, cells_of(request, targets)[0], store, unoffered)
    except FarmError as error:
        away = error if isinstance(error, StoreUnreachable) else None
        return ReleaseNeeds(release=release, problem=f"{error.class_name}: {error}", away=away)


def _lacking(
    release: ListedRelease,
    request: BuildRequest,
    cells: tuple[Cell, ...],
    store: Store,
    unoffered: tuple[str, ...],
) -> ReleaseNeeds:
    """Return which of `cells` have neither an engine nor a quarantine record of the current tools."""
    engines, newer_engines = _release_records(store, EngineRecord, release.ref)
    refused, newer_refusals = _release_records(store, QuarantineRecord, release.ref)
    newer = {cell: key for key in (*newer_engines, *newer_refusals) for cell in cells if _is_about(key, cell)}
    missing, stale = sort_cells(
        (cell for cell in cells if cell not in newer),
        [record for record in engines if answers_request(record.options, record.release, request)],
        [record for record in refused if answers_request(record.options, record.release, request)],
    )
    return ReleaseNeeds(
        release=release,
        priority=request.priority,
        missing=missing,
        stale=stale,
        newer=tuple(f"{_written(cell)}, {newer[cell]}" for cell in cells if cell in newer),
        unoffered=unoffered,
    )


def _release_records(store: Store, kind: type[R], ref: ReleaseRef) -> tuple[list[R], list[str]]:
    """Return the release's records of `kind`, and the keys of records that need a newer version."""
    records: list[R] = []
    newer: list[str] = []
    for key, document in store.look_through(kind, model=ref.model, version=ref.version):
        if not isinstance(document, RecordInvalid):
            records += [document.record] if document.record.release.ref == ref else []
            continue
        _LOG.warning("left out: %s", document)
        newer += [key] if document.newer else []
    return records, newer


def _is_about(key: str, cell: Cell) -> bool:
    """Return whether the record at `key` is about `cell`, judged by its key; see `engine_key`."""
    target, precision = cell
    _, _, _, place = key.split("/", 3)
    graph = f"graph/{graph_precision(target, precision)}-"
    return place.startswith((f"{device_slug(target)}/{target.version}/{precision}-", graph))


def _written(cell: Cell) -> str:
    target, precision = cell
    return f"{device_slug(target)}/{target.version} {precision}"


def sort_cells(
    cells: Iterable[Cell], engines: Iterable[EngineRecord], refused: Iterable[QuarantineRecord]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which of `cells` are missing and which are stale, as text for people.

    Args:
        cells: the requested cells.
        engines: the release's engines.
        refused: the release's quarantine records: with the current tools, these settle a cell, too.
    """
    current: dict[Cell, bool] = {}  # whether the cell has an engine of the current tools
    for engine in engines:
        cell = engine.target, engine.options.precision
        current[cell] = current.get(cell, False) or engine.tools == _tools_of(engine)
    answers = list(refused)
    missing: list[str] = []
    stale: list[str] = []
    for cell in cells:
        if current.get(cell, False) or any(_answers(answer, cell) for answer in answers):
            continue
        (stale if cell in current else missing).append(_written(cell))
    return tuple(missing), tuple(stale)


def _tools_of(record: EngineRecord | QuarantineRecord) -> dict[str, str]:
    """Return today's tools for what `record` is of."""
    return {**conversion_tools(record.release.format), **build_tools()}


def _answers(record: QuarantineRecord, cell: Cell) -> bool:
    """Return whether `record` is of `cell` or of its graph, and of the current tools."""
    target, precision = cell
    if record.subject is Subject.GRAPH:
        lowered = graph_precision(target, precision)
        return record.options.precision == lowered and record.tools == conversion_tools(record.release.format)
    return (record.target, record.options.precision) == cell and record.tools == _tools_of(record)


def rows(needs: ReleaseNeeds) -> Iterator[str]:
    """Yield what a release lacks, one line each, for people."""
    yield from (f"missing: {cell}" for cell in needs.missing)
    yield from (f"stale: {cell}" for cell in needs.stale)
    yield from (f"written by a newer enginefarm: {cell}" for cell in needs.newer)
    yield from (f"offered by no agent: {device}" for device in needs.unoffered)
