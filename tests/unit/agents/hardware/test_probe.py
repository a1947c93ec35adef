"""What a host is found to be: stand-ins for toolchains, drivers and GPUs are really run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from agents.hardware import probe as hardware_probe
from agents.hardware.interpreters import interpreters_at
from agents.hardware.probe import HostProbe, probe_host
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import GpuUnavailable, TargetUnavailable, ToolchainBroken
from tasks.domain.gpu_table import device_slug
from tasks.domain.target import Flavour
from tasks.tensorrt.toolchain import ProbedGpu
from tests.stand_in.toolchain import H100, L4, MIG_SLICE, SECOND_H100, StandIn, StandInGpu

MakeStandIn = Callable[..., StandIn]
Probe = Callable[..., HostProbe]
ORIN = StandInGpu(
    name="Orin", uuid="GPU-55555555-5555-5555-5555-555555555555", compute="8.7", memory_mib=62840
)


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """A function that probes this host with toolchains at some paths."""

    def run(*paths: str | Path) -> HostProbe:
        interpreters = interpreters_at(map(str, paths))
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        return asyncio.run(probe_host(interpreters, work=Workspace(folder=work, limits=Limits())))

    return run


def gpus_of(host: HostProbe) -> tuple[ProbedGpu, ...]:
    return next(probed.gpus for probed in host.toolchains if probed.toolchain.flavour is Flavour.TENSORRT)


def devices_of(host: HostProbe) -> list[str]:
    return [device_slug(target) for target in host.targets() if target.flavour is Flavour.TENSORRT]


def test_gpus_are_what_the_driver_says(stand_in: MakeStandIn, probe: Probe) -> None:
    there = (H100, L4, SECOND_H100)
    host = probe(stand_in(gpus=there).interpreter)
    gpus = [(gpu.index, gpu.name, gpu.uuid, str(gpu.compute), gpu.memory_mib) for gpu in gpus_of(host)]
    assert gpus == [
        (index, gpu.name, gpu.uuid, gpu.compute, gpu.memory_mib) for index, gpu in enumerate(there)
    ]
    assert devices_of(host) == ["h100-sxm-80gb", "l4"]
    (h100,) = host.select(["h100-sxm-80gb"])
    assert [(site.gpu_index, site.gpu_uuid) for site in host.sites_of(h100)] == [
        (0, H100.uuid),
        (2, SECOND_H100.uuid),
    ]
    assert host.site_of(h100).gpu_index == 0
    (rtx,) = host.select(["rtx-sm89"])
    assert host.site_of(rtx).gpu_uuid is None, "TensorRT-RTX is the farm's own, which sees no GPU here"


@pytest.mark.parametrize("visible", ["1", L4.uuid])
def test_gpus_that_are_hidden_are_not_there(
    visible: str, stand_in: MakeStandIn, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    host = probe(stand_in(gpus=(H100, L4)).interpreter)
    assert [(gpu.index, gpu.uuid) for gpu in gpus_of(host)] == [(0, L4.uuid)]


@pytest.mark.parametrize(
    ("reported", "name", "slug"),
    [
        (MIG_SLICE.name, MIG_SLICE.name, "h100-80gb-hbm3-mig-1g-10gb"),
        # Should a driver name a slice like its whole: the UUIDs still tell.
        (H100.name, f"{H100.name} MIG 9856mib", "h100-80gb-hbm3-mig-9856mib"),
    ],
)
def test_a_slice_of_a_gpu_never_passes_for_the_whole(
    reported: str, name: str, slug: str, stand_in: MakeStandIn, probe: Probe
) -> None:
    host = probe(stand_in(gpus=(replace(MIG_SLICE, name=reported),)).interpreter)
    (gpu,) = gpus_of(host)
    assert (gpu.name, gpu.uuid, gpu.memory_mib) == (name, MIG_SLICE.uuid, 9856)
    assert devices_of(host) == [slug]
    with pytest.raises(TargetUnavailable, match=slug):
        host.select(["h100-sxm-80gb"])


def test_a_jetson(stand_in: MakeStandIn, probe: Probe) -> None:
    host = probe(stand_in(gpus=(ORIN,), architecture="aarch64").interpreter)
    (target,) = host.select(["jetson-orin"])
    assert (target.gpu, target.os, target.architecture) == ("Orin", "linux", "aarch64")


def test_a_folder_of_environments_is_each_of_them(
    stand_in: MakeStandIn, probe: Probe, tmp_path: Path
) -> None:
    folder = tmp_path / "toolchains"
    folder.mkdir()
    for version in ("8.6.0", "10.13.3.9"):
        (folder / version).symlink_to(stand_in(version=version).folder)
    (folder / "notes").mkdir()
    paths = [folder / version / "bin/python" for version in ("10.13.3.9", "8.6.0")]
    assert interpreters_at([str(folder)]) == tuple(map(str, paths))
    assert interpreters_at([str(folder / "8.6.0"), str(paths[1]), str(folder)]) == (
        str(paths[1]),
        str(paths[0]),
    )

    host = probe(folder)
    versions = {
        probed.toolchain.interpreter: str(probed.version)
        for probed in host.toolchains
        if probed.toolchain.flavour is Flavour.TENSORRT
    }
    assert versions == {str(paths[0]): "10.13.3.9", str(paths[1]): "8.6.0.12"}
    assert host.broken == ()


def test_a_folder_without_an_interpreter_is_told(probe: Probe, tmp_path: Path) -> None:
    (broken,) = probe(tmp_path).broken
    assert broken.interpreter == str(tmp_path)
    assert isinstance(broken.error, ToolchainBroken)
    with pytest.raises(TargetUnavailable) as caught:
        probe(tmp_path).select(["l4"])
    assert f"{tmp_path} is broken" in caught.value.found


def test_a_driver_that_is_ill_is_asked_again_after_a_minute(
    stand_in: MakeStandIn, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain = stand_in(driver=999)
    with pytest.raises(GpuUnavailable, match="CUDA error 999"):
        probe(toolchain.interpreter).select(["h100-sxm-80gb"])
    toolchain.becomes(driver=0)
    assert devices_of(probe(toolchain.interpreter)) == [], "a build probes its host once"
    a_minute_later = monotonic() + 61
    monkeypatch.setattr(hardware_probe, "monotonic", lambda: a_minute_later)
    assert devices_of(probe(toolchain.interpreter)) == ["h100-sxm-80gb"]
    toolchain.becomes(gpus=())
    assert devices_of(probe(toolchain.interpreter)) == ["h100-sxm-80gb"], "what worked is not asked again"
