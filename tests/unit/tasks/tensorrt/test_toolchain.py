"""What a toolchain turns out to be, and the ways in which it is none."""

from __future__ import annotations

import asyncio
import dataclasses
import platform
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tasks.children import sandbox
from tasks.children.run import Confinement, Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import GpuUnavailable, ToolchainBroken
from tasks.domain.gpu_table import gpu_table
from tasks.domain.target import ComputeCapability, Flavour
from tasks.tensorrt.engine import child_program
from tasks.tensorrt.inside.families.registry import family_of
from tasks.tensorrt.toolchain import ProbedGpu, Toolchain, ToolchainProbe, probe_toolchain
from tests.stand_in.toolchain import StandIn


@pytest.fixture
def probe_error(tmp_path: Path, limits: Limits) -> Callable[..., ToolchainBroken]:
    """A function that probes what must be broken and returns the error."""

    def probe(interpreter: str, flavour: Flavour = Flavour.RTX) -> ToolchainBroken:
        toolchain = Toolchain(interpreter=interpreter, flavour=flavour)
        with pytest.raises(ToolchainBroken) as caught:
            asyncio.run(probe_toolchain(toolchain, work=Workspace(folder=tmp_path, limits=limits)))
        assert list(tmp_path.glob("child-*")) == []
        return caught.value

    return probe


def test_probe_of_what_is_installed_here(rtx_probe: ToolchainProbe) -> None:
    assert str(rtx_probe.version) == "1.7.1.116"
    assert rtx_probe.info.python == platform.python_version()
    assert (rtx_probe.os, rtx_probe.architecture) == ("linux", platform.machine())
    assert rtx_probe.runs == (find_spec("pycuda") is not None)


def test_pycuda_is_found_without_being_imported(
    rtx: Toolchain, tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda/__init__.py").write_text("raise RuntimeError('imported')\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert asyncio.run(probe_toolchain(rtx, work=Workspace(folder=tmp_path, limits=limits))).runs


def test_driver_that_does_not_load_is_no_broken_toolchain(
    rtx: Toolchain, tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it a host without a GPU."""
    (tmp_path / "libcuda.so.1").write_bytes(b"no library" * 100)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(GpuUnavailable, match=r"libcuda\.so\.1: invalid ELF header") as caught:
        asyncio.run(probe_toolchain(rtx, work=Workspace(folder=tmp_path, limits=limits)))
    assert caught.value.retryable


def on_gpu(made: StandIn, work: Path, limits: Limits) -> Confinement:
    toolchain = Toolchain(interpreter=str(made.interpreter), flavour=Flavour.TENSORRT)
    folder = work / "work"
    folder.mkdir(exist_ok=True)
    probe = asyncio.run(probe_toolchain(toolchain, work=Workspace(folder=folder, limits=limits)))
    return probe.toolchain.on_gpu


def test_processes_with_a_gpu_are_closed_off_where_the_driver_works_for_them_then(
    stand_in: Callable[..., StandIn], tmp_path: Path, limits: Limits, caplog: pytest.LogCaptureFixture
) -> None:
    made = stand_in()
    assert on_gpu(made, tmp_path, limits) is Confinement.DEVICE
    assert caplog.messages == []
    # The driver needs a file that nobody knows of.
    config = made.folder / "stand-in.json"
    config.rename(tmp_path / "elsewhere.json")
    config.symlink_to(tmp_path / "elsewhere.json")
    assert on_gpu(made, tmp_path, limits) is Confinement.OPEN_DEVICE
    # It shows no GPU, or the host's own.
    assert [message.startswith("NVIDIA's driver ") for message in caplog.messages] == [True]
    # It lists the GPUs, and no work runs on them.
    assert on_gpu(stand_in(driver="no context"), tmp_path, limits) is Confinement.OPEN_DEVICE
    assert "CUDA error 46" in caplog.messages[-1]
    caplog.clear()
    assert on_gpu(made, tmp_path, dataclasses.replace(limits, gpu_sandbox=False)) is Confinement.OPEN_DEVICE
    assert caplog.messages == []


def test_a_driver_that_fails_only_where_it_is_closed_off_leaves_files_open(
    stand_in: Callable[..., StandIn], tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not sandbox.protection().files:
        pytest.skip("this host can close no files")
    monkeypatch.setattr(sandbox, "_libraries", list)  # nothing is closed off then, and nothing runs
    assert on_gpu(stand_in(), tmp_path, limits) is Confinement.OPEN_DEVICE


@pytest.mark.parametrize("interpreter", [sys.executable, "/opt/rtx/bin/python"])
def test_a_build_without_a_gpu_is_closed_off_in_whatever_interpreter(interpreter: str) -> None:
    toolchain = Toolchain(interpreter=interpreter, flavour=Flavour.RTX, on_gpu=Confinement.DEVICE)
    assert child_program(toolchain, "build", None).confinement is Confinement.FULL
    assert child_program(toolchain, "build", 0).confinement is Confinement.DEVICE


def test_rtx_builds_for_its_whole_table(rtx_probe: ToolchainProbe) -> None:
    targets = rtx_probe.targets()
    assert [target.compute_capabilities for target in targets] == [(compute,) for compute in gpu_table().rtx]
    assert {target.gpu for target in targets} == {None}


def test_tensorrt_builds_for_each_model_once(rtx_probe: ToolchainProbe) -> None:
    hopper, ada = ComputeCapability(major=9, minor=0), ComputeCapability(major=8, minor=9)
    gpus = tuple(
        ProbedGpu(index=index, name=name, uuid=f"GPU-{index}", compute=compute, memory_mib=1)
        for index, (name, compute) in enumerate(
            [("NVIDIA H100 PCIe", hopper), ("NVIDIA L4", ada), ("NVIDIA H100 PCIe", hopper)]
        )
    )
    toolchain = Toolchain(interpreter=sys.executable, flavour=Flavour.TENSORRT)
    probe = dataclasses.replace(rtx_probe, toolchain=toolchain, gpus=gpus)
    targets = probe.targets()
    assert [target.gpu for target in targets] == ["NVIDIA H100 PCIe", "NVIDIA L4"]
    assert targets[1].compute_capabilities == (ada,)
    assert dataclasses.replace(probe, gpus=()).targets() == ()


def test_path_that_is_not_there(probe_error: Callable[..., ToolchainBroken]) -> None:
    assert "/nowhere/python" in probe_error("/nowhere/python").wanted


def test_program_that_is_no_python(probe_error: Callable[..., ToolchainBroken]) -> None:
    assert "before it answered" in probe_error("/bin/true").found


def test_interpreter_that_crashes(probe_error: Callable[..., ToolchainBroken], tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n", "utf-8")
    script.chmod(0o755)
    error = probe_error(str(script))
    assert "SIGSEGV" in error.found
    assert "import tensorrt_rtx" in error.fix


def test_module_that_is_not_installed(
    probe_error: Callable[..., ToolchainBroken], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    error = probe_error(sys.executable, Flavour.TENSORRT)
    assert "libnvinfer.so.10" in error.found
    assert sys.executable in error.wanted


@pytest.mark.parametrize(
    ("module", "version"), [("tensorrt", "8.4.3.1"), ("tensorrt", "9.3.0.1"), ("tensorrt_rtx", "2.0.0.1")]
)
def test_families_that_are_not_served(module: str, version: str) -> None:
    with pytest.raises(ToolchainBroken, match=r"tensorrt 8\.6\+.*tensorrt_rtx 1\.0\+") as caught:
        family_of(module, version)
    assert version in caught.value.found
