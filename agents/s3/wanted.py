"""Requests of consumers: which release, device and precision a run shall build."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.domain.errors import RecordInvalid
from tasks.domain.overrides import Overrides
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.release_place import CreatedObject, LocationUnknown, ReleasePlace, release_of
from tasks.domain.request import Precision
from tasks.domain.wanted import wanted_from_json
from tasks.store.listing import Listed
from tasks.store.place import StorePlace
from tasks.store.wanted import read_wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRun:
    """A run that a consumer asks for.

    Attributes:
        release: what it builds from.
        overrides: which part of it.
        key: its idempotency key: a request starts one run.
    """

    release: ReleaseRef
    overrides: Overrides
    key: str


class WantedRefused(Exception):
    """A request that starts no run, and never will."""


def wanted_run(store: StorePlace, listed: Listed, places: Iterable[ReleasePlace]) -> WantedRun | None:
    """Return the run that the object `listed` asks for; None if it is gone.

    Raises:
        WantedRefused: it is no request, or its release is in none of `places`.
        FarmError: as `s3_errors`.
    """
    try:
        data = read_wanted(store, listed)
        if data is None:
            return None
        wanted = wanted_from_json(data)
        ref = wanted.ref
        folder = "/".join(filter(None, (ref.prefix, ref.model, ref.version)))
        release = release_of(CreatedObject(bucket=ref.bucket, key=f"{folder}/{REQUEST_FILE}"), places)
    except (ValueError, RecordInvalid, LocationUnknown) as error:
        raise WantedRefused(str(error)) from error
    precisions = (Precision(wanted.precision),) if wanted.precision else ()
    return WantedRun(
        release=release,
        overrides=Overrides(targets=(wanted.device,), precisions=precisions),
        key=f"wanted:{store.bucket}/{listed.key}@{listed.etag}",
    )
