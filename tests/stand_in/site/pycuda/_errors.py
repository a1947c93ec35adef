"""The errors of the stand-in's pycuda."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.stand_in.hardware import Fault


class Error(Exception):
    """What pycuda raises."""


class MemoryError(Error):  # noqa: A001 (pycuda's name)
    """Not enough memory."""


class LogicError(Error):
    """A call that cannot be."""


class LaunchError(Error):
    """Work on the GPU failed."""


class RuntimeError(Error):  # noqa: A001 (pycuda's name)
    """All other errors."""


def checked(function: str, call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Fault as fault:
        kinds = {2: MemoryError, 700: LaunchError}
        name = fault.name.removeprefix("CUDA_ERROR_").lower().replace("_", " ")
        raise kinds.get(fault.number, LogicError)(f"{function} failed: {name}") from fault
