"""Loads libraries with TensorRT plugins, only with the digests that the request names."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tasks.domain.errors import PluginRefused

# The symbol by which TensorRT asks a library for its plugins. A library without it registers its plugins
# while it loads (REGISTER_TENSORRT_PLUGIN) or, like NVIDIA's own libnvinfer_plugin, when a function is
# called.
_ASKED = ("getCreators", "getPluginCreators")
_TOLD = "initLibNvInferPlugins"
# A process may open several engines with the same plugins, which are registered only once.
_loaded: set[tuple[str, str]] = set()


def plugin_path(library: str, folder: Path | None) -> Path:
    """Return the file of `library`: only files that an operator put into `folder` are ever loaded.

    Raises:
        PluginRefused: this host has no such folder, or the library is not in it.
    """
    path = None if folder is None or Path(library).name != library else folder / library
    if path is None or not path.is_file():
        raise PluginRefused(
            wanted=f"the library {library} that the request names",
            found="that this host loads no plugins" if folder is None else f"no such file in {folder}",
            fix="put it into the folder ENGINEFARM_PLUGINS on the building host",
        )
    return path.absolute()


def load_plugins(trt: Any, libraries: list[dict[str, str]]) -> None:
    """Load `libraries` (`path` and `sha256` each) into TensorRT's registry, in order.

    Raises:
        PluginRefused: a file is missing, is not the requested one, or does not load.
    """
    registry = trt.get_plugin_registry()
    for library in libraries:
        key = trt.__name__, library["sha256"]
        if key not in _loaded:
            _load(registry, Path(library["path"]), library["sha256"])
            _loaded.add(key)


def _load(registry: Any, path: Path, sha256: str) -> None:
    # A private copy: the loader reads the same bytes that are hashed, even if somebody writes to the
    # original.
    data = _checked(path, sha256)
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / path.name
    copy.write_bytes(data)
    try:
        loaded = ctypes.CDLL(str(copy), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise _refused(path, str(error).replace(str(copy), path.name)) from error
    if any(hasattr(loaded, name) for name in _ASKED):
        taken = registry.load_library(str(copy)) is not None
    else:
        taken = _register(loaded)
    if not taken:
        raise _refused(path, "that TensorRT refuses its plugins")


def _register(loaded: ctypes.CDLL) -> bool:
    """Call the library's registration function if it has one; return whether it succeeded."""
    if not hasattr(loaded, _TOLD):
        return True
    register = loaded.initLibNvInferPlugins
    register.argtypes, register.restype = (ctypes.c_void_p, ctypes.c_char_p), ctypes.c_bool
    return bool(register(None, b""))  # without a logger, in the namespace that the parser searches


def _checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as missing:
        raise _refused(path, str(missing.strerror)) from missing
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise PluginRefused(
            wanted=f"the library {path.name} with SHA-256 {sha256}",
            found=f"SHA-256 {digest}; it was not loaded",
            fix="put the requested file on this host, or correct `plugins` in build.yaml",
        )
    return data


def _refused(path: Path, problem: str) -> PluginRefused:
    return PluginRefused(
        wanted=f"a library with TensorRT plugins in {path.name}",
        found=problem,
        fix="build it for this host's TensorRT and CUDA, and put it into ENGINEFARM_PLUGINS",
    )
