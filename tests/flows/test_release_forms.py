"""Each form of a release, from S3 to an engine; the trained demo network is in the other tests."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.build_release import build_release
from flows.cli.engines import read_all
from tasks.domain.record import Verdict
from tasks.domain.release import ReleaseRef
from tasks.domain.request import DEFAULT_TOLERANCES, Precision

MIXED_REQUEST = """
precisions: [fp32, fp16, bf16]
targets: [rtx-sm89]
"""
FORMS = [
    pytest.param("saved_model/1/", marks=pytest.mark.slow),
    pytest.param("saved_model.zip", marks=pytest.mark.long),
    pytest.param("model.h5", marks=pytest.mark.slow),
]


def files_of(form: str, models: Path) -> dict[str, bytes]:
    """Return the objects of a release in `form`."""
    if form == "model.h5":
        return {form: (models / "two.h5").read_bytes()}
    folder = models / "many"
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    if form == "saved_model/1/":  # as TensorFlow Serving keeps it
        return {f"saved_model/1/{name}": data for name, data in files.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return {form: buffer.getvalue()}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_becomes_an_engine(publish: Callable[..., ReleaseRef], models: Path, form: str) -> None:
    # As an editor for Windows saves it, with a byte order mark.
    request = "\ufefftargets: rtx-sm89\r\n" + ("" if form == "model.h5" else "signature: gelu\n")
    (record,) = read_all(asyncio.run(build_release(publish(request, files_of(form, models)))))
    assert record.graph_verification.verdict is Verdict.PASSED
    assert record.release.format == form.split("/", maxsplit=1)[0]
    if form != "model.h5":
        assert record.options.signature == "gelu"
        assert [spec.name for spec in (*record.inputs, *record.outputs)] == ["x", "y"]
    if form == "saved_model/1/":
        assert any("1/variables/variables.data" in file.path for file in record.release.files)


@pytest.mark.long
def test_a_mixed_model_is_held_to_its_own_arithmetic(
    publish: Callable[..., ReleaseRef], models: Path
) -> None:
    files = {"model.keras": (models / "mixed.keras").read_bytes()}
    records = read_all(asyncio.run(build_release(publish(MIXED_REQUEST, files))))
    assert [record.options.precision for record in records] == ["fp32", "fp16", "bf16"]
    for record in records:
        checked = record.graph_verification
        assert checked.verdict is Verdict.PASSED
        assert checked.tolerance == record.options.tolerance == DEFAULT_TOLERANCES[Precision.BF16]
        assert "computes this model in BF16 as the model says" in checked.compared
        assert max(comparison.noise for comparison in checked.comparisons) > 1e-4
        assert [(output.name, output.dtype) for output in record.outputs] == [("scores", "float32")]
