"""Flow runs of the farm on Prefect's server: which flows are the farm's, and all runs that a filter names."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType

from tasks.domain.gpu_table import device_slug
from tasks.domain.order import EngineOrder
from tasks.domain.release import ReleaseRef

FLOWS = ("build-release", "build-engine", "reconcile")
"""The names of the farm's flows."""

PARENT_TAG = "enginefarm-parent"
"""With the id of the run that asked for it, the tag of each run of one cell."""

DETACHED_TAG = "enginefarm-outlives"
"""With the state in which its parent ended, the tag of a run that somebody started again after that."""

WORKER_LABEL = "prefect.worker.name"
"""The label with the name of the worker that took a run."""

TAKEN = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
"""The states of a run that a worker has."""

_PAGE = 200


def cancel_of(run: FlowRun, why: str) -> State[Any]:
    """Return the state that ends `run`.

    One that waits has nobody who would hear of it: if an agent once had it and handed it back, Prefect would
    leave it "Cancelling" until somebody takes it. One that crashed waits to be started again.
    """
    # Workaround (Prefect 3.8.8): a waiting run that a worker once had stays Cancelling. Remove when the
    # server sets each run that waits to Cancelled.
    waits = run.state_type in {StateType.SCHEDULED, StateType.CRASHED}
    return State(type=StateType.CANCELLED if waits else StateType.CANCELLING, message=why)


def is_assigned_to(run: FlowRun, worker: str) -> bool:
    """Say whether `run`, as it was just read, is one that `worker` has."""
    return run.state_type in TAKEN and run.labels.get(WORKER_LABEL) == worker


def detached_tag(parent: FlowRun | None) -> str:
    """Return the tag of a run that goes on though `parent` (None: deleted) ended as it has now."""
    return f"{DETACHED_TAG}:{parent.state_id if parent else 'deleted'}"


def release_run_name(release: ReleaseRef) -> str:
    """Return the name of each run that builds `release`."""
    return f"{release.model}-{release.version}"


def cell_run_name(order: EngineOrder) -> str:
    """Return the name of the run that builds `order`, for people."""
    return f"{release_run_name(order.release.ref)}-{device_slug(order.target)}-{order.options.precision}"


def release_tags(release: ReleaseRef) -> tuple[str, ...]:
    """Return what runs about `release` are tagged with, for people and filters."""
    return f"model:{release.model}", f"version:{release.version}"


def cell_tags(order: EngineOrder) -> tuple[str, ...]:
    """Return what a run of one cell is tagged with, for people and filters."""
    return *release_tags(order.release.ref), f"gpu:{device_slug(order.target)}"


async def all_flow_runs(client: PrefectClient, **filters: Any) -> list[FlowRun]:
    """Return all runs that `filters`, as `read_flow_runs` takes them, name; the server gives pages."""
    runs: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(**filters, limit=_PAGE, offset=len(runs))
        runs += page
        if len(page) < _PAGE:
            return runs
