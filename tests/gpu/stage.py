"""What the scenarios on a GPU have in common: the models, where to build, and the engines that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from agents.hardware.probe import HostProbe
from flows.settings import settings
from tasks.domain.record import EngineRecord
from tasks.domain.request import Precision
from tasks.domain.target import EngineTarget
from tasks.store.store import Store
from tasks.tensorrt.engine import EngineJob
from tasks.tensorrt.site import BuildSite
from tests.gpu.subjects import Subject


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A host with engines in its store.

    Attributes:
        subjects: the models by name.
        target: what they were built for.
        host: what was found on this host.
        work: a folder for files.
        wheels: a folder with trained models.
    """

    subjects: Mapping[str, Subject]
    target: EngineTarget
    host: HostProbe
    work: Path
    wheels: Path

    @property
    def store(self) -> Store:
        """Where the engines are."""
        return Store.connect(str(settings().store))

    @property
    def site(self) -> BuildSite:
        """Toolchain and GPU."""
        return self.host.site_of(self.target)

    def engine(self, model: str, precision: Precision) -> EngineRecord:
        """Return the record of an engine that was built before."""
        records = self.store.records(EngineRecord, model=model, version="1")
        return next(record for record in records if record.options.precision == precision)

    def files(self, record: EngineRecord) -> tuple[Path, Path]:
        """Return new files with its plan and its reference."""
        plan, reference = (self.work / f"{uuid4().hex}.{suffix}" for suffix in ("plan", "npz"))
        self.store.get_blob(record.plan, plan)
        self.store.get_blob(record.reference, reference)
        return plan, reference

    def graph(self, record: EngineRecord) -> Path:
        """Return a new file with the graph that an engine was built from."""
        path = self.work / f"{uuid4().hex}" / "model.onnx"
        path.parent.mkdir()
        self.store.get_blob(record.onnx, path)
        return path

    def job(self, onnx: Path, record: EngineRecord, *, level: int = 3) -> EngineJob:
        """Return a build of the graph `onnx` as `record` was built, without any timings."""
        return EngineJob(
            toolchain=self.site.toolchain,
            target=self.target,
            onnx=onnx,
            precision=record.options.precision,
            shapes=record.options.shapes,
            workspace_mib=record.options.workspace_mib,
            optimization_level=level,
            gpu_index=self.site.gpu_index,
        )
