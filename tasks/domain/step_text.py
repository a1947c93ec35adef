"""What logs say of a step, in one line."""

from __future__ import annotations

from tasks.domain.record import Verdict, Verification
from tasks.domain.release import Release
from tasks.domain.request import Precision

_KIB = 1024
_LONGEST = 200


def size_text(size: int) -> str:
    """Return `size`, in bytes, for people."""
    return f"{size / _KIB:.0f} KiB" if size < _KIB * _KIB else f"{size / _KIB / _KIB:.1f} MiB"


def fetched_text(release: Release) -> str:
    """Return what was fetched."""
    size = size_text(sum(file.size for file in release.files))
    return f"fetched {len(release.files)} files, {size}: {release.format} {release.model_digest[:12]}"


def verification_text(verification: Verification) -> str:
    """Return how something compares with TensorFlow."""
    worst = verification.worst
    if verification.verdict is Verdict.NOT_MEASURED or worst is None:
        return f"not measured: {verification.reason}"
    figures = f"error {worst.relative:.1e} of at most {verification.tolerance:g}, noise {worst.noise:.1e}"
    return f"{verification.verdict}, {figures}"


def graph_text(  # noqa: PLR0913 (a line has several figures)
    precision: Precision, *, opset: int, nodes: int, size: int, verification: Verification, key: str
) -> str:
    """Return what a graph is, and where its record goes."""
    form = f"opset {opset}, {nodes} nodes, {size_text(size)}"
    return f"graph in {precision}: {form}; {verification_text(verification)}; {key}"


def built_text(*, size: int, seconds: float, warnings: tuple[str, ...]) -> str:
    """Return what TensorRT built."""
    built = f"built {size_text(size)} in {seconds:.1f} s"
    if not warnings:
        return built
    first = warnings[0] if len(warnings[0]) <= _LONGEST else f"{warnings[0][:_LONGEST]}…"
    return f"{built}; {len(warnings)} warnings of TensorRT, the first: {first}"
