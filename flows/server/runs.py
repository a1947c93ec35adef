"""Submits, finds, cancels, retries and awaits flow runs of the farm on its Prefect server."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Scheduled

from agents.server.clock import server_now
from agents.server.flow_runs import (
    DETACHED_TAG,
    PARENT_TAG,
    TAKEN,
    all_flow_runs,
    cancel_of,
    detached_tag,
)
from agents.server.janitor import parent_of, will_restart
from agents.server.release_runs import Started, run_started_with, start_release
from agents.server.run_errors import why_unsuccessful
from flows.server.run_ends import RunEnds, is_final
from tasks.domain.digest import document_digest
from tasks.domain.errors import NotDeployed, RequestInvalid, RunUnknown
from tasks.domain.overrides import Overrides
from tasks.domain.release import ReleaseRef

_RECONCILE = "reconcile/farm"
_PAGE, _PAGES = 200, 5
_POLL_SECONDS = 1.0
_START_POLLS = 30  # an agent that is short of processors takes seconds to start a process
_CANCELLED = "Cancelled with `enginefarm cancel`."
_FEWEST_DIGITS = 4
_RESTARTABLE = {StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


async def submit(
    client: PrefectClient, release: ReleaseRef, overrides: Overrides, *, again: bool = False
) -> Started:
    """Ask the farm to build `release`. Until their run is over, the same release and overrides return it.

    Args:
        client: of the farm's server.
        release: the release.
        overrides: which part of it to build; their priority decides the work queue.
        again: start a new run in any case.

    Raises:
        NotDeployed: the farm is not registered on this server.
        RequestInvalid: the server refuses the parameters.
    """
    asked = {"release": asdict(release), "overrides": asdict(overrides)}
    key = f"submit:{document_digest(asked)}"
    return await start_release(
        client,
        release,
        idempotency_key=f"{key}:{uuid.uuid4().hex}" if again else await _key_of_current(client, key),
        overrides=overrides,
        queue=overrides.priority,
        way="submit",
    )


async def _key_of_current(client: PrefectClient, key: str) -> str:
    """Return the idempotency key of the run that is not over, or of the next run.

    A run that is over, or that will be cancelled, is no answer: since then, the request may have been
    corrected, or an agent started. The next key follows from the last run: two callers at once get the same
    run.
    """
    while (run := await run_started_with(client, key)) is not None:
        if run.state_type is not StateType.CANCELLING and not await _is_over(client, run):
            return key
        key = f"submit:{document_digest([key, str(run.id)])}"
    return key


async def _is_over(client: PrefectClient, run: FlowRun) -> bool:
    return is_final(run) and not await will_restart(client, run)


async def start_reconcile(client: PrefectClient, *, places: tuple[str, ...], budget: int) -> FlowRun:
    """Start a run of `reconcile` now.

    Args:
        client: of the farm's server.
        places: where to look; none for the places that the farm checks every night.
        budget: how many builds it may start.

    Raises:
        NotDeployed: the farm is not registered on this server.
    """
    try:
        deployment = await client.read_deployment_by_name(_RECONCILE)
    except ObjectNotFound as error:
        raise NotDeployed(
            wanted=f"the deployment {_RECONCILE} on the Prefect server",
            found="none",
            fix="register the farm: `enginefarm deploy`",
        ) from error
    return await client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"places": list(places), "budget": budget},
        name=f"reconcile-{datetime.now(UTC):%F-%H%M%S}",
        tags=["way:command"],
        state=Scheduled(scheduled_time=await server_now(client)),
    )


async def find_run(client: PrefectClient, wanted: str) -> FlowRun:
    """Return the flow run whose id is `wanted` or begins with it (at least four digits), or with that name.

    Raises:
        RunUnknown: none of the last thousand runs matches, or several match.
    """
    try:
        return await client.read_flow_run(uuid.UUID(wanted))
    except (ValueError, ObjectNotFound):
        pass
    named = FlowRunFilter(name=FlowRunFilterName(any_=[wanted]))
    newest = FlowRunSort.EXPECTED_START_TIME_DESC
    matching = await client.read_flow_runs(flow_run_filter=named, sort=newest, limit=_PAGE)
    if not matching and len(wanted) >= _FEWEST_DIGITS:
        for page in range(_PAGES):
            runs = await client.read_flow_runs(sort=newest, limit=_PAGE, offset=page * _PAGE)
            matching += [run for run in runs if str(run.id).startswith(wanted.lower())]
            if len(runs) < _PAGE:
                break
    if len(matching) == 1:
        return matching[0]
    lines = [f"{run.id} {run.name}: {run.state_name}, {run.expected_start_time:%F %T}" for run in matching]
    raise RunUnknown(
        wanted=f"exactly one flow run with the id or name {wanted}",
        found="none" if not matching else f"{len(matching)}:\n" + "\n".join(lines),
        fix="give the id, or its beginning, as `enginefarm status` and `enginefarm submit` show it",
    )


async def with_children(client: PrefectClient, run: FlowRun) -> list[FlowRun]:
    """Return `run` in its present state, and the runs that it submitted."""
    tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"{PARENT_TAG}:{run.id}"]))
    children = await all_flow_runs(client, flow_run_filter=tagged)
    return [await client.read_flow_run(run.id), *children]


async def cancel(client: PrefectClient, run: FlowRun) -> list[FlowRun]:
    """Cancel `run` and the runs that it submitted; return those that were not over yet.

    Agents end active runs within seconds. Waiting runs are cancelled at once, including crashed runs that
    wait for a restart.
    """
    # The parent first: it must not submit another child.
    ended = [each for each in await with_children(client, run) if await _cancel(client, each)]
    return [await client.read_flow_run(each.id) for each in ended]


async def _cancel(client: PrefectClient, run: FlowRun) -> bool:
    """Cancel `run`; return whether it was not over."""
    if await _is_over(client, run):
        return False
    crashed = is_final(run)
    done = await client.set_flow_run_state(run.id, cancel_of(run, _CANCELLED), force=crashed)
    if crashed:  # an agent may have been about to restart it
        await asyncio.sleep(_POLL_SECONDS)
        await _cancel(client, await client.read_flow_run(run.id))
    elif done.state is not None and await _was_taken_before(client, run.id, done.state):
        await _cancel_if_it_starts(client, run.id)
    return True


async def _was_taken_before(client: PrefectClient, run: uuid.UUID, state: State[Any]) -> bool:
    """Return whether an agent had taken `run` when it was set to `state`, so that Cancelled was wrong."""
    states = await client.read_flow_run_states(run)
    return state.type is StateType.CANCELLED and any(
        earlier.type in TAKEN for earlier, later in pairwise(states) if later.id == state.id
    )


async def _cancel_if_it_starts(client: PrefectClient, run: uuid.UUID) -> None:
    """Cancel `run` once more if its process, which an agent is starting, sets it to Running."""
    # Workaround (Prefect 3.8.8): the server lets the process of a cancelled run set it to Running. Remove
    # when the server rejects that, as it does for a run that is Cancelling.
    for _ in range(_START_POLLS):
        now = await client.read_flow_run(run)
        if now.state_type is StateType.RUNNING:
            await client.set_flow_run_state(run, cancel_of(now, _CANCELLED))
            return
        await asyncio.sleep(_POLL_SECONDS)


async def retry(client: PrefectClient, run: FlowRun) -> FlowRun:
    """Restart a failed, crashed or cancelled `run` under the same id.

    A restarted build is independent of its parent, which may have ended.

    Raises:
        RequestInvalid: it is in another state, or was not started through the farm.
    """
    if run.deployment_id is None or run.state_type not in _RESTARTABLE:
        reason = "it ran on the command line" if run.deployment_id is None else f"it is {run.state_name}"
        raise RequestInvalid(
            wanted=f"to restart {run.name}, which must be a failed, crashed or cancelled run of the farm",
            found=reason,
            fix="`enginefarm submit … --again` starts a new run",
        )
    if (parent := parent_of(run)) is not None:
        others = [tag for tag in run.tags if not tag.startswith(DETACHED_TAG)]
        tag = detached_tag(await _run_if_exists(client, parent))
        await client.update_flow_run(run.id, tags=[*others, tag])
    message = "Restarted with `enginefarm retry`."
    due: State[Any] = AwaitingRetry(message=message, scheduled_time=await server_now(client))
    await client.set_flow_run_state(run.id, due, force=True)
    return await client.read_flow_run(run.id)


async def _run_if_exists(client: PrefectClient, run: uuid.UUID) -> FlowRun | None:
    with suppress(ObjectNotFound):
        return await client.read_flow_run(run)
    return None


async def wait(client: PrefectClient, run: FlowRun, *, ends: RunEnds | None = None) -> FlowRun:
    """Wait until `run` is over. A crashed run may be restarted, unless `ends` has already waited for that.

    Raises:
        FarmError: the error of the run, or `RunUnsuccessful`.
    """
    ends = ends or RunEnds(client)
    while not await ends.is_over(run):
        await asyncio.sleep(_POLL_SECONDS)
        run = await client.read_flow_run(run.id)
    if run.state_type is not StateType.COMPLETED:
        raise why_unsuccessful(
            run,
            wanted=f"{run.name} ({run.id}) to complete",
            fix=f"`enginefarm logs {run.id}` shows what happened, `enginefarm retry {run.id}` restarts it",
        )
    return run
