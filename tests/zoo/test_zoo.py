"""The table of models is complete and good, and a few models show in every run that it still holds.

With `--zoo DIR` every model is taken through the farm again. DIR has what the two requirements files here
say, in folders `hub` and `wheels`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.zoo.large import APPLICATIONS, BACKBONES, TRAINED
from tests.zoo.models import MODELS
from tests.zoo.table import markdown, surprise

HERE = Path(__file__).parent
KEPT = HERE / "results" / "zoo.json"
SAMPLE = ("mapped", "top_k", "gelu_exact", "drawn_noise")
"""Cheap ones: a loop with dynamic batch, indices, an operation that tf2onnx alone lacks, and a refusal."""


def rows(path: Path) -> dict[str, Any]:
    return {row["model"]: row for row in json.loads(path.read_text("utf-8"))["rows"]}


def sweep(output: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "run.py"), "--output", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return rows(output)


def assert_as_good_as_kept(swept: dict[str, Any]) -> None:
    kept = rows(KEPT)
    worse = {
        name: text
        for name, row in swept.items()
        if (text := surprise(MODELS[name], row)) and surprise(MODELS[name], kept[name]) is None
    }
    assert worse == {}


def test_the_table_has_every_model() -> None:
    kept = rows(KEPT)
    assert [name for name in MODELS if name not in kept] == []
    assert len(APPLICATIONS) == 40
    required = {"Bert", "Roberta", "GPT2", "Whisper", "ViT", "T5", "Llama"}
    assert required <= {model.name for model in BACKBONES}
    assert {"basic_pitch", "fer", "spliceai", "guesslang"} <= {model.name for model in TRAINED}


@pytest.mark.parametrize("name", MODELS)
def test_the_kept_row_is_what_it_must_be(name: str) -> None:
    assert surprise(MODELS[name], rows(KEPT)[name]) is None


def test_the_document_is_of_the_table() -> None:
    document = json.loads(KEPT.read_text("utf-8"))
    assert KEPT.with_suffix(".md").read_text("utf-8") == markdown(document, rows(KEPT))


@pytest.mark.long
def test_a_sample_of_the_models_goes_through_the_farm(tmp_path: Path) -> None:
    swept = sweep(tmp_path / "zoo.json", "--workers", "1", "--precisions", "fp32", "--models", *SAMPLE)
    assert set(swept) == set(SAMPLE)
    assert {name: surprise(MODELS[name], row) for name, row in swept.items()} == dict.fromkeys(SAMPLE)


@pytest.mark.timeout(4 * 3600)
def test_the_zoo(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    folder: Path | None = pytestconfig.getoption("--zoo")
    if folder is None:
        pytest.skip("give --zoo DIR to take every model through the farm")
    options = ("--hub", str(folder / "hub"), "--wheels", str(folder / "wheels"))
    swept = sweep(tmp_path / "zoo.json", *options)
    assert set(swept) == set(MODELS)
    assert_as_good_as_kept(swept)
