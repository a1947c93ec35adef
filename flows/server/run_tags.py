"""Tags of the flow run that this is part of: what it builds, and why it failed."""

from __future__ import annotations

from uuid import UUID

from prefect import get_run_logger, runtime
from prefect.client.orchestration import get_client

from agents.server.flow_runs import ERROR_TAG, add_tags
from tasks.domain.errors import FarmError


async def tag_run(*tags: str) -> None:
    """Add `tags` to this run. An error of Prefect's server must not fail a build."""
    try:
        async with get_client() as client:
            await add_tags(client, UUID(str(runtime.flow_run.id)), *tags)
    except Exception as error:  # noqa: BLE001 (see above)
        get_run_logger().warning("the run could not be tagged: %s", error)


async def tag_error(error: FarmError) -> None:
    """Tag this run with the class of `error`, which lists of runs show beside the state."""
    await tag_run(f"{ERROR_TAG}:{error.class_name}")


async def untag_error() -> None:
    """Remove the error of an earlier attempt from this run, which was restarted."""
    if any(tag.startswith(f"{ERROR_TAG}:") for tag in runtime.flow_run.tags):
        await tag_run()
