"""A worker whose run crashed while the server is away says so once that is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Crashed, Pending

from agents.server.flow_runs import WORKER_LABEL
from agents.worker.worker import FarmWorker, WorkerOrder
from tests.support.farm.gate import Gate, gate_to
from tests.support.waiting import PATIENCE, until

_ORDER = WorkerOrder(pool="crash-reports", name="reports", limit=1, flows={}, beats=0)


@flow
def empty() -> None: ...


@pytest.fixture
def gate(prefect_server: str) -> Iterator[Gate]:
    """The way of the worker to the server."""
    with gate_to(prefect_server) as gate:
        yield gate


@asynccontextmanager
async def _worker(gate: Gate) -> AsyncIterator[tuple[FarmWorker, PrefectClient, FlowRun]]:
    """A worker, a client that always gets through, and a run that the worker has."""
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=_ORDER.pool, type="process"), overwrite=True)
        run = await client.create_flow_run(empty, state=Pending())
        await client.update_flow_run_labels(run.id, {WORKER_LABEL: _ORDER.name})
        with temporary_settings({PREFECT_API_URL: gate.url, PREFECT_CLIENT_MAX_RETRIES: 0}):
            async with get_client() as through_the_gate:
                worker = FarmWorker(_ORDER)
                worker._client = through_the_gate  # all that `setup` would do beside is not looked at here
                yield worker, client, run


async def _crash_while_away(gate: Gate, taken_by: str, *, drains: bool = False) -> tuple[bool, str | None]:
    """Return whether the worker still waited when the server came back, and what became of the run."""
    async with _worker(gate) as (worker, client, run):
        gate.shut()
        report = asyncio.create_task(worker._propose_crashed_state(run, "killed"))
        await client.update_flow_run_labels(run.id, {WORKER_LABEL: taken_by})
        if drains:
            worker.drain()
            await asyncio.wait_for(report, PATIENCE)
        else:
            await until(lambda: gate.refused > 1, "a second try")
        waited = not report.done()
        gate.open()
        await asyncio.wait_for(report, PATIENCE)
        return waited, (await client.read_flow_run(run.id)).state_name


def test_the_report_comes_once_the_server_is_back(gate: Gate) -> None:
    assert asyncio.run(_crash_while_away(gate, _ORDER.name)) == (True, "Crashed")


def test_a_run_that_was_given_to_another_worker_is_left_alone(gate: Gate) -> None:
    assert asyncio.run(_crash_while_away(gate, "another")) == (True, "Pending")


def test_a_worker_that_is_to_end_waits_for_no_server(gate: Gate) -> None:
    assert asyncio.run(_crash_while_away(gate, _ORDER.name, drains=True)) == (False, "Pending")


def test_a_run_that_has_ended_is_not_reported_again(gate: Gate) -> None:
    async def report() -> str | None:
        async with _worker(gate) as (worker, client, run):
            await client.set_flow_run_state(run.id, Crashed(message="told before"))
            await asyncio.wait_for(worker._propose_crashed_state(run, "killed"), PATIENCE)
            state = (await client.read_flow_run(run.id)).state
            return None if state is None else state.message

    assert asyncio.run(report()) == "told before"
