"""Flow runs of the farm on Prefect's server: their names and tags, and reading all runs of a filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from pydantic import TypeAdapter

from tasks.domain.gpu_table import device_slug
from tasks.domain.order import EngineOrder
from tasks.domain.release import ReleaseRef

FLOWS = ("build-release", "build-engine", "reconcile")
"""The names of the farm's flows."""

PARENT_TAG = "enginefarm-parent"
"""The tag of each run of a cell, with the id of the run that submitted it."""

DETACHED_TAG = "enginefarm-outlives"
"""The tag of a run that was restarted after its parent ended, with the id of the parent's final state."""

ERROR_TAG = "error"
"""The tag of a failed run, with the class of its error. Lists of runs show tags and are filtered by them."""

WORKER_LABEL = "prefect.worker.name"
"""The label of a run with the name of the worker that took it."""

TAKEN = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
"""The states of a run that a worker has taken."""

_PAGE = 200
_RELEASE = TypeAdapter(ReleaseRef)


def cancel_of(run: FlowRun, why: str) -> State[Any]:
    """Return the state that cancels `run`.

    No agent would notice that a waiting run is Cancelling: if an agent once had it and handed it back,
    Prefect would leave it so until another agent takes it. A crashed run waits as well: for its restart.
    """
    # Workaround (Prefect 3.8.8): a waiting run that a worker once had stays Cancelling. Remove when the
    # server sets every waiting run to Cancelled.
    waits = run.state_type in {StateType.SCHEDULED, StateType.CRASHED}
    return State(type=StateType.CANCELLED if waits else StateType.CANCELLING, message=why)


def is_assigned_to(run: FlowRun, worker: str) -> bool:
    """Return whether `worker` has taken `run`, which must have been read just now."""
    return run.state_type in TAKEN and run.labels.get(WORKER_LABEL) == worker


def detached_tag(parent: FlowRun | None) -> str:
    """Return the tag of a run that outlives `parent` (None: deleted) in its present state."""
    return f"{DETACHED_TAG}:{parent.state_id if parent else 'deleted'}"


def release_of(parameters: Mapping[str, Any]) -> ReleaseRef | None:
    """Return the release that a run with these parameters builds; None if they name none."""
    release = parameters.get("release")
    try:
        return ReleaseRef.from_url(release) if isinstance(release, str) else _RELEASE.validate_python(release)
    except ValueError:  # somebody started it by hand, and it will fail by itself
        return None


def release_run_name(release: ReleaseRef) -> str:
    """Return the name of each run that builds `release`."""
    return f"{release.model}-{release.version}"


def cell_run_name(order: EngineOrder) -> str:
    """Return the name of the run that builds `order`, for people."""
    return f"{release_run_name(order.release.ref)}-{device_slug(order.target)}-{order.options.precision}"


def release_tags(release: ReleaseRef) -> tuple[str, ...]:
    """Return the tags of runs about `release`, for people and filters."""
    return f"model:{release.model}", f"version:{release.version}"


def cell_tags(order: EngineOrder) -> tuple[str, ...]:
    """Return the tags of a run of one cell, for people and filters."""
    return *release_tags(order.release.ref), f"gpu:{device_slug(order.target)}"


async def add_tags(client: PrefectClient, run: UUID, *tags: str) -> None:
    """Add `tags` to `run`, and remove the error of an earlier attempt."""
    present = (await client.read_flow_run(run)).tags
    kept = [tag for tag in present if not tag.startswith(f"{ERROR_TAG}:")]
    await client.update_flow_run(run, tags=list(dict.fromkeys((*kept, *tags))))


async def all_flow_runs(client: PrefectClient, **filters: Any) -> list[FlowRun]:
    """Return all pages of `read_flow_runs` with these `filters`."""
    runs: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(**filters, limit=_PAGE, offset=len(runs))
        runs += page
        if len(page) < _PAGE:
            return runs
