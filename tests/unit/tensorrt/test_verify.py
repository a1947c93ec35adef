"""Before an engine runs: its bytes must be the ones that were stored, and pycuda must be there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tasks.children.reference import Corner, write_reference
from tasks.children.run import Limits
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import DigestMismatch, FarmError, RunnerMissing
from tasks.tensorrt.engine import verify_engine
from tasks.tensorrt.toolchain import Toolchain

PLAN = bytes(range(256)) * 4


@pytest.fixture
def verify_error(rtx: Toolchain, tmp_path: Path, limits: Limits) -> Callable[..., FarmError]:
    """A function that runs a plan that must fail, and returns the error."""
    reference = tmp_path / "reference.npz"
    one = {"x": np.zeros((1, 3), np.float32)}
    write_reference(reference, [Corner("min", one, one, {"x": 0.0})])
    plan = tmp_path / "engine.plan"

    def run(data: bytes, expected: BlobRef) -> FarmError:
        plan.write_bytes(data)
        with pytest.raises(FarmError) as caught:
            asyncio.run(
                verify_engine(rtx, plan, expected, reference, gpu_index=0, workdir=tmp_path, limits=limits)
            )
        return caught.value

    return run


@pytest.mark.parametrize(
    "tampered", [PLAN[:-1], PLAN + b"\0", PLAN[:24] + b"\xff" + PLAN[25:]], ids=["short", "long", "flipped"]
)
def test_other_bytes_are_never_given_to_tensorrt(
    tampered: bytes, verify_error: Callable[..., FarmError]
) -> None:
    error = verify_error(tampered, blob_ref(PLAN))
    assert isinstance(error, DigestMismatch)
    assert blob_ref(PLAN).sha256 in error.wanted
    assert blob_ref(tampered).sha256 in error.found


@pytest.mark.skipif(find_spec("pycuda") is not None, reason="pycuda is installed here")
def test_without_pycuda_it_says_what_to_install(
    verify_error: Callable[..., FarmError], rtx: Toolchain
) -> None:
    error = verify_error(PLAN, blob_ref(PLAN))
    assert isinstance(error, RunnerMissing)
    assert not error.retryable
    assert "No module named 'pycuda'" in error.found
    assert "install pycuda" in error.fix
    assert rtx.interpreter in error.fix
