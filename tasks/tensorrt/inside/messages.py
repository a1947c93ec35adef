"""TensorRT's messages while it works: kept for the record and for errors."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

_LONGEST = 300
_MOST = 20
_NO_DRIVER = "catchCudaError"  # repeated often if TensorRT-RTX works without a driver


@dataclass
class Messages:
    """Warnings and errors of one run of TensorRT, in order."""

    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def shortened(self) -> list[str]:
        """Return the warnings for a record: the first 20 distinct ones, of at most 300 characters each."""
        once = list(dict.fromkeys(one_line(text) for text in self.warnings))
        more = len(once) - _MOST
        return [*once[:_MOST], f"and {more} more"] if more > 0 else once

    def clear(self) -> None:
        """Forget all messages; long-lived ones are repeated each time."""
        self.warnings.clear()
        self.errors.clear()

    def said(self) -> str:
        """Return the last errors as one text."""
        telling = [one_line(text) for text in self.errors if one_line(text)]
        return " | ".join(telling[-3:]) or "no message"


def one_line(text: str) -> str:
    """Return `text` on one line, shortened, without complaints about a missing driver."""
    lines = (line.strip() for line in text.splitlines() if _NO_DRIVER not in line)
    return " ".join(line for line in lines if line)[:_LONGEST]


def collecting_logger(trt: Any, messages: Messages) -> Any:
    """Return a logger for TensorRT that writes to `messages`, and to the child's output for a crash."""

    class Collector(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity == trt.ILogger.WARNING:
                messages.warnings.append(msg)
            elif severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                messages.errors.append(msg)
            else:
                return
            print(msg, file=sys.stderr, flush=True)  # noqa: T201 (the output is read after a crash)

    return Collector()
