"""What logs hold: no password or signature, and tracebacks of the farm's own errors as details.

Prefect sends what flows log, tracebacks too, to its server.
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
    """Take secrets out of every log record of this process when it is made, whoever handles it then.

    Errors of the farm say nothing secret themselves; those that they came from, which a traceback shows, may.
    """
    logging.setLogRecordFactory(_clean_record)


def keep_tracebacks_apart() -> None:
    """Log the traceback of an error of ours at level DEBUG, beside what Prefect says of the error.

    The error says itself what was wanted, found and to do. The traceback is for developers: it reaches
    Prefect's server whatever log level the process has, and is shown on request only.
    """
    for name in _RUN_LOGGERS:
        logging.getLogger(name).addFilter(_take_traceback_out)


def show_tracebacks() -> None:
    """Let the console of this process show tracebacks of the farm's own errors, too."""
    _ON_CONSOLE.set(True)


def log_traceback(error: FarmError) -> None:
    """Log where `error` was raised, as a detail of the flow run of this context."""
    from prefect import get_run_logger  # noqa: PLC0415 (takes seconds; commands without Prefect go without)

    get_run_logger().error("%s", error.class_name, exc_info=error, extra={_DETAIL_ONLY: True})


def _take_traceback_out(record: logging.LogRecord) -> bool:
    """Log the traceback in `record`, of an error of ours, by itself; say whether `record` is logged, too."""
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
        for to_server in logger.handlers:  # those of the console are the root logger's
            to_server.handle(detail)
    record.exc_info = record.exc_text = None
    return not getattr(record, _DETAIL_ONLY, False)


def _clean_record(*arguments: Any, **named: Any) -> logging.LogRecord:
    record = _MADE_BEFORE(*arguments, **named)
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # its handler will say so
        return record
    clean = without_secrets(text)
    if clean != text:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = without_secrets(_FORMATTER.formatException(record.exc_info))
    return record
