"""Asks the farm for an engine that is missing, and waits for it. It needs S3 and no Prefect."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

from tasks.consumer.client import Client
from tasks.domain.backoff import Backoff
from tasks.domain.channel import Channel
from tasks.domain.errors import NoEngineFits, RequestInvalid
from tasks.domain.gpu_table import rtx_slug
from tasks.domain.host import Host, Wanted
from tasks.domain.resolution import Choice, Resolution
from tasks.domain.target import EngineTarget, Flavour
from tasks.domain.wanted import WantedEngine
from tasks.store.resolving import resolve_stored
from tasks.store.wanted import ask_for

_BACKOFF = Backoff(first=1.0, longest=15.0, jitter=0.3)


def fetch_waiting(client: Client, wanted: Wanted, host: Host, seconds: float) -> tuple[Path, Choice]:
    """Fetch as `Client.fetch`. If no engine fits, ask the farm for it, and wait up to `seconds`.

    Raises:
        NoEngineFits: there is none after that time, or no release that could be built.
        RequestInvalid: the client is offline.
        FarmError: as `Client.fetch`.
    """
    if client.offline:
        raise RequestInvalid(wanted="to wait for the farm", found="--offline", fix="give only one of them")
    deadline, asked = time.monotonic() + seconds, False
    for pause in _BACKOFF:
        try:
            return client.fetch(wanted, host)
        except NoEngineFits as refusal:
            if not asked:
                ask_for(client.place, _missing(client, wanted, host, refusal))
                asked = True
            left = deadline - time.monotonic()
            if left <= 0:
                raise _too_late(refusal, seconds) from refusal
        time.sleep(min(pause, left))
    raise AssertionError("pauses never end")


def _missing(client: Client, wanted: Wanted, host: Host, refusal: NoEngineFits) -> WantedEngine:
    resolved = resolve_stored(client.place, host, wanted)
    release = _release(resolved.channel, resolved.resolution, host)
    if release is None:
        raise refusal
    return WantedEngine(
        release=release,
        device=host.device if host.flavour is Flavour.TENSORRT else rtx_slug((host.compute,)),
        tensorrt=str(host.version),
        precision=wanted.precisions[0].value if wanted.precisions else "",
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017 (Python 3.10)
    )


def _release(channel: Channel | None, resolution: Resolution, host: Host) -> str | None:
    """Return the URL of the release that is wanted; None if nothing names it."""
    if channel is None:
        return next((reason.candidate.release for reason in resolution.reasons), None)
    target = EngineTarget(
        flavour=host.flavour,
        version=host.version,
        gpu=host.gpu if host.flavour is Flavour.TENSORRT else None,
        compute_capabilities=(host.compute,),
        os=host.os,
        architecture=host.architecture,
    )
    return channel.move.release_for(target).url


def _too_late(refusal: NoEngineFits, seconds: float) -> NoEngineFits:
    return NoEngineFits(
        wanted=f"{refusal.wanted}, within {seconds:g} s after asking the farm",
        found=refusal.found,
        fix="look at the farm's runs (`enginefarm status`, `enginefarm quarantine list`): it needs "
        f"`enginefarm agent s3 --wanted` and an agent for this target. Or: {refusal.fix}",
    )
