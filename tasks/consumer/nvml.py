"""NVIDIA's management library: which GPUs this process may use, and the driver.

It needs no CUDA context and does not initialise CUDA, so the program can fork afterwards.
https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
_TEXT_BYTES = 96
_SLICE = "MIG-"


class NvmlError(Exception):
    """The library is missing, or refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, or a slice of a GPU.

    Attributes:
        name: the model as the driver reports it.
        compute: compute capability, `8.9`.
    """

    name: str
    compute: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What the driver reports.

    Attributes:
        driver: its version; None if it does not say.
        cuda: the CUDA version that it takes; None if it does not say.
        visible: the GPUs that CUDA_VISIBLE_DEVICES leaves visible. If they differ, their order is CUDA's only
            with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """

    driver: str | None
    cuda: str | None
    visible: tuple[Device, ...]


def devices() -> Devices:
    """Ask the library.

    Raises:
        NvmlError: it is missing, or refuses.
    """
    with _opened() as nvml:
        cuda = nvml.integer("nvmlSystemGetCudaDriverVersion_v2")
        return Devices(
            driver=nvml.text("nvmlSystemGetDriverVersion"),
            cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
            visible=tuple(nvml.device(handle) for handle in nvml.visible()),
        )


class _Nvml:
    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, function: str, *arguments: Any) -> None:
        try:
            status = getattr(self._library, function)(*arguments)
        except AttributeError as error:
            raise NvmlError(f"{_LIBRARY} has no {function}") from error
        if status:
            raise NvmlError(f"{function}: NVML error {status}")

    def text(self, function: str, *arguments: Any) -> str:
        buffer = ctypes.create_string_buffer(_TEXT_BYTES)
        self.call(function, *arguments, buffer, ctypes.c_uint(_TEXT_BYTES))
        return buffer.value.decode()

    def integer(self, function: str, *arguments: Any) -> int:
        value = ctypes.c_int()
        self.call(function, *arguments, ctypes.byref(value))
        return value.value

    def handle(self, function: str, *arguments: Any) -> ctypes.c_void_p:
        device = ctypes.c_void_p()
        self.call(function, *arguments, ctypes.byref(device))
        return device

    def visible(self) -> list[ctypes.c_void_p]:
        """Return the devices that CUDA may use, as CUDA reads the variable: up to the first wrong entry."""
        count = self.integer("nvmlDeviceGetCount_v2")
        handles = [self.handle("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(n)) for n in range(count)]
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        if named is None:
            return handles
        visible = []
        for name in named.split(","):
            handle = self._named(name.strip(), handles)
            if handle is None:
                break
            visible.append(handle)
        return visible

    def _named(self, name: str, handles: list[ctypes.c_void_p]) -> ctypes.c_void_p | None:
        if name.isdecimal():
            return handles[int(name)] if int(name) < len(handles) else None
        if name.startswith(_SLICE):
            return self.handle("nvmlDeviceGetHandleByUUID", name.encode())
        uuids = [self.text("nvmlDeviceGetUUID", handle) for handle in handles]
        matching = [handle for handle, uuid in zip(handles, uuids, strict=True) if uuid.startswith(name)]
        return matching[0] if name and len(matching) == 1 else None

    def device(self, handle: ctypes.c_void_p) -> Device:
        name = self.text("nvmlDeviceGetName", handle)
        if f" {_SLICE[:-1]} " in name:  # the compute capability is that of the whole GPU
            handle = self.handle("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor))
        return Device(name=name, compute=f"{major.value}.{minor.value}")


@contextmanager
def _opened() -> Iterator[_Nvml]:
    try:
        nvml = _Nvml(ctypes.CDLL(_LIBRARY))
    except OSError as error:
        raise NvmlError(str(error)) from error
    nvml.call("nvmlInit_v2")
    try:
        yield nvml
    finally:
        nvml.call("nvmlShutdown")
