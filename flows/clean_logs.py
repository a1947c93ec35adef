"""Keeps passwords and signatures out of logs, and logs tracebacks of the farm's own errors as details.

Prefect sends the logs of flows to its server, including tracebacks.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from copy import copy
from typing import Any

from tasks.domain.errors import FarmError
from tasks.domain.printable import without_secrets

_FORMATTER = logging.Formatter()
_MADE_BEFORE = logging.getLogRecordFactory()
_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
_DETAIL_ONLY = "enginefarm_detail_only"
_ON_CONSOLE: ContextVar[bool] = ContextVar("tracebacks_on_console", default=False)


def keep_logs_clean() -> None:
    """Remove secrets from every log record of this process when it is created, before any handler sees it.

    Errors of the farm contain no secrets themselves, but their causes, which a traceback shows, may.
    """
    logging.setLogRecordFactory(_clean_record)


def keep_tracebacks_apart() -> None:
    """Log the traceback of an error of the farm at level DEBUG, next to Prefect's own message about it.

    The error itself says what was wanted, what was found and how to fix it. The traceback is for developers:
    it reaches Prefect's server at any log level of the process, and is shown on request only.
    """
    for name in _RUN_LOGGERS:
        logging.getLogger(name).addFilter(_take_traceback_out)


def show_tracebacks() -> None:
    """Show tracebacks of the farm's own errors on the console of this process, too."""
    _ON_CONSOLE.set(True)


def log_traceback(error: FarmError) -> None:
    """Log where `error` was raised, as a detail of the flow run of this context."""
    from prefect import get_run_logger  # noqa: PLC0415 (takes seconds, which commands without Prefect save)

    get_run_logger().error("%s", error.class_name, exc_info=error, extra={_DETAIL_ONLY: True})


def _take_traceback_out(record: logging.LogRecord) -> bool:
    """Log the traceback of an error of the farm separately; return whether to log `record`, too."""
    error = record.exc_info[1] if record.exc_info else None
    if record.levelno <= logging.DEBUG or not isinstance(error, FarmError):
        return True
    detail = copy(record)
    detail.levelno, detail.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    detail.msg, detail.args = f"Traceback of {error.class_name}", ()
    logger = logging.getLogger(record.name)
    if _ON_CONSOLE.get():
        logger.handle(detail)
    else:
        for to_server in logger.handlers:  # the root logger has the handlers of the console
            to_server.handle(detail)
    record.exc_info = record.exc_text = None
    return not getattr(record, _DETAIL_ONLY, False)


def _clean_record(*arguments: Any, **named: Any) -> logging.LogRecord:
    record = _MADE_BEFORE(*arguments, **named)
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # the handler will report it
        return record
    clean = without_secrets(text)
    if clean != text:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = without_secrets(_FORMATTER.formatException(record.exc_info))
    return record
