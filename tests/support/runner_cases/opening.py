"""Opening plans of files, as users do."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt

from tasks.domain.errors import (
    DigestMismatch,
    GpuUnavailable,
    InputInvalid,
    PluginRefused,
    RecordInvalid,
    TargetUnavailable,
)
from tasks.tensorrt.inside.library import full_version
from tasks.tensorrt.runner import Engine
from tests.stand_in.hardware import boards
from tests.support.runner_cases.engines import (
    batch,
    check_product,
    nothing_left,
    patched,
    product_plan,
    refusal,
)

RECORD = Path(__file__).parents[2] / "assets/engine-record.json"


@contextmanager
def fetched(plan: bytes, **target: Any) -> Iterator[Path]:
    """Give the plan as `enginefarm engines fetch` leaves it, its target changed by `target`."""
    record = json.loads(RECORD.read_text("utf-8"))
    record["plan"] = {"sha256": hashlib.sha256(plan).hexdigest(), "size": len(plan)}
    version = dict(
        zip(("major", "minor", "patch", "build"), map(int, full_version(trt).split(".")), strict=True)
    )
    major, minor = boards()[0].compute.split(".")
    record["target"] |= {
        "gpu": boards()[0].name,
        "version": version,
        "compute_capabilities": [{"major": int(major), "minor": int(minor)}],
    } | target
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.plan"
        path.write_bytes(plan)
        path.with_name("net.plan.json").write_text(json.dumps(record), "utf-8")
        yield path


@contextmanager
def unseen() -> Iterator[None]:
    """Hold that TensorRT sees no plan in the body."""

    def see(self: Any, plan: bytes) -> None:
        del self, plan
        raise AssertionError("TensorRT has seen the plan")

    with nothing_left(), patched(trt.Runtime, deserialize_cuda_engine=see):
        yield


def case_a_fetched_plan_runs_in_three_lines() -> None:
    x = batch(2)
    with nothing_left(), fetched(product_plan()) as path, Engine.open(path) as engine:
        outputs = engine.run({"x": x})
        assert [tensor.name for tensor in engine.inputs + engine.outputs] == ["x", "y"]
        assert engine.profiles[0]["x"].max == (4, 3)
        with engine.bind({"x": x}, graph=True) as bound:
            bound.enqueue()
            np.testing.assert_array_equal(bound.fetch()["y"], outputs["y"])
    check_product(outputs["y"], x)


def case_other_bytes_are_never_given_to_tensorrt() -> None:
    data = product_plan()
    with fetched(data) as path, unseen():
        for changed in (data[:-1], data + b"\0", data[:24] + b"\xff" + data[25:], b""):
            path.write_bytes(changed)
            error = refusal(DigestMismatch, Engine.open, path)
            assert hashlib.sha256(data).hexdigest() in error.wanted
            assert hashlib.sha256(changed).hexdigest() in error.found


def case_what_is_hashed_is_what_tensorrt_gets() -> None:
    """The file is read once: somebody may change it at any moment."""
    reads: list[Path] = []
    real = Path.read_bytes

    def read(self: Path) -> bytes:
        reads.append(self)
        return real(self)

    with fetched(product_plan()) as path, patched(Path, read_bytes=read), Engine.open(path):
        pass
    assert [path.name for path in reads if path.name == "net.plan"] == ["net.plan"]


def case_a_digest_does_instead_of_a_record() -> None:
    data = product_plan()
    digest = hashlib.sha256(data).hexdigest()
    with fetched(data) as path:
        with Engine.open(path, sha256=digest) as engine:
            assert engine.run({"x": batch(1)})
        with unseen():
            refusal(DigestMismatch, Engine.open, path, sha256="0" * 64)
        path.with_name("net.plan.json").unlink()
        with Engine.open(path, sha256=digest, module="tensorrt") as engine:
            assert engine.run({"x": batch(1)})
        with unseen():
            refusal(DigestMismatch, Engine.open, path, sha256="0" * 64, module="tensorrt")
            for given in ({}, {"module": "tensorrt"}, {"sha256": digest}):
                error = refusal(InputInvalid, Engine.open, path, **given)
                assert "net.plan.json" in error.wanted
                assert "engines fetch" in error.fix


def case_a_plan_that_is_gone() -> None:
    with fetched(product_plan()) as path, unseen():
        path.unlink()
        assert refusal(InputInvalid, Engine.open, path).found == "No such file or directory"


def case_another_version_of_tensorrt() -> None:
    other = {"major": 10, "minor": 13, "patch": 3, "build": 10}
    with fetched(product_plan(), version=other) as path, unseen():
        error = refusal(TargetUnavailable, Engine.open, path)
    assert "tensorrt 10.13.3.10" in error.wanted
    assert f"tensorrt {full_version(trt)}" in error.found
    assert "toolchain with tensorrt 10.13.3.10" in error.fix


def case_another_gpu_or_system() -> None:
    for target, fix in (
        ({"gpu": "NVIDIA L4"}, "build the release for NVIDIA H100"),
        ({"compute_capabilities": [{"major": 8, "minor": 9}]}, "run it on that GPU"),
        ({"architecture": "aarch64"}, "use a toolchain"),
    ):
        with fetched(product_plan(), **target) as path, unseen():
            error = refusal(TargetUnavailable, Engine.open, path)
            assert fix in error.fix, error


def case_a_gpu_that_is_not_there() -> None:
    with fetched(product_plan()) as path, unseen():
        error = refusal(GpuUnavailable, Engine.open, path, gpu=5)
        assert "index 5" in error.wanted


def case_records_that_are_none() -> None:
    with fetched(product_plan()) as path, unseen():
        beside = path.with_name("net.plan.json")
        good = json.loads(beside.read_text("utf-8"))
        for text in (
            "", "[]", "null", "{}", '{"schema": "enginefarm.engine/2"}', "\xff", "[" * 100_000,
            json.dumps(good | {"plan": {"sha256": None}}),
            json.dumps(good | {"target": good["target"] | {"flavour": "os"}}),
            json.dumps(good | {"target": good["target"] | {"version": {"major": "x"}}}),
        ):  # fmt: skip
            beside.write_text(text, "latin-1")
            error = refusal(RecordInvalid, Engine.open, path)
            assert "net.plan.json" in error.wanted


def case_plugins_come_from_the_folder_that_is_named() -> None:
    with fetched(product_plan()) as path, unseen():
        beside = path.with_name("net.plan.json")
        record = json.loads(beside.read_text("utf-8"))
        for library in ("libroi.so", "../libroi.so", "/etc/passwd"):
            record["options"]["plugins"] = [{"library": library, "sha256": "4" * 64, "ops": ["Roi"]}]
            beside.write_text(json.dumps(record), "utf-8")
            refusal(PluginRefused, Engine.open, path)
            refusal(PluginRefused, Engine.open, path, plugins=path.parent)
        (path.parent / "libroi.so").write_bytes(b"another library")
        record["options"]["plugins"][0]["library"] = "libroi.so"
        beside.write_text(json.dumps(record), "utf-8")
        error = refusal(PluginRefused, Engine.open, path, plugins=path.parent)
        assert "it was not loaded" in error.found
