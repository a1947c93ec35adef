"""A release on a farm of real processes: converted once, built by the agents of each target, once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from prefect.client.schemas.objects import State, StateType

from tasks.domain.offer import Announcement, Offer
from tasks.domain.priority import Priority
from tasks.domain.record import EngineRecord, Verdict
from tasks.domain.target import ComputeCapability, Flavour, TensorRTVersion
from tasks.store.announcements import announce, withdraw
from tests.stand_in.toolchain import H100, L4, StandIn, write_toolchain
from tests.support.farm.commands import on_server
from tests.support.farm.farm import Agent, Farm, lives, processes
from tests.support.farm.releases import artifacts, ask, builds_on, children_of, publish
from tests.support.waiting import wait_until

_LONG = 600.0  # that a build takes which nobody waits for
_REQUEST = "profile: false\ntiming: none\npriority: production\ntargets: [h100-sxm-80gb, l4, rtx-sm89]\n"


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


@pytest.mark.long
def test_two_requests_for_one_release_build_each_cell_once(
    farm: Farm,
    agents: tuple[Agent, Agent],
    toolchain: StandIn,
) -> None:
    release = publish(farm, "fan-1", _REQUEST)
    runs = [ask(release) for _ in range(2)]
    states = [farm.until(run, "Completed", "Failed", "Crashed") for run in runs]
    assert [state.name for state in states] == ["Completed"] * 2, [state.message for state in states]

    records = list(farm.store.records(EngineRecord, model="digits", version="fan-1"))
    assert len(records) == 3
    verdicts = sorted(record.engine_verification.verdict for record in records)
    assert verdicts == sorted([Verdict.PASSED, Verdict.PASSED, Verdict.NOT_MEASURED])
    starts = [event["gpu"] for event in toolchain.events() if event["event"] == "build starts"]
    assert sorted(starts) == sorted([H100.uuid, L4.uuid])

    for run in runs:
        children = children_of(farm, run)
        assert {child.state_name for child in children} == {"Completed"}
        assert {child.work_queue_name for child in children} == {Priority.PRODUCTION}
        assert all({"model:digits", "version:fan-1"} <= set(child.tags) for child in children)
        assert {"model:digits", "version:fan-1"} <= set(farm.run(run).tags)
        table = artifacts(run)["engines"]
        assert all(record.key in table for record in records)
        assert all(f"](/runs/flow-run/{child.id})" in table for child in children)
    tables = [artifacts(run)["engines"] for run in runs]
    assert sum(table.count('"state": "built"') for table in tables) == 3
    assert sum(table.count('"state": "found"') for table in tables) == 3
    pages = [artifacts(child.id) for run in runs for child in children_of(farm, run)]
    built = [page for page in pages if "verification" in page]
    assert len(built) == 3
    measured = [page for page in built if '"of": "engine", "verdict": "passed"' in page["verification"]]
    assert len(measured) == 2
    assert agents


@pytest.mark.long
def test_a_cell_that_fails_stops_no_other_and_says_how_to_mend_it(
    farm: Farm,
    agents: tuple[Agent, Agent],
    toolchain: StandIn,
) -> None:
    assert agents
    toolchain.becomes(wrong=2.0)
    offer = Offer(
        flavour=Flavour.TENSORRT, version=TensorRTVersion.parse("10.13.3.9"),
        gpus=(("Tesla T4", ComputeCapability.parse("7.5")),), os="linux", architecture="x86_64",
    )  # fmt: skip
    gone = Announcement(pool="gpu-t4-trt10.13.3.9", offer=offer, host="h", seen="2026-11-26T00:00:00Z")
    announce(farm.store, gone)
    devices = {"fan-2": "l4, rtx-sm89", "fan-3": "a10g", "fan-7": "t4, rtx-sm89"}
    runs = {
        version: ask(publish(farm, version, f"profile: false\ntiming: none\ntargets: [{targets}]\n"))
        for version, targets in devices.items()
    }
    states = {version: farm.until(run, "Failed", "Completed", "Crashed") for version, run in runs.items()}
    withdraw(farm.store, gone.pool)
    toolchain.becomes(wrong=1.0)
    assert {state.name for state in states.values()} == {"Failed"}

    assert "VerificationFailed" in str(states["fan-2"].message)
    assert "the farm's agents build for" in str(states["fan-3"].message)
    assert "the deployment build-engine/gpu-t4-trt10.13.3.9" in str(states["fan-7"].message)
    # Agents of other tests may have registered theirs between these.
    for text in (
        "agents registered ",
        "gpu-h100-sxm-80gb-trt10.13.3.9, ",
        "gpu-l4-trt10.13.3.9, ",
        "rtx-trt",
    ):
        assert text in str(states["fan-7"].message)
    for version in ("fan-2", "fan-7"):
        records = farm.store.records(EngineRecord, model="digits", version=version)
        assert [record.target.gpu for record in records] == [None]

    (child,) = [run for run in children_of(farm, runs["fan-2"]) if "gpu:l4" in run.tags]
    assert child.state_name == "Failed"
    assert '"of": "engine", "verdict": "failed"' in artifacts(child.id)["verification"]
    failures = artifacts(runs["fan-2"])["failures"]
    for text in (failures, artifacts(child.id)["failure"]):
        assert "VerificationFailed" in text
        assert "**to fix**" in text
    assert f"](/runs/flow-run/{child.id})" in failures
    assert "start `enginefarm agent gpu`" in artifacts(runs["fan-3"])["failure"]


@pytest.mark.killing
def test_a_killed_parent_finds_its_builds_again(
    farm: Farm, agents: tuple[Agent, Agent], toolchain: StandIn
) -> None:
    assert agents
    before = builds_on(toolchain, L4)
    toolchain.becomes(build_seconds=15.0)
    run = ask(publish(farm, "fan-8", "profile: false\ntiming: none\ntargets: [l4]\n"))
    wait_until(lambda: builds_on(toolchain, L4) > before, toolchain.events)
    toolchain.becomes(build_seconds=0.5)
    (parent,) = processes(PREFECT__FLOW_RUN_ID=str(run))
    os.kill(parent, signal.SIGKILL)

    assert farm.until(run, "Completed", "Failed").name == "Completed"
    assert "Crashed" in farm.states(run)
    (child,) = children_of(farm, run)
    assert farm.states(child.id).count("Running") == 1
    assert builds_on(toolchain, L4) == before + 1
    assert len(list(farm.store.records(EngineRecord, model="digits", version="fan-8"))) == 1


@pytest.mark.killing
def test_a_killed_build_is_started_again_and_published_once(
    farm: Farm,
    agents: tuple[Agent, Agent],
    toolchain: StandIn,
) -> None:
    before = builds_on(toolchain, L4)
    toolchain.becomes(build_seconds=_LONG)
    run = ask(publish(farm, "fan-4", "profile: false\ntiming: none\ntargets: [l4]\n"))
    wait_until(lambda: builds_on(toolchain, L4) > before, toolchain.events)
    toolchain.becomes(build_seconds=0.5)
    for pid in agents[0].flows():
        os.kill(pid, signal.SIGKILL)

    assert farm.until(run, "Completed", "Failed").name == "Completed"
    (child,) = children_of(farm, run)
    assert "Crashed" in farm.states(child.id)
    assert len(list(farm.store.records(EngineRecord, model="digits", version="fan-4"))) == 1


@pytest.mark.killing
def test_a_cancelled_release_ends_its_builds(
    farm: Farm,
    agents: tuple[Agent, Agent],
    toolchain: StandIn,
) -> None:
    before = builds_on(toolchain, L4)
    toolchain.becomes(build_seconds=_LONG)
    run = ask(publish(farm, "fan-5", "profile: false\ntiming: none\ntargets: [l4]\n"))
    wait_until(lambda: builds_on(toolchain, L4) > before, toolchain.events)
    toolchain.becomes(build_seconds=0.5)
    # As the button in Prefect's UI does: it names the parent alone.
    (builder,) = agents[0].flows()
    (child,) = children_of(farm, run)
    on_server(lambda client: client.set_flow_run_state(run, State(type=StateType.CANCELLING)))
    wait_until(lambda: not lives(builder))

    assert farm.until(child.id, "Cancelled", "Completed", "Failed").name == "Cancelled"
    assert farm.until(run, "Cancelled", "Completed", "Failed").name == "Cancelled"
    after = ask(publish(farm, "fan-6", "timing: none\ntargets: [l4]\n"))
    assert farm.until(after, "Completed", "Failed").name == "Completed"
    (child,) = children_of(farm, after)
    page = artifacts(child.id)
    (charts,) = [text for key, text in page.items() if key.startswith("charts-")]
    assert charts.count("](data:image/png;base64,") == 2
    assert {"latency", "verification", "build"} <= {key.partition("-")[0] for key in page}
