"""What runs inside a toolchain's interpreter, as far as it needs no GPU."""

from __future__ import annotations

import ctypes
import errno
import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.domain.errors import BuildRefused, ChildOutOfMemory, GpuUnavailable, ToolchainBroken
from tasks.tensorrt.inside.cuda import driver_version, use_gpu, visible_gpus
from tasks.tensorrt.inside.families import trt8
from tasks.tensorrt.inside.library import full_version
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.monitor import NestedPhases, progress_monitor
from tasks.tensorrt.inside.options import Node
from tasks.tensorrt.inside.refusals import build_refusal, gpu_trouble


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_driver(), reason="this host has NVIDIA's driver")
def test_no_driver_is_no_gpu() -> None:
    assert visible_gpus() == []
    with pytest.raises(GpuUnavailable, match=r"libcuda\.so\.1"):
        use_gpu(0)


class AnsweringDriver:
    """Stands in for libcuda.so.1: one function answers with an error, the others write nothing."""

    def __init__(self, function: str, status: int) -> None:
        self._function, self._status = function, status

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name == "cuGetErrorName":
            return self._name
        return lambda *_: self._status if name == self._function else 0

    def _name(self, status: int, text: Any) -> int:
        text._obj.value = f"CUDA_ERROR_OF_{status}".encode()
        return 0


@pytest.mark.parametrize("status", [34, 100])
def test_no_device_and_a_stub_are_no_gpu(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: AnsweringDriver("cuInit", status))
    assert visible_gpus() == []
    with pytest.raises(GpuUnavailable, match=rf"CUDA error {status} \(CUDA_ERROR_"):
        use_gpu(0)


def test_driver_without_devices_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: AnsweringDriver("none", 0))
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("function", "status"),
    [("cuInit", 3), ("cuInit", 35), ("cuInit", 802), ("cuInit", 999), ("cuDeviceGetCount", 100)],
)
def test_every_other_error_is_told(function: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: AnsweringDriver(function, status))
    with pytest.raises(GpuUnavailable, match=rf"{function}.*{status} \(CUDA_ERROR_OF_{status}\)") as caught:
        visible_gpus()
    assert caught.value.retryable


@pytest.mark.parametrize(
    "said",
    [
        "libcuda.so.1: cannot open shared object file: Permission denied",
        "libcuda.so.1: file too short",
        "libnvidia-gpucomp.so: cannot open shared object file: No such file or directory",
    ],
)
def test_library_that_does_not_load_is_told(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise OSError(said)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(GpuUnavailable) as caught:
        visible_gpus()
    assert caught.value.found == said


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.06  Wed Jun 26 06:46 2024", "535.183.06"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build", "580.95.05"),
        ("something else", None),
    ],
)  # fmt: skip
def test_driver_version(line: str, version: str | None, tmp_path: Path) -> None:
    file = tmp_path / "version"
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0 (Ubuntu)\n", "utf-8")
    assert driver_version(file) == version
    assert driver_version(tmp_path / "none") is None


def test_build_number_comes_from_the_library() -> None:
    trt = importlib.import_module("tensorrt_rtx")
    assert full_version(trt) == trt.__version__
    # TensorRT 8.6 knows three parts of its version; the library that is loaded here has the fourth.
    assert full_version(SimpleNamespace(__version__="1.7.1")) == "1.7.1.116"
    with pytest.raises(ToolchainBroken, match=r"tensorrt_version_8_6_0_N.*libtensorrt_rtx"):
        full_version(SimpleNamespace(__version__="8.6.0"))


def test_nested_phases_are_one_fraction_that_never_falls() -> None:
    fractions: list[float] = []
    phases = NestedPhases(fractions.append)
    phases.start("build", None, 2)
    phases.start("optimise", "build", 4)
    for step in range(4):
        phases.step("optimise", step)
    phases.finish("optimise")
    phases.step("build", 0)
    phases.start("time", "build", 1000)
    for step in range(1000):
        phases.step("time", step)
    phases.finish("time")
    phases.step("build", 1)
    phases.step("never started", 3)
    phases.finish("never started")
    assert fractions[:4] == [0.125, 0.25, 0.375, 0.5]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0, abs=0.01)
    assert len(fractions) <= 4 + 50


def test_messages_are_shortened() -> None:
    messages = Messages(warnings=["twice", "twice", "long " * 100, *(f"number {n}" for n in range(30))])
    short = messages.shortened()
    assert short[0] == "twice"
    assert max(map(len, short)) == 300
    assert len(short) == 21
    assert short[-1] == "and 12 more"


def test_complaints_about_a_missing_driver_are_left_out() -> None:
    noise = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (cudaError 35)"
    assert Messages(errors=[f"Invalid Node - add\n{noise}", noise]).said() == "Invalid Node - add"


def test_tensorrt_8_names_the_node_in_its_log() -> None:
    """The lines as version 8.6 writes them."""
    log = [
        'ModelImporter.cpp:771: While parsing node number 7 [Unique -> "y"]:',
        "ModelImporter.cpp:772: --- Begin node ---",
        'ModelImporter.cpp:773: input: "x"\noutput: "y"\nname: "block/uniq"\nop_type: "Unique"\n',
    ]
    error = SimpleNamespace(node=lambda: 7)
    assert trt8.failed_node(error, Messages(errors=log)) == Node(name="block/uniq", op="Unique")
    assert trt8.failed_node(error, Messages()) == Node(name="number 7", op="")
    assert trt8.failed_node(SimpleNamespace(node=lambda: -1), Messages()) == Node(name="", op="")


@pytest.mark.parametrize(
    ("said", "needs_gpu", "kind", "fix"),
    [
        ("Cuda Runtime (out of memory)", True, GpuUnavailable, "nvidia-smi"),
        ("Cuda Runtime (out of memory)", False, BuildRefused, "another TensorRT"),
        ("Unexpected exception std::bad_alloc", True, ChildOutOfMemory, "ENGINEFARM_CHILD_MEMORY_MIB"),
        ("Unexpected exception std::bad_alloc", False, ChildOutOfMemory, "ENGINEFARM_CHILD_MEMORY_MIB"),
        ("MyelinHostBuffer::allocate(const string&)::206] Error Code 2: OutOfMemory (Requested", True,
         ChildOutOfMemory, "ENGINEFARM_CHILD_MEMORY_MIB"),
        ("virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (no further", True,
         GpuUnavailable, "nvidia-smi"),
        ("Could not find any implementation for node c1 due to insufficient workspace", True, BuildRefused,
         "workspace_mib"),
        ("Could not find any implementation for node {ForeignNode[a...b]}.", True, BuildRefused, "replace"),
        ("Assertion replacement->canFault() failed.", False, BuildRefused, "cut it outside the engine"),
    ],
)  # fmt: skip
def test_failed_builds(said: str, kind: type[Exception], fix: str, *, needs_gpu: bool) -> None:
    error = build_refusal(Messages(errors=[said]), needs_gpu=needs_gpu)
    assert type(error) is kind
    assert said in error.found
    assert fix in error.fix


def test_warnings_do_not_hide_why_a_gpu_cannot_be_used() -> None:
    warnings = [f"lazy loading {number}" for number in range(5)]
    assert gpu_trouble(Messages(errors=["out of memory"], warnings=warnings)).found == (
        "out of memory | lazy loading 2 | lazy loading 3"
    )
    many = [f"error {number}" for number in range(4)]
    assert gpu_trouble(Messages(errors=many, warnings=warnings)).found == "error 1 | error 2 | error 3"
    assert gpu_trouble(Messages()).found == "no message"


def test_progress_that_cannot_be_written_cancels_no_build() -> None:
    fractions: list[float] = []

    def advance(fraction: float) -> None:
        if fraction < 0.5:
            raise OSError(errno.ENOSPC, "No space left on device")
        fractions.append(fraction)

    monitor = progress_monitor(SimpleNamespace(IProgressMonitor=object), advance)
    monitor.phase_start("build", None, 4)
    assert [monitor.step_complete("build", step) for step in range(4)] == [True] * 4
    monitor.phase_finish("build")
    assert fractions == [0.5, 0.75, 1.0]
