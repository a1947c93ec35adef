"""The engines of a channel or release that leave the store together, with their signatures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.consumer.client import Client
from tasks.domain.candidate import Candidate
from tasks.domain.channel import Channel
from tasks.domain.digest import blob_ref
from tasks.domain.errors import NotStored, RequestInvalid
from tasks.domain.gpu_models import Gpu
from tasks.domain.host import Host, Wanted
from tasks.domain.misfits import hardware_row
from tasks.store.candidates import stored_candidates
from tasks.store.channels import channel_at
from tasks.store.signatures import read_provenance, read_signature, signers_of

_KEY_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A stored signature.

    Attributes:
        signature: the sigstore bundle, unchecked.
        provenance: that of the provenance which goes with it; None if there is none.
    """

    signature: bytes
    provenance: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What leaves the store.

    Attributes:
        wanted: what was asked for.
        channel: the channel; None if a release was asked for.
        engines: the engines, by key.
    """

    wanted: Wanted
    channel: Channel | None
    engines: tuple[Candidate, ...]

    @property
    def name(self) -> str:
        """Name of the channel or version."""
        return self.wanted.channel or self.wanted.version or ""


def selection(client: Client, wanted: Wanted, gpus: Iterable[Gpu] = ()) -> Selection:
    """Return the engines of what is wanted, by their records: those for `gpus`, or all.

    Raises:
        NotStored: there is no such channel, or no engine.
        SignatureRefused: the channel must be signed, and is not.
        RequestInvalid: the client is offline.
        FarmError: as `tasks.store.s3.s3_errors`.
    """
    if client.offline:
        raise RequestInvalid(
            wanted="engines out of a store",
            found="ENGINEFARM_OFFLINE",
            fix="unset it: only what unpacks a bundle works without a network",
        )
    channel, engines = _everything(client, wanted)
    chosen = [each for each in engines if _is_wanted(each, wanted, list(gpus))]
    if not chosen:
        raise NotStored(
            wanted=f"engines of {wanted.model} {wanted.channel or wanted.version} in {client.store}",
            found=", ".join(sorted({f"{each.device} in {each.precision}" for each in engines})) or "none",
            fix="`enginefarm engines list` shows what is there",
        )
    return Selection(wanted=wanted, channel=channel, engines=tuple(sorted(chosen, key=lambda each: each.key)))


def _everything(client: Client, wanted: Wanted) -> tuple[Channel | None, Iterable[Candidate]]:
    if wanted.channel is None:
        return None, stored_candidates(client.place, wanted.model, wanted.version or "")
    channel = channel_at(client.place, wanted.model, wanted.channel)
    client.check_channel(channel)
    listed = [
        candidate
        for release in channel.move.releases
        for candidate in stored_candidates(client.place, release.model, release.version)
    ]
    return channel, channel.with_engines(listed).engines


def _is_wanted(engine: Candidate, wanted: Wanted, gpus: list[Gpu]) -> bool:
    if wanted.precisions and engine.precision not in wanted.precisions:
        return False
    target = engine.target
    hosts = (
        Host(gpu=gpu.name, compute=gpu.compute, flavour=target.flavour, version=target.version)
        for gpu in gpus
    )
    return not gpus or any(hardware_row(host, engine) is not None for host in hosts)


def signatures(client: Client, engine: Candidate) -> Mapping[str, Signed]:
    """Return the stored signatures of an engine, by the id of the key.

    Raises:
        FarmError: as `tasks.store.s3.s3_errors`.
    """
    return _signatures(client, engine.record.sha256)


def channel_signatures(client: Client, channel: Channel) -> Mapping[str, Signed]:
    """Return the stored signatures of a channel's pointer, by the id of the key.

    Raises:
        FarmError: as `tasks.store.s3.s3_errors`.
    """
    return _signatures(client, blob_ref(channel.pointer_bytes).sha256)


def _signatures(client: Client, signed: str) -> Mapping[str, Signed]:
    stored = {}
    for key_id in filter(_KEY_ID.fullmatch, signers_of(client.place, signed)):
        signature = read_signature(client.place, signed, key_id)
        if signature is not None:
            provenance = read_provenance(client.place, signed, key_id)
            stored[key_id] = Signed(signature=signature, provenance=provenance)
    return stored
