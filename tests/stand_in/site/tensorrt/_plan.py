"""The bytes of a plan, and of all that TensorRT hands out as memory of the host.

A plan holds the whole ONNX graph, and what it was built with and for.
"""

from __future__ import annotations

import json
from typing import Any

from ._base import FULL_VERSION
from ._enums import DataType

MAGIC = b"STAND-IN PLAN\n"


class IHostMemory(bytes):
    """Bytes; `memoryview` reads them."""

    dtype = DataType.INT8

    @property
    def nbytes(self) -> int:
        """Their number."""
        return len(self)


def write_plan(header: dict[str, Any], graph: bytes) -> IHostMemory:
    """Return a plan."""
    text = json.dumps(header | {"tensorrt": FULL_VERSION}).encode()
    return IHostMemory(MAGIC + len(text).to_bytes(8, "little") + text + graph)


def read_plan(plan: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and graph of a plan.

    Raises:
        ValueError: these bytes are none.
    """
    data = bytes(plan)
    start = len(MAGIC) + 8
    if not data.startswith(MAGIC):
        raise ValueError("Magic tag does not match")
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    return json.loads(data[start:end]), data[end:]
