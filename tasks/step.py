"""Turns a step of the farm into a Prefect task."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from tasks.domain.errors import ChildKilled, FarmError, StoreUnreachable
from tasks.store.patience import is_patient, retry_async_while_s3_is_down

P = ParamSpec("P")
R = TypeVar("R")

_CELL: ContextVar[str] = ContextVar("cell", default="")
_RETRIES = 2
_RETRY_SECONDS = 2


def _can_help(run: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether a retry can help: the error says so.

    A child that was killed twice most likely lacks memory here, and costs its host as much each time.
    """
    del run
    waited = isinstance(state.data, StoreUnreachable) and is_patient()
    spent = isinstance(state.data, ChildKilled) and task_run.run_count > 1
    return isinstance(state.data, FarmError) and state.data.retryable and not waited and not spent


@contextmanager
def steps_of(cell: str) -> Iterator[None]:
    """Add `cell` to the names of all task runs inside: "build l4 fp16" in logs and in Prefect's UI."""
    token = _CELL.set(cell)
    try:
        yield
    finally:
        _CELL.reset(token)


def step(work: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make `work` a Prefect task that is named after it and its cell, and that retries if a retry can help.

    On a farm it also waits for S3; see `tasks.store.patience`.

    Prefect never caches it: the store identifies engines by content, Prefect would by parameters.
    """

    @wraps(work)
    async def waiting(*arguments: P.args, **named: P.kwargs) -> R:
        return await retry_async_while_s3_is_down(lambda: work(*arguments, **named))

    def name() -> str:
        return f"{work.__name__} {_CELL.get()}".strip()

    return task(
        name=work.__name__,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=_RETRIES,
        retry_delay_seconds=_RETRY_SECONDS,
        retry_condition_fn=_can_help,
    )(waiting)
