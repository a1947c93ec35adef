"""Workers and agents that are killed, or that must end at once: nothing goes on, and every run comes back."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import pytest
from prefect.states import AwaitingRetry, Cancelling

from tasks.domain.order import EngineOrder
from tests.stand_in.toolchain import L4, StandIn
from tests.support.farm.commands import on_server
from tests.support.farm.farm import Agent, Farm, lives
from tests.support.farm.orders import Orders, on_gpu
from tests.support.waiting import wait_until


@dataclass(kw_only=True)
class Builder:
    """A toolchain whose builds begin and do not end, and what of them lives."""

    farm: Farm
    order: EngineOrder
    toolchain: StandIn
    begun: int = 0

    def building(self, agent: Agent) -> set[int]:
        """Return all processes of the next build once it has begun."""
        wait_until(lambda: len(self._starts()) > self.begun, lambda: agent.text)
        self.begun = len(self._starts())
        assert not self.is_free()
        (flow,) = agent.flows()
        return {flow, self._starts()[-1]}

    def is_over(self, processes: set[int]) -> bool:
        """Whether nothing of it lives, and its GPU is free."""
        return not any(map(lives, processes)) and self.is_free()

    def is_free(self) -> bool:
        lock = self.farm.folder / f"enginefarm-gpu-{os.getuid()}-{L4.uuid}.lock"
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def _starts(self) -> list[int]:
        return [event["pid"] for event in self.toolchain.events() if event["event"] == "build starts"]


@pytest.fixture
def builder(farm: Farm, orders: Orders, stand_in: Callable[..., StandIn]) -> Builder:
    toolchain = stand_in(gpus=(L4,), build_seconds=600.0)
    return Builder(farm=farm, order=orders.make(on_gpu(L4)), toolchain=toolchain)


def again(run: UUID) -> None:
    """Let agents take a run that crashed, as the farm's own recovery does."""
    on_server(lambda client: client.set_flow_run_state(run, AwaitingRetry(), force=True))


pytestmark = pytest.mark.killing


def test_killed_workers_builds_and_agents_leave_nothing_behind(farm: Farm, builder: Builder) -> None:
    order = builder.order
    arguments = ("gpu", "--name", "dies", "--drain-seconds", "1")

    with farm.agent(*arguments, toolchains=[builder.toolchain]) as agent:
        run = farm.submit_when_there(order)
        processes = builder.building(agent)
        (worker,) = agent.workers()
        os.kill(worker, signal.SIGKILL)
        assert farm.until(run, "Crashed", "Completed").name == "Crashed"
        assert builder.is_over(processes)  # before the server hears of it: another agent may begin then

        farm.online(agent, workers=2)  # it is started again
        again(run)
        processes = builder.building(agent)
        os.kill(max(agent.flows()), signal.SIGKILL)
        farm.until(run, "Crashed", "Completed")
        wait_until(lambda: builder.is_over(processes))

        again(run)
        processes = builder.building(agent)
        agent.signal(signal.SIGTERM)
        assert agent.ends_with() == 0
        assert builder.is_over(processes)
        assert farm.run(run).state_name == "AwaitingRetry"

    with farm.agent(*arguments, toolchains=[builder.toolchain]) as agent:
        processes = builder.building(agent)  # it was handed back
        agent.signal(signal.SIGKILL)
        wait_until(lambda: builder.is_over(processes))
        assert farm.run(run).state_name == "Running"

    builder.toolchain.becomes(build_seconds=0.0)
    with farm.agent(*arguments, toolchains=[builder.toolchain]):
        farm.until(run, "Crashed", "Completed")
        again(run)
        assert farm.until(run, "Completed", "Failed").name == "Completed"
    assert farm.states(run).count("Completed") == 1
    assert farm.record(order) is not None


def test_a_cancel_and_a_second_signal_end_a_build_at_once(farm: Farm, builder: Builder) -> None:
    with farm.agent("gpu", "--name", "ends", toolchains=[builder.toolchain]) as agent:
        run = farm.submit_when_there(builder.order)
        processes = builder.building(agent)
        on_server(lambda client: client.set_flow_run_state(run, Cancelling(), force=True))
        wait_until(lambda: builder.is_over(processes))
        assert farm.until(run, "Cancelled", "Crashed").name == "Cancelled"

        run = farm.submit(builder.order)
        processes = builder.building(agent)
        agent.signal(signal.SIGTERM)
        wait_until(lambda: "stopping; runs have" in agent.text, lambda: agent.text)
        agent.signal(signal.SIGTERM)
        assert agent.ends_with() == 0
        assert builder.is_over(processes)
        assert farm.run(run).state_name == "AwaitingRetry"

    on_server(lambda client: client.delete_flow_run(run))  # no other agent shall take it
