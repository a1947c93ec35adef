"""Stands in for NVIDIA's management library, libnvidia-ml.so.1, as ctypes would load it.

It tells of this process once pycuda is initialised, and of whatever the test says beside that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from tests.stand_in.hardware import CONFIG, boards

LIBRARY = "libnvidia-ml.so.1"
_NOT_FOUND, _INVALID = 6, 2  # nvmlReturn_t
_SM = 1


def load() -> Management:
    """Return the library.

    Raises:
        OSError: this machine has none.
    """
    if CONFIG["management"] == "absent":
        raise OSError(f"{LIBRARY}: cannot open shared object file: No such file or directory")
    return Management()


class Management:
    """The library."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        function = globals().get(f"_{name}")
        if function is None:
            raise AttributeError(f"{LIBRARY}: undefined symbol: {name}")
        return lambda *arguments: int(function(*arguments) or 0)


def _nvmlInit_v2() -> None:  # noqa: N802 (the library's names)
    pass


def _nvmlDeviceGetHandleByUUID(uuid: bytes, device: Any) -> int:  # noqa: N802
    known = [board.uuid for board in boards()]
    if uuid.decode() not in known:
        return _NOT_FOUND
    device._obj.value = known.index(uuid.decode()) + 1
    return 0


def _nvmlDeviceGetComputeRunningProcesses_v3(device: Any, count: Any, infos: Any) -> None:  # noqa: N802
    del device
    driver = sys.modules.get("pycuda.driver")
    own = [os.getpid()] if CONFIG["management"]["shows_own"] and driver and driver._initialised else []
    processes = [*CONFIG["management"]["others"], *own]
    for place, pid in enumerate(processes):
        infos[place].pid = pid
    count._obj.value = len(processes)


def _nvmlDeviceGetMemoryInfo_v2(device: Any, memory: Any) -> int:  # noqa: N802
    del device
    if memory._obj.version != 40 | 2 << 24:
        return _INVALID
    memory._obj.used = int(CONFIG["management"]["used_mib"] * (1 << 20))
    return 0


def _nvmlDeviceGetUtilizationRates(device: Any, busy: Any) -> None:  # noqa: N802
    del device
    busy._obj.gpu = CONFIG["management"]["busy"]


def _nvmlDeviceGetClockInfo(device: Any, kind: int, clock: Any) -> None:  # noqa: N802
    del device
    clock._obj.value = 1980 if kind == _SM else 2619


def _nvmlDeviceGetTemperature(device: Any, sensor: int, degrees: Any) -> None:  # noqa: N802
    del device, sensor
    degrees._obj.value = 41


def _nvmlDeviceGetPowerUsage(device: Any, milliwatts: Any) -> None:  # noqa: N802
    del device
    milliwatts._obj.value = 123_000


def _nvmlDeviceGetCurrentClocksThrottleReasons(device: Any, mask: Any) -> None:  # noqa: N802
    del device
    mask._obj.value = CONFIG["management"]["held_back"]
