"""Flow runs of the farm on Prefect's server: which flows are the farm's, and all runs that a filter names."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

FLOWS = ("build-release", "build-engine", "reconcile")
"""The names of the farm's flows."""

PARENT_TAG = "enginefarm-parent"
"""With the id of the run that asked for it, the tag of each run of one cell."""

WORKER_LABEL = "prefect.worker.name"
"""The label with the name of the worker that took a run."""

_PAGE = 200


async def all_flow_runs(client: PrefectClient, **filters: Any) -> list[FlowRun]:
    """Return all runs that `filters`, as `read_flow_runs` takes them, name; the server gives pages."""
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(**filters, limit=_PAGE, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return found
