"""Hosts that lose their power, and hosts whose TensorRT is replaced while runs wait for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun

from flows.server import runs
from flows.server.automations import Automations, watches
from flows.server.run_ends import is_final
from tasks.domain.offer import Announcement, pool_of
from tasks.domain.record import EngineRecord
from tasks.domain.target import TensorRTVersion
from tests.stand_in.toolchain import A10, A10G, StandIn
from tests.support.farm.commands import on_server, run
from tests.support.farm.farm import Agent, Farm
from tests.support.farm.orders import on_gpu
from tests.support.farm.releases import artifacts, ask, builds_on, children_of, publish
from tests.support.waiting import wait_until

pytestmark = pytest.mark.killing

SILENT_SECONDS = 45.0  # runs beat every 30 s
# Each test has a GPU model of its own: what other tests announced stays announced.
_REQUEST = "profile: false\ntiming: none\n"


@pytest.fixture
def watched(farm: Farm) -> Iterator[None]:
    """The server watches runs, as `enginefarm deploy` registers it."""
    del farm
    ours = watches(SILENT_SECONDS)
    on_server(Automations(ours).apply)
    yield

    async def clear(client: PrefectClient) -> None:
        for watch in ours:
            for automation in await client.read_automations_by_name(watch.name):
                await client.delete_automation(automation.id)

    on_server(clear)


def cut_power(agents: Iterable[Agent]) -> None:
    """End agents and all below them at the same instant: nobody has time to tell anybody."""
    tree = _with_all_below({agent.process.pid for agent in agents})
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    for agent in agents:
        agent.process.wait()


def _with_all_below(pids: set[int]) -> set[int]:
    parents: Mapping[int, int] = dict(_parents())
    tree = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree


def _parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield int(folder.name), int((folder / "stat").read_text("utf-8").rpartition(")")[2].split()[1])


def unfinished(version: str) -> list[str]:
    """Runs about a version that are not over."""

    async def read(client: PrefectClient) -> list[FlowRun]:
        about = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"version:{version}"]))
        return await client.read_flow_runs(flow_run_filter=about)

    runs: list[FlowRun] = on_server(read)
    assert runs
    return [f"{run.name}: {run.state_name}" for run in runs if not is_final(run)]


@pytest.mark.usefixtures("watched")
def test_what_a_host_without_power_had_is_finished_by_another(
    farm: Farm, stand_in: Callable[..., StandIn]
) -> None:
    toolchain = stand_in(gpus=(A10,), version="10.12.0.36", build_seconds=600.0)
    with (
        farm.agent("cpu", "--name", "dark") as cpu,
        farm.agent("gpu", "--name", "dark", toolchains=[toolchain]) as gpu,
    ):
        farm.online(cpu, workers=2)
        farm.online(gpu)
        release = ask(publish(farm, "dark", f"{_REQUEST}targets: [a10]\n"))
        wait_until(lambda: builds_on(toolchain, A10), toolchain.events)
        (child,) = children_of(farm, release)
        cut_power([cpu, gpu])
    assert [farm.run(run_id).state_name for run_id in (release, child.id)] == ["Running"] * 2

    toolchain.becomes(build_seconds=0.5)
    with (
        farm.agent("cpu", "--name", "bright"),
        farm.agent("gpu", "--name", "bright", toolchains=[toolchain]),
    ):
        wait_until(lambda: all("Crashed" in farm.states(run_id) for run_id in (release, child.id)))
        assert farm.until(release, "Completed", "Failed").name == "Completed"
    assert [run.id for run in children_of(farm, release)] == [child.id]
    assert farm.states(child.id).count("Completed") == 1
    assert len(list(farm.store.records(EngineRecord, model="digits", version="dark"))) == 1
    assert unfinished("dark") == []


def test_runs_that_wait_for_a_tensorrt_that_was_replaced_are_told_and_built_by_the_new_one(
    farm: Farm, stand_in: Callable[..., StandIn]
) -> None:
    toolchain = stand_in(gpus=(A10G,), version="10.11.0.33", build_seconds=600.0)
    old, new = pool_of(on_gpu(A10G, "10.11.0.33")), "10.14.1.48"
    beats = {"PREFECT_WORKER_HEARTBEAT_SECONDS": "2"}  # the server sees the sooner that a worker is gone
    arguments = ("gpu", "--name", "upgraded", "--drain-seconds", "1")
    with farm.agent("cpu", "--name", "other") as cpu:
        farm.online(cpu, workers=2)
        with farm.agent(*arguments, toolchains=[toolchain], **beats) as gpu:
            farm.online(gpu)
            release = ask(publish(farm, "upgraded", f"{_REQUEST}targets: [a10g]\nprecisions: [fp32, fp16]\n"))
            wait_until(lambda: builds_on(toolchain, A10G), toolchain.events)
            wait_until(lambda: len(children_of(farm, release)) == 2)
            gpu.signal()
            assert gpu.ends_with() == 0

        toolchain.upgrade(new)
        toolchain.becomes(build_seconds=0.5)
        with farm.agent(*arguments, toolchains=[toolchain], **beats) as gpu:
            farm.online(gpu)
            assert old not in {announcement.pool for announcement in farm.store.records(Announcement)}
            waiting = wait_until(lambda: artifacts(release).get("waiting"), lambda: farm.states(release))
            assert f"`{old}`: no agent is online. Start the agent" in waiting
            assert f"No agent takes the 2 runs waiting in {old}." in " ".join(run("status").split())

            message = str(farm.until(release, "Failed", "Completed").message)
            assert "TargetUnavailable" in message
            assert f"takes runs from the work pool {old}" in message
            assert {run.state_name for run in children_of(farm, release)} == {"Cancelled"}

            retry(farm, release)
            assert farm.until(release, "Completed", "Failed").name == "Completed"
    records = list(farm.store.records(EngineRecord, model="digits", version="upgraded"))
    assert [record.target.version for record in records] == [TensorRTVersion.parse(new)] * 2
    assert unfinished("upgraded") == []


def retry(farm: Farm, number: UUID) -> None:
    """Do as `enginefarm retry`."""
    ended = farm.run(number)
    on_server(lambda client: runs.retry(client, ended))
