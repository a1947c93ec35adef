"""Servers that are away for two minutes, disks that are full, builds that take too long: nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import boto3
import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.local.s3 import environment_for
from tasks.store.store import Store
from tests.stand_in.toolchain import A10, H100, L4, StandIn, write_toolchain
from tests.support.farm.away import World, environment
from tests.support.farm.commands import on_server
from tests.support.farm.farm import Agent, Farm, lives
from tests.support.farm.gate import gate_to
from tests.support.prefect_home import migrated_home
from tests.support.prefect_server import Server
from tests.support.waiting import wait_until

AWAY_SECONDS = 125.0
_PAUSE_SECONDS = 400.0  # of a client of Prefect that has not been answered for two minutes
_LONG, _SHORT = 600.0, 40.0  # of a build
_DISK_KIB = 2048

pytestmark = [pytest.mark.killing, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def world(
    s3_server: str, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Servers of its own, with the farm's automations."""
    folder, bucket = tmp_path_factory.mktemp("outages"), f"away-{os.getpid()}"
    toolchain = write_toolchain(folder / "tensorrt", gpus=(H100, L4))
    server = Server(folder=migrated_home(tmp_path_factory, folder), port=free_port())
    server.start()
    try:
        with (
            gate_to(s3_server) as s3,
            patch.dict(os.environ, environment_for(s3_server)),
            temporary_settings({PREFECT_API_URL: server.url, PREFECT_CLIENT_MAX_RETRIES: 10}),
        ):
            boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
            store = Store.connect(f"s3://{bucket}")
            variables = environment(server, s3.url, store, folder)
            farm = Farm(api=server.url, store=store, folder=folder, environment=variables)
            deploy = [str(Path(sys.executable).with_name("enginefarm")), "deploy", "--yes"]
            subprocess.run(deploy, env=variables, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            yield World(farm=farm, server=server, s3=s3, toolchain=toolchain)
    finally:
        server.kill()


@pytest.fixture(scope="module")
def cpu(world: World) -> Iterator[Agent]:
    with world.farm.agent("cpu", "--name", "away-cpu") as agent:
        yield world.farm.online(agent, workers=2)


@pytest.fixture(scope="module")
def gpu(world: World) -> Iterator[Agent]:
    with world.farm.agent("gpu", "--name", "away-gpu", toolchains=[world.toolchain]) as agent:
        yield world.farm.online(agent, workers=2)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_prefects_server_is_away(world: World, cpu: Agent, gpu: Agent, how: str) -> None:
    """One build ends meanwhile, one run starts; one goes on, and its worker does not hear of its cancel."""
    farm, server = world.farm, world.server
    stays, goes_on = world.building(H100, f"stays-{how}", "h100-sxm-80gb", seconds=_LONG)
    ends, _ = world.building(L4, f"ends-{how}", "l4", seconds=_SHORT)
    before = len(world.builds(L4))
    starts = world.ask(world.publish(f"starts-{how}", "rtx-sm89"))
    farm.until(starts, "Pending", "Submitting")

    server.kill() if how == "killed" else server.signal(signal.SIGSTOP)
    time.sleep(AWAY_SECONDS)
    server.start() if how == "killed" else server.signal(signal.SIGCONT)

    for run in (ends, starts):
        assert farm.until(run, "Completed", "Failed", "Cancelled", seconds=_PAUSE_SECONDS).name == "Completed"
    assert (world.engines(f"ends-{how}"), world.engines(f"starts-{how}")) == (1, 1)
    assert len(world.builds(L4)) == before
    assert lives(goes_on)

    on_server(lambda client: client.set_flow_run_state(stays, State(type=StateType.CANCELLING)))
    (child,) = world.children(stays)
    for run in (stays, child.id):
        assert farm.until(run, "Cancelled", "Completed", "Failed").name == "Cancelled"
    if how == "killed":  # Prefect's own watch gives up; one that was not answered goes on
        assert "did not respond" in str(farm.run(child.id).state)
    wait_until(lambda: not lives(goes_on) and world.is_free(H100))
    assert world.engines(f"stays-{how}") == 0
    assert world.at_work() == []
    assert (cpu.process.poll(), gpu.process.poll()) == (None, None)


@pytest.mark.parametrize("how", ["refuses", "silent"])
def test_s3_is_away(world: World, cpu: Agent, gpu: Agent, how: str) -> None:
    """One release is converted meanwhile, of one the engine is built; one run is cancelled."""
    farm, s3 = world.farm, world.s3
    built, _ = world.building(L4, f"built-{how}", "l4", seconds=_SHORT)
    exports = cpu.text.count("'export'")
    converted = world.ask(world.publish(f"converted-{how}", "h100-sxm-80gb"))
    wait_until(lambda: cpu.text.count("'export'") > exports, lambda: cpu.text)
    world.toolchain.becomes(build_seconds=0.0)
    builds = len(world.builds(L4)), len(world.builds(H100))

    s3.shut() if how == "refuses" else s3.hush()
    back = time.monotonic() + AWAY_SECONDS
    cancelled = world.ask(world.publish(f"cancelled-{how}", "l4"))
    farm.until(cancelled, "Running")
    time.sleep(5)
    on_server(lambda client: client.set_flow_run_state(cancelled, State(type=StateType.CANCELLING)))
    farm.until(cancelled, "Cancelled", "Crashed", "Failed")
    time.sleep(max(0.0, back - time.monotonic()))
    s3.open()

    for run in (built, converted):
        assert farm.until(run, "Completed", "Failed", "Cancelled").name == "Completed"
    assert (len(world.builds(L4)), len(world.builds(H100))) == (builds[0], builds[1] + 1)
    assert (world.engines(f"built-{how}"), world.engines(f"converted-{how}")) == (1, 1)
    assert farm.run(cancelled).state_name == "Cancelled"
    assert world.at_work() == []
    assert (cpu.process.poll(), gpu.process.poll()) == (None, None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_KIB}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a full disk needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_is_full_and_a_build_takes_too_long(
    world: World, cpu: Agent, small_disk: Path, stand_in: Callable[..., StandIn]
) -> None:
    """An agent goes on after both, and the engine that was asked for is built once."""
    farm, toolchain = world.farm, stand_in(gpus=(A10,))
    limits = {"ENGINEFARM_WORK_DIR": str(small_disk), "ENGINEFARM_CHILD_SECONDS": "60"}
    release = world.publish("small", "a10")
    with farm.agent("gpu", "--name", "small", toolchains=[toolchain], **limits) as gpu:
        farm.online(gpu)
        # No room to look at the toolchain; room for that, and not for the plan.
        for free, step in ((40, "step probe"), (64, "build")):
            (small_disk / "ballast").unlink(missing_ok=True)
            (small_disk / "ballast").write_bytes(bytes((_DISK_KIB - free) << 10))
            message = str(farm.until(world.ask(release), "Failed", "Completed", "Crashed").message)
            assert "DiskFull" in message
            assert step in message.split("DiskFull")[1]
            assert f"free in {small_disk}" in message
        (small_disk / "ballast").unlink()

        toolchain.becomes(build_seconds=_LONG)
        late = farm.until(world.ask(release), "Failed", "Completed", "Crashed")
        assert "ChildTimedOut" in str(late.message)
        assert "ENGINEFARM_CHILD_SECONDS" in str(late.message)
        (building,) = [event["pid"] for event in toolchain.events() if event["event"] == "build starts"][-1:]
        assert not lives(building)
        assert world.is_free(A10)
        assert world.engines("small") == 0

        toolchain.becomes(build_seconds=0.0)
        assert farm.until(world.ask(release), "Completed", "Failed", "Crashed").name == "Completed"
    assert world.engines("small") == 1
    assert list(small_disk.iterdir()) == []
    assert world.at_work() == []
    assert cpu.process.poll() is None
