"""What NVIDIA's management library reports of a GPU: its processes, load, clocks and temperature."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
_MOST_PROCESSES = 256
_SM, _MEMORY = 1, 2  # nvmlClockType_t
_CORE = 0  # nvmlTemperatureSensors_t
_SETTLE_SECONDS = 1.5  # the driver samples a GPU's load over at most one second
_POLL_SECONDS = 0.1
# https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
_REASONS = {
    0x2: "ApplicationsClocksSetting",
    0x4: "SwPowerCap",
    0x8: "HwSlowdown",
    0x10: "SyncBoost",
    0x20: "SwThermalSlowdown",
    0x40: "HwThermalSlowdown",
    0x80: "HwPowerBrakeSlowdown",
    0x100: "DisplayClockSetting",
}


class _Process(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class _Memory(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint),
        ("total", ctypes.c_ulonglong),
        ("reserved", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class _Busy(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _SilentError(Exception):
    """The library is missing, too old, or refuses."""


class GpuWatch:
    """Queries one GPU. What the driver does not report is None; if it reports nothing, there are no states.

    Args:
        uuid: the GPU, as `nvidia-smi -L` writes it; None: no queries.
    """

    def __init__(self, uuid: str | None) -> None:
        self._library: Any = None
        self._device = ctypes.c_void_p()
        self.states: list[dict[str, Any]] = []
        if uuid is None:
            return
        try:
            self._library = ctypes.CDLL(_LIBRARY)
            self._call("nvmlInit_v2")
            self._call("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(self._device))
        except (OSError, _SilentError):
            self._library = None

    def note(self, moment: str) -> None:
        """Add the driver's current report to `states`."""
        if self._library is not None:
            self.states.append(
                {
                    "moment": moment,
                    "processes": _or_none(self._processes),
                    "used_mib": _or_none(self._used_mib),
                    "busy_percent": _or_none(self._busy_percent),
                    "sm_mhz": _or_none(lambda: self._number("nvmlDeviceGetClockInfo", _SM)),
                    "memory_mhz": _or_none(lambda: self._number("nvmlDeviceGetClockInfo", _MEMORY)),
                    "temperature_c": _or_none(lambda: self._number("nvmlDeviceGetTemperature", _CORE)),
                    "power_w": _or_none(lambda: self._number("nvmlDeviceGetPowerUsage") / 1000),
                    "throttled": _or_none(self._throttled),
                }
            )

    def note_idle(self, moment: str) -> None:
        """Add the driver's report when its window has only the work of others, and none of this process."""
        end = time.monotonic() + _SETTLE_SECONDS
        while _or_none(self._busy_percent) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        self.note(moment)

    def _call(self, function: str, *arguments: Any) -> None:
        try:
            status = getattr(self._library, function)(*arguments)
        except AttributeError as error:
            raise _SilentError(function) from error
        if status:
            raise _SilentError(f"{function}: NVML error {status}")

    def _number(self, function: str, *arguments: Any) -> int:
        value = ctypes.c_uint()
        self._call(function, self._device, *arguments, ctypes.byref(value))
        return value.value

    def _processes(self) -> list[int]:
        count, processes = ctypes.c_uint(_MOST_PROCESSES), (_Process * _MOST_PROCESSES)()
        self._call("nvmlDeviceGetComputeRunningProcesses_v3", self._device, ctypes.byref(count), processes)
        return sorted(process.pid for process in processes[: count.value])

    def _used_mib(self) -> float:
        memory = _Memory(version=ctypes.sizeof(_Memory) | 2 << 24)
        self._call("nvmlDeviceGetMemoryInfo_v2", self._device, ctypes.byref(memory))
        return float(memory.used / (1 << 20))

    def _busy_percent(self) -> int:
        busy = _Busy()
        self._call("nvmlDeviceGetUtilizationRates", self._device, ctypes.byref(busy))
        return int(busy.gpu)

    def _throttled(self) -> list[str]:
        mask = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetCurrentClocksThrottleReasons", self._device, ctypes.byref(mask))
        return [name for bit, name in _REASONS.items() if mask.value & bit]


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except _SilentError:
        return None
