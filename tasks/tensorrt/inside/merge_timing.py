"""Child: makes one timing cache of two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.domain.errors import BuildRefused
from tasks.tensorrt.inside.build import open_session
from tasks.tensorrt.inside.phases import Phases
from tasks.tensorrt.inside.timing import read_cache, write_cache


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Add what the second of `caches` holds to the first, whose entries stay where both have one.

    Args:
        request: that of the build which left the first cache, `caches` (`path`, `sha256` and `size` of
            each), and `into`: where to write the result.
        report: takes the phases `load` and `merge`.

    Returns:
        `sha256` and `size` of the result, as `merged`.

    Raises:
        DigestMismatch: a file is not the one that is named; TensorRT has not seen it.
        BuildRefused: TensorRT does not put them together.
        FarmError: as a build's beginning.
    """
    phases = Phases(report)
    with phases.timed("load"):
        session = open_session(request)
    with phases.timed("merge"):
        config = session.builder.create_builder_config()
        cache, other = (read_cache(config, given) for given in request["caches"])
        # Both are of the same GPU model and TensorRT, but perhaps of two boards.
        if cache is None or other is None or not cache.combine(other, ignore_mismatch=True):
            raise BuildRefused(
                wanted="one timing cache of two",
                found=f"that TensorRT does not combine them: {session.messages.said()}",
                fix="nothing: the newer one is kept",
            )
        merged = write_cache(cache, Path(request["into"]))
    return {"merged": merged}
