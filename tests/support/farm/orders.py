"""Orders of engines for agents: a real conversion, made once, on targets that agents may or may not have."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from flows.release.conversion import convert_for
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.conversion_job import ConversionJob
from tasks.domain.hashed_release import HashedRelease
from tasks.domain.order import EngineOrder, order_for
from tasks.domain.record import ConversionRecord
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.request import BuildRequest, Precision
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion
from tasks.fetch import FetchedRelease, fetch
from tasks.store.s3 import s3_client
from tasks.store.store import Store
from tasks.tensorrt.site import build_tools
from tests.stand_in.toolchain import StandInGpu

RTX = version("tensorrt_rtx_cu13")
"""The TensorRT-RTX that agents without a GPU build with here."""

_MODEL = Path(__file__).parents[3] / "flows/demo_release/model.keras"


def on_gpu(gpu: StandInGpu, tensorrt: str = "10.13.3.9") -> EngineTarget:
    """The target of a stand-in's GPU."""
    return _target(Flavour.TENSORRT, tensorrt, gpu.name, gpu.compute)


def on_rtx(compute: str) -> EngineTarget:
    """The target of a compute capability with TensorRT-RTX."""
    return _target(Flavour.RTX, RTX, None, compute)


def _target(flavour: Flavour, tensorrt: str, gpu: str | None, compute: str) -> EngineTarget:
    return EngineTarget(
        flavour=flavour,
        version=TensorRTVersion.parse(tensorrt),
        gpu=gpu,
        compute_capabilities=(ComputeCapability.parse(compute),),
        os="linux",
        architecture="x86_64",
    )


@dataclass(kw_only=True)
class Orders:
    """Makes orders, each for an engine of its own, from one conversion in a store.

    Attributes:
        place: the store, with a client of the environment that it was converted in.
    """

    store: str
    place: Store
    fetched: FetchedRelease
    request: BuildRequest
    conversion: ConversionRecord
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(2))

    def make(self, target: EngineTarget) -> EngineOrder:
        ref = replace(self.fetched.release.ref, version=str(next(self._numbers)))
        release = replace(self.fetched.release, ref=ref)
        hashed = HashedRelease(release=release, request=self.fetched.request_file.decode())
        self.place.commit(hashed, hashed.key)
        return order_for(
            store=self.store,
            release=release,
            conversion=self.conversion,
            request=self.request,
            target=target,
            precision=Precision.FP32,
            build_tools=build_tools(),
        )


def convert_once(bucket: str, work: Path) -> Orders:
    """Publish the demo's model in `bucket` and convert it there."""
    ref = ReleaseRef(bucket=bucket, prefix="models", model="digits", version="1")
    client = s3_client()
    client.upload_file(str(_MODEL), bucket, f"{ref.key}model.keras")
    client.put_object(Bucket=bucket, Key=f"{ref.key}{REQUEST_FILE}", Body=b"profile: false\ntiming: none\n")

    async def convert() -> Orders:
        fetched = await fetch(ref, work / "release")
        store, cell = f"s3://{bucket}", (on_rtx("8.9"), Precision.FP32)
        job = ConversionJob(
            fetched=fetched,
            request=fetched.request,
            store=store,
            work=Workspace(folder=work, limits=Limits()),
        )
        conversion = (await convert_for(job, (cell,)))[cell]
        assert isinstance(conversion, ConversionRecord)
        return Orders(
            store=store,
            place=Store.connect(store),
            fetched=fetched,
            request=fetched.request,
            conversion=conversion,
        )

    return asyncio.run(convert())
