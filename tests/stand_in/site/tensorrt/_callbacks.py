"""What users of TensorRT derive from: loggers, allocators, profilers and monitors."""

from __future__ import annotations

import sys
from typing import Any

from ._enums import Severity


class ILogger:
    """Takes what TensorRT says; users write `log`."""

    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def log(self, severity: Any, msg: str) -> None:
        """Take a message."""
        raise NotImplementedError


class Logger(ILogger):
    """Prints what TensorRT says."""

    def __init__(self, min_severity: Any = Severity.WARNING) -> None:
        self.min_severity = min_severity

    def log(self, severity: Any, msg: str) -> None:
        """Print a message."""
        if severity <= self.min_severity:
            sys.stderr.write(f"[TRT] {msg}\n")


class IOutputAllocator:
    """Gives memory for outputs whose shape is known late; users write all of it."""


class IProfiler:
    """Takes the times of layers."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Take one."""
        raise NotImplementedError


class IStreamWriter:
    """Takes a plan piece by piece; from version 10 on."""

    def write(self, data: bytes) -> int:
        """Say how many bytes of `data` were written."""
        raise NotImplementedError


class IProgressMonitor:
    """Is told how far a build is; from version 10 on."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """A phase begins."""
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Say whether to go on after a step."""
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        """A phase ends."""
        raise NotImplementedError
