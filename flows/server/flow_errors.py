"""Makes flows of the farm fail with their error in the state."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from agents.server.run_errors import failed_with
from flows.clean_logs import log_traceback
from flows.server.run_tags import tag_error, untag_error
from tasks.domain.errors import FarmError

P = ParamSpec("P")
R = TypeVar("R")


def fails_with_its_error(work: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a flow that raises a `FarmError` end in a state that carries it; see `agents.server.run_errors`.

    The run is tagged with the class of the error until it is restarted. A caller in the same process still
    gets the error: Prefect raises the error in the state.
    """

    @wraps(work)
    async def run(*arguments: P.args, **named: P.kwargs) -> R:
        await untag_error()
        try:
            return await work(*arguments, **named)
        except FarmError as error:
            log_traceback(error)
            await tag_error(error)
            return cast("R", failed_with(error))  # a state that a flow returns becomes the state of its run

    # Prefect resolves annotations in the module of the function, which is this module.
    run.__signature__ = inspect.signature(work, eval_str=True)  # type: ignore[attr-defined]
    return run
