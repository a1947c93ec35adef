"""Large weights of a graph: in a file beside it, read on demand, written one by one.

A graph in memory holds references to them. So no library copies them with the graph, protobuf's limit of
2 GiB does not matter, and memory only holds the weights in use. `onnx.numpy_helper.to_array` reads a
reference relative to the working folder, and so do onnx's checker and onnxslim: inside `opened` or `scratch`
the values of every tensor can be read.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import onnx
from onnx import GraphProto, ModelProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from tasks.domain.errors import ModelRefused
from tasks.domain.record import WEIGHTS_FILE

LARGE = 1 << 16
"""The smallest tensor, in bytes, that is kept outside the graph."""
_ALIGNMENT = 4096  # a page: readers map the file into memory
_CHUNK = 1 << 24


class Scratch:
    """A file for the large tensors of a graph while it is edited. It only grows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def keep(self, model: ModelProto) -> None:
        """Move the large weights in `model` itself into the file."""
        for tensor in initializers(model.graph):
            self.keep_tensor(tensor)

    def keep_tensor(self, tensor: TensorProto) -> None:
        """Move the values of `tensor` into the file if they are large."""
        if not uses_external_data(tensor) and len(tensor.raw_data) >= LARGE:
            self.refer(tensor, tensor.raw_data)

    def refer(self, tensor: TensorProto, values: Any) -> None:
        """Append `values`, a buffer in ONNX's byte order, and let `tensor` refer to them."""
        offset = _aligned_end(self._file)
        length = self._file.write(values)
        self._file.flush()  # others read it by its name
        _refer(tensor, self._file.name, offset, length)


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Yield a new file in the working folder, and remove it afterwards."""
    name = f"scratch-{uuid.uuid4().hex}.bin"
    try:
        with open(name, "xb") as file:  # noqa: PTH123 (the name is the location that references have)
            yield Scratch(file)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def opened(path: Path) -> Iterator[tuple[ModelProto, Scratch]]:
    """Yield the graph at `path` with references to its large weights; its folder becomes the working folder.

    Raises:
        ModelRefused: the graph refers to another file than the weights file beside it, or beyond its end.
    """
    with contextlib.chdir(path.parent), scratch() as room:
        model = onnx.load(path.name, load_external_data=False)
        _check_references(model)
        room.keep(model)
        yield model, room


def save(model: ModelProto, path: Path, *, one_file: int) -> Path | None:
    """Write `model` to `path`, in a folder of its own; afterwards `model` refers to the written weights.

    Args:
        model: the graph, with references relative to the working folder.
        path: the file.
        one_file: up to this many bytes of large weights are written into `path` itself.

    Returns:
        The weights file beside `path`; None if there is none.
    """
    weights = list(initializers(model.graph))
    large = [tensor for tensor in weights if uses_external_data(tensor) or _size(tensor) >= LARGE]
    beside = path.with_name(WEIGHTS_FILE) if sum(map(_size, large)) > one_file else None
    if beside is None:
        for tensor in filter(uses_external_data, large):
            load_external_data_for_tensor(tensor, "")
    else:
        with beside.open("xb") as target:
            _move(large, target)
    path.write_bytes(model.SerializeToString())
    return beside


def initializers(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield the weights of `graph` and of the graphs inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from initializers(inner)


def _size(tensor: TensorProto) -> int:
    return _extent(tensor)[1] if uses_external_data(tensor) else len(tensor.raw_data)


def _move(tensors: list[TensorProto], target: IO[bytes]) -> None:
    """Write the values of each tensor, shared values once, and let the tensors refer to them."""
    moved: dict[tuple[str, int], int] = {}
    for tensor in tensors:
        if not uses_external_data(tensor):
            _refer(tensor, WEIGHTS_FILE, _aligned_end(target), target.write(tensor.raw_data))
            continue
        location, (offset, length) = _where(tensor)["location"], _extent(tensor)
        if (location, offset) not in moved:
            moved[location, offset] = _aligned_end(target)
            with Path(location).open("rb") as source:
                source.seek(offset)
                for done in range(0, length, _CHUNK):
                    target.write(source.read(min(_CHUNK, length - done)))
        _refer(tensor, WEIGHTS_FILE, moved[location, offset], length)


def _aligned_end(file: IO[bytes]) -> int:
    file.write(bytes(-file.tell() % _ALIGNMENT))
    return file.tell()


def _refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
    tensor.data_location = TensorProto.EXTERNAL


def _where(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _extent(tensor: TensorProto) -> tuple[int, int]:
    where = _where(tensor)
    return int(where["offset"]), int(where["length"])


def _check_references(model: ModelProto) -> None:
    """Refuse references to anything but a range of the weights file: no other file is ever read."""
    beside = Path(WEIGHTS_FILE)
    size = beside.stat().st_size if beside.is_file() and not beside.is_symlink() else 0
    anywhere = [tensor for tensor in _tensors(model) if uses_external_data(tensor)]
    refused = [tensor for tensor in anywhere if not _fits(tensor, size)]
    elsewhere = len(anywhere) - sum(map(uses_external_data, initializers(model.graph)))
    if refused or elsewhere:
        raise ModelRefused(
            wanted=f"external weights in {WEIGHTS_FILE} beside the graph, which has {size} bytes",
            found=f"{refused[0].name or 'a tensor'} at {_where(refused[0])}"
            if refused
            else f"{elsewhere} external tensors that are not weights",
            fix="build again; if it happens again, please report it with the release's model",
        )


def _fits(tensor: TensorProto, size: int) -> bool:
    try:
        offset, length = _extent(tensor)
        return _where(tensor)["location"] == WEIGHTS_FILE and offset >= 0 and 0 <= length <= size - offset
    except (KeyError, ValueError):
        return False


def _tensors(message: Any) -> Iterator[TensorProto]:
    """Yield every tensor anywhere in `message`."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                if isinstance(part, TensorProto):
                    yield part
                else:
                    yield from _tensors(part)
