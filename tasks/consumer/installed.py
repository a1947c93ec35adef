"""Which TensorRT this host has: the metadata of Python packages, else the library itself."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from tasks.domain.target import Flavour, TensorRTVersion

_PACKAGE = re.compile(r"(?P<flavour>tensorrt|tensorrt-rtx|tensorrt-lean)(?:-cu(?P<cuda>\d+))?(?P<part>-\w+)?")
_PARTS = {None, "-libs", "-bindings"}
_LEAN = "tensorrt-lean"
_FLAVOURS = {"tensorrt": Flavour.TENSORRT, "tensorrt-rtx": Flavour.RTX}
_LIBRARIES = {
    Flavour.TENSORRT: ("nvinfer", ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8")),
    Flavour.RTX: ("tensorrt_rtx", ("libtensorrt_rtx.so.1",)),
}
_BUILDS = 1000  # build numbers start at 1 for each patch release
_FIRST_WITH_TWO_DIGITS = 100_000  # from version 10 on, minor and patch have two digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A TensorRT on this host.

    Attributes:
        flavour: which product line.
        version: its full version.
        cuda: the major version of the CUDA that it was built for; None if that is not known.
        source: where that comes from, for people.
    """

    flavour: Flavour
    version: TensorRTVersion
    cuda: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed Python package of NVIDIA's."""

    name: str
    flavour: str
    version: TensorRTVersion
    cuda: str | None


def packages() -> tuple[Package, ...]:
    """Return the packages of TensorRT, RTX and the lean runtime in this Python, with full versions only."""
    return tuple(dict.fromkeys(_packages()))


def _packages() -> Iterator[Package]:
    for distribution in distributions():
        name = str(distribution.metadata["Name"] or "").lower().replace("_", "-")
        match = _PACKAGE.fullmatch(name)
        version = re.match(r"\d+\.\d+\.\d+\.\d+", distribution.version)
        if match and version and match["part"] in _PARTS:
            yield Package(
                name=name,
                flavour=match["flavour"],
                version=TensorRTVersion.parse(version[0]),
                cuda=match["cuda"],
            )


def lean_runtimes() -> frozenset[TensorRTVersion]:
    """Return the versions of the lean runtimes in this Python."""
    return frozenset(package.version for package in packages() if package.flavour == _LEAN)


def installed(flavour: Flavour | None = None) -> tuple[Installed, ...]:
    """Return what this host has, only of `flavour` if given. A library is loaded if no package says it."""
    flavours = tuple(Flavour) if flavour is None else (flavour,)
    return tuple(each for kind in flavours if (each := _of_packages(kind) or _of_library(kind)) is not None)


def _of_packages(flavour: Flavour) -> Installed | None:
    """Return what the packages say; None if they say nothing, or contradict each other."""
    named = [package for package in packages() if _FLAVOURS.get(package.flavour) is flavour]
    versions = {package.version for package in named}
    if len(versions) != 1:
        return None
    cuda = {package.cuda for package in named if package.cuda}
    return Installed(
        flavour=flavour,
        version=versions.pop(),
        cuda=cuda.pop() if len(cuda) == 1 else None,
        source=f"the Python package {named[0].name}",
    )


def _of_library(flavour: Flavour) -> Installed | None:
    stem, names = _LIBRARIES[flavour]
    for name in dict.fromkeys((*_mapped(f"lib{stem}.so"), ctypes.util.find_library(stem), *names)):
        with contextlib.suppress(OSError, AttributeError):
            version = library_version(ctypes.CDLL(name)) if name else None
            if version is not None:
                return Installed(flavour=flavour, version=version, cuda=None, source=f"the library {name}")
    return None


def library_version(library: ctypes.CDLL) -> TensorRTVersion | None:
    """Return the full version of a loaded library; None if it does not tell the build.

    Up to 8.6 the fourth part is only in the name of a symbol: `tensorrt_version_8_6_0_12`.
    """
    number = int(library.getInferLibVersion())
    if number >= _FIRST_WITH_TWO_DIGITS:
        three = number // 10_000, number // 100 % 100, number % 100
    else:
        three = number // 1000, number // 100 % 10, number % 100
    stem = "tensorrt_version_{}_{}_{}_".format(*three)
    if hasattr(library, "getInferLibBuildVersion"):
        builds: tuple[int, ...] = (int(library.getInferLibBuildVersion()),)
    else:
        builds = tuple(build for build in range(_BUILDS) if hasattr(library, f"{stem}{build}"))
    if len(builds) != 1:
        return None
    major, minor, patch = three
    return TensorRTVersion(major=major, minor=minor, patch=patch, build=builds[0])


def _mapped(name: str) -> list[str]:
    """Return the paths of libraries that this process has loaded."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
        return sorted({line.split(maxsplit=5)[5] for line in lines if f"/{name}" in line})
    return []
