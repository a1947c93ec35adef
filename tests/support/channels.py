"""Channels for tests."""

from __future__ import annotations

from tasks.domain.channel import Channel, ChannelRelease, Move
from tasks.domain.release import Release


def first_move(name: str, version: str, release: Release) -> Channel:
    """Return the channel `name` as it is after its first move, to `version` of the model of `release`."""
    ref = release.ref
    pointer = ChannelRelease(
        model=ref.model,
        version=version,
        url=f"s3://{ref.bucket}/{ref.prefix}/{ref.model}/{version}",
        digest=release.model_digest,
    )
    move = Move(number=1, release=pointer, at="2026-11-01T00:00:00+00:00", by="ann")
    return Channel(model=ref.model, name=name, move=move)
