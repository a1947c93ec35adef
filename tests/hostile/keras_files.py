"""Hostile Keras files, samples and requests, made without Keras: each function writes one file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def layer(**changes: Any) -> dict[str, Any]:
    """Return the configuration of a model with one layer, of a model within the model."""
    odd = {"class_name": "Dense", "module": "keras.layers", "config": {"name": "odd"}} | changes
    inner = {"class_name": "Sequential", "module": "keras", "config": {"name": "inner", "layers": [odd]}}
    return {"class_name": "Functional", "module": "keras", "config": {"name": "outer", "layers": [inner]}}


def keras(folder: Path, config: Any, weights: Callable[[Any], object] | None = None) -> None:
    """Write `model.keras` with this configuration, and weights that `weights` writes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        (weights or _plain)(file)
    text = config if isinstance(config, (str, bytes)) else json.dumps(config)
    with zipfile.ZipFile(folder / "model.keras", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("metadata.json", "{}")
        packed.writestr("config.json", text)
        packed.writestr("model.weights.h5", buffer.getvalue())


def keras_member(folder: Path, name: str) -> None:
    """A `.keras` file with one member more."""
    keras(folder, layer())
    with zipfile.ZipFile(folder / "model.keras", "a") as packed:
        packed.writestr(name, b"x")


def h5(folder: Path, config: Any, weights: Callable[[Any], object] | None = None) -> None:
    """Write a legacy `model.h5`."""
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        (weights or _plain)(file)


def _plain(file: Any) -> None:
    file["layers/dense/vars/0"] = [1.0, 2.0]


def unwritten(file: Any) -> None:
    """4 TB of weights, none of which was ever written."""
    file.create_dataset("layers/bomb", (10**6, 10**6), "f4", chunks=(1000, 1000))


def compressed(file: Any) -> None:
    """120 MB of zeros, compressed to 120 kB."""
    file.create_dataset("layers/bomb", data=np.zeros((30, 10**6), "f4"), compression="gzip")


def of_variable_length(file: Any) -> None:
    """Values that are references; a file that is written by hand has them all lead to one large value."""
    data = file.create_dataset("layers/bomb", (8,), dtype=h5py.vlen_dtype(np.float32))
    data[0] = np.zeros(1000, np.float32)


def many_references(file: Any) -> None:
    """Names that are references; a file that is written by hand has them all lead to one large text."""
    file.attrs["names"] = np.array(["n" * 100] * 4000, dtype=h5py.string_dtype())


def filtered(file: Any) -> None:
    """Weights that only a plugin of the host can unpack: bzip2."""
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((4,))
    created.set_filter(307, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.create_group("layers").id, b"packed", h5py.h5t.IEEE_F32LE, space, created)


def virtual(file: Any) -> None:
    """Weights that another file of the host holds."""
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "weights", (4,))
    file.create_virtual_dataset("layers/stolen", layout)


def external_link(file: Any) -> None:
    """A name that leads into another file of the host."""
    file.create_group("layers")["stolen"] = h5py.ExternalLink("/etc/other.h5", "/weights")


def external_storage(file: Any) -> None:
    """Weights that are the bytes of any file of the host."""
    file.create_dataset("layers/stolen", (16,), "u1", external=[("/etc/hostname", 0, 16)])


def samples(folder: Path, members: dict[str, bytes], *, packed: bool = False) -> None:
    """Write `samples.npz` of these members."""
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(folder / "samples.npz", "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)


def npy(shape: tuple[int, ...], data: bytes = b"", descr: str = "<f4") -> bytes:
    """Return an array's file whose header says `shape`, whatever the data are."""
    buffer = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + data


def pickled() -> bytes:
    """Return an array that runs code where it is unpickled."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], object))
    return buffer.getvalue()


def sample_bomb(folder: Path) -> None:
    """120 MB of zeros in 120 kB."""
    samples(folder, {"x.npy": npy((10**7, 3), bytes(12 * 10**7))}, packed=True)


def sample_overlong_header(folder: Path) -> None:
    """A header that NumPy's reader would evaluate for minutes."""
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"(" * 30_000 + b")" * 30_000 + b")}"
    samples(folder, {"x.npy": b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text})


def request(folder: Path, text: str) -> None:
    """Write `build.yaml`."""
    (folder / "build.yaml").write_text(text, "utf-8")


def laughs() -> str:
    """Return nine levels of nine aliases each: 9^9 words."""
    rows = ["a0: &a0 [lol]"]
    rows += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]
    return "\n".join(rows)
