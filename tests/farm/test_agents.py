"""Agents as users start them: they join, build, find out that their host changed, and are told to end."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.actions import WorkPoolCreate

from agents.host import only_agent
from agents.pools import LOCKED_TEMPLATE
from agents.seats import Place
from tasks.domain.farm_errors import AgentRunning, PoolUnsafe
from tasks.domain.offer import CPU_POOL, pool_of
from tasks.domain.record import Verdict
from tasks.store.announcements import announcements
from tests.farm.commands import on_server
from tests.farm.farm import Agent, Farm, environment_of, wait_for
from tests.farm.orders import RTX, Orders, on_gpu, on_rtx
from tests.stand_in.toolchain import H100, SECOND_H100, StandIn, StandInGpu, write_toolchain

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
    assert {one.pool for one in announcements(farm.store)} == pools
    assert "gpu-unheard-of-9000-trt10.13.3.9" in pools
    found = on_server(lambda client: client.read_work_pools())
    templates = {pool.name: pool.base_job_template for pool in found}
    assert all(templates[pool] == LOCKED_TEMPLATE for pool in (*pools, CPU_POOL))
    told = [environment_of(pid) for pid in gpu.workers()]
    assert sorted(one["CUDA_VISIBLE_DEVICES"] for one in told) == [H100.uuid, SECOND_H100.uuid, UNHEARD.uuid]
    assert len({one["ENGINEFARM_TOOLCHAINS"] for one in told}) == 2
    assert "NVIDIA Unheard-Of 9000 (14.2)" in gpu.text
    assert RTX in cpu.text
    _is_well(port, farm.folder / "heartbeat", workers=3)


def _is_well(port: int, heartbeat: Path, *, workers: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        report = json.load(answer)
    assert report["well"]
    assert len(report["workers"]) == workers
    assert json.loads(heartbeat.read_text("utf-8"))["well"]


def test_an_upgraded_tensorrt_is_another_pool(
    farm: Farm, orders: Orders, agents: tuple[Agent, Agent, int], unheard: StandIn
) -> None:
    assert agents
    unheard.upgrade("10.14.1.48")
    old, new = on_gpu(UNHEARD), on_gpu(UNHEARD, "10.14.1.48")

    refused = farm.submit(orders.make(old))
    assert "TargetUnavailable" in str(farm.until(refused, "Failed", "Completed").message)

    wait_for(lambda: pool_of(new) in {one.pool for one in announcements(farm.store)}, lambda: agents[0].text)
    order = orders.make(new)
    assert farm.until(farm.submit(order), "Completed", "Failed").name == "Completed"
    record = farm.record(order)
    assert record is not None
    assert record.target == new
    assert pool_of(old) not in {one.pool for one in announcements(farm.store)}


def test_an_agent_that_is_told_to_end_finishes_its_build(
    farm: Farm, orders: Orders, agents: tuple[Agent, Agent, int], unheard: StandIn
) -> None:
    gpu, _, _ = agents
    unheard.becomes(build_seconds=4.0)
    before = len(unheard.events())
    target = on_gpu(UNHEARD, "10.14.1.48")
    building = farm.submit(orders.make(target))
    wait_for(lambda: len(unheard.events()) > before, lambda: gpu.text)

    gpu.signal(signal.SIGTERM)
    late = farm.submit(orders.make(target))

    assert gpu.ends_with() == 0
    assert farm.run(building).state_name == "Completed"
    assert farm.run(late).state_name in {"Scheduled", "Late"}


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
    places = [Place(label="gpu0"), Place(label="gpu1")]
    with only_agent("host", places), only_agent("other", places):
        with pytest.raises(AgentRunning):
            only_agent("host", places[1:]).__enter__()
        with only_agent("host", [Place(label="gpu2")]):
            pass
    with only_agent("host", places):
        pass
