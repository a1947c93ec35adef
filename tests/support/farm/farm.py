"""A farm of real processes: agents as users start them, on the session's servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from pydantic import TypeAdapter

from tasks.domain.offer import pool_of
from tasks.domain.order import EngineOrder
from tasks.domain.record import EngineRecord
from tasks.store.store import Store
from tests.stand_in.toolchain import StandIn
from tests.support.farm.commands import on_server
from tests.support.waiting import PATIENCE, wait_until


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty where it is gone."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)


def lives(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes(**environment: str) -> set[int]:
    """The living processes that were started with these variables."""
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        if environment.items() <= environment_of(int(folder.name)).items():
            pids.add(int(folder.name))
    return pids


@dataclass(kw_only=True)
class Agent:
    """An agent's process, and what is below it."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8")

    def workers(self) -> set[int]:
        return processes(ENGINEFARM_PARENT_PID=str(self.process.pid))

    def flows(self) -> set[int]:
        """The processes of its runs."""
        return {pid for worker in self.workers() for pid in processes(ENGINEFARM_PARENT_PID=str(worker))}

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ends_with(self) -> int:
        return self.process.wait(PATIENCE)


@dataclass(kw_only=True)
class Farm:
    """The servers, and the store that agents share."""

    api: str
    store: Store
    folder: Path
    environment: Mapping[str, str]
    _agents: list[Agent] = field(default_factory=list)

    @contextmanager
    def agent(self, *arguments: str, toolchains: Sequence[StandIn] = (), **more: str) -> Iterator[Agent]:
        """Start `enginefarm agent …`; it and all below it are gone afterwards."""
        agent = self.start(*arguments, toolchains=toolchains, **more)
        try:
            yield agent
        finally:
            end(agent)

    def start(self, *arguments: str, toolchains: Sequence[StandIn] = (), **more: str) -> Agent:
        log = self.folder / f"agent-{len(self._agents)}.log"
        named = os.pathsep.join(str(toolchain.interpreter) for toolchain in toolchains)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("enginefarm"), "agent", *arguments],
                env={**self.environment, "ENGINEFARM_TOOLCHAINS": named, **more},
                stdout=output, stderr=output, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        agent = Agent(process=process, log=log)
        self._agents.append(agent)
        return agent

    def online(self, agent: Agent, workers: int = 1) -> Agent:
        """Return once so many workers of `agent` have started."""

        def started() -> bool:
            assert agent.process.poll() is None, agent.text
            return agent.text.count("started!") >= workers

        wait_until(started, lambda: agent.text)
        return agent

    def submit(self, order: EngineOrder, pool: str | None = None, queue: str | None = None) -> UUID:
        """Ask agents for an engine; return the run."""
        document = TypeAdapter(EngineOrder).dump_python(order, mode="json")

        async def create(client: PrefectClient) -> FlowRun:
            name = f"build-engine/{pool or pool_of(order.target)}"
            deployment = await client.read_deployment_by_name(name)
            return await client.create_flow_run_from_deployment(
                deployment.id, parameters={"order": document}, work_queue_name=queue
            )

        run: FlowRun = on_server(create)
        return run.id

    def submit_when_there(self, order: EngineOrder) -> UUID:
        """Do as `submit` once an agent has registered what builds for the order's target."""

        def try_to() -> UUID | None:
            with suppress(ObjectNotFound):
                return self.submit(order)
            return None

        run: UUID = wait_until(try_to)
        return run

    def run(self, run: UUID) -> FlowRun:
        flow_run: FlowRun = on_server(lambda client: client.read_flow_run(run))
        return flow_run

    def until(self, run: UUID, *states: str, seconds: float = PATIENCE) -> State[Any]:
        """Return the state of `run` once it is called one of `states`."""

        def there() -> State[Any] | None:
            state = self.run(run).state
            return state if state is not None and state.name in states else None

        logs = "\n".join
        state: State[Any] = wait_until(
            there,
            lambda: f"{self.run(run).state!r}\n" + logs(agent.text[-3000:] for agent in self._agents),
            seconds=seconds,
        )
        return state

    def states(self, run: UUID) -> list[str]:
        """The names of all states that `run` had."""
        states: list[State[Any]] = on_server(lambda client: client.read_flow_run_states(run))
        return [str(state.name) for state in sorted(states, key=lambda state: state.timestamp)]

    def record(self, order: EngineOrder) -> EngineRecord | None:
        return self.store.find(order.key, EngineRecord)


def end(agent: Agent) -> None:
    """End an agent, and see that nothing of it is left."""
    workers = agent.workers()
    agent.process.kill()
    agent.process.wait()
    wait_until(lambda: not any(map(lives, workers)), lambda: workers)
