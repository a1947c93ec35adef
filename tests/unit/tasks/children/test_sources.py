"""The farm's own code is part of what its results are keyed by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.children import sources
from tasks.tensorflow.models import conversion_tools
from tasks.tensorrt.site import build_tools


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sources, "_TASKS", tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/half.py").write_text("ROUND = 1\n")
    return tmp_path


def test_every_change_of_a_module_changes_the_digest(tree: Path) -> None:
    digest = sources.source_digest.__wrapped__
    seen = {digest("onnx")}
    (tree / "onnx/half.py").write_text("ROUND = 2\n")
    seen.add(digest("onnx"))
    (tree / "onnx/more.py").write_text("")
    seen.add(digest("onnx"))
    (tree / "onnx/more.py").rename(tree / "onnx/other.py")
    seen.add(digest("onnx"))
    assert len(seen) == 4
    (tree / "onnx/notes.txt").write_text("no module")
    assert digest("onnx") in seen


def test_a_single_module_counts_like_a_package(tree: Path) -> None:
    digest = sources.source_digest.__wrapped__
    (tree / "gate.py").write_text("FACTOR = 1\n")
    before = digest("onnx", "gate.py")
    (tree / "gate.py").write_text("FACTOR = 2\n")
    assert digest("onnx", "gate.py") != before
    with pytest.raises(FileNotFoundError):  # a part that is renamed must not silently drop out
        digest("onnx", "absent")


def test_conversion_and_build_name_the_code_that_made_them() -> None:
    conversion = conversion_tools()["enginefarm-conversion"]
    assert conversion == sources.source_digest("tensorflow", "onnx", "children", "domain/gate.py")
    build = sources.source_digest("tensorrt", "children", "domain/gate.py")
    assert build_tools() == {"enginefarm-build": build}
