"""Files that are too large for the corpus, each made in seconds; the results by hand are in README.md."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tasks.children.run import Limits
from tasks.children.workspace import Workspace, workspace
from tasks.domain.errors import ModelRefused
from tasks.domain.release import ModelFormat
from tasks.tensorflow.models import LocalModel, preflight_model
from tasks.tensorflow.preflight.child import parse_saved_model
from tasks.tensorflow.preflight.npz import check_npz
from tests.hostile import keras_files as ke
from tests.hostile import saved_models as sm

pytestmark = pytest.mark.long

_MIB = 1 << 20
_DENSE = {"class_name": "Dense", "config": {}}


def preflight(folder: Path, form: ModelFormat, work: Path, *, memory_mib: int = 3072) -> None:
    work.mkdir()
    with workspace(work) as own:
        limited = Workspace(folder=own.folder, limits=Limits(memory_mib=memory_mib))
        asyncio.run(preflight_model(LocalModel(format=form, path=folder / form), work=limited))


def huge_constant(folder: Path, size: int) -> None:
    """Write a valid model with a constant of `size` bytes, a multiple of four: a hole in the file."""
    model = parse_saved_model(sm.small(folder))
    graph = model.meta_graphs[0]
    node = graph.graph_def.node.add(name="huge", op="Const")
    node.attr["dtype"].type = 1
    tensor = node.attr["value"].tensor
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=size // 4)
    tensor.tensor_content = b""
    shell, rest = tensor.SerializeToString(), size
    del node.attr["value"]

    def around(number: int, before: bytes, inner: bytes) -> bytes:
        """Return the head of a message: `before`, then field `number`, which holds `inner` and the hole."""
        return before + bytes([number << 3 | 2]) + sm._varint(len(inner) + rest) + inner

    head = around(4, shell, b"")  # TensorProto.tensor_content
    head = around(8, b"", head)  # AttrValue.tensor
    head = around(2, b"\x0a\x05value", head)  # the entry of the map
    head = around(5, node.SerializeToString(), head)  # NodeDef.attr
    graph.graph_def.node.remove(node)
    head = around(1, b"", head)  # GraphDef.node
    head = around(2, graph.SerializeToString(), head)  # MetaGraphDef.graph_def, which is merged
    del model.meta_graphs[:]
    head = around(2, model.SerializeToString(), head)  # SavedModel.meta_graphs
    with (folder / "saved_model" / "saved_model.pb").open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)


def test_a_saved_model_of_almost_two_gigabytes_is_taken(tmp_path: Path) -> None:
    huge_constant(tmp_path, 1900 * 1000 * 1000)
    preflight(tmp_path, ModelFormat.SAVED_MODEL, tmp_path / "work", memory_mib=8192)


@pytest.mark.parametrize(
    ("layers", "problem"), [(200_000, "more than 100000 layers"), (900_000, "a configuration of")]
)
def test_a_model_of_almost_a_million_layers_is_refused(tmp_path: Path, layers: int, problem: str) -> None:
    rows = [_DENSE | {"config": {"name": f"layer{number}"}} for number in range(layers)]
    ke.keras(tmp_path, ke.layer(config={"name": "odd", "layers": rows}))
    with pytest.raises(ModelRefused, match=problem):
        preflight(tmp_path, ModelFormat.KERAS, tmp_path / "work")


def references(file: Any) -> None:
    """Write 200,000 values, all references to the same 4 MB: 800 GB."""
    data = file.create_dataset("layers/bomb", (200_000,), dtype=h5py.vlen_dtype(np.float32))
    data[0] = np.zeros(1_000_000, np.float32)


def test_many_references_to_one_large_value_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(ke.layer())
        references(file)
        start = file["layers/bomb"].id.get_offset()
    with (tmp_path / "model.h5").open("r+b") as raw:
        raw.seek(start)
        first = raw.read(16)
        raw.seek(start)
        raw.write(first * 200_000)
    with h5py.File(tmp_path / "model.h5") as file:
        assert len(file["layers/bomb"][199_999]) == 1_000_000
    with pytest.raises(ModelRefused, match="layers/bomb, of values of variable length"):
        preflight(tmp_path, ModelFormat.H5, tmp_path / "work")


def _stored(path: Path, size: int, method: int) -> None:
    header = ke.npy((size // 4,))
    with (
        zipfile.ZipFile(path, "w", method, compresslevel=1) as packed,
        packed.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(header)
        for _ in range(size // (16 * _MIB)):
            file.write(bytes(16 * _MIB))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["plain", "compressed"])
def test_samples_of_five_gigabytes_are_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "samples.npz"
    try:
        _stored(path, 5 << 30, method)
        with pytest.raises(ValueError, match="unpacked"):
            check_npz(path)
    finally:
        path.unlink()  # pytest keeps the folders of its last runs
