"""Builds a plan in memory, then writes it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def write_whole(builder: Any, network: Any, config: Any, path: Path) -> dict[str, Any] | None:
    """Build the plan of `network` and write it to `path`.

    Returns:
        `sha256` and `size` of the bytes in memory, by which changes of the file show; None if TensorRT built
        nothing.
    """
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return None
    data = memoryview(plan)
    path.write_bytes(data)
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": data.nbytes}
