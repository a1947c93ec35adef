"""What nobody else puts right on Prefect's server. No agent runs: the tests say what became of the runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.states import AwaitingRetry

from agents.server import clock, flow_runs
from agents.server.flow_runs import PARENT_TAG
from agents.server.janitor import MAX_CRASHES, Swept, sweep
from agents.server.pools import FarmPool
from flows.server import runs as farm_runs
from flows.server.automations import SILENT, STUCK, UNHEARD, WATCHES, Automations
from flows.server.deployments import register
from tasks.domain.offer import CPU_POOL
from tests.support.farm.commands import on_server
from tests.support.waiting import wait_until

_WITHIN = 10.0  # seconds: the least that the server takes


@dataclass(kw_only=True)
class Runs:
    """Makes runs of a deployment of the farm's."""

    deployment: UUID
    made: list[UUID]

    async def make(self, client: PrefectClient, *states: StateType, parent: object = None) -> UUID:
        """Make a run that goes through `states`, asked for by `parent`."""
        tags = [] if parent is None else [f"{PARENT_TAG}:{parent}"]
        run = await client.create_flow_run_from_deployment(self.deployment, tags=tags)
        self.made.append(run.id)
        for state in states:
            await client.set_flow_run_state(run.id, State(type=state), force=True)
        return run.id

    async def make_handed_back(self, client: PrefectClient, parent: object) -> UUID:
        """Make a run that an agent had and gave back."""
        run = await self.make(client, StateType.RUNNING, parent=parent)
        await client.update_flow_run(run, infrastructure_pid="1")
        await client.set_flow_run_state(run, AwaitingRetry(), force=True)
        return run


@pytest.fixture
def runs(bare_server: str) -> Iterator[Runs]:
    del bare_server

    async def prepare(client: PrefectClient) -> UUID:
        await FarmPool(name=CPU_POOL).ensure(client)
        await register(client, CPU_POOL, ())
        return (await client.read_deployment_by_name("reconcile/farm")).id

    made = Runs(deployment=on_server(prepare), made=[])
    yield made

    async def clear(client: PrefectClient) -> None:
        for run in made.made:
            await client.delete_flow_run(run)

    on_server(clear)


def states(*wanted: UUID) -> list[str]:
    async def read(client: PrefectClient) -> list[str]:
        return [str((await client.read_flow_run(run)).state_name) for run in wanted]

    names: list[str] = on_server(read)
    return names


def test_children_end_with_their_parent_and_what_crashed_comes_again(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_runs, "_PAGE", 2)
    crashed, running = StateType.CRASHED, StateType.RUNNING

    async def prepare(client: PrefectClient) -> dict[str, list[UUID]]:
        failed, active = await runs.make(client, StateType.FAILED), await runs.make(client, running)
        done = await runs.make(client, running, StateType.COMPLETED)
        spent, again = [await runs.make(client, *[running, crashed] * often) for often in (MAX_CRASHES, 1)]
        return {
            "cancelled": [
                *[await runs.make(client, parent=failed) for _ in range(2)],
                await runs.make_handed_back(client, parent=failed),
                await runs.make(client, parent=uuid4()),  # it was deleted
                await runs.make(client, parent=spent),
            ],
            "revived": [
                again,
                await runs.make(client, crashed),
                await runs.make(client, running, crashed, parent=active),
                await runs.make(client, running, crashed, parent="somebody's own"),
            ],
            "left": [
                active,
                spent,
                await runs.make(client, parent=active),
                await runs.make(client, parent=again),
                await runs.make(client, parent=done),
                await runs.make(client, crashed, parent=failed),
                await runs.make(client, crashed, parent=done),
                await runs.make(client, *[running, crashed] * MAX_CRASHES, parent=active),
            ],
        }

    expected = on_server(prepare)
    before = states(*expected["left"])

    swept: Swept = on_server(sweep)

    ours = set(runs.made)
    assert set(swept.cancelled) & ours == set(expected["cancelled"])
    assert set(swept.revived) & ours == set(expected["revived"])
    assert states(*expected["cancelled"]) == ["Cancelled"] * 5
    assert states(*expected["revived"]) == ["AwaitingRetry"] * 4
    assert states(*expected["left"]) == before

    async def again(client: PrefectClient) -> Swept:
        monkeypatch.setattr(client, "read_flow_run_states", None)  # each crash is asked for once
        return await sweep(client, previous=swept.crashes)

    assert on_server(again) == Swept(cancelled=(), revived=())


def test_a_build_that_somebody_starts_again_goes_on_without_its_parent(runs: Runs) -> None:
    failed, crashed = StateType.FAILED, StateType.CRASHED

    async def end(client: PrefectClient, run: UUID, *ends: StateType) -> UUID:
        for state in ends:
            await client.set_flow_run_state(run, State(type=state), force=True)
        return run

    async def prepare(client: PrefectClient) -> list[UUID]:
        parents = [await runs.make(client, failed), uuid4(), await runs.make(client, failed)]
        builds = [await runs.make(client, failed, parent=parent) for parent in parents]
        for build in builds:
            await farm_runs.retry(client, await client.read_flow_run(build))
        # The last one's parent is started again, and ends anew: that ends what it asked for.
        await end(client, parents[-1], StateType.RUNNING, failed)
        return builds

    builds = on_server(prepare)
    swept: Swept = on_server(sweep)
    assert set(swept.cancelled) & set(runs.made) == {builds[-1]}
    assert states(*builds) == ["AwaitingRetry", "AwaitingRetry", "Cancelled"]

    on_server(lambda client: end(client, builds[0], StateType.RUNNING, crashed))
    assert builds[0] in on_server(sweep).revived  # as every run that nobody asked for but people
    assert builds[0] not in on_server(sweep).cancelled


@pytest.fixture
def quick(runs: Runs) -> Iterator[Automations]:
    """The farm's automations, which wait less; gone at the end."""
    del runs
    watches = [replace(watch, name=f"quick {watch.name}", seconds=_WITHIN) for watch in WATCHES]
    yield Automations(watches)

    async def clear(client: PrefectClient) -> None:
        for watch in watches:
            for automation in await client.read_automations_by_name(watch.name):
                await client.delete_automation(automation.id)

    on_server(clear)


def beat(*runs: UUID) -> None:
    """Do as Prefect's engine in the processes of `runs` does; the server has heard it afterwards."""
    flow = {
        "prefect.resource.id": "prefect.flow.1",
        "prefect.resource.role": "flow",
        "prefect.resource.name": "reconcile",
    }
    for run in runs:
        resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
        emit_event("prefect.flow-run.heartbeat", resource=resource, related=[flow])
    EventsWorker.drain_all()


def test_runs_of_hosts_that_are_gone_come_again(runs: Runs, quick: Automations) -> None:
    assert {change.action for change in on_server(quick.apply)} == {"create"}
    assert {change.action for change in on_server(quick.apply)} == {"keep"}

    async def prepare(client: PrefectClient) -> dict[str, UUID]:
        running = StateType.RUNNING
        return {
            "silent": await runs.make(client, running),
            "handed back": await runs.make(client, running),
            "stuck": await runs.make(client, StateType.PENDING),
            "unheard": await runs.make(client, running, StateType.CANCELLING),
            "over": await runs.make(client, running, StateType.COMPLETED),
        }

    made = on_server(prepare)
    beat(made["silent"], made["handed back"], made["over"])

    async def hand_back(client: PrefectClient) -> None:
        await client.set_flow_run_state(made["handed back"], AwaitingRetry(), force=True)

    on_server(hand_back)
    lost = [made[name] for name in ("silent", "stuck", "unheard")]
    wait_until(lambda: states(*lost) == ["Crashed", "Crashed", "Cancelled"], lambda: states(*made.values()))
    assert states(made["handed back"], made["over"]) == ["AwaitingRetry", "Completed"]

    swept: Swept = on_server(sweep)
    assert {made["silent"], made["stuck"]} <= set(swept.revived)
    assert states(*lost) == ["AwaitingRetry", "AwaitingRetry", "Cancelled"]


def test_an_automation_that_was_changed_is_put_right_and_stays_disabled(quick: Automations) -> None:
    on_server(quick.apply)

    async def change(client: PrefectClient) -> None:
        (automation,) = await client.read_automations_by_name(f"quick {SILENT.name}")
        await client.update_automation(automation.id, replace(STUCK, name=automation.name).automation())
        await client.pause_automation(automation.id)

    on_server(change)
    first, *others = on_server(quick.apply)
    assert (first.action, {change.action for change in others}) == ("change", {"keep"})
    assert "disabled, and stays so" in first.details
    assert {change.action for change in on_server(quick.plan)} == {"keep"}

    async def read(client: PrefectClient) -> Any:
        return (await client.read_automations_by_name(f"quick {SILENT.name}"))[0]

    now = on_server(read)
    assert not now.enabled
    assert now.trigger == replace(SILENT, seconds=_WITHIN).automation().trigger
    assert UNHEARD.state is StateType.CANCELLED


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"])
def test_a_host_with_a_wrong_clock_cancels_and_restarts_as_others_do(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    monkeypatch.setattr(clock, "_host_now", lambda: datetime.now(UTC) + ahead)

    async def prepare(client: PrefectClient) -> tuple[UUID, UUID]:
        failed = await runs.make(client, StateType.FAILED)
        crashed = await runs.make(client, StateType.RUNNING, StateType.CRASHED)
        return await runs.make(client, parent=failed), crashed

    orphan, crashed = on_server(prepare)
    # The header has whole seconds, so a run of this second may not be due.
    wait_until(lambda: on_server(sweep) and states(orphan) == ["Cancelled"], lambda: states(orphan))
    assert states(crashed) == ["AwaitingRetry"]
    run: FlowRun = on_server(lambda client: client.read_flow_run(crashed))
    assert run.expected_start_time is not None
    assert abs(run.expected_start_time.timestamp() - datetime.now(UTC).timestamp()) < 600
