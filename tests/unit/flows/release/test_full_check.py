"""`enginefarm check --full`: a model is converted and compared on this host, with no server of any kind."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from flows.release.folder_check import check_folder
from flows.release.full_check import check_conversion, failure_of_graphs
from flows.settings import settings
from tasks.domain.errors import VerificationFailed
from tasks.domain.record import Verdict, Verification
from tasks.domain.release import ModelFormat

_DEMO = Path(__file__).parents[4] / "flows/demo_release"


@pytest.mark.slow
def test_each_precision_is_compared_with_tensorflow(tmp_path: Path) -> None:
    shutil.copy(_DEMO / "model.keras", tmp_path)
    request = "precisions: [fp16, tf32]\ntargets: [rtx-sm89]\ntolerances: {fp16: 1.0e-5}\n"
    (tmp_path / "build.yaml").write_text(request, "utf-8")
    with settings().workspace() as work:
        fp32, fp16 = asyncio.run(check_conversion(check_folder(tmp_path), ModelFormat.KERAS, work))
    assert isinstance(fp32.outcome, Verification)
    assert (fp32.precision, fp32.outcome.verdict) == ("fp32", Verdict.PASSED)
    assert (fp16.precision, type(fp16.outcome)) == ("fp16", VerificationFailed)
    assert fp16.nodes > fp32.nodes
    assert failure_of_graphs([fp32, fp16]) is fp16.outcome
    assert failure_of_graphs([fp32]) is None
