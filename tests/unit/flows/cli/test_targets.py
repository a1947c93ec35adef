"""`enginefarm targets`: which target is my GPU, and who builds it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from agents.hardware.probe import HostProbe
from flows.cli import targets
from flows.cli.main import app
from tasks.domain.errors import RequestInvalid
from tasks.domain.offer import Announcement, Offer
from tasks.domain.target import ComputeCapability, Flavour, TensorRTVersion
from tasks.store.announcements import announce
from tasks.store.store import Store

Run = Callable[..., str]


@pytest.fixture
def run(s3_env: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the command on a host without toolchains, beside one agent of TensorRT 8.6."""

    async def nothing(*_arguments: object, **_named: object) -> HostProbe:
        return HostProbe(toolchains=(), broken=())

    monkeypatch.setattr(targets, "probe_host", nothing)
    gpus = (("Tesla T4", ComputeCapability.parse("7.5")), ("Unheard of 9000", ComputeCapability.parse("9.0")))
    offer = Offer(
        flavour=Flavour.TENSORRT, version=TensorRTVersion.parse("8.6.0.12"), gpus=gpus, os="linux",
        architecture="x86_64",
    )  # fmt: skip
    seen = Announcement(pool="gpu-t4-trt8.6.0.12", offer=offer, host="h", seen="2026-11-26T00:00:00Z")
    announce(Store.connect(f"s3://{s3_env}"), seen)

    def command(*words: str) -> str:
        options = ["--store", f"s3://{s3_env}"]
        result = CliRunner().invoke(app, ["targets", *words, *options], catch_exceptions=False)
        return result.output

    return command


def test_every_target_has_its_precisions_and_who_builds_it(run: Run) -> None:
    rows = {row["target"]: row for row in json.loads(run("--json"))}
    assert rows["t4"]["precisions"] == ["fp32", "fp16", "int8"]
    assert rows["t4"]["agents"] == ["gpu-t4-trt8.6.0.12"]
    # TensorRT 8.6 has no BF16 and no FP8, though the GPU has.
    assert rows["unheard-of-9000"]["precisions"] == ["fp32", "tf32", "fp16", "int8"]
    assert rows["h200"]["precisions"] == ["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
    assert rows["rtx-portable"]["compute"] == ["8.0", "8.6", "8.9", "12.0", "12.1"]


def test_a_gpu_as_people_call_it_is_told_as_a_target(run: Run) -> None:
    assert "For h100 write h100-sxm-80gb or h100-pcie-80gb." in run("h100")
    assert "For rtx4090 write rtx-4090, or rtx-sm89 to build without that GPU." in run("rtx4090")
    assert [row["target"] for row in json.loads(run("rtx4090", "--json"))] == ["rtx-4090", "rtx-sm89"]
    assert "For unheard write unheard-of-9000." in run("unheard")
    with pytest.raises(RequestInvalid, match="did you mean rtx-sm89"):
        run("rtx-sm98")
