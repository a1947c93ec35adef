"""The index of a channel: the engines of its releases. A lost or stale index is only slow."""

from __future__ import annotations

import logging
from dataclasses import replace

from tasks.domain.candidate import Candidate
from tasks.domain.channel import Channel
from tasks.domain.errors import FarmError
from tasks.store.candidates import Place, stored_candidate, stored_candidates
from tasks.store.channels import channel_names, find_channel, update_engines
from tasks.store.engine_signatures import signature_of

_LOG = logging.getLogger(__name__)


def with_signature(place: Place, candidate: Candidate) -> Candidate:
    """Return `candidate` with what signs it.

    Raises:
        FarmError: as `s3_errors`.
    """
    return replace(candidate, signature=signature_of(place, candidate))


def channel_engines(place: Place, channel: Channel) -> list[Candidate]:
    """Return the engines of a channel by their records, with signatures.

    Raises:
        FarmError: as `s3_errors`.
    """
    listed = (
        candidate
        for release in channel.move.releases
        for candidate in stored_candidates(place, release.model, release.version)
    )
    return [with_signature(place, candidate) for candidate in listed if channel.move.has(candidate)]


def refresh_channel(place: Place, model: str, name: str) -> Channel | None:
    """Make a channel's pointer from its history and its index from the records; None if it was never set.

    Raises:
        FarmError: as `update_engines`.
    """
    return update_engines(place, model, name, lambda channel: channel_engines(place, channel))


def add_to_channels(place: Place, model: str, key: str) -> None:
    """Add the engine of the record at `key` to the index of each channel of `model` that offers it.

    The engine is published by then, so a failure is only a warning: consumers find it by its record.
    """
    try:
        names = channel_names(place, model)
        candidate = stored_candidate(place, key) if names else None
        for _, name in names:
            if candidate is not None:
                _add(place, model, name, candidate)
    except FarmError as error:
        _LOG.warning("the engine %s is missing in the index of a channel: %s", key, error)


def _add(place: Place, model: str, name: str, candidate: Candidate) -> None:
    channel = find_channel(place, model, name)
    if channel is None or not channel.move.has(candidate):
        return
    entry = with_signature(place, candidate)
    update_engines(place, model, name, lambda now: [*now.engines, entry])
