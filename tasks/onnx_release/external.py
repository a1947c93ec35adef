"""External data of an ONNX model: ranges of plain files of the release, each read once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, helper
from onnx.external_data_helper import uses_external_data

from tasks.children.file_kinds import refuse_lfs_pointers
from tasks.children.weights import initializers
from tasks.domain.errors import ModelRefused
from tasks.domain.printable import printable_name

_PACKED = frozenset({TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1})


def check_external(model: ModelProto, folder: Path) -> None:
    """Refuse references to anything but ranges of files below `folder`; write offset and length into each.

    Raises:
        ModelRefused: a reference is to another place, to a link, beyond a file's end, or of another size.
        ModelUnreadable: a file is a Git LFS pointer.
    """
    weights = [tensor for tensor in initializers(model.graph) if uses_external_data(tensor)]
    if len(weights) != sum(map(uses_external_data, _tensors(model))):
        raise _refused(
            "a tensor that is no weight of the graph", "keep values of attributes in the model's file"
        )
    ranges: dict[tuple[str, int], int] = {}
    for tensor in weights:
        location, offset, length = _checked(tensor, folder)
        if ranges.setdefault((location, offset), length) != length:
            raise _refused(f"two sizes at byte {offset} of {location}", "store each weight once")
    files = {location: folder / location for location, _ in ranges}
    refuse_lfs_pointers(files)
    if sum(ranges.values()) > sum(path.stat().st_size for path in files.values()):
        raise _refused("weights that overlap in their files", "store each weight once")


def _checked(tensor: TensorProto, folder: Path) -> tuple[str, int, int]:
    """Return file, offset and length of the values of `tensor`."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    location, name = where.get("location", ""), printable_name(tensor.name)
    if not _is_plain(location, folder):
        raise _refused(
            f"{name} at {printable_name(location)!r}, which is no file of the release",
            "name files by their path below the release, without links, and upload them beside model.onnx",
        )
    size, wanted = (folder / location).stat().st_size, _bytes_of(tensor)
    try:
        offset = int(where.get("offset", "0"))
        length = int(where.get("length", wanted))
    except ValueError as error:
        raise _refused(f"{name} at an offset that is no number", "export the model again") from error
    if length != wanted or offset < 0 or offset + length > size:
        raise _refused(
            f"{name}, which has {wanted} bytes, in {length} bytes at {offset} of {location}, of {size} bytes",
            "export the model again, and upload all its files",
        )
    del tensor.external_data[:]
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
    return location, offset, length


def _is_plain(location: str, folder: Path) -> bool:
    parts = location.split("/")
    if not location.isprintable() or "\\" in location or {"", ".", ".."} & set(parts):
        return False
    path = folder / location
    return path.is_file() and path.resolve() == folder.resolve() / location


def _bytes_of(tensor: TensorProto) -> int:
    values: int = math.prod(tensor.dims)
    if tensor.data_type in _PACKED:
        return (values + 1) // 2
    try:
        width: int = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        width = 0
    if tensor.data_type == TensorProto.STRING or not width or any(dim < 0 for dim in tensor.dims):
        raise _refused(f"{printable_name(tensor.name)}, which holds no numbers", "store numbers alone")
    return values * width


def _tensors(message: Any) -> list[TensorProto]:
    """Return every tensor anywhere in `message`."""
    tensors: list[TensorProto] = []
    left = [message]
    while left:
        for field, value in left.pop().ListFields():
            if field.message_type is None:
                continue
            for part in value if field.is_repeated else (value,):
                (tensors if isinstance(part, TensorProto) else left).append(part)
    return tensors


def _refused(problem: str, fix: str) -> ModelRefused:
    return ModelRefused(wanted="external data in plain files of the release", found=problem, fix=fix)
