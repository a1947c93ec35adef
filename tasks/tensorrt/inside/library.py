"""Loads TensorRT, and says which TensorRT it is."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import platform
import sys
from pathlib import Path
from typing import Any

from tasks.domain.errors import RunnerMissing, ToolchainBroken
from tasks.tensorrt.inside.cuda import cuda_version, driver_version

_PARTS = 4
_BUILDS = 1000  # build numbers start at 1 for each patch release
_LIBRARIES = ("libnvinfer.so", "libtensorrt_rtx.so")


def load(module: str) -> Any:
    """Import TensorRT and return its module.

    Raises:
        ToolchainBroken: the interpreter does not have it, its libraries do not load, or it would crash.
    """
    _require_one_cpp_library()
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise ToolchainBroken(
            wanted=f"the Python module {module} in {sys.executable}",
            found=f"{type(error).__name__}: {error}",
            fix=f"install {module} with its libraries into this interpreter's environment, or correct the "
            "toolchain's path",
        ) from error


def _require_one_cpp_library() -> None:
    # Some wheels of pycuda have the C++ library linked in; the symbols of this copy also serve libraries that
    # load later. TensorRT 8.6 then ended with SIGSEGV when it loaded a plan or created a builder. If the
    # shared C++ library is loaded first, all libraries use its symbols.
    if "pycuda._driver" in sys.modules and not _mapped("libstdc++.so"):
        raise ToolchainBroken(
            wanted="TensorRT and pycuda with one C++ library",
            found="pycuda was imported first, with its own C++ library: TensorRT would crash",
            fix="import tensorrt, or tasks.tensorrt.runner, before pycuda",
        )


def share_cpp_library() -> None:
    """Load the shared C++ library, if there is one, so that pycuda can be imported before TensorRT."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libstdc++.so.6")


def load_pycuda() -> Any:
    """Import pycuda and return the module of the driver.

    Raises:
        RunnerMissing: the interpreter does not have it, or the driver's library does not load.
    """
    try:
        import pycuda.driver as cuda  # noqa: PLC0415 (a toolchain that only builds has none)
    except ImportError as error:
        raise RunnerMissing(
            wanted=f"pycuda in {sys.executable}, to run the engine on its GPU",
            found=str(error),
            fix=f"install pycuda into that interpreter, on a host with NVIDIA's driver: `{sys.executable} -m "
            "pip install 'pycuda>=2025.1'`",
        ) from error
    return cuda


def full_version(trt: Any) -> str:
    """Return the version with its four parts, for example `8.6.0.12`.

    Up to 8.6 the Python module has only three of them. The fourth is part of the name of a symbol that every
    libnvinfer exports (`tensorrt_version_8_6_0_12`).

    Raises:
        ToolchainBroken: the module has three parts, and the library exports no such symbol.
    """
    version = str(trt.__version__)
    if len(version.split(".")) == _PARTS:
        return version
    stem = f"tensorrt_version_{version.replace('.', '_')}_"
    for path in _mapped(*_LIBRARIES):
        library = ctypes.CDLL(path)
        build = next((build for build in range(_BUILDS) if hasattr(library, f"{stem}{build}")), None)
        if build is not None:
            return f"{version}.{build}"
    raise ToolchainBroken(
        wanted=f"the build number of TensorRT {version}: a plan loads only in the same build",
        found=f"no symbol {stem}N in {', '.join(_mapped(*_LIBRARIES)) or 'any loaded library'}",
        fix="use a TensorRT from NVIDIA's own packages",
    )


def _mapped(*names: str) -> list[str]:
    """Return the paths of the libraries in this process whose path contains one of `names`."""
    lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
    return sorted({line.split(maxsplit=5)[5] for line in lines if any(name in line for name in names)})


def info(module: str) -> dict[str, Any]:
    """Return the fields of a record about this interpreter, JSON-ready."""
    return {
        "module": module,
        "python": platform.python_version(),
        "driver": driver_version(),
        "cuda": cuda_version(),
    }


def host() -> dict[str, str]:
    """Return operating system and processor architecture, as targets have them."""
    return {"os": platform.system().lower(), "architecture": platform.machine()}
