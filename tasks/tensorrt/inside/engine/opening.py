"""Opens the plan of a file: everything is checked before TensorRT gets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.domain.errors import DigestMismatch, InputInvalid
from tasks.tensorrt.inside.cuda import gpu_at
from tasks.tensorrt.inside.engine.plan import (
    Place,
    PlanRecord,
    check_place,
    checked_plan,
    plan_record_in,
    read_record,
    record_beside,
    require_host_code_allowed,
)
from tasks.tensorrt.inside.engine.runner import Runner
from tasks.tensorrt.inside.engine.signed import require_signed
from tasks.tensorrt.inside.library import full_version, host, load, load_pycuda
from tasks.tensorrt.inside.plugins import plugin_path


def open_runner(  # noqa: PLR0913 (a plan, what it must be, and what it may do)
    path: Path,
    *,
    sha256: str | None,
    module: str | None,
    gpu_index: int,
    plugins: Path | None,
    allow_host_code: bool = False,
    trust: Path | None = None,
) -> Runner:
    """Return the engine of the plan at `path`, ready to run.

    Args:
        path: the plan; its record is beside it, or `sha256` and `module` are given.
        sha256: the digest that the plan must have; None: that of the record.
        module: name of TensorRT's Python module; None: that of the record.
        gpu_index: index of the GPU among the visible ones.
        plugins: the folder with the libraries that the record names.
        allow_host_code: whether a plan that contains native code may run it in this process.
        trust: the file of trusted keys; None: the one that ENGINEFARM_TRUST names, if any.

    Raises:
        SignatureRefused: there is such a file, and none of its keys signed the engine.
        KeyUnusable: there is such a file, and it cannot be used.
        InputInvalid: neither a record nor a digest is given, there is no plan, or it contains native code and
            that is not allowed.
        RecordInvalid: the record cannot be read.
        DigestMismatch: the plan does not match the record or the digest.
        TargetUnavailable: according to the record or to TensorRT, the plan does not run here.
        ToolchainBroken: TensorRT does not load.
        RunnerMissing: pycuda does not load.
        PluginRefused: a library is missing, is not the one in the record, or does not load.
        GpuUnavailable: there is no such GPU, or it is out of memory.
    """
    record = _signed_record(path, trust)
    digest, flavour = _digest_and_module(path, record, sha256, module)
    if record is not None:
        _check_form(path, record, allow_host_code=allow_host_code)
    plan = checked_plan(path, digest, None if record is None else record.size)
    trt = load(flavour)
    if record is not None:
        check_place(record, _current_place(trt, flavour, gpu_index))
    cuda = load_pycuda()
    needed = () if record is None else record.plugins
    libraries = [
        {"path": str(plugin_path(plugin["library"], plugins)), "sha256": plugin["sha256"]}
        for plugin in needed
    ]
    # The record can only rule code out: whoever may change it must not be able to allow it.
    carries_code = allow_host_code and (record is None or record.carries_code)
    return Runner(trt, cuda, plan, gpu_index=gpu_index, plugins=libraries, carries_code=carries_code)


def _signed_record(path: Path, trust: Path | None) -> PlanRecord | None:
    """Return the plan's record, None if there is none; its signature is checked first, if it must have one.

    What is parsed are the bytes that were checked.
    """
    beside = record_beside(path)
    data = read_record(beside) if beside.exists() else None
    require_signed(path, data, trust)
    return None if data is None else plan_record_in(data, beside.name)


def _check_form(path: Path, record: PlanRecord, *, allow_host_code: bool) -> None:
    """Refuse a plan without weights, and one with native code that is not allowed."""
    if record.stripped:
        raise InputInvalid(
            wanted=f"a plan with its weights in {path.name}",
            found="a plan that was built without weights",
            fix="refit it with the graph that its record names (TensorRT's OnnxParserRefitter), and open "
            "the result with sha256= and module=",
        )
    if record.carries_code:
        require_host_code_allowed(path.name, allowed=allow_host_code)


def _digest_and_module(
    path: Path, record: PlanRecord | None, sha256: str | None, module: str | None
) -> tuple[str, str]:
    """Return the digest that the plan must have, and the name of TensorRT's module."""
    if record is None and (sha256 is None or module is None):
        raise InputInvalid(
            wanted=f"{record_beside(path).name}, the record of {path.name}, or sha256= and module=",
            found="no such file, and not both arguments",
            fix="`enginefarm engines fetch` writes plan and record; take the digest from a source that you "
            "trust, never from the file itself",
        )
    if record is not None and sha256 not in (None, record.sha256):
        raise DigestMismatch(
            wanted=f"the record of a plan with SHA-256 {sha256}",
            found=f"the record of {record.sha256} in {record_beside(path).name}",
            fix="fetch the engine again, or correct the digest",
        )
    recorded = ("", "") if record is None else (record.sha256, record.target.flavour)
    return sha256 or recorded[0], module or recorded[1]


def _current_place(trt: Any, module: str, gpu_index: int) -> Place:
    gpu = gpu_at(gpu_index)
    return Place(
        flavour=module,
        version=full_version(trt),
        gpu=gpu.name,
        compute_capabilities=(gpu.compute,),
        system=" ".join(host().values()),
    )
