"""Retries crash reports until the server is reachable.

Prefect's worker only logs that a report failed. The run would then stay Running forever: nothing executes
it, and because its worker is alive, `lost_runs.sweep_runs` leaves it alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Crashed
from prefect.utilities.engine import propose_state

from agents.server.away import NO_ANSWER, is_away
from agents.server.flow_runs import is_assigned_to
from agents.worker.pool_sharing import SharingWorker

_RETRY_SECONDS = 2.0


# Workaround (Prefect 3.8.8): a worker that cannot report a crash logs that and forgets it. Remove when
# `BaseWorker._propose_crashed_state` retries; in 3.9.1 it does not.
class ReportingWorker(SharingWorker):
    """Retries a crash report until the server is back, unless the worker is draining."""

    _draining = False

    async def _propose_crashed_state(
        self, flow_run: FlowRun, message: str, client: PrefectClient | None = None
    ) -> None:
        was_away = False
        while not (was_away and self._draining):
            try:
                if not was_away or await self._has(flow_run):
                    crashed: State[Any] = Crashed(message=message)
                    await propose_state(client or self.client, crashed, flow_run_id=flow_run.id)
            except (Abort, ObjectNotFound):  # the run has ended, or was deleted
                return
            except NO_ANSWER as error:
                self._logger.warning("the crash of %s could not be reported: %s", flow_run.name, error)
                if not is_away(error):
                    return
                was_away = True
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _has(self, flow_run: FlowRun) -> bool:
        """Return whether this worker still has the run: another worker may have got it meanwhile."""
        return is_assigned_to(await self.client.read_flow_run(flow_run.id), self.name)
