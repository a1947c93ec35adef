"""Refusals say which TensorRT families take such graphs, by what was tried; and how that is tried."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tasks.children.reference import Corner, write_reference
from tasks.tensorrt.inside.refusals import nearest_fix
from tasks.tensorrt.inside.verdicts import tried_elsewhere
from tests.gpu.verdict_table import RESULTS, TABLE, compact, filled
from tests.stand_in.toolchain import StandIn

_SCRIPT = Path(__file__).parents[3] / "gpu/refused_graphs.py"
_WITHOUT_REASON = ("without a reason", "replace the layer that makes this node, or try another")


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """The kinds of refusal, with verdicts."""
    document: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
    return document


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What each TensorRT made of every graph."""
    document: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return document


def test_verdicts_are_those_of_the_results(table: dict[str, Any], results: dict[str, Any]) -> None:
    assert filled(table, results) == table
    assert all(kind["verdicts"] for kind in table["kinds"])


def test_each_graph_of_a_kind_is_refused_with_what_that_kind_is_found_by(
    table: dict[str, Any], results: dict[str, Any]
) -> None:
    refused = [(name, row["said"]) for run in results["runs"] for name, row in run["other"].items()]
    matched = set()
    for name, said in refused:
        kinds = [kind for kind in table["kinds"] if re.search(kind["said"], said)][:1]
        for kind in kinds:
            if any(name in other["graphs"] for other in table["kinds"]):
                assert name in kind["graphs"], (name, kind["kind"])
            matched.add(kind["kind"])
    assert matched == {kind["kind"] for kind in table["kinds"]}


def test_every_refusal_of_rtx_that_was_measured_has_advice_of_its_own(results: dict[str, Any]) -> None:
    runs = [run for run in results["runs"] if run["module"] == "tensorrt_rtx"]
    said = {row["said"] for run in runs for row in run["other"].values()}
    # Inputs whose values are sizes are refused by the farm itself.
    texts = {text: nearest_fix(text) for text in said if "whose values are sizes" not in text}
    assert len(texts) > 20
    assert [text for text, fix in texts.items() if any(words in fix for words in _WITHOUT_REASON)] == []


def test_a_refusal_says_who_builds_it_who_refuses_it_and_who_was_not_asked(table: dict[str, Any]) -> None:
    text = tried_elsewhere("Cannot compile operation 'c' for Turing: FP32 3D convolution is not supported.")
    kind = next(row for row in table["kinds"] if row["kind"] == "3-D convolutions on Turing")
    rtx = next(row for row in kind["verdicts"] if row["family"] == "TensorRT-RTX")
    assert f"TensorRT-RTX ({rtx['version']}, {rtx['date']}) builds them for sm75 in fp16, sm80" in text
    assert "and refuses them for sm75" in text
    tried = {row["family"] for row in kind["verdicts"]}
    for family in table["families"]:
        assert family in text
        assert (family in text.partition("not tried: ")[2]) == (family not in tried)
    assert tried_elsewhere("something that nobody tried") == ""


def _archive(folder: Path, opsets: dict[str, int]) -> Path:
    """Write an archive of graphs that double x, or take its unique values, by name."""
    cases = []
    x = np.arange(6, dtype=np.float32)
    write_reference(folder / "r.npz", [Corner("opt", {"x": x}, {"y": x + x}, {"y": 0.0})])
    write_reference(folder / "wrong.npz", [Corner("opt", {"x": x}, {"y": x + x + 1}, {"y": 0.0})])
    for name, opset in opsets.items():
        nodes = [helper.make_node(*(("Unique", ["x"]) if name == "unique" else ("Add", ["x", "x"])), ["y"])]
        start, end = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [6]) for name in "xy")
        graph = helper.make_graph(nodes, "g", [start], [end])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.save(model, folder / f"{name}.onnx")
        reference = "wrong.npz" if name == "wrong" else "r.npz"
        row = {"name": name, "kind": "test", "onnx": f"{name}.onnx", "reference": reference, "profiles": []}
        cases.append(row)
    (folder / "cases.json").write_text(json.dumps(cases))
    with tarfile.open(folder / "graphs.tar", "w:gz") as packed:
        for file in sorted(folder.glob("*.*")):
            if file.suffix != ".tar":
                packed.add(file, file.name)
    return folder / "graphs.tar"


@pytest.fixture
def try_graphs(stand_in: Callable[..., StandIn], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A function that runs the script with a TensorRT 8.6 that stands in for the real one."""

    def tried(*options: str, **opsets: int) -> dict[str, Any]:
        archive = _archive(tmp_path, opsets)
        interpreter = stand_in(version="8.6.0").interpreter
        words = ["--graphs", str(archive), "--output", str(tmp_path / "out"), *options]
        subprocess.run([interpreter, _SCRIPT, *words], check=True, capture_output=True)
        document: dict[str, Any] = json.loads((tmp_path / "out/refused.json").read_text())
        return document

    return tried


def test_a_graph_that_crashes_tensorrt_keeps_no_other_from_being_tried(
    try_graphs: Callable[..., dict[str, Any]],
) -> None:
    document = try_graphs("--workers", "1", right=17, unique=17, crash=18, wrong=17)
    verdicts = {name: row["verdict"] for name, row in document["cases"].items()}
    assert verdicts.pop("crash").startswith("crashed")
    assert verdicts == {"right": "built", "unique": "refused (parse)", "wrong": "built"}
    assert (document["tensorrt"], document["compute"]) == ("8.6.0.12", "9.0")
    short = compact(document, ["right", "unique", "crash", "wrong"])
    assert {name: row["verdict"] for name, row in short["other"].items()} == {
        "crash": "crashed", "unique": "refused", "wrong": "wrong",
    }  # fmt: skip


def test_after_its_time_it_lists_what_it_did_not_try(try_graphs: Callable[..., dict[str, Any]]) -> None:
    document = try_graphs("--seconds", "0", right=17)
    assert (document["cases"], document["not_tried"]) == ({}, ["right"])
