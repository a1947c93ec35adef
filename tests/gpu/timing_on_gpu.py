"""Timing caches on a machine with an NVIDIA GPU: how much faster a rebuild is, and what TensorRT accepts.

    python tests/gpu/timing_on_gpu.py --toolchain PYTHON --output FOLDER [--model NAME] [--precisions ...]

PYTHON is an interpreter with TensorRT and pycuda. In each precision an untrained application of Keras is
built without any timings, and then with other weights, which begins with the first build's timings. Beside
them the same two graphs are built by TensorRT's own calls (`bare_builds.py`), in one process and in two. The
cache is then given to TensorRT whole, damaged, and on every GPU here, with and without `ignore_mismatch`.

Writes `timing.json`, renewed after each precision, and `timing.md`.
Ends with status 1 where a rebuild is not at least four times faster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.hardware.probe import probe_host
from flows.cli.demo import demo_world
from flows.cli.engines import read_all
from flows.local.temporary_server import temporary_server
from flows.settings import settings
from tasks.children.workspace import Workspace
from tasks.domain.gpu_table import device_slug
from tasks.domain.record import EngineRecord
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.request import BuildRequest, Precision
from tasks.domain.target import EngineTarget, Flavour
from tasks.domain.timing import TimingRecord
from tasks.store.publishing import publish_release
from tasks.store.request_file import render_request
from tasks.store.s3 import s3_client
from tasks.store.store import Store
from tasks.store.timing import drop_timing

_BUCKET = "enginefarm-gpu"
_BARE = Path(__file__).with_name("bare_builds.py")
_FASTER = 4
_PRECISIONS = (Precision.FP32, Precision.TF32, Precision.FP16)
_LOOSE = 10.0  # times are measured here, and the network is not trained
_MODEL = """
import keras, sys
keras.utils.set_random_seed(int(sys.argv[2]))
getattr(keras.applications, sys.argv[1])(weights=None).save(sys.argv[3])
"""
# Runs in the toolchain: what TensorRT makes of the bytes of a cache on the first visible GPU.
_ASK = """
import json, sys
import tensorrt as trt
class Logger(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.said = []
    def log(self, severity, msg):
        if severity <= trt.ILogger.WARNING:
            self.said.append(msg)
logger = Logger()
builder = trt.Builder(logger)
def size(cache):
    return None if cache is None else len(bytes(memoryview(cache.serialize())))
def ask(data, ignore):
    logger.said.clear()
    config = builder.create_builder_config()
    cache = config.create_timing_cache(data)
    taken = cache is not None and config.set_timing_cache(cache, ignore_mismatch=ignore)
    return {"taken": bool(taken), "bytes": size(cache), "said": [text[:300] for text in logger.said]}
data = open(sys.argv[1], "rb").read()
middle = bytearray(data)
middle[len(data) // 2] ^= 1
end = bytearray(data)
end[-9] ^= 1
forms = {"whole": data, "empty": b"", "rubbish": b"rubbish" * 99, "half": data[: len(data) // 2],
         "flipped in the middle": bytes(middle), "flipped near the end": bytes(end)}
answers = {name: {str(ignore): ask(form, ignore) for ignore in (False, True)} for name, form in forms.items()}
config = builder.create_builder_config()
one, other = config.create_timing_cache(data), config.create_timing_cache(data)
answers["combined"] = {str(way): bool(one.combine(other, ignore_mismatch=way)) for way in (False, True)}
print(json.dumps(answers))
"""


def publish(model: str, seed: int, device: str, work: Path) -> ReleaseRef:
    """Upload the model with the weights of `seed` as a release for `device`."""
    ref = ReleaseRef(bucket=_BUCKET, prefix="models", model=model, version=str(seed))
    folder = work / f"{model}-{seed}"
    folder.mkdir()
    command = [sys.executable, "-c", _MODEL, model, str(seed), str(folder / "model.keras")]
    subprocess.run(command, check=True, capture_output=True)
    request = BuildRequest(
        targets=(device,), precisions=_PRECISIONS, tolerances=dict.fromkeys(Precision, _LOOSE)
    )
    (folder / REQUEST_FILE).write_text(render_request(request), "utf-8")
    publish_release(s3_client(), ref, folder)
    return ref


async def build(ref: ReleaseRef, precision: Precision) -> EngineRecord:
    """Build one cell through the flow."""
    # Prefect reads its settings when it is imported.
    from flows.build_release import build_release  # noqa: PLC0415
    from tasks.domain.overrides import Overrides  # noqa: PLC0415

    (record,) = read_all(await build_release(ref, Overrides(precisions=(precision,))))
    return record


async def examine(options: argparse.Namespace) -> dict[str, Any]:
    """Build, rebuild, and ask TensorRT about the cache."""
    s3_client().create_bucket(Bucket=_BUCKET)
    model, toolchain, output = options.model, options.toolchain, options.output
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        host = await probe_host(
            settings().interpreters, work=Workspace(folder=work, limits=settings().limits)
        )
        target = next(target for target in host.targets() if target.flavour is Flavour.TENSORRT)
        gpus = [gpu for probe in host.toolchains if target in probe.targets() for gpu in probe.gpus]
        first, second = (publish(model, seed, device_slug(target), work) for seed in (1, 2))
        rows = []
        store = Store.connect(str(settings().store))
        for precision in options.precisions:
            for key, _ in list(store.look_through(TimingRecord)):
                drop_timing(store, key)
            cold, warm = await build(first, precision), await build(second, precision)
            rows.append(row(cold, warm) | {"TensorRT alone": bare(toolchain, store, cold, warm, work)})
            write(figures(model, target, rows), output)
        (standing,) = store.records(TimingRecord)
        cache = work / "timing.cache"
        store.get_blob(standing.cache, cache)
        asked = {f"GPU {gpu.index}, {gpu.name}": ask(toolchain, cache, gpu.uuid, work) for gpu in gpus}
        return figures(model, target, rows) | {"measured on": "GPU 0", "what TensorRT says": asked}


def row(cold: EngineRecord, warm: EngineRecord) -> dict[str, Any]:
    """Return the seconds of both builds, and what they had of timings."""
    assert cold.timing is not None
    assert warm.timing is not None
    refs = {"cold used": cold.timing.used, "warm used": warm.timing.used, "left": warm.timing.left}
    return {
        "precision": cold.options.precision,
        "cold s": round(cold.seconds["build"], 2),
        "warm s": round(warm.seconds["build"], 2),
        "load s": [round(build.seconds["load"], 2) for build in (cold, warm)],
        "faster": round(cold.seconds["build"] / warm.seconds["build"], 1),
        "bytes": {name: None if ref is None else ref.size for name, ref in refs.items()},
        "notes": [*cold.timing.notes, *warm.timing.notes],
        "verified": [cold.engine_verification.verdict, warm.engine_verification.verdict],
    }


def bare(toolchain: str, store: Store, cold: EngineRecord, warm: EngineRecord, work: Path) -> dict[str, Any]:
    """Build the graphs of both records by TensorRT's own calls: one after the other, then the second anew."""
    folder = Path(tempfile.mkdtemp(dir=work))
    graphs = [folder / "cold.onnx", folder / "warm.onnx"]
    for record, graph in zip((cold, warm), graphs, strict=True):
        store.get_blob(record.onnx, graph)
    command = [toolchain, str(_BARE), str(cold.options.precision), str(folder / "timings")]

    def run(*graphs: Path) -> dict[str, Any]:
        done = subprocess.run([*command, *map(str, graphs)], capture_output=True, text=True, check=False)
        if done.returncode:
            return {"rc": done.returncode, "failed": (done.stdout + done.stderr)[-800:]}
        *said, figures = done.stdout.splitlines()
        return dict(json.loads(figures)) | {"said": [line[:300] for line in said]}

    return {"one process": run(*graphs), "another process": run(graphs[1])}


def ask(toolchain: str, cache: Path, gpu: str, work: Path) -> dict[str, Any]:
    """Return what TensorRT says about the cache on the GPU with this UUID."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpu}
    command = [toolchain, "-c", _ASK, str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=work)
    if done.returncode:
        return {"status": done.returncode, "output": done.stderr[-2000:]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def figures(model: str, target: EngineTarget, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what was measured, with where and when."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpu": target.gpu,
        "tensorrt": str(target.version),
        "model": model,
        "builds": rows,
    }


def write(figures: dict[str, Any], output: Path) -> None:
    """Write what is known so far."""
    (output / "timing.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the builds as lines of Markdown."""
    head = "| precision | cold build s | other weights, with its timings s | times faster |"
    lines = [f"| {row['precision']} | {row['cold s']} | {row['warm s']} | {row['faster']} |" for row in rows]
    return [head, "|---|---|---|---|", *lines]


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--model", default="MobileNetV2")
    parser.add_argument("--precisions", nargs="+", type=Precision, default=_PRECISIONS, choices=_PRECISIONS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    os.environ["ENGINEFARM_TOOLCHAINS"] = options.toolchain
    with demo_world(), temporary_server():
        os.environ["ENGINEFARM_STORE"] = f"s3://{_BUCKET}"
        figures = asyncio.run(examine(options))
    text = "\n".join(table(figures["builds"]))
    write(figures, options.output)
    title = f"{figures['model']} on {figures['gpu']}, TensorRT {figures['tensorrt']}, {figures['date']}"
    (options.output / "timing.md").write_text(f"{title}\n\n{text}\n", "utf-8")
    sys.stdout.write(text + "\n")
    sys.exit(0 if all(build["faster"] >= _FASTER for build in figures["builds"]) else 1)


if __name__ == "__main__":
    main()
