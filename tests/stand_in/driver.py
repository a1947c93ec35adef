"""Stands in for NVIDIA's driver library, libcuda.so.1, as ctypes would load it.

It has the functions that the farm calls. They take ctypes' own arguments and return the driver's numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.stand_in import management
from tests.stand_in.hardware import CONFIG, Fault, boards, contexts, memory, streams

LIBRARY = "libcuda.so.1"
NVINFER = "libnvinfer.so"
_MAJOR, _MINOR = 75, 76
_NAMES = {
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    999: "CUDA_ERROR_UNKNOWN",
}


def answering(real: Callable[..., Any]) -> Callable[..., Any]:
    """Return what to put in the place of `ctypes.CDLL`."""

    def load(name: Any, *arguments: Any, **named: Any) -> Any:
        if name == LIBRARY:
            if CONFIG["driver"] == "absent":
                raise OSError(f"{LIBRARY}: cannot open shared object file: No such file or directory")
            return Driver()
        if name == management.LIBRARY:
            return management.load()
        if NVINFER in str(name):  # the one symbol that tells the fourth part of the version
            return SimpleNamespace(**{f"tensorrt_version_{CONFIG['full_version'].replace('.', '_')}": 0})
        return real(name, *arguments, **named)

    return load


def _number(value: Any) -> int:
    return int(value.value or 0) if hasattr(value, "value") else int(value)


def _uuid(text: str) -> bytes:
    return bytes.fromhex(text.partition("-")[2].replace("-", ""))


class Driver:
    """The library."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        function = globals().get(f"_{name}")
        if function is None or not name.startswith("cu"):
            raise AttributeError(f"{LIBRARY}: undefined symbol: {name}")

        def call(*arguments: Any) -> int:
            try:
                return int(function(*arguments) or 0)
            except Fault as fault:
                return fault.number

        return call


def _cuInit(flags: Any) -> int:  # noqa: N802 (the driver's names)
    del flags
    if isinstance(CONFIG["driver"], int) and CONFIG["driver"]:
        return int(CONFIG["driver"])
    return 0 if boards() else 100


def _cuDriverGetVersion(version: Any) -> None:  # noqa: N802
    version._obj.value = 13000


def _cuGetErrorName(status: int, text: Any) -> None:  # noqa: N802
    text._obj.value = _NAMES.get(status, f"CUDA_ERROR_{status}").encode()


def _cuDeviceGetCount(count: Any) -> None:  # noqa: N802
    count._obj.value = len(boards())


def _cuDeviceGet(device: Any, index: Any) -> None:  # noqa: N802
    if not 0 <= _number(index) < len(boards()):
        raise Fault(101, "CUDA_ERROR_INVALID_DEVICE")
    device._obj.value = _number(index)


def _cuDeviceGetName(name: Any, size: int, device: Any) -> None:  # noqa: N802
    name.value = boards()[_number(device)].name.encode()[: size - 1]


def _cuDeviceGetUuid(uuid: Any, device: Any) -> None:  # noqa: N802
    """Write the UUID of the whole GPU, for a slice of it, too."""
    board = boards()[_number(device)]
    uuid._obj[:] = _uuid(board.parent or board.uuid)


def _cuDeviceGetUuid_v2(uuid: Any, device: Any) -> None:  # noqa: N802
    uuid._obj[:] = _uuid(boards()[_number(device)].uuid)


def _cuDeviceTotalMem_v2(size: Any, device: Any) -> None:  # noqa: N802
    size._obj.value = boards()[_number(device)].memory


def _cuMemGetInfo_v2(free: Any, total: Any) -> int:  # noqa: N802
    if not contexts():
        return 201
    free._obj.value, total._obj.value = memory.free_on(contexts()[-1]), boards()[contexts()[-1]].memory
    return 0


def _cuDeviceGetAttribute(value: Any, attribute: Any, device: Any) -> int:  # noqa: N802
    major, _, minor = boards()[_number(device)].compute.partition(".")
    number = {_MAJOR: major, _MINOR: minor}.get(_number(attribute))
    if number is None:
        return 1
    value._obj.value = int(number)
    return 0


def _cuDevicePrimaryCtxRetain(context: Any, device: Any) -> None:  # noqa: N802
    context._obj.value = _number(device) + 1


def _cuCtxSetCurrent(context: Any) -> None:  # noqa: N802
    contexts()[-1:] = [_number(context) - 1]


def _cuMemAlloc_v2(place: Any, size: Any) -> int:  # noqa: N802
    place._obj.value = 1 << 20
    return 0 if contexts() and _number(size) else 201


def _cuMemsetD8_v2(place: Any, value: Any, size: Any) -> int:  # noqa: N802
    return 0 if _number(place) and _number(value) and _number(size) else 1


def _cuCtxSynchronize() -> None:  # noqa: N802
    if CONFIG["driver"] == "no context":
        raise Fault(46, "CUDA_ERROR_DEVICES_UNAVAILABLE")


def _cuMemFree_v2(place: Any) -> None:  # noqa: N802
    del place


def _cuStreamBeginCapture_v2(stream: Any, mode: Any) -> None:  # noqa: N802
    del mode
    streams.record(_number(stream))


def _cuStreamEndCapture(stream: Any, graph: Any) -> None:  # noqa: N802
    graph._obj.value = streams.end_recording(_number(stream))


def _cuGraphInstantiateWithFlags(executable: Any, graph: Any, flags: Any) -> None:  # noqa: N802
    del flags
    executable._obj.value = streams.copy_graph(_number(graph))


def _cuGraphLaunch(executable: Any, stream: Any) -> None:  # noqa: N802
    streams.launch(_number(executable), _number(stream))


def _cuGraphDestroy(graph: Any) -> None:  # noqa: N802
    streams.drop_graph(_number(graph))


def _cuGraphExecDestroy(executable: Any) -> None:  # noqa: N802
    streams.drop_graph(_number(executable))


def install() -> None:
    """Let ctypes answer with this library from now on."""
    ctypes.CDLL = answering(ctypes.CDLL)  # type: ignore[misc, assignment]
