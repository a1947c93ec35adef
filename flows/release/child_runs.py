"""Waits for the child runs of a run, and retries while the server is down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from agents.server.away import NO_ANSWER, is_away
from agents.server.flow_runs import cancel_of
from flows.release.pool_watch import PoolWatch
from flows.server.run_ends import RunEnds
from tasks.domain.backoff import Backoff
from tasks.domain.errors import RunUnsuccessful, TargetUnavailable

_POLL_SECONDS, _AT_ONCE = 1.0, 100
_BACKOFF = Backoff(first=1.0, longest=10.0, jitter=0.5)
T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class RunReader:
    """Reads runs for any number of waiting tasks with one request per second."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._asked: dict[UUID, asyncio.Future[FlowRun | None]] = {}
        self._answering: asyncio.Task[None] | None = None

    async def read(self, run: UUID) -> FlowRun | None:
        """Return `run` as it is within a second from now; None if the server has no such run.

        Raises:
            httpx.TransportError, PrefectHTTPStatusError: the server did not answer, or refused.
        """
        future = self._asked.setdefault(run, asyncio.get_running_loop().create_future())
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._answer())
        # A task that is cancelled must not cancel the future of others that wait for the same run.
        return await asyncio.shield(future)

    async def _answer(self) -> None:
        await asyncio.sleep(_POLL_SECONDS)
        asked, self._asked = self._asked, {}
        try:
            runs = await self._read_runs(list(asked))
        except Exception as error:  # noqa: BLE001 (the waiting tasks get it)
            for future in asked.values():
                future.set_exception(error)
                future.exception()  # marks it as retrieved: the waiting task may have ended
        else:
            for run, future in asked.items():
                future.set_result(runs.get(run))

    async def _read_runs(self, asked: list[UUID]) -> dict[UUID, FlowRun]:
        runs: dict[UUID, FlowRun] = {}
        for start in range(0, len(asked), _AT_ONCE):
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=asked[start : start + _AT_ONCE]))
            runs |= {run.id: run for run in await self._client.read_flow_runs(flow_run_filter=wanted)}
        return runs


async def wait_for_child(
    client: PrefectClient, reader: RunReader, run: FlowRun, pool: str, watch: PoolWatch
) -> FlowRun:
    """Return `run`, a run in the work pool `pool`, once it is over.

    Raises:
        RunUnsuccessful: it was deleted.
        TargetUnavailable: it was cancelled, because it waited and no agent will take it.
    """
    ends = RunEnds(client)

    async def look() -> tuple[FlowRun, bool]:
        now = await reader.read(run.id)
        if now is None:
            raise RunUnsuccessful(
                wanted=f"{run.name} ({run.id}) to end",
                found="it was deleted on the Prefect server",
                fix=f"`enginefarm retry {runtime.flow_run.id}` builds what is missing",
            )
        if now.state_type is StateType.SCHEDULED:
            await watch.require_agents(pool)
        return now, await ends.is_over(now)

    while True:
        try:
            now, over = await retry_while_server_is_down(look)
        except TargetUnavailable as error:
            await retry_while_server_is_down(partial(_cancel, client, run.id, str(error)))
            raise
        if over:
            return now


async def _cancel(client: PrefectClient, run: UUID, why: str) -> None:
    with suppress(ObjectNotFound):
        await client.set_flow_run_state(run, cancel_of(await client.read_flow_run(run), why))


async def retry_while_server_is_down(call: Callable[[], Awaitable[T]]) -> T:
    """Return what `call` returns, with retries while Prefect's server is down."""
    pauses = iter(_BACKOFF)
    while True:
        try:
            return await call()
        except NO_ANSWER as error:
            if not is_away(error):
                raise
            _LOG.warning("the Prefect server does not answer: %s", type(error).__name__)
        await asyncio.sleep(next(pauses))
