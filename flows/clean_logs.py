"""No log holds a password or a signature: Prefect sends what flows log, tracebacks too, to its server."""

from __future__ import annotations

import logging
from typing import Any

from tasks.domain.printable import without_secrets

_FORMATTER = logging.Formatter()
_MADE_BEFORE = logging.getLogRecordFactory()


def keep_logs_clean() -> None:
    """Take secrets out of every log record of this process when it is made, whoever handles it then.

    Errors of the farm say nothing secret themselves; those that they came from, which a traceback shows, may.
    """
    logging.setLogRecordFactory(_clean_record)


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
