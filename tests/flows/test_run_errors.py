"""The error of a flow run crosses Prefect's server with the run's state, and keeps its class."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.flow_engine import run_flow_async
from prefect.states import Failed, Pending

from agents.server.run_errors import error_of, failed_with, why_unsuccessful
from flows.server.flow_errors import fails_with_its_error
from flows.server.runs import wait
from tasks.domain.error_documents import UnrecognizedError
from tasks.domain.errors import BuildRefused, CellsFailed, ChildCrashed, FarmError, RunUnsuccessful
from tests.support.waiting import wait_until

REFUSED = BuildRefused(wanted="an engine", found="no implementation\nfor a node", fix="ask for FP32")
CRASHED = ChildCrashed(wanted="an end", found="SIGSEGV", fix="try another version")
NEWER = {
    "class": "MagnetRefused", "wanted": "a magnet", "found": "a stone", "fix": "look again",
    "exit_code": 77, "retryable": True, "about_request": True, "polarity": "north",
}  # fmt: skip


@flow
@fails_with_its_error
async def fails_with(error: Any) -> None:
    """Fail as a flow of the farm does."""
    raise error


def run_that_fails_with(error: FarmError) -> FlowRun:
    """Return the run as the server gives it to whoever lists runs."""

    async def run() -> FlowRun:
        name = uuid.uuid4().hex
        with pytest.raises(type(error)) as raised:
            await fails_with.with_options(flow_run_name=name)(error)
        assert raised.value is error  # a caller in the same process gets the error itself
        async with get_client() as client:
            named = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
            (run,) = await client.read_flow_runs(flow_run_filter=named)
            return run

    return asyncio.run(run())


def run_in_state(state: State[Any]) -> FlowRun:
    """Return a run that a host has set to `state`."""

    async def run() -> FlowRun:
        async with get_client() as client:
            created = await client.create_flow_run(fails_with, parameters={"error": ""}, state=Pending())
            await client.set_flow_run_state(created.id, state, force=True)
            return await client.read_flow_run(created.id)

    return asyncio.run(run())


async def _wait(run: FlowRun) -> FlowRun:
    async with get_client() as client:
        return await wait(client, run)


def test_an_error_keeps_its_class_and_texts_on_the_server() -> None:
    run = run_that_fails_with(REFUSED)
    assert run.state is not None
    assert run.state_name == "Failed"  # automations wait for this name
    assert run.state.message == f"BuildRefused: {REFUSED}"
    assert run.tags == ["error:BuildRefused"]  # lists of runs show tags, and no messages
    with pytest.raises(BuildRefused) as raised:
        asyncio.run(_wait(run))
    assert raised.value.texts() == REFUSED.texts()
    assert raised.value.exit_code == 42


def test_a_restarted_run_loses_the_tag_of_its_earlier_error() -> None:
    async def restart() -> FlowRun:
        async with get_client() as client:
            run = await client.create_flow_run(
                fails_with, parameters={"error": ""}, tags=["error:ChildCrashed", "model:digits"]
            )
            with pytest.raises(BuildRefused):
                await run_flow_async(fails_with, flow_run=run, parameters={"error": REFUSED})
            return await client.read_flow_run(run.id)

    assert set(asyncio.run(restart()).tags) == {"error:BuildRefused", "model:digits"}


def test_an_automation_can_wait_for_the_class_of_an_error() -> None:
    automation = asyncio.run(_automation_for("BuildRefused: *"))
    # It takes effect after a moment, so runs fail until it is triggered.
    triggering = wait_until(lambda: asyncio.run(_fail_twice(automation)), every=1.0)
    assert set(triggering) == {f"BuildRefused: {REFUSED}"}


async def _automation_for(message: str) -> UUID:
    waits = EventTrigger(
        posture=Posture.Reactive,
        expect={"prefect.flow-run.Failed"},
        match={"prefect.resource.id": "prefect.flow-run.*", "prefect.state-message": message},
        threshold=1,
        within=timedelta(0),
    )
    async with get_client() as client:
        wanted = AutomationCore(name=uuid.uuid4().hex, trigger=waits, actions=[DoNothing()])
        return await client.create_automation(wanted)


async def _fail_twice(automation: UUID) -> list[str]:
    """Fail two runs with different errors; return the messages that have triggered `automation`."""
    asked = {
        "event": {"name": ["prefect.automation.triggered"]},
        "resource": {"id": [f"prefect.automation.{automation}"]},
    }
    async with get_client() as client:
        for error in (CRASHED, REFUSED):
            run = await client.create_flow_run(fails_with, parameters={"error": ""}, state=Pending())
            await client.set_flow_run_state(run.id, failed_with(error), force=True)
        # Prefect's client has no call that reads events.
        answer = await client._client.post("/events/filter", json={"filter": asked})
    events = answer.json()["events"]
    return [event["payload"]["triggering_event"]["resource"]["prefect.state-message"] for event in events]


def test_each_cell_of_a_failed_release_keeps_its_own_error() -> None:
    cells = {"l4 fp16": REFUSED, "rtx-sm89 fp32": CRASHED}
    error = error_of(run_that_fails_with(CellsFailed(wanted="2", found="0", fix="see", cells=cells)).state)
    assert isinstance(error, CellsFailed)
    assert {cell: (type(failure), failure.texts()) for cell, failure in error.cells.items()} == {
        cell: (type(failure), failure.texts()) for cell, failure in cells.items()
    }


def test_an_error_class_of_a_newer_host_keeps_exit_code_and_flags() -> None:
    sent = UnrecognizedError(wanted="a magnet", found="a stone", fix="look again", document=NEWER)
    with pytest.raises(UnrecognizedError) as raised:
        asyncio.run(_wait(run_in_state(failed_with(sent))))
    error = raised.value
    assert error.to_document() == {name: value for name, value in NEWER.items() if name != "polarity"}
    assert (error.exit_code, error.retryable, error.about_request) == (77, True, True)


@pytest.mark.parametrize(
    "state",
    [
        Failed(message=f"Flow run encountered an exception: BuildRefused: {REFUSED}"),  # of yesterday's code
        State(type=StateType.CRASHED, message="host-gpu0 ended"),
        State(type=StateType.CANCELLED, message="by hand"),
    ],
    ids=["failed", "crashed", "cancelled"],
)
def test_a_state_without_a_document_is_run_unsuccessful_with_its_text(state: State[Any]) -> None:
    run = run_in_state(state)
    assert error_of(run.state) is None
    error = why_unsuccessful(run, wanted="to complete", fix="look at its logs")
    assert type(error) is RunUnsuccessful
    assert state.message is not None
    assert state.message in error.found


@pytest.mark.parametrize(
    "data",
    [
        None, "text", 7, [], {}, {"farm_error": None}, {"farm_error": []},
        {"farm_error": {"class": "DiskFull"}},
        {"farm_error": {"class": "DiskFull", "wanted": 1, "found": "b", "fix": "c"}},
        {"farm_error": {"class": "CellsFailed", "wanted": "a", "found": "b", "fix": "c", "cells": [1]}},
        {"farm_error": {"class": "CellsFailed", "wanted": "a", "found": "b", "fix": "c", "cells": {"d": 1}}},
    ],
)  # fmt: skip
def test_data_that_is_no_error_document_is_no_error(data: object) -> None:
    assert error_of(Failed(data=data)) is None
