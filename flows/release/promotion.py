"""Whether a release may become what a channel points to."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from flows.release.missing_cells import recent_offers
from tasks.domain.candidate import Candidate
from tasks.domain.cells import cells_of
from tasks.domain.channel import ChannelRelease, target_name
from tasks.domain.channel_policy import (
    DEFAULT_POLICIES,
    POLICIES_KEY,
    Policy,
    lacking,
    policies_from_document,
)
from tasks.domain.errors import FarmError, NotStored, RecordInvalid, TargetUnavailable
from tasks.domain.offer import select
from tasks.domain.release import ReleaseRef
from tasks.store.candidates import stored_candidates
from tasks.store.channel_index import with_signature
from tasks.store.releases import read_request
from tasks.store.store import Store
from tasks.store.transfer import read_small

_LARGEST_POLICIES = 1 << 20


def policies(store: Store) -> dict[str, Policy]:
    """Return the policies of the store's channels, by name; the default ones if it has no file of them.

    Raises:
        RecordInvalid: the file cannot be read.
        FarmError: as `s3_errors`.
    """
    address = store.address(POLICIES_KEY)
    data = read_small(store.client, address, most=_LARGEST_POLICIES, refusal=RecordInvalid)
    if data is None:
        return dict(DEFAULT_POLICIES)
    try:
        return policies_from_document(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordInvalid(
            wanted=f"the policies of channels in {address.url}",
            found=f"{type(error).__name__}: {error}",
            fix="correct the file; `enginefarm channel policies` prints the default one",
        ) from error


def stored_release(store: Store, model: str, version: str) -> tuple[ChannelRelease, list[Candidate]]:
    """Return a release by the records of its engines, and these engines with signatures.

    Raises:
        NotStored: the store has no engine of it, or engines of several releases with these names.
        FarmError: as `s3_errors`.
    """
    engines = stored_candidates(store, model, version)
    releases = {(engine.release, engine.model_digest) for engine in engines}
    if len(releases) != 1:
        places = ", ".join(sorted(url for url, _ in releases))
        raise NotStored(
            wanted=f"engines of one release {model} {version} in {store.url}",
            found=f"engines of {places}, with different models" if releases else "no engine of that name",
            fix=f"`enginefarm engines list --model {model}` shows what there is; build the release first",
        )
    ((url, digest),) = releases
    release = ChannelRelease(model=model, version=version, url=url, digest=digest)
    return release, [with_signature(store, engine) for engine in engines]


def lacking_for(  # noqa: PLR0913 (a policy, and what it is held against)
    store: Store,
    policy: Policy,
    release: ChannelRelease,
    engines: Sequence[Candidate],
    now: datetime,
    *,
    targets: Collection[str] = (),
) -> tuple[str, ...]:
    """Return what `policy` demands and the release lacks, a line for each cell; empty if nothing.

    Args:
        store: where agents announce what they build.
        policy: that of the channel.
        release: the release.
        engines: its engines.
        now: the time by which announcements are recent.
        targets: only these, as DEVICE/TENSORRT; empty: all that the request names.

    Raises:
        FarmError: as `s3_errors`.
    """
    if policy == Policy():
        return ()
    try:
        request = read_request(store.client, ReleaseRef.from_url(release.url))
    except FarmError as error:
        return (f"its request cannot be read: {error.found}", *lacking(policy, (), (), engines))
    offered, missing = select(recent_offers(store.url, now=now), request.targets)
    try:
        cells = cells_of(request, offered)[0] if offered else ()
    except TargetUnavailable as error:
        return (error.found,)
    if not targets:
        return lacking(policy, cells, missing, engines)
    built = ((engine.target, engine.precision) for engine in engines)
    named = (cell for cell in dict.fromkeys((*cells, *built)) if target_name(cell[0]) in targets)
    return lacking(policy, named, (), engines)
