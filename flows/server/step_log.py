"""One line in a run's log for each step: what came of it."""

from __future__ import annotations

import logging

from prefect import get_run_logger
from prefect.exceptions import MissingContextError

from flows.server.step_lines import show_step

_LOG = logging.getLogger(__name__)


def log_step(text: str) -> None:
    """Log what came of a step of the flow run that this is part of, at level INFO."""
    show_step(text)
    try:
        logger = get_run_logger()
    except MissingContextError:  # steps that run outside a flow
        _LOG.info("%s", text)
    else:
        logger.info("%s", text)
