"""Finds the engine for a host: one read of a channel's index, and the records if that is not enough.

Runs on consumers: Python 3.10, boto3 alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.domain.channel import Channel
from tasks.domain.host import Host, Wanted
from tasks.domain.resolution import Resolution, resolve
from tasks.store.candidates import Place, stored_candidates
from tasks.store.channels import channel_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The answer for a host.

    Attributes:
        resolution: the engine, or why there is none.
        channel: the channel that was followed; None if a version was wanted.
        from_index: whether the channel's index was enough.
    """

    resolution: Resolution
    channel: Channel | None
    from_index: bool

    def to_document(self) -> dict[str, Any]:
        """Return it JSON-ready, with the pointer of the channel."""
        pointer = (
            None if self.channel is None else {**self.channel.move.to_document(), "name": self.channel.name}
        )
        return {**self.resolution.to_document(), "channel": pointer, "from_index": self.from_index}


def resolve_stored(place: Place, host: Host, wanted: Wanted) -> Resolved:
    """Return the engine for `host`, or why there is none.

    An index may lack engines. It is enough if it has one for this very GPU and TensorRT; if not, the records
    are read, so that a stale index never hides an engine that fits, or fits better.

    Raises:
        NotStored: there is no such channel.
        FarmError: as `s3_errors`.
    """
    if wanted.channel is None:
        version = wanted.version or ""
        engines = stored_candidates(place, wanted.model, version)
        return Resolved(resolution=resolve(host, wanted, engines), channel=None, from_index=False)
    channel = channel_at(place, wanted.model, wanted.channel)
    quick = resolve(host, wanted, channel.engines)
    if quick.exact:
        return Resolved(resolution=quick, channel=channel, from_index=True)
    engines = [
        candidate
        for release in channel.move.releases
        for candidate in stored_candidates(place, release.model, release.version)
        if channel.move.has(candidate)
    ]
    return Resolved(resolution=resolve(host, wanted, engines), channel=channel, from_index=False)
