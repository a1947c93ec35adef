"""Each graph of a conversion has one key, from which its record, its lease and its quarantine are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.conversion_job import ConversionJob
from tasks.domain.digest import BlobRef
from tasks.domain.gate import not_measured
from tasks.domain.keys import conversion_record_key
from tasks.domain.record import ConversionRecord, TensorSpec
from tasks.domain.release import ModelFormat, Release, ReleaseFile, ReleaseRef
from tasks.domain.request import DEFAULT_TOLERANCES, BuildRequest, Precision, ShapeRange
from tasks.fetch import FetchedRelease
from tasks.onnx.graph import LoweredGraph
from tasks.tensorflow.models import conversion_tools


@pytest.fixture
def job(tmp_path: Path) -> ConversionJob:
    release = Release(
        ref=ReleaseRef(bucket="models", prefix="", model="resnet", version="v7"),
        format=ModelFormat.KERAS,
        files=(
            ReleaseFile(path="build.yaml", sha256="0" * 64, size=7, etag="e", version_id=None),
            ReleaseFile(path="model.keras", sha256="1" * 64, size=7, etag="e", version_id=None),
            ReleaseFile(path="samples.npz", sha256="2" * 64, size=7, etag="e", version_id=None),
        ),
    )
    request = BuildRequest(
        targets=("l4",),
        precisions=(Precision.FP32, Precision.FP16),
        samples="samples.npz",
        tolerances={Precision.FP16: 0.03},
    )
    return ConversionJob(
        fetched=FetchedRelease(release=release, request=request, folder=tmp_path),
        request=request,
        store="s3://engines/farm",
        work=Workspace(folder=tmp_path, limits=Limits()),
    )


@pytest.fixture
def base() -> ConversionRecord:
    """The stored FP32 graph of a model that computes in FP16 itself."""
    blob = BlobRef(sha256="a" * 64, size=17)
    tensor = TensorSpec(name="x", dtype="float32", shape=(None, 8))
    return ConversionRecord(
        key="c" * 64,
        release_digest="d" * 64,
        signature="serving_default",
        opset=17,
        graph_precision=Precision.FP32,
        arithmetic=Precision.FP16,
        onnx=blob,
        reference=blob,
        inputs=(tensor,),
        outputs=(tensor,),
        shapes={"x": ShapeRange(min=(1, 8), opt=(4, 8), max=(8, 8))},
        derived_shapes=(),
        verification=not_measured(tolerance=1e-4, reason="a test"),
        seconds={},
        peak_mib=1.0,
        tools={"tensorflow-cpu": "2.20.0"},
    )


def test_record_lease_and_quarantine_of_a_graph_have_its_key(
    job: ConversionJob, base: ConversionRecord, tmp_path: Path
) -> None:
    graph = job.graph(17, Precision.FP16)
    assert graph.record_key == conversion_record_key(graph.key)
    assert graph.lease().key == graph.record_key
    lowered = LoweredGraph(onnx=tmp_path / "model.onnx", nodes=1, nodes_before=1, seconds=0.0, peak_mib=1.0)
    evidence = graph.evidence(tmp_path / "reference.npz", "samples", base)
    suspect = graph.suspect(lowered, evidence, base)
    assert suspect.identity == graph.key
    assert (suspect.opset, suspect.options.precision) == (17, Precision.FP16)


def test_graphs_with_another_opset_or_precision_have_another_key(job: ConversionJob) -> None:
    kinds = [(17, Precision.FP32), (18, Precision.FP32), (17, Precision.FP16)]
    assert len({job.graph(*kind).key for kind in kinds}) == len(kinds)
    assert job.graph(17, Precision.FP32) == job.graph(17, Precision.FP32)


def test_another_tool_gives_another_key(job: ConversionJob) -> None:
    other = replace(job, tools={**job.tools, "onnx": "0.0.1"})
    assert other.graph(17, Precision.FP32).key != job.graph(17, Precision.FP32).key


def test_versions_of_tools_are_looked_up_once_per_job(job: ConversionJob) -> None:
    assert job.tools == conversion_tools()
    assert job.graph(17, Precision.FP32).job.tools is job.graph(18, Precision.FP16).job.tools


def test_form_and_evidence_of_a_graph_follow_the_request_and_the_model(
    job: ConversionJob, base: ConversionRecord, tmp_path: Path
) -> None:
    full, half = job.graph(17, Precision.FP32), job.graph(17, Precision.FP16)
    assert half.form(base).tolerance == 0.03  # the request's
    assert full.form(base).tolerance == DEFAULT_TOLERANCES[Precision.FP16]  # of the model's own arithmetic
    assert (half.form(base).precision, half.form(base).opset) == (Precision.FP16, 17)
    evidence = half.evidence(tmp_path / "reference.npz", "samples", base)
    assert evidence.tolerance == 0.03
    assert evidence.arithmetic is Precision.FP16
    assert evidence.tensorflow == "2.20.0"  # which answered when the base was made
