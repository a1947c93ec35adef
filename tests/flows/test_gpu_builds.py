"""Builds for a GPU through the real flow, on a stand-in for it: see `tests.stand_in.toolchain`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flows.build_release import build_release
from flows.engines import read_all
from flows.settings import settings
from tasks.domain.record import Verdict
from tasks.domain.release import ReleaseRef
from tests.stand_in.toolchain import H100, StandIn

Publish = Callable[..., ReleaseRef]


@pytest.fixture
def use(work_dir: object, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that names toolchains to the flow."""
    del work_dir

    def name(*toolchains: StandIn) -> None:
        paths = ":".join(str(one.interpreter) for one in toolchains)
        monkeypatch.setenv("ENGINEFARM_TOOLCHAINS", paths)
        settings.cache_clear()

    return name


@pytest.mark.parametrize("version", ["8.6.0", "10.13.3.9"])
def test_an_engine_is_built_and_verified_on_its_gpu(
    version: str,
    stand_in: Callable[..., StandIn],
    use: Callable[..., None],
    publish: Publish,
    demo_model: bytes,
    demo_samples: bytes,
) -> None:
    use(stand_in(version=version))
    request = "targets: h100-sxm-80gb\nprecisions: [fp32, fp16, int8]\nsamples: samples.npz\nprofile: false\n"
    release = publish(request, {"model.keras": demo_model, "samples.npz": demo_samples})

    records = read_all(asyncio.run(build_release(release)))

    assert [record.options.precision for record in records] == ["fp32", "fp16", "int8"]
    for record in records:
        assert record.target.gpu == H100.name
        assert record.engine_verification.verdict is Verdict.PASSED
