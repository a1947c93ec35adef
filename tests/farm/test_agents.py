"""Agents as users start them: they join, build, find out that their host changed, and are told to end."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate

from agents.host.context import only_agent
from agents.host.slots import WorkerSlot
from agents.server.flow_runs import WORKER_LABEL
from agents.server.pools import LOCKED_TEMPLATE
from flows.server.logs import LogLine, log_lines
from flows.server.runs import find_run
from flows.settings import settings
from tasks.domain.errors import (
    AgentRunning,
    CellsFailed,
    ChildCrashed,
    FarmError,
    PoolUnsafe,
    VerificationFailed,
)
from tasks.domain.offer import CPU_POOL, Announcement, pool_of
from tasks.domain.record import Verdict
from tasks.domain.release import ReleaseRef
from tests.stand_in.toolchain import H100, SECOND_H100, StandIn, StandInGpu, write_toolchain
from tests.support.farm.commands import on_server, run
from tests.support.farm.farm import Agent, Farm, environment_of
from tests.support.farm.orders import RTX, Orders, on_gpu, on_rtx
from tests.support.waiting import PATIENCE, wait_until

DEMO_MODEL = Path(__file__).parents[2] / "flows/demo_release/model.keras"
UNHEARD = StandInGpu(
    name="NVIDIA Unheard-Of 9000",
    uuid="GPU-99999999-9999-9999-9999-999999999999",
    compute="14.2",
    memory_mib=300_000,
)


@pytest.fixture(scope="module")
def h100(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    """A TensorRT that sees two GPUs; neither build goes on before both have begun."""
    return write_toolchain(tmp_path_factory.mktemp("h100") / "tensorrt", gpus=(H100, SECOND_H100), meet=2)


@pytest.fixture(scope="module")
def unheard(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    """Another TensorRT, with a GPU that is in no table."""
    return write_toolchain(tmp_path_factory.mktemp("unheard") / "tensorrt", gpus=(UNHEARD,))


@pytest.fixture(scope="module")
def agents(
    farm: Farm, h100: StandIn, unheard: StandIn, free_port: Callable[[], int]
) -> Iterator[tuple[Agent, Agent, int]]:
    """One agent with GPUs and one without; and the port of the first one's health."""
    port = free_port()
    arguments = ("gpu", "--name", "host1", "--health-port", str(port), "--heartbeat", "heartbeat")
    with (
        farm.agent(*arguments, toolchains=[h100, unheard]) as gpu,
        farm.agent("cpu", "--name", "host2") as cpu,
    ):
        yield farm.online(gpu, workers=3), farm.online(cpu, workers=2), port


def test_agents_join_and_build_what_their_own_probe_finds(
    farm: Farm, orders: Orders, agents: tuple[Agent, Agent, int], h100: StandIn
) -> None:
    gpu, cpu, port = agents
    wanted = [orders.make(target) for target in (on_gpu(H100),) * 2 + (on_gpu(UNHEARD), on_rtx("8.9"))]
    runs = [farm.submit(order) for order in wanted]
    assert [farm.until(run, "Completed", "Failed", "Crashed").name for run in runs] == ["Completed"] * 4

    records = [farm.record(order) for order in wanted]
    assert [record and record.target for record in records] == [order.target for order in wanted]
    verdicts = [record.engine_verification.verdict for record in records if record is not None]
    assert verdicts == [Verdict.PASSED] * 3 + [Verdict.NOT_MEASURED]
    builds = {event["gpu"] for event in h100.events() if event["event"] == "build starts"}
    assert builds == {H100.uuid, SECOND_H100.uuid}

    pools = {pool_of(order.target) for order in wanted}
    assert {announcement.pool for announcement in farm.store.records(Announcement)} == pools
    assert "gpu-unheard-of-9000-trt10.13.3.9" in pools
    registered = on_server(lambda client: client.read_work_pools())
    templates = {pool.name: pool.base_job_template for pool in registered}
    assert all(templates[pool] == LOCKED_TEMPLATE for pool in (*pools, CPU_POOL))
    # A worker that lost its server for a moment is replaced.
    workers = wait_until(lambda: len(pids := gpu.workers()) == 3 and pids, lambda: gpu.text)
    environments = [environment_of(pid) for pid in workers]
    assert sorted(variables["CUDA_VISIBLE_DEVICES"] for variables in environments) == [
        H100.uuid,
        SECOND_H100.uuid,
        UNHEARD.uuid,
    ]
    assert len({variables["ENGINEFARM_TOOLCHAINS"] for variables in environments}) == 2
    assert "NVIDIA Unheard-Of 9000 (14.2)" in gpu.text
    assert RTX in cpu.text
    _is_well(port, farm.folder / "heartbeat", workers=3)


def _is_well(port: int, heartbeat: Path, *, workers: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        report = json.load(answer)
    assert report["well"]
    assert len(report["workers"]) == workers
    assert json.loads(heartbeat.read_text("utf-8"))["well"]


def _starts(toolchain: StandIn) -> list[str]:
    """The GPU of each build that began."""
    return [event["gpu"] for event in toolchain.events() if event["event"] == "build starts"]


@pytest.mark.long
def test_one_order_given_twice_at_once_is_built_once(
    farm: Farm, orders: Orders, agents: tuple[Agent, Agent, int], h100: StandIn
) -> None:
    """There is a GPU, a worker and a process for each; the lease in the store lets one of them build."""
    begun = len(_starts(h100))
    h100.becomes(meet=begun + 2)  # it takes as long as this test wants
    order = orders.make(on_gpu(H100))
    with ThreadPoolExecutor() as both:
        runs = list(both.map(farm.submit, [order] * 2))
    for run_id in runs:
        farm.until(run_id, "Running", "Failed", "Crashed")
    wait_until(lambda: len(_starts(h100)) > begun, lambda: agents[0].text)
    time.sleep(1)  # the other one looks, too
    assert [farm.run(run_id).state_name for run_id in runs] == ["Running"] * 2
    h100.goes_on()
    assert [farm.until(run_id, "Completed", "Failed", "Crashed").name for run_id in runs] == ["Completed"] * 2

    assert len([gpu for gpu in _starts(h100)[begun:] if gpu]) == 1  # what `goes_on` wrote has no GPU
    assert farm.record(order) is not None
    assert len({farm.run(run_id).labels[WORKER_LABEL] for run_id in runs}) == 2


@pytest.mark.slow
def test_a_release_is_watched_to_its_end(farm: Farm, agents: tuple[Agent, Agent, int]) -> None:
    assert agents
    release = ReleaseRef(bucket=farm.store.bucket, prefix="models", model="digits", version="watched")
    farm.store.client.upload_file(str(DEMO_MODEL), release.bucket, f"{release.key}model.keras")
    request = b"targets: rtx-sm89\nprecisions: [fp32, fp16]\n"
    farm.store.client.put_object(Bucket=release.bucket, Key=f"{release.key}build.yaml", Body=request)

    watched = run("submit", release.url, "--watch").splitlines()
    names = {"digits-watched", "digits-watched-rtx-sm89-fp32", "digits-watched-rtx-sm89-fp16"}
    number = watched[0].split()[0]
    assert watched[0] == f"{number} digits-watched: Scheduled"
    assert watched[-1] == f"{number} digits-watched: Completed"
    assert {line.split()[1] for line in watched if " | " in line} == names
    assert run("logs", number).splitlines()[-1] in watched

    async def read(client: PrefectClient) -> list[LogLine]:
        watched = await find_run(client, "digits-watched")
        return [line async for line in log_lines(client, watched, follow=False)]

    lines: list[LogLine] = on_server(read)
    assert [line.time for line in lines] == sorted(line.time for line in lines)
    order = [name for name, _ in groupby(line.run for line in lines)]
    assert order[0] == "digits-watched" == order[-1]
    assert len(order) > len(names)  # one after the other they would be three groups
    ends = {(line.run, line.step) for line in lines if line.text.startswith("Finished in state")}
    assert ("digits-watched-rtx-sm89-fp16", "build rtx-sm89 fp16") in ends
    assert ("digits-watched", "lower rtx-sm89 fp16") in ends
    assert {run for run, step in ends if not step} == names  # each flow run's own end
    logged = "\n".join(line.text for line in lines)
    for said in (
        ": model.keras ",
        "graph in fp16: opset 17, 16 nodes, ",
        "passed, error ",
        "; conversions/",
        "engine: not measured: built ahead of time",
        "published engines/digits/watched/rtx-sm89/",
    ):
        assert said in logged


def _publish(farm: Farm, version: str, request: str) -> str:
    """Upload the demo's model with `request`; return its URL."""
    release = ReleaseRef(bucket=farm.store.bucket, prefix="models", model="digits", version=version)
    farm.store.client.upload_file(str(DEMO_MODEL), release.bucket, f"{release.key}model.keras")
    body = f"profile: false\ntiming: none\n{request}".encode()
    farm.store.client.put_object(Bucket=release.bucket, Key=f"{release.key}build.yaml", Body=body)
    return release.url


def _error_of(*command: str) -> FarmError:
    """The error that a command ends with; the command line makes its exit code the process's."""
    with pytest.raises(FarmError) as raised:
        run(*command)
    return raised.value


@pytest.fixture
def failing(h100: StandIn, unheard: StandIn) -> Iterator[str]:
    """Builds of one toolchain crash, and engines of the other one answer wrong; their interpreters."""
    h100.becomes(fault="segv", meet=0)
    unheard.becomes(wrong=2.0)
    yield os.pathsep.join(str(toolchain.interpreter) for toolchain in (h100, unheard))
    h100.becomes(fault="")
    unheard.becomes(wrong=1.0)


@contextmanager
def _here(farm: Farm, failing: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have local builds use the toolchains and the store of the farm."""
    for name, value in {**farm.environment, "ENGINEFARM_TOOLCHAINS": failing}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.slow
def test_submit_ends_with_the_exit_code_that_a_local_build_has(
    farm: Farm, agents: tuple[Agent, Agent, int], failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert agents
    release = _publish(farm, "fails-once", "targets: unheard-of-9000\n")
    on_farm = _error_of("submit", release, "--watch")
    assert (type(on_farm), on_farm.exit_code) == (VerificationFailed, 50)
    assert "Traceback" not in run("logs", "digits-fails-once")
    assert "Traceback of VerificationFailed" in run("logs", "digits-fails-once", "--verbose")
    with _here(farm, failing, monkeypatch):
        assert _without_output(_error_of("build", release)) == _without_output(on_farm)


@pytest.mark.long
def test_each_failed_cell_has_the_error_that_a_local_build_has(
    farm: Farm, agents: tuple[Agent, Agent, int], failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert agents
    release = _publish(farm, "fails-twice", "targets: [unheard-of-9000, h100-sxm-80gb]\n")
    on_farm = _error_of("submit", release, "--wait")
    assert isinstance(on_farm, CellsFailed)
    classes = {cell: type(error) for cell, error in on_farm.cells.items()}
    assert classes == {"unheard-of-9000 fp32": VerificationFailed, "h100-sxm-80gb fp32": ChildCrashed}
    with _here(farm, failing, monkeypatch):
        assert _without_output(_error_of("build", release)) == _without_output(on_farm)


def _without_output(error: FarmError) -> object:
    """The document of `error`, without what a process printed before it crashed."""
    return json.loads(re.sub(r"last output: [^\"]*", "last output: …", json.dumps(error.to_document())))


@pytest.mark.long
def test_an_upgraded_tensorrt_is_another_pool(
    farm: Farm, orders: Orders, agents: tuple[Agent, Agent, int], unheard: StandIn
) -> None:
    assert agents
    unheard.upgrade("10.14.1.48")
    old, new = on_gpu(UNHEARD), on_gpu(UNHEARD, "10.14.1.48")

    refused = farm.submit(orders.make(old))
    assert "TargetUnavailable" in str(farm.until(refused, "Failed", "Completed").message)

    wait_until(
        lambda: pool_of(new) in {announcement.pool for announcement in farm.store.records(Announcement)},
        lambda: agents[0].text,
    )
    order = orders.make(new)
    assert farm.until(farm.submit(order), "Completed", "Failed").name == "Completed"
    record = farm.record(order)
    assert record is not None
    assert record.target == new
    assert pool_of(old) not in {announcement.pool for announcement in farm.store.records(Announcement)}


@pytest.mark.slow
def test_an_agent_that_is_told_to_end_finishes_its_build(
    farm: Farm, orders: Orders, agents: tuple[Agent, Agent, int], unheard: StandIn
) -> None:
    gpu, _, _ = agents
    before = len(unheard.events())
    begun = [event["event"] for event in unheard.events()].count("build starts")
    unheard.becomes(meet=begun + 2)  # it takes as long as this test wants
    target = on_gpu(UNHEARD, unheard.version)
    building = farm.submit(orders.make(target))
    wait_until(lambda: len(unheard.events()) > before, lambda: gpu.text)
    late = farm.submit(orders.make(target))
    _is_waiting(late, behind=building, pool=pool_of(target))

    gpu.signal(signal.SIGTERM)
    wait_until(lambda: "stopping; runs have" in gpu.text, lambda: gpu.text)
    unheard.goes_on()
    assert gpu.ends_with() == 0
    assert farm.run(building).state_name == "Completed"
    assert farm.run(late).state_name in {"Scheduled", "Late"}


def _is_waiting(late: UUID, *, behind: UUID, pool: str) -> None:
    """One build waits behind another, and it is known for how long, as others were built before."""
    pools = json.loads(run("status", "--json"))["pools"]
    (status,) = [entry for entry in pools if entry["name"] == pool]
    assert [active["id"] for agent in status["agents"] for active in agent["runs"]] == [str(behind)]
    (waiting,) = status["waiting"]
    assert waiting["id"] == str(late)
    assert 0 < waiting["done_in_seconds"] < PATIENCE


@pytest.mark.slow
def test_an_agent_takes_no_runs_from_a_pool_with_prefects_own_template(
    farm: Farm, stand_in: Callable[..., StandIn]
) -> None:
    toolchain = stand_in(version="10.9.0.34")
    pool = WorkPoolCreate(name=pool_of(on_gpu(H100, "10.9.0.34")), type="process", base_job_template={})
    on_server(lambda client: client.create_work_pool(pool))

    with farm.agent("gpu", "--name", "host3", toolchains=[toolchain]) as agent:
        assert agent.ends_with() == PoolUnsafe.exit_code
        assert "PoolUnsafe" in agent.text
        assert "started" not in agent.text


def test_an_agent_is_alone_on_its_host() -> None:
    slots = [WorkerSlot(label="gpu0"), WorkerSlot(label="gpu1")]
    with only_agent("host", slots), only_agent("other", slots):
        with pytest.raises(AgentRunning):
            only_agent("host", slots[1:]).__enter__()
        with only_agent("host", [WorkerSlot(label="gpu2")]):
            pass
    with only_agent("host", slots):
        pass
