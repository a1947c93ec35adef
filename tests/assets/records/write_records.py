"""Writes into the folder next to this file what the code of one commit writes into a store.

It runs in a checkout of that commit, with that commit's own classes, keys and writers:

    git worktree add /tmp/old COMMIT
    PYTHONPATH=/tmp/old python tests/assets/records/write_records.py COMMIT

The kinds of documents that a commit does not know yet are left out.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import socket
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}

import boto3
from moto import mock_aws

_BUCKET = "farm"
socket.gethostname = lambda: "builder-1"  # it is written into leases


def main() -> None:
    commit = sys.argv[1]
    out = Path(__file__).resolve().parent / commit
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=_BUCKET)
        _write()
        for entry in s3.list_objects_v2(Bucket=_BUCKET)["Contents"]:
            file = out / entry["Key"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(s3.get_object(Bucket=_BUCKET, Key=entry["Key"])["Body"].read())


def _write() -> None:
    """Write each kind of document, and blobs of a few bytes."""
    store = _module("tasks.store.store").Store.connect(f"s3://{_BUCKET}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for blob in ("onnx", "reference", "actual", "plan", "cache"):
            (folder / blob).write_bytes(f"{blob} of a test\n".encode())
        engine = _engine(store, folder)
        store.commit(engine, engine.key)
        conversion = _conversion(engine)
        store.commit(conversion, _module("tasks.domain.keys").conversion_record_key(conversion.key))
        if _known("tasks.quarantine"):
            _quarantine(store, engine, folder)
        if _known("tasks.store.timing"):
            _timing(store, engine, folder)
        if _known("tasks.store.announcements"):
            _announcement(store, engine)
        if _known("tasks.store.lease"):
            _leases(store, engine)


def _engine(store: Any, folder: Path) -> Any:
    """Return the commit's own sample record, with blobs that are in the store."""
    sample = Path("tests/assets/engine-record.json").read_bytes()
    record = _module("tasks.store.records").engine_record_from_json(sample)
    blobs = {name: store.put_blob(folder / name) for name in ("onnx", "reference", "plan")}
    return dataclasses.replace(record, **blobs, attempt="run/attempt")


def _conversion(engine: Any) -> Any:
    record = _module("tasks.domain.record")
    return _made(
        record.ConversionRecord,
        key="0f" * 32,
        release_digest=engine.release.model_digest,
        signature="serving_default",
        opset=17,
        graph_precision=engine.options.precision,
        onnx=engine.onnx,
        reference=engine.reference,
        inputs=engine.inputs,
        outputs=engine.outputs,
        shapes=engine.options.shapes,
        derived_shapes=("x",),
        verification=engine.graph_verification,
        seconds={"convert": 2.0},
        peak_mib=100.0,
        tools={"tf2onnx": "1.17.0", "tensorflow-cpu": "2.21.0"},
    )


def _quarantine(store: Any, engine: Any, folder: Path) -> None:
    """Let the commit's own step put a graph and an engine into quarantine."""
    module, gate = _module("tasks.quarantine"), _module("tasks.domain.gate")
    (row, *_) = engine.graph_verification.comparisons
    row = dataclasses.replace(row, relative=0.5, max_abs=0.5)
    verification = _called(gate.judge, (row,), compared="a test", inputs="drawn numbers", tolerance=1e-3)
    suspect = _made(
        module.Suspect, store=store.url, identity="ab" * 32, release=engine.release, opset=17,
        options=engine.options, onnx=folder / "onnx", weights=None, reference=folder / "reference",
        actual=folder / "actual", inputs="drawn numbers", tools={"onnx": "1.0"},
    )  # fmt: skip
    built = dataclasses.replace(
        suspect,
        identity=engine.build_key,
        target=engine.target,
        toolchain=engine.toolchain,
        plan=folder / "plan",
    )
    for refused in (suspect, built):
        try:
            gate.require_pass(verification, "the graph")
        except _module("tasks.domain.errors").GateError as error:
            parameters = inspect.signature(module._quarantine).parameters
            module._quarantine(refused, error, *(None for _ in list(parameters)[2:]))


def _timing(store: Any, engine: Any, folder: Path) -> None:
    domain, module = _module("tasks.domain.timing"), _module("tasks.store.timing")
    key = domain.timing_key(engine.target, "13.0")
    ref = store.put_blob(folder / "cache")
    record = _made(
        domain.TimingRecord, key=key.shared, made_for=key, cache=ref, attempt="run/attempt",
        created="2026-11-25T18:00:00+00:00",
    )  # fmt: skip
    module.swap_timing(store, record, None)
    named = dataclasses.replace(record, key=key.recorded(ref.sha256))
    module.swap_timing(store, named, None)


def _announcement(store: Any, engine: Any) -> None:
    domain = _module("tasks.domain.offer")
    offer = domain.Offer(
        flavour=engine.target.flavour, version=engine.target.version, os="linux", architecture="x86_64",
        gpus=((engine.target.gpu, engine.target.compute_capabilities[0]),),
    )  # fmt: skip
    pool = domain.pool_of(engine.target)
    announcement = _made(
        domain.Announcement, pool=pool, offer=offer, host="builder-1", seen="2026-11-26T00:00:00+00:00"
    )
    _module("tasks.store.announcements").announce(store, announcement)


def _leases(store: Any, engine: Any) -> None:
    """Leave one lease that is held, and one whose holder failed."""
    if _known("tasks.store.holder"):  # a host that no test runs on
        here = ("65e3b130-0000-0000-0000-000000000000", "pid:[1]")
        setattr(_module("tasks.store.holder"), "_here", lambda: here)  # noqa: B010 (no type has it)
    lease = _module("tasks.store.lease").Lease
    lease(store=store, key=engine.key).take()
    failed = lease(store=store, key="conversions/0f/" + "0f" * 32 + ".json")
    failed.take()
    refusal = _module("tasks.domain.errors").ModelRefused
    failed.release(refusal(wanted="a model", found="a Python function", fix="export it without"))


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)


def _known(name: str) -> bool:
    try:
        _module(name)
    except ModuleNotFoundError:
        return False
    return True


def _made(cls: Any, **values: Any) -> Any:
    """Return a `cls` with those of `values` that the commit has a field for."""
    return cls(
        **{field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values}
    )


def _called(function: Any, *arguments: Any, **values: Any) -> Any:
    names = inspect.signature(function).parameters
    return function(*arguments, **{name: value for name, value in values.items() if name in names})


if __name__ == "__main__":
    main()
