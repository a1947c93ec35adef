"""Releases on a farm: published, asked for, and what their runs leave on the server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun

from flows.server import runs
from tasks.domain.overrides import Overrides
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.store.s3 import s3_client
from tests.stand_in.toolchain import StandIn, StandInGpu
from tests.support.farm.commands import on_server
from tests.support.farm.farm import Farm

_MODEL = Path(__file__).parents[3] / "flows/demo_release/model.keras"


def publish(farm: Farm, version: str, request: str) -> ReleaseRef:
    """Upload the demo's model as a version with a request."""
    ref = ReleaseRef(bucket=farm.store.bucket, prefix="models", model="digits", version=version)
    with patch.dict(os.environ, farm.environment):
        client = s3_client()
    client.upload_file(str(_MODEL), ref.bucket, f"{ref.key}model.keras")
    client.put_object(Bucket=ref.bucket, Key=f"{ref.key}{REQUEST_FILE}", Body=request.encode())
    return ref


def ask(release: ReleaseRef) -> UUID:
    """Ask the farm for a release as the request says; return the run."""

    async def submit(client: PrefectClient) -> UUID:
        return (await runs.submit(client, release, Overrides(), again=True)).run.id

    run: UUID = on_server(submit)
    return run


def artifacts(run: UUID) -> Mapping[str, str]:
    """What is on the page of a run, by its key; the newest of each."""

    async def read(client: PrefectClient) -> dict[str, str]:
        own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        shown = await client.read_artifacts(artifact_filter=own)
        return {
            str(artifact.key): str(artifact.data)
            for artifact in sorted(shown, key=lambda artifact: str(artifact.created))
        }

    texts: dict[str, str] = on_server(read)
    return texts


def children_of(farm: Farm, run: UUID) -> list[FlowRun]:
    """The runs that a run asked for."""
    parent = farm.run(run)
    family: list[FlowRun] = on_server(lambda client: runs.with_children(client, parent))
    return family[1:]


def builds_on(toolchain: StandIn, gpu: StandInGpu) -> int:
    """How many builds have begun on `gpu`."""
    events = toolchain.events()
    return sum(event["event"] == "build starts" and event["gpu"] == gpu.uuid for event in events)
