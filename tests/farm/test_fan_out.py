"""A release on a farm of real processes: converted once, built by the agents of each target, once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import boto3
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows import farm_runs
from flows.overrides import Overrides
from tasks.domain.record import Verdict
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tests.farm.commands import on_server
from tests.farm.farm import Agent, Farm, wait_for
from tests.stand_in.toolchain import H100, L4, StandIn, StandInGpu, write_toolchain

_MODEL = Path(__file__).parents[2] / "flows/demo_release/model.keras"
_REQUEST = "profile: false\ntiming: none\ntargets: [h100-sxm-80gb, l4, rtx-sm89]\n"


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return write_toolchain(tmp_path_factory.mktemp("both") / "tensorrt", gpus=(H100, L4), build_seconds=2.0)


@pytest.fixture(scope="module")
def agents(farm: Farm, toolchain: StandIn) -> Iterator[tuple[Agent, Agent]]:
    with (
        farm.agent("gpu", "--name", "fan-gpu", toolchains=[toolchain]) as gpu,
        farm.agent("cpu", "--name", "fan-cpu") as cpu,
    ):
        yield farm.online(gpu, workers=2), farm.online(cpu, workers=2)


@pytest.fixture
def publish(farm: Farm) -> Callable[[str, str], ReleaseRef]:
    """A function that uploads the demo's model as a version with a request."""

    def put(version: str, request: str) -> ReleaseRef:
        ref = ReleaseRef(bucket=farm.store.bucket, prefix="models", model="digits", version=version)
        with patch.dict(os.environ, farm.environment):
            client = boto3.session.Session().client("s3")
        client.upload_file(str(_MODEL), ref.bucket, f"{ref.key}model.keras")
        client.put_object(Bucket=ref.bucket, Key=f"{ref.key}{REQUEST_FILE}", Body=request.encode())
        return ref

    return put


def ask(release: ReleaseRef) -> UUID:
    async def submit(client: PrefectClient) -> UUID:
        return (await farm_runs.submit(client, release, Overrides(), again=True)).run.id

    run: UUID = on_server(submit)
    return run


def artifacts(run: UUID) -> Mapping[str, str]:
    async def read(client: PrefectClient) -> dict[str, str]:
        own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        return {str(one.key): str(one.data) for one in await client.read_artifacts(artifact_filter=own)}

    found: dict[str, str] = on_server(read)
    return found


def children_of(farm: Farm, run: UUID) -> list[FlowRun]:
    parent = farm.run(run)
    found: list[FlowRun] = on_server(lambda client: farm_runs.with_children(client, parent))
    return found[1:]


def test_two_requests_for_one_release_build_each_cell_once(
    farm: Farm,
    agents: tuple[Agent, Agent],
    toolchain: StandIn,
    publish: Callable[[str, str], ReleaseRef],
) -> None:
    release = publish("fan-1", _REQUEST)
    runs = [ask(release) for _ in range(2)]
    states = [farm.until(run, "Completed", "Failed", "Crashed") for run in runs]
    assert [state.name for state in states] == ["Completed"] * 2, [state.message for state in states]

    records = list(farm.store.engines(model="digits", version="fan-1"))
    assert len(records) == 3
    verdicts = sorted(record.engine_verification.verdict for record in records)
    assert verdicts == sorted([Verdict.PASSED, Verdict.PASSED, Verdict.NOT_MEASURED])
    starts = [event["gpu"] for event in toolchain.events() if event["event"] == "build starts"]
    assert sorted(starts) == sorted([H100.uuid, L4.uuid])

    for run in runs:
        children = children_of(farm, run)
        assert {child.state_name for child in children} == {"Completed"}
        assert all({"model:digits", "version:fan-1"} <= set(child.tags) for child in children)
        table = artifacts(run)["engines"]
        assert all(record.key in table for record in records)
    assert agents


def test_a_cell_that_fails_stops_no_other_and_says_how_to_mend_it(
    farm: Farm, agents: tuple[Agent, Agent], publish: Callable[[str, str], ReleaseRef]
) -> None:
    assert agents
    request = "profile: false\ntiming: none\ntargets: [l4, rtx-sm89]\ntolerances: {fp32: 1.0e-12}\n"
    bad = ask(publish("fan-2", request))
    state = farm.until(bad, "Failed", "Completed", "Crashed")
    assert state.name == "Failed"
    assert "VerificationFailed" in str(state.message) or "Inconclusive" in str(state.message)

    nobody = ask(publish("fan-3", "targets: [t4]\n"))
    assert "the farm's agents build for" in str(farm.until(nobody, "Failed", "Completed").message)


@pytest.mark.usefixtures("killing")
def test_a_killed_build_is_started_again_and_published_once(
    farm: Farm,
    agents: tuple[Agent, Agent],
    toolchain: StandIn,
    publish: Callable[[str, str], ReleaseRef],
) -> None:
    before = builds_on(toolchain, L4)
    toolchain.becomes(build_seconds=60.0)
    run = ask(publish("fan-4", "profile: false\ntiming: none\ntargets: [l4]\n"))
    wait_for(lambda: builds_on(toolchain, L4) > before, toolchain.events)
    toolchain.becomes(build_seconds=0.5)
    for pid in agents[0].flows():
        os.kill(pid, signal.SIGKILL)

    assert farm.until(run, "Completed", "Failed").name == "Completed"
    (child,) = children_of(farm, run)
    assert "Crashed" in farm.states(child.id)
    assert len(list(farm.store.engines(model="digits", version="fan-4"))) == 1


@pytest.mark.usefixtures("killing")
def test_a_cancelled_release_ends_its_builds(
    farm: Farm,
    agents: tuple[Agent, Agent],
    toolchain: StandIn,
    publish: Callable[[str, str], ReleaseRef],
) -> None:
    assert agents
    before = builds_on(toolchain, L4)
    toolchain.becomes(build_seconds=60.0)
    run = ask(publish("fan-5", "profile: false\ntiming: none\ntargets: [l4]\n"))
    wait_for(lambda: builds_on(toolchain, L4) > before, toolchain.events)
    toolchain.becomes(build_seconds=0.5)
    # As the button in Prefect's UI does: it names the parent alone.
    on_server(lambda client: client.set_flow_run_state(run, State(type=StateType.CANCELLING)))

    (child,) = children_of(farm, run)
    assert farm.until(child.id, "Cancelled", "Completed", "Failed").name == "Cancelled"
    assert farm.until(run, "Cancelled", "Completed", "Failed").name == "Cancelled"
    after = ask(publish("fan-6", "profile: false\ntiming: none\ntargets: [l4]\n"))
    assert farm.until(after, "Completed", "Failed").name == "Completed"


def builds_on(toolchain: StandIn, gpu: StandInGpu) -> int:
    """How many builds have begun on `gpu`."""
    events = toolchain.events()
    return sum(one["event"] == "build starts" and one["gpu"] == gpu.uuid for one in events)
