"""Around step 7: kernel timings are fetched from the store before a build and published after it.

Timings only save time. If they fail, the fallback is a build without them, with a note in the record and a
warning. Only a reproducible build depends on its cache, and fails without it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from tasks.children.workspace import Workspace
from tasks.domain.digest import BlobRef
from tasks.domain.errors import FarmError, NotStored, RequestInvalid, TargetUnavailable
from tasks.domain.order import EngineOrder
from tasks.domain.request import TimingMode
from tasks.domain.timing import (
    CacheFile,
    TimingCacheKey,
    TimingRecord,
    TimingUse,
    timing_key,
    why_untimed,
)
from tasks.step import step
from tasks.store.records import UPDATE
from tasks.store.store import Store
from tasks.store.timing import (
    fetch_cache,
    find_timing,
    is_trusted,
    put_cache,
    share_timing,
    swap_timing,
)
from tasks.tensorrt.engine import BuiltEngine, EngineJob
from tasks.tensorrt.merging import merge_caches
from tasks.tensorrt.site import BuildSite
from tasks.tensorrt.timing import TimingInput, check_reproducible

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledTiming:
    """What the store had for a build.

    Attributes:
        key: the builds that may share it; None if this one has no cache.
        given: what the build starts with.
        previous: the shared cache before the build, usable or not; the build's cache replaces it.
        notes: why there is no cache, or only a part.
    """

    key: TimingCacheKey | None = None
    given: TimingInput | None = None
    previous: BlobRef | None = None
    notes: tuple[str, ...] = ()


@step
async def pull_timing(order: EngineOrder, site: BuildSite, *, work: Workspace) -> PulledTiming:
    """Fetch the timings that the build of `order` starts with.

    Raises:
        RequestInvalid: the build shall be reproducible, but cannot be with this TensorRT or on this host.
        NotStored: the cache that it names is not stored for this GPU model, TensorRT and CUDA.
        DigestMismatch: the cache that it names is damaged.
        FarmError: as `s3_errors`, for a reproducible build.
    """
    key = timing_key(order.target, site.cuda)
    reason = why_untimed(order.target, site.cuda)
    if order.timing is TimingMode.REPRODUCIBLE:
        return await _pull_named(order, key, reason, work)
    if order.timing is TimingMode.NONE:
        return PulledTiming(notes=("the request asks for none",))
    if key is None:
        return PulledTiming(notes=(reason,))
    return await asyncio.to_thread(_pull_shared, Store.connect(order.store), key, work)


def _pull_shared(store: Store, key: TimingCacheKey, work: Workspace) -> PulledTiming:
    previous, cache = None, None
    notes: tuple[str, ...] = ()
    try:
        standing = find_timing(store, key.shared, key)
        if standing is not None and not is_trusted(store, standing):
            previous = None if standing.record is None else standing.record.cache
            notes = ("the shared timing cache was left out: no trusted key signed it",)
        elif standing is not None and standing.record is None:
            newer = standing.problem is not None and standing.problem.newer
            notes = (f"the record {key.shared} cannot be read{f': {UPDATE}' if newer else ''}",)
        elif standing is not None and standing.record is not None:
            previous = standing.record.cache
            cache = fetch_cache(store, previous, work.folder)
    except FarmError as error:
        notes = (_warned("the shared timing cache was left out", error),)
    return PulledTiming(
        key=key, given=TimingInput(mode=TimingMode.SHARED, cache=cache), previous=previous, notes=notes
    )


async def _pull_named(
    order: EngineOrder, key: TimingCacheKey | None, reason: str, work: Workspace
) -> PulledTiming:
    named = order.options.timing_cache
    if key is None and order.target.gpu is None and named is None:
        return PulledTiming(notes=(reason,))  # each build of TensorRT-RTX repeats the previous one
    if key is None:
        raise RequestInvalid(
            wanted="a build whose timings all come from one cache (`timing: reproducible`)",
            found=reason,
            fix="remove timing_cache from build.yaml, or name a target of TensorRT itself",
        )
    check_reproducible(order.target)
    if named is None:
        return PulledTiming(key=key, given=TimingInput(mode=TimingMode.REPRODUCIBLE, cache=None))
    cache = await asyncio.to_thread(_fetch_named, Store.connect(order.store), key, named, work)
    return PulledTiming(key=key, given=TimingInput(mode=TimingMode.REPRODUCIBLE, cache=cache))


def _fetch_named(store: Store, key: TimingCacheKey, sha256: str, work: Workspace) -> CacheFile:
    standing = find_timing(store, key.recorded(sha256), key)
    if standing is not None and standing.problem is not None and standing.problem.newer:
        raise standing.problem
    if standing is None or standing.record is None:
        raise NotStored(
            wanted=f"the timing cache {sha256} for {key.gpu}, TensorRT {key.version}, CUDA {key.cuda}",
            found="no such record" if standing is None else "a record that cannot be read",
            fix="build there with `timing: reproducible` and no `timing_cache`: the engine's record then "
            "names the cache under timing.left",
        )
    return fetch_cache(store, standing.record.cache, work.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBuild:
    """A finished build, with its timings.

    Attributes:
        order: what to build.
        pulled: what the store had for it.
        job: the build.
        built: its result.
        attempt: the build's attempt.
    """

    order: EngineOrder
    pulled: PulledTiming
    job: EngineJob
    built: BuiltEngine
    attempt: str


@step
async def publish_timing(timed: TimedBuild, *, work: Workspace) -> TimingUse:
    """Store the build's measurements, and return what it used; errors in this become notes."""
    pulled, outcome = timed.pulled, timed.built.timing
    given = None if pulled.given is None or pulled.given.cache is None else pulled.given.cache.ref
    remaining, notes = None, (*pulled.notes, *outcome.notes)
    if pulled.key is not None and outcome.left is not None:
        try:
            remaining = await _publish_remaining(timed, pulled.key, outcome.left, work)
        except FarmError as error:
            notes = (*notes, _warned("the build's timings were not shared", error))
    return TimingUse(
        mode=timed.order.timing, used=given if outcome.used else None, left=remaining, notes=notes
    )


async def _publish_remaining(
    timed: TimedBuild, key: TimingCacheKey, remaining: CacheFile, work: Workspace
) -> BlobRef:
    """Store `remaining`; return the stored cache that includes it."""
    key_of_build = timing_key(timed.built.target, timed.built.info.cuda)
    if key_of_build != key:
        raise TargetUnavailable(
            wanted=f"timings for CUDA {key.cuda}",
            found=f"a build with CUDA {timed.built.info.cuda}",
            fix="restart the agent: the host's driver changed since it was probed",
        )
    store = Store.connect(timed.order.store)
    record = TimingRecord(
        key=key.shared,
        made_for=key,
        cache=remaining.ref,
        attempt=timed.attempt,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if timed.order.timing is TimingMode.REPRODUCIBLE:
        named = replace(record, key=key.recorded(remaining.ref.sha256))
        await asyncio.to_thread(put_cache, store, remaining)
        await asyncio.to_thread(swap_timing, store, named, None)  # an existing record says the same
    else:
        merge = partial(merge_caches, timed.job, work=work)
        record = await share_timing(store, remaining, record, base=timed.pulled.previous, merge=merge)
    return record.cache


def _warned(what: str, error: FarmError) -> str:
    _LOG.warning("%s: %s", what, error)
    return f"{what}: {error.found}"
