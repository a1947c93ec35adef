"""The probe of the host, with a management library and packages that are not there."""
# ruff: noqa: N802 (the names of NVIDIA's functions)

from __future__ import annotations

import ctypes
from importlib import metadata
from typing import Any

import pytest

from tasks.consumer import installed, nvml
from tasks.consumer.installed import Installed, library_version
from tasks.consumer.probe import probe
from tasks.domain.errors import GpuUnavailable, NameAmbiguous, RequestInvalid, ToolchainBroken
from tasks.domain.target import Flavour, TensorRTVersion

L4, A10 = ("NVIDIA L4", (8, 9), "GPU-44"), ("NVIDIA A10", (8, 6), "GPU-55")


class Library:
    """Functions of NVML for these GPUs; a slice of the last one has the UUID MIG-1."""

    def __init__(self, *gpus: tuple[str, tuple[int, int], str]) -> None:
        self.gpus = gpus

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlShutdown(self) -> int:
        return 0

    def nvmlSystemGetDriverVersion(self, buffer: Any, _: object) -> int:
        buffer.value = b"580.95.05"
        return 0

    def nvmlSystemGetCudaDriverVersion_v2(self, value: Any) -> int:
        value._obj.value = 13010
        return 0

    def nvmlDeviceGetCount_v2(self, value: Any) -> int:
        value._obj.value = len(self.gpus)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:
        device._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, device: Any) -> int:
        device._obj.value = 99
        return 0 if uuid == b"MIG-1" else 6

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, _: Any, device: Any) -> int:
        device._obj.value = len(self.gpus)
        return 0

    def nvmlDeviceGetName(self, device: Any, buffer: Any, _: object) -> int:
        name = f"{self.gpus[-1][0]} MIG 1g.10gb" if device.value == 99 else self.gpus[device.value - 1][0]
        buffer.value = name.encode()
        return 0

    def nvmlDeviceGetUUID(self, device: Any, buffer: Any, _: object) -> int:
        buffer.value = self.gpus[device.value - 1][2].encode()
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, device: Any, major: Any, minor: Any) -> int:
        major._obj.value, minor._obj.value = self.gpus[device.value - 1][1]
        return 0


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that gives this host GPUs, and CUDA_VISIBLE_DEVICES."""

    def give(*gpus: tuple[str, tuple[int, int], str], visible: str | None = None) -> None:
        monkeypatch.setattr(ctypes, "CDLL", lambda _: Library(*gpus))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return give


def have_packages(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    class Distribution:
        def __init__(self, name: str, version: str) -> None:
            self.metadata, self.version = {"Name": name}, version

    packages = [Distribution(name.replace("_", "-"), version) for name, version in versions.items()]
    monkeypatch.setattr(installed, "distributions", lambda: packages)
    monkeypatch.setattr(installed, "_of_library", lambda _: None)


def test_gpu_driver_and_tensorrt_are_those_of_the_host(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(L4)
    have_packages(
        monkeypatch, tensorrt_cu12="10.13.3.9", tensorrt_cu12_libs="10.13.3.9", tensorrt_lean_cu12="8.6.1.6"
    )
    host = probe()
    assert (host.gpu, str(host.compute), host.driver, host.driver_cuda) == (
        "NVIDIA L4",
        "8.9",
        "580.95.05",
        "13.1",
    )
    assert (host.flavour, str(host.version), host.cuda) == (Flavour.TENSORRT, "10.13.3.9", "12")
    assert host.lean_runtimes == {TensorRTVersion.parse("8.6.1.6")}


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA L4", "NVIDIA A10"]),
        ("1", ["NVIDIA A10"]),
        ("GPU-44", ["NVIDIA L4"]),
        ("", []),
        ("0,-1,1", ["NVIDIA L4"]),
        ("7", []),
        ("MIG-1", ["NVIDIA A10 MIG 1g.10gb"]),
    ],
)
def test_only_visible_gpus_count(gpus: Any, visible: str | None, names: list[str]) -> None:
    gpus(L4, A10, visible=visible)
    assert [device.name for device in nvml.devices().visible] == names
    assert all(device.compute for device in nvml.devices().visible)


def test_different_gpus_are_ambiguous_and_none_is_no_gpu(gpus: Any) -> None:
    gpus(L4, A10)
    with pytest.raises(NameAmbiguous, match="CUDA_VISIBLE_DEVICES"):
        probe(tensorrt="10.13.3.9")
    gpus(L4, visible="")
    with pytest.raises(GpuUnavailable, match="CUDA_VISIBLE_DEVICES"):
        probe(tensorrt="10.13.3.9")


def test_what_is_given_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    host = probe(gpu="l4", triton="26.07-trtllm", driver="580.1", allow_host_code=True)
    assert (host.gpu, str(host.version), host.driver, host.host_code) == (
        "NVIDIA L4",
        "10.14.1.48",
        "580.1",
        True,
    )
    host = probe(gpu="NVIDIA L20", compute="8.9", tensorrt="10.13.3.9", flavour="tensorrt")
    assert (host.gpu, str(host.compute), host.driver) == ("NVIDIA L20", "8.9", None)
    assert probe(gpu="l4", tensorrt="1.7.1.116").flavour is Flavour.RTX


@pytest.mark.parametrize(
    "given", [{"gpu": "rtx-9999"}, {"gpu": "l4", "tensorrt": "10.13"}, {"gpu": "l4", "flavour": "onnx"}]
)
def test_what_cannot_be_used_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid):
        probe(**{"tensorrt": "10.13.3.9", **given})


def test_a_host_without_tensorrt_and_with_both_is_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    have_packages(monkeypatch)
    with pytest.raises(ToolchainBroken, match="--tensorrt"):
        probe(gpu="l4")
    have_packages(monkeypatch, tensorrt_cu13="11.4.0.106", tensorrt_rtx_cu13="1.7.1.116")
    with pytest.raises(NameAmbiguous, match="--flavour"):
        probe(gpu="l4")
    assert str(probe(gpu="l4", flavour="tensorrt_rtx").version) == "1.7.1.116"


@pytest.mark.parametrize(
    ("number", "symbols", "version"),
    [
        (8600, {"tensorrt_version_8_6_0_12": 0}, "8.6.0.12"),
        (8601, {}, None),
        (101303, {"getInferLibBuildVersion": lambda: 9}, "10.13.3.9"),
        (101303, {"tensorrt_version_10_13_3_9": 0}, "10.13.3.9"),
    ],
)
def test_a_library_says_its_version(number: int, symbols: dict[str, Any], version: str | None) -> None:
    library = type("Library", (), {"getInferLibVersion": staticmethod(lambda: number)})
    for name, value in symbols.items():
        setattr(library, name, staticmethod(value) if callable(value) else value)
    answer = library_version(library())
    assert (None if answer is None else str(answer)) == version


def test_this_environment_has_what_its_packages_say() -> None:
    (rtx,) = installed.installed(Flavour.RTX)
    version = metadata.version("tensorrt-rtx-cu13")
    assert rtx == Installed(
        flavour=Flavour.RTX, version=TensorRTVersion.parse(version), cuda="13", source=rtx.source
    )
