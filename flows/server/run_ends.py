"""Decides when a flow run is over: the farm's agents may still restart a crashed run."""

from __future__ import annotations

import time
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from agents.server.janitor import will_restart

_REVIVAL_SECONDS = 180.0


def is_final(run: FlowRun) -> bool:
    """Return whether the state of `run` is final. A crashed run may still be restarted."""
    return run.state is not None and run.state.is_final()


class RunEnds:
    """Decides when a run is finished. Call it with a freshly read run on every poll."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._crashed: dict[UUID, float] = {}

    async def is_over(self, run: FlowRun) -> bool:
        """Return whether `run` is finished for good.

        A crashed run is finished once no agent will restart it, or none has restarted it for minutes.

        Raises:
            httpx.TransportError, PrefectHTTPStatusError: the server did not answer, or refused.
        """
        if run.state_type is not StateType.CRASHED:
            self._crashed.pop(run.id, None)
            return is_final(run)
        since = self._crashed.setdefault(run.id, time.monotonic())
        return time.monotonic() - since > _REVIVAL_SECONDS or not await will_restart(self._client, run)
