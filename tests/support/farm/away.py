"""A farm that a test cuts off from its servers: a Prefect server of its own, and S3 behind a gate."""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from agents.server.flow_runs import all_flow_runs
from flows.local.s3 import environment_for
from flows.server import runs
from flows.server.run_ends import is_final
from tasks.domain.overrides import Overrides
from tasks.domain.record import EngineRecord
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.store.store import Store
from tests.stand_in.toolchain import StandIn, StandInGpu
from tests.support.farm.commands import on_server
from tests.support.farm.farm import Farm
from tests.support.farm.gate import Gate
from tests.support.prefect_server import Server
from tests.support.waiting import wait_until

_MODEL = Path(__file__).parents[3] / "flows/demo_release/model.keras"


@dataclass(frozen=True, kw_only=True)
class World:
    """A farm of which a test cuts off parts."""

    farm: Farm
    server: Server
    s3: Gate
    toolchain: StandIn
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    def publish(self, version: str, *targets: str) -> ReleaseRef:
        """Upload the demo's model with a request for engines for `targets`; it is converted anew."""
        ref = ReleaseRef(bucket=self.farm.store.bucket, prefix="models", model="digits", version=version)
        shapes = f"{{min: [1, 8, 8, 1], opt: [1, 8, 8, 1], max: [{next(self._numbers)}, 8, 8, 1]}}"
        request = (
            f"profile: false\ntiming: none\ntargets: [{', '.join(targets)}]\ninputs: {{image: {shapes}}}\n"
        )
        client = self.farm.store.client
        client.upload_file(str(_MODEL), ref.bucket, f"{ref.key}model.keras")
        client.put_object(Bucket=ref.bucket, Key=f"{ref.key}{REQUEST_FILE}", Body=request.encode())
        return ref

    def ask(self, release: ReleaseRef) -> UUID:
        """Start a run for `release`."""

        async def submit(client: PrefectClient) -> UUID:
            return (await runs.submit(client, release, Overrides(), again=True)).run.id

        run: UUID = on_server(submit)
        return run

    def building(self, gpu: StandInGpu, version: str, target: str, *, seconds: float) -> tuple[UUID, int]:
        """Start a run whose build takes so long; return it and the process that builds once it does."""
        before = len(self.builds(gpu))
        self.toolchain.becomes(build_seconds=seconds)
        run = self.ask(self.publish(version, target))
        wait_until(lambda: len(self.builds(gpu)) > before, self.at_work)
        return run, self.builds(gpu)[-1]

    def children(self, run: UUID) -> list[FlowRun]:
        parent = self.farm.run(run)
        family: list[FlowRun] = on_server(lambda client: runs.with_children(client, parent))
        return family[1:]

    def builds(self, gpu: StandInGpu) -> list[int]:
        """The processes of all builds that have begun on `gpu`."""
        events = self.toolchain.events()
        return [
            event["pid"] for event in events if event["event"] == "build starts" and event["gpu"] == gpu.uuid
        ]

    def engines(self, version: str) -> int:
        """How many engines of a version are published."""
        return len(list(self.farm.store.records(EngineRecord, model="digits", version=version)))

    def at_work(self) -> list[str]:
        """The runs that the server does not call over, without those that a schedule asks for later."""
        runs: list[FlowRun] = on_server(all_flow_runs)
        asked = [run for run in runs if not run.auto_scheduled]
        return [f"{run.name}: {run.state_name}" for run in asked if not is_final(run)]

    def is_free(self, gpu: StandInGpu) -> bool:
        """Whether no build holds the GPU."""
        with (self.farm.folder / f"enginefarm-gpu-{os.getuid()}-{gpu.uuid}.lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True


def environment(server: Server, s3: str, store: Store, folder: Path) -> dict[str, str]:
    """What agents of a farm on these servers are started with."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "AWS_", "ENGINEFARM_")) and not name.lower().endswith("_proxy")
    }
    return passed | {
        **environment_for(s3),
        "PREFECT_API_URL": server.url,
        "PREFECT_HOME": str(folder / "prefect"),
        "ENGINEFARM_STORE": store.url,
        "ENGINEFARM_WORK_DIR": str(folder / "work"),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "TMPDIR": str(folder),
    }
