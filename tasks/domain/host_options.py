"""A host out of what people type. Runs on consumers: Python 3.10, the standard library alone."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TypeVar

from tasks.domain.errors import RequestInvalid
from tasks.domain.gpu_models import GPU_MODELS, Gpu, gpu_called, gpu_slug
from tasks.domain.host import Host, Wanted
from tasks.domain.request import Precision
from tasks.domain.target import ComputeCapability, Flavour, TensorRTVersion
from tasks.domain.triton_releases import triton_release

T = TypeVar("T")

DEFAULT_CHANNEL = "production"
"""The channel of `MODEL` without `@CHANNEL`."""

_RTX = 1  # the only major version of TensorRT-RTX; TensorRT itself is at 8 and later


def named_gpu(text: str, compute: str | None = None) -> Gpu:
    """Return the GPU that `text` names, by its slug or as the driver reports it.

    Args:
        text: what was typed.
        compute: its compute capability, for a GPU that the table does not have.

    Raises:
        RequestInvalid: the table has no such GPU, and no compute capability is given.
    """
    row = gpu_called(text)
    if compute is not None:
        capability = _parsed(ComputeCapability.parse, compute, "a compute capability such as 8.9")
        return Gpu(name=text if row is None else row.name, slug=gpu_slug(text), compute=capability)
    if row is not None:
        return row
    slugs = [gpu.slug for gpu in GPU_MODELS]
    close = difflib.get_close_matches(text.lower(), slugs, n=3)
    raise RequestInvalid(
        wanted=f"a GPU that is known by name: {', '.join(close or slugs)}",
        found=repr(text),
        fix="give one of these, or the name that the driver reports together with --compute, such as 8.9",
    )


def named_tensorrt(text: str) -> tuple[Flavour, TensorRTVersion]:
    """Return flavour and version of the TensorRT `text`; 1.x is TensorRT-RTX.

    Raises:
        RequestInvalid: these are not four numbers.
    """
    version = _parsed(TensorRTVersion.parse, text, "a TensorRT version such as 10.13.3.9")
    return (Flavour.RTX if version.major == _RTX else Flavour.TENSORRT), version


def described_host(  # noqa: PLR0913 (each is an option of its own)
    gpu: str,
    *,
    tensorrt: str | None = None,
    triton: str | None = None,
    compute: str | None = None,
    driver: str | None = None,
    cuda: str | None = None,
    lean: Iterable[str] = (),
    system: str = "linux",
    architecture: str = "x86_64",
    host_code: bool = False,
) -> Host:
    """Return the host with these properties, as people type them; see `Host`.

    Raises:
        RequestInvalid: something is not known, or its TensorRT is named twice or not at all.
    """
    row, image = named_gpu(gpu, compute), None if triton is None else triton_release(triton)
    if (tensorrt is None) == (image is None):
        raise RequestInvalid(
            wanted="the host's TensorRT",
            found="not exactly one of --tensorrt and --triton",
            fix="give the version, or the image of Triton",
        )
    flavour, version = named_tensorrt(tensorrt or str(image and image.tensorrt))
    return Host(
        gpu=row.name, compute=row.compute, flavour=flavour, version=version, os=system,
        architecture=architecture, driver=driver, cuda=cuda or (image.cuda if image else None),
        lean_runtimes=frozenset(named_tensorrt(text)[1] for text in lean), host_code=host_code,
        triton=image.name if image else None,
    )  # fmt: skip


def named_wanted(name: str, version: str | None, precisions: Iterable[str]) -> Wanted:
    """Return what `MODEL` or `MODEL@CHANNEL` asks for, or the `version` of a model if one is given.

    Raises:
        RequestInvalid: both are given, or a precision is unknown.
    """
    model, _, channel = name.partition("@")
    if not model or (version is not None and channel):
        raise RequestInvalid(
            wanted="MODEL, MODEL@CHANNEL, or MODEL with --version",
            found=f"{name!r}" + (f" and --version {version}" if version else ""),
            fix="name either a channel or a version",
        )
    known_precisions = tuple(_precision(text.strip()) for part in precisions for text in part.split(","))
    following = None if version is not None else channel or DEFAULT_CHANNEL
    return Wanted(model=model, channel=following, version=version, precisions=known_precisions)


def _precision(text: str) -> Precision:
    return _parsed(Precision, text, f"a precision: {', '.join(Precision)}")


def _parsed(parse: Callable[[str], T], text: str, wanted: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise RequestInvalid(wanted=wanted, found=str(error), fix="correct it") from error
