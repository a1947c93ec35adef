"""Child: merges two timing caches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.domain.errors import BuildRefused
from tasks.tensorrt.inside.build import open_session
from tasks.tensorrt.inside.phases import Phases
from tasks.tensorrt.inside.timing import read_cache, write_cache


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Add the entries of the second of `caches` to the first; if both have an entry, the first's stays.

    Args:
        request: that of the build that wrote the first cache, `caches` (`path`, `sha256` and `size` of
            each), and `into`: the file for the result.
        report: takes the phases `load` and `merge`.

    Returns:
        `sha256` and `size` of the result, as `merged`.

    Raises:
        DigestMismatch: a file does not match its digest; TensorRT did not get it.
        BuildRefused: TensorRT refuses to merge them.
        FarmError: as the start of a build.
    """
    phases = Phases(report)
    with phases.timed("load"):
        session = open_session(request)
    with phases.timed("merge"):
        config = session.builder.create_builder_config()
        cache, other = (read_cache(config, given) for given in request["caches"])
        # Both are of the same GPU model and TensorRT, but maybe of two boards.
        if cache is None or other is None or not cache.combine(other, ignore_mismatch=True):
            raise BuildRefused(
                wanted="one timing cache from two",
                found=f"that TensorRT does not combine them: {session.messages.said()}",
                fix="nothing: the newer one is kept",
            )
        merged = write_cache(cache, Path(request["into"]))
    return {"merged": merged}
