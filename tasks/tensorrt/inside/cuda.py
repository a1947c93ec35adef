"""NVIDIA's driver through ctypes: lists the GPUs without any package."""

from __future__ import annotations

import ctypes
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.domain.errors import GpuUnavailable

_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76  # CUdevice_attribute
_NAME_BYTES = 256
_TRIED_BYTES = 1 << 20
_LIBRARY = "libcuda.so.1"
_NOT_FOUND = f"{_LIBRARY}: cannot open shared object file: No such file or directory"
# Statuses of `cuInit` that mean there is nothing to use. The stub replaces a missing driver in images that
# are made for compiling. CUDA_ERROR_INSUFFICIENT_DRIVER (35) is not among them: it means that there is a
# driver, and perhaps a GPU, and that somebody must repair it.
_NO_GPU = {34: "CUDA_ERROR_STUB_LIBRARY", 100: "CUDA_ERROR_NO_DEVICE"}
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Gpu:
    """A GPU that this process may use.

    Attributes:
        index: its index among the visible GPUs.
        name: the model as the driver reports it; the name of a slice (MIG) differs from that of the whole
            GPU.
        uuid: as `nvidia-smi -L` writes it; from driver 470 on a slice has its own.
        compute: compute capability, for example `8.9`.
        memory_mib: its memory in MiB.
    """

    index: int
    name: str
    uuid: str
    compute: str
    memory_mib: int


class _NoGpuError(Exception):
    """This process certainly has no GPU; the text gives the evidence."""


class Driver:
    """The driver's library, initialised; use `open_driver`.

    Raises:
        _NoGpuError: there is no driver, or it finds no GPU.
        GpuUnavailable: there is a driver, but it does not work; all methods raise it, too.
    """

    def __init__(self) -> None:
        self._library = _open_library()
        status = self._library.cuInit(0)
        if status in _NO_GPU:
            raise _NoGpuError(f"CUDA error {status} ({_NO_GPU[status]}) from cuInit")
        self._check_status("cuInit", status)

    def call(self, function: str, *arguments: Any) -> None:
        """Call `function`; raise if it does not succeed."""
        self._check_status(function, self.function(function)(*arguments))

    def function(self, name: str) -> Any:
        """Return a function of the driver, which returns its status: 0 for success."""
        return getattr(self._library, name)

    def _check_status(self, function: str, status: int) -> None:
        if status:
            raise GpuUnavailable(
                wanted=f"{function} of NVIDIA's driver to succeed",
                found=f"CUDA error {status} ({self._name_of(status)})",
                fix="check whether nvidia-smi lists the GPU, whether CUDA_VISIBLE_DEVICES hides it, and what "
                "else runs on it",
            )

    def _name_of(self, status: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorName(status, ctypes.byref(text))
        return (text.value or b"unknown").decode()

    def integer(self, function: str, *arguments: Any) -> int:
        """Return the int that `function` writes through its first parameter."""
        value = ctypes.c_int()
        self.call(function, ctypes.byref(value), *arguments)
        return value.value

    def gpus(self) -> list[Gpu]:
        """Return the visible GPUs."""
        return [self._gpu(index) for index in range(self.integer("cuDeviceGetCount"))]

    def _gpu(self, index: int) -> Gpu:
        device = self.integer("cuDeviceGet", index)
        buffer, memory = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
        self.call("cuDeviceGetName", buffer, _NAME_BYTES, device)
        self.call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        major = self.integer("cuDeviceGetAttribute", _COMPUTE_MAJOR, device)
        minor = self.integer("cuDeviceGetAttribute", _COMPUTE_MINOR, device)
        name, memory_mib, uuid = buffer.value.decode(), memory.value >> 20, self._uuid(device)
        is_slice = uuid.startswith("MIG-")
        return Gpu(
            index=index,
            # The driver names a slice `… MIG 1g.10gb`. Without that it would look like the whole GPU.
            name=f"{name} MIG {memory_mib}mib" if is_slice and " MIG " not in name else name,
            uuid=f"MIG-{uuid[4:]}" if " MIG " in name else uuid,
            compute=f"{major}.{minor}",
            memory_mib=memory_mib,
        )

    def _uuid(self, device: int) -> str:
        """Return the UUID of a GPU. Only the newer function returns a slice's own."""
        gpu_octets = self._octets("cuDeviceGetUuid", device)
        octets = (
            self._octets("cuDeviceGetUuid_v2", device)
            if hasattr(self._library, "cuDeviceGetUuid_v2")
            else gpu_octets
        )
        return _uuid_text("GPU" if octets == gpu_octets else "MIG", octets)

    def _octets(self, function: str, device: int) -> bytes:
        octets = (ctypes.c_ubyte * 16)()
        self.call(function, ctypes.byref(octets), device)
        return bytes(octets)

    def make_current(self, index: int) -> None:
        """Let all CUDA work of this process run on the GPU with this index."""
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self.integer("cuDeviceGet", index))
        self.call("cuCtxSetCurrent", context)

    def try_memory(self, index: int) -> None:
        """Fill a little memory of the GPU with this index, which takes a context and runs a kernel."""
        self.make_current(index)
        memory = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(_TRIED_BYTES))
        self.call("cuMemsetD8_v2", memory, ctypes.c_ubyte(1), ctypes.c_size_t(_TRIED_BYTES))
        self.call("cuCtxSynchronize")
        self.call("cuMemFree_v2", memory)


def _open_library() -> Any:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        if str(error) == _NOT_FOUND:  # any other text is about an existing file, or about one that it needs
            raise _NoGpuError(str(error)) from error
        raise GpuUnavailable(
            wanted=f"{_LIBRARY} of NVIDIA's driver to load",
            found=str(error),
            fix="reinstall NVIDIA's driver, or remove the broken file from LD_LIBRARY_PATH",
        ) from error


def _uuid_text(kind: str, raw: bytes) -> str:
    digits = raw.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join((kind, *parts))


def visible_gpus() -> list[dict[str, Any]]:
    """Return the visible GPUs, JSON-ready.

    There are none if libcuda.so.1 is missing or a stub, or the driver finds no device. Everything else is an
    error: a host whose GPU does not answer must not look like a host without one.

    Raises:
        GpuUnavailable: there is a driver, but it does not work; the error names the CUDA error.
    """
    try:
        return [asdict(gpu) for gpu in Driver().gpus()]
    except _NoGpuError:
        return []


def open_driver() -> Driver:
    """Return the driver's library, initialised.

    Raises:
        GpuUnavailable: there is no driver, or it finds no GPU, or does not work.
    """
    try:
        return Driver()
    except _NoGpuError as error:
        raise GpuUnavailable(
            wanted="an NVIDIA GPU and its driver",
            found=str(error),
            fix="run this toolchain on a host with an NVIDIA GPU and its driver",
        ) from error


def gpu_at(index: int) -> Gpu:
    """Return the visible GPU with `index`.

    Raises:
        GpuUnavailable: there is no driver, no such GPU, or the GPU does not answer.
    """
    gpus = open_driver().gpus()
    if not 0 <= index < len(gpus):
        raise GpuUnavailable(
            wanted=f"the visible GPU with index {index}",
            found=f"{len(gpus)} visible: {', '.join(gpu.name for gpu in gpus) or 'none'}",
            fix="name an index that `enginefarm doctor` lists, or widen CUDA_VISIBLE_DEVICES",
        )
    return gpus[index]


def use_gpu(index: int) -> Gpu:
    """Make TensorRT work on the GPU with `index`, and return that GPU.

    Raises:
        GpuUnavailable: there is no driver, no such GPU, or the GPU does not answer.
    """
    gpu = gpu_at(index)
    open_driver().make_current(index)
    return gpu


def driver_version(path: Path = _DRIVER) -> str | None:
    """Return the version of NVIDIA's kernel driver, for example `580.95.05`; None without one."""
    if not path.exists():
        return None
    match = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", path.read_text("utf-8").partition("\n")[0])
    return match[1] if match else None


def cuda_version() -> str | None:
    """Return the CUDA version of NVIDIA's driver, for example `13.0`; None without a driver."""
    version = ctypes.c_int()
    try:
        status = _open_library().cuDriverGetVersion(ctypes.byref(version))
    except (_NoGpuError, GpuUnavailable):
        return None
    return None if status or not version.value else f"{version.value // 1000}.{version.value % 1000 // 10}"
