"""Checks that the files of a SavedModel's variables are there and whole, without TensorFlow.

`variables.index` is a table in TensorFlow's own format (`tsl/lib/io/table`): its values say in which shard
each tensor lies, and where. A shard is cut if its upload was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.domain.errors import ModelUnreadable

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER, _TRAILER = 48, 5
_SNAPPY = 1
_HEADER_KEY = b""
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp")


def check_variables(folder: Path, graph: Any) -> None:
    """Check the variables of the SavedModel in `folder`, whose graph for serving is `graph`.

    Raises:
        ModelUnreadable: a file is missing, or a shard is shorter than its index says.
    """
    variables = folder / "variables"
    index = variables / "variables.index"
    if not index.exists():
        if _has_variables(graph):
            raise _missing(index.name)
        return
    ends = _ends_of_shards(index.read_bytes())
    for number, end in ends.items():
        name = f"variables.data-{number:05d}-of-{len(ends):05d}"
        if not (variables / name).is_file():
            raise _missing(name)
        size = (variables / name).stat().st_size
        if size < end:
            raise ModelUnreadable(
                wanted=f"variables/{name} of at least {end} bytes, as variables.index says",
                found=f"{size} bytes",
                fix="upload the whole folder again: the file was cut, or is of another model",
            )


def _has_variables(graph: Any) -> bool:
    objects = graph.object_graph_def.nodes
    if not objects:  # TensorFlow 1
        return any(node.op in _VARIABLES for node in graph.graph_def.node)
    return any(node.WhichOneof("kind") == "variable" for node in objects)


def _missing(name: str) -> ModelUnreadable:
    return ModelUnreadable(
        wanted=f"variables/{name} in the SavedModel, since its graph has variables",
        found="no such file",
        fix="upload the whole folder, variables included",
    )


class _Compressed(Exception):
    """A block is compressed, which TensorFlow reads and does not write."""


def _ends_of_shards(index: bytes) -> dict[int, int]:
    """Return where each shard must end at the least, by its number; nothing if the index is compressed.

    Raises:
        ModelUnreadable: it is no such table.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415
    from tensorflow.core.protobuf import tensor_bundle_pb2  # noqa: PLC0415 (after `child` made it importable)

    try:
        entries = dict(_entries(index))
        header = tensor_bundle_pb2.BundleHeaderProto.FromString(entries.pop(_HEADER_KEY))
        ends = dict.fromkeys(range(header.num_shards), 0)
        for value in entries.values():
            entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
            ends[entry.shard_id] = max(ends[entry.shard_id], entry.offset + entry.size)
    except _Compressed:
        return {}
    except (DecodeError, KeyError, IndexError, ValueError) as error:
        raise ModelUnreadable(
            wanted="a readable variables/variables.index in the SavedModel",
            found=f"{type(error).__name__}: {error}",
            fix="upload the whole folder again: the file is damaged",
        ) from error
    return ends


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of all blocks."""
    footer = table[-_FOOTER:]
    if not footer.endswith(_MAGIC):
        raise ValueError("its last bytes are not those of TensorFlow's tables")
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)
    for _, handle in _block(table, *_handle(footer, at)):
        yield from _block(table, *_handle(handle, 0))


def _handle(data: bytes, at: int) -> tuple[int, int]:
    offset, at = _varint(data, at)
    return offset, _varint(data, at)[0]


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of the block: each key without what it shares with the last one."""
    block = table[offset : offset + size + _TRAILER]
    if len(block) != size + _TRAILER or block[size] > _SNAPPY:
        raise ValueError(f"the block at {offset} is cut or damaged")
    if block[size] == _SNAPPY:
        raise _Compressed
    restarts = int.from_bytes(block[size - 4 : size], "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, seven bits a byte, and where it ends."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
