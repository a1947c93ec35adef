"""A run that crashed is not over while agents start it again. No agent runs: the tests do as the janitor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry

from agents.server.janitor import MAX_CRASHES, sweep
from agents.server.pools import FarmPool
from flows.server import logs, run_ends, runs
from flows.server.deployments import register
from flows.server.logs import log_lines
from tasks.domain.errors import RunUnsuccessful
from tasks.domain.offer import CPU_POOL
from tests.support.farm.commands import on_server, run

_CRASH = (StateType.RUNNING, StateType.CRASHED)


@pytest.fixture
def make(bare_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FlowRun]]:
    """A function that makes a run of the farm's which goes through states; it is gone at the end."""
    del bare_server
    monkeypatch.setattr(runs, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(logs, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(logs, "_LAST_SECONDS", 0.1)
    made: list[UUID] = []

    async def create(client: PrefectClient, states: tuple[StateType, ...]) -> FlowRun:
        await FarmPool(name=CPU_POOL).ensure(client)
        await register(client, CPU_POOL, ())
        deployment = await client.read_deployment_by_name("reconcile/farm")
        made.append((await client.create_flow_run_from_deployment(deployment.id)).id)
        await go_through(client, made[-1], *states)
        return await client.read_flow_run(made[-1])

    def make_one(*states: StateType) -> FlowRun:
        run: FlowRun = on_server(lambda client: create(client, states))
        return run

    yield make_one

    async def clear(client: PrefectClient) -> None:
        for run_id in made:
            await client.delete_flow_run(run_id)

    on_server(clear)


async def go_through(client: PrefectClient, run_id: UUID, *states: StateType) -> None:
    for state in states:
        await client.set_flow_run_state(run_id, State(type=state), force=True)


async def _follow(client: PrefectClient, flow_run: FlowRun) -> None:
    async for _ in log_lines(client, flow_run, follow=True):
        pass


async def _wait_while_it_comes_again(client: PrefectClient, flow_run: FlowRun) -> FlowRun:
    waits = asyncio.create_task(runs.wait(client, flow_run))
    follows = asyncio.create_task(_follow(client, flow_run))
    await asyncio.sleep(0.5)
    assert flow_run.id in (await sweep(client)).revived
    await asyncio.sleep(0.5)
    assert not waits.done()
    assert not follows.done()
    await go_through(client, flow_run.id, StateType.RUNNING, StateType.COMPLETED)
    await follows
    return await waits


def test_who_waits_waits_until_a_crashed_run_has_come_again(make: Callable[..., FlowRun]) -> None:
    crashed = make(*_CRASH)
    ended = on_server(lambda client: _wait_while_it_comes_again(client, crashed))
    assert (ended.id, ended.state_type) == (crashed.id, StateType.COMPLETED)


def test_nobody_waits_for_what_crashed_too_often_or_finds_no_agent(
    make: Callable[..., FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = make(*_CRASH * MAX_CRASHES)
    with pytest.raises(RunUnsuccessful, match="Crashed"):
        on_server(lambda client: runs.wait(client, spent))
    on_server(lambda client: _follow(client, spent))
    monkeypatch.setattr(run_ends, "_REVIVAL_SECONDS", 0.5)
    lost = make(*_CRASH)
    with pytest.raises(RunUnsuccessful, match="Crashed"):
        on_server(lambda client: runs.wait(client, lost))


def test_a_crashed_run_that_is_cancelled_never_comes_again(make: Callable[..., FlowRun]) -> None:
    crashed, spent = make(*_CRASH), make(*_CRASH * MAX_CRASHES)
    assert f"{crashed.id} {crashed.name}: Cancelled" in run("cancel", str(crashed.id))
    assert "had already finished" in run("cancel", str(spent.id))
    assert not {crashed.id, spent.id} & set(on_server(sweep).revived)


def test_a_cancel_holds_though_an_agent_starts_the_run_at_that_moment(
    make: Callable[..., FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = make(*_CRASH)

    async def cancel(client: PrefectClient) -> list[FlowRun]:
        set_state = client.set_flow_run_state

        async def set_and_revive(run: UUID, state: State, *, force: bool) -> Any:
            done = await set_state(run, state, force=force)
            monkeypatch.undo()
            await set_state(run, AwaitingRetry(), force=True)
            return done

        monkeypatch.setattr(client, "set_flow_run_state", set_and_revive)
        return await runs.cancel(client, crashed)

    (ended,) = on_server(cancel)
    assert ended.state_type is StateType.CANCELLED


@pytest.mark.parametrize("taken", ["before it was read", "after it was read"])
def test_a_cancel_holds_if_the_process_that_an_agent_is_starting_sets_the_run_to_running(
    taken: str, make: Callable[..., FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(*(StateType.PENDING,) if taken.startswith("before") else ())

    async def cancel(client: PrefectClient) -> FlowRun:
        set_state = client.set_flow_run_state

        async def set_while_it_starts(run_id: UUID, state: State, *, force: bool = False) -> Any:
            monkeypatch.undo()
            if taken.startswith("after"):
                await set_state(run_id, State(type=StateType.PENDING))
            done = await set_state(run_id, state, force=force)
            await set_state(run_id, State(type=StateType.RUNNING))  # what the engine proposes, unforced
            return done

        monkeypatch.setattr(client, "set_flow_run_state", set_while_it_starts)
        await runs.cancel(client, run)
        return await client.read_flow_run(run.id)

    assert on_server(cancel).state_type is StateType.CANCELLING
