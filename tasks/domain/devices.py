"""Device names as people type them: which device is meant, and whether an engine can be built for it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

from tasks.domain.gpu_table import RTX_PORTABLE, gpu_table, rtx_capabilities, rtx_slug
from tasks.domain.request import ALL_TARGETS, Precision
from tasks.domain.target import ComputeCapability

_PARTS = re.compile(r"[a-z]+|[0-9]+")
_WORDS = re.compile(r"[a-z0-9]+")
_MAKER = {"nvidia", "geforce", "tesla"}
_CLOSE = 0.7
_MOST = 4


def table_devices() -> dict[str, tuple[ComputeCapability, ...]]:
    """Return every device of the table, by the name that requests use, with its compute capabilities."""
    table = gpu_table()
    gpus = {gpu.slug: (gpu.compute,) for gpu in table.gpus.values()}
    rtx = {rtx_slug([capability]): (capability,) for capability in table.rtx}
    return {**gpus, **rtx, RTX_PORTABLE: table.portable}


def capabilities_of(device: str) -> tuple[ComputeCapability, ...]:
    """Return the compute capabilities of `device`; empty if the table has no such device."""
    return rtx_capabilities(device) or table_devices().get(device, ())


def without_gpu(device: str) -> str | None:
    """Return the name under which TensorRT-RTX builds for `device` without a GPU; None if it cannot."""
    capabilities = table_devices().get(device, ())
    name = rtx_slug(capabilities)
    return name if name in table_devices() and name != device else None


def likely_devices(typed: str, offered: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the devices that `typed` means: itself if it is a device; empty if no name contains it.

    Args:
        typed: for example `h100`, `RTX 4090`, `NVIDIA L4`, `sm89` or `8.9`.
        offered: further devices that agents or this host offer.
    """
    drivers = {gpu.slug: gpu.name for gpu in gpu_table().gpus.values()}
    names = {device: {device, drivers.get(device, device)} for device in (*table_devices(), *offered)}
    wanted = _parts(typed)
    exact = [device for device, called in names.items() if wanted in map(_parts, called)]
    if exact:
        return tuple(exact)
    capability = typed.lower().removeprefix("sm").replace(".", "")
    single = {device: each[0] for device, each in table_devices().items() if len(each) == 1}
    same = [device for device, each in single.items() if each.sm == f"sm{capability}"]
    if same:
        return tuple(same)
    words = _words(typed)
    return tuple(
        device for device, called in names.items() if any(_holds(_words(name), words) for name in called)
    )


def similar_devices(typed: str, offered: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the devices whose names look like `typed`, the most similar first."""
    names = list(dict.fromkeys((*table_devices(), *offered)))
    return tuple(difflib.get_close_matches(typed.lower(), names, _MOST, _CLOSE))


def _parts(name: str) -> tuple[str, ...]:
    """Return the words and numbers of a name; they are the same for `rtx4090`, `RTX 4090` and `rtx-4090`."""
    return tuple(part for part in _PARTS.findall(name.lower()) if part not in _MAKER)


def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name. `l40s` is one word: it does not contain `l40`, which is another GPU."""
    return tuple(word for word in _WORDS.findall(name.lower()) if word not in _MAKER)


def _holds(words: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Return whether `words` contain `wanted` as consecutive words."""
    rows = (words[first : first + len(wanted)] for first in range(len(words) - len(wanted) + 1))
    return bool(wanted) and wanted in rows


def unknown_devices(devices: Iterable[str], offered: Collection[str] = ()) -> dict[str, str]:
    """Return those of `devices` that no engine can be built for, with what to write instead.

    A device that is not in the table may still exist: agents name a GPU without a row after its driver's
    name. It is only refused if it is part of another name, or has the form of a name for TensorRT-RTX.
    """
    problems = {}
    for device in devices:
        if device == ALL_TARGETS or device in offered or capabilities_of(device):
            continue
        likely = [each for each in likely_devices(device, offered) if each != device]
        if likely:
            problems[device] = f"for {device} write {alternatives(likely)}"
        elif device.startswith("rtx-sm"):
            rtx = ", ".join(rtx_slug([capability]) for capability in gpu_table().rtx)
            problems[device] = (
                f"TensorRT-RTX builds for {rtx} and sets of these only, as in rtx-sm86-sm89: for {device} "
                "use TensorRT itself on a host with that GPU"
            )
    return problems


def alternatives(likely: Iterable[str]) -> str:
    """Return `likely` as a choice in words. Devices that need no GPU come last."""
    devices = list(likely)
    others = dict.fromkeys(
        name for name in map(without_gpu, devices) if name is not None and name not in devices
    )
    choice = " or ".join(devices)
    return f"{choice}, or {' or '.join(others)} to build without that GPU" if others else choice


def possible_precisions(capabilities: Iterable[ComputeCapability]) -> frozenset[Precision]:
    """Return the precisions that some TensorRT version has on all of `capabilities`."""
    least, given = gpu_table().compute, tuple(capabilities)
    return frozenset(
        precision
        for precision in Precision
        if precision not in least or all(capability >= least[precision] for capability in given)
    )


def impossible_precisions(devices: Iterable[str], precisions: Iterable[Precision]) -> dict[str, str]:
    """Return the cells that no TensorRT version can build, because of the GPU; with the reason."""
    least: Mapping[Precision, ComputeCapability] = gpu_table().compute
    wanted = tuple(precisions)
    return {
        f"{device} {precision}": f"it needs compute capability {least[precision]}, and this is {capability}"
        for device in devices
        for precision in wanted
        for capability in capabilities_of(device)
        if precision in least and capability < least[precision]
    }
