"""A store with engines and a channel, as consumers find it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.domain.candidate import Candidate, candidate_of_record
from tasks.domain.channel import Channel, ChannelRelease, Move
from tasks.domain.host import Host
from tasks.domain.record import EngineRecord
from tasks.store.channels import move_channel
from tasks.store.records import record_to_json
from tasks.store.store import Store

PLAN = b"the bytes of a plan" * 1000


@dataclass(frozen=True, kw_only=True)
class ConsumerStore:
    """A store with one engine, to which the channel `production` points.

    Attributes:
        store: the store.
        engine: the engine.
        record: its record's bytes.
    """

    store: Store
    engine: Candidate
    record: bytes

    @property
    def url(self) -> str:
        """The store's URL."""
        return self.store.url

    @property
    def host(self) -> Host:
        """A host for which the engine was built."""
        target = self.engine.target
        (compute,) = target.compute_capabilities
        return Host(gpu=target.gpu or "", compute=compute, flavour=target.flavour, version=target.version)

    @property
    def host_options(self) -> list[str]:
        """The same for a command line."""
        host = self.host
        return ["--gpu", host.gpu, "--compute", str(host.compute), "--tensorrt", str(host.version)]

    def move(self, *, engines: tuple[Candidate, ...], over: Channel | None = None) -> Channel:
        """Let the channel point to the engine's release, with this index."""
        engine = self.engine
        release = ChannelRelease(
            model=engine.model, version=engine.version, url=engine.release, digest=engine.model_digest
        )
        number = 1 if over is None else over.move.number + 1
        move = Move(number=number, release=release, at="2026-12-01T00:00:00+00:00", by="a test")
        channel = Channel(model=engine.model, name="production", move=move, engines=engines)
        return move_channel(self.store, channel, over=over)


def consumer_store(url: str, record: EngineRecord, folder: Path, *, plan: bytes = PLAN) -> ConsumerStore:
    """Make the store at `url`, whose engine has the record `record` with another plan."""
    store = Store.connect(url)
    path = folder / "plan"
    path.write_bytes(plan)
    kept = store.commit(replace(record, plan=store.put_blob(path)), record.key)
    data = record_to_json(kept)
    made = ConsumerStore(store=store, engine=candidate_of_record(data), record=data)
    made.move(engines=(made.engine,))
    return made


def requests_of(store: Store) -> list[Mapping[str, str]]:
    """Return a list that grows by each request of this client."""
    requests: list[Mapping[str, str]] = []

    def note(params: Mapping[str, str], **_: object) -> None:
        requests.append(dict(params))

    store.client.meta.events.register("provide-client-params.s3.*", note)
    return requests
