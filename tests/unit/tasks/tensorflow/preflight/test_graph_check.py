"""Graphs made by hand of TensorFlow's messages; nothing here starts TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.domain.errors import ModelRefused
from tasks.tensorflow.preflight.child import parse_saved_model
from tasks.tensorflow.preflight.graph_check import check_graph, check_signature

_FLOAT = 1


@pytest.fixture
def graph(tmp_path: Path) -> Any:
    """A main graph with one signature (x to y), a saver, and an object graph with its function."""
    (tmp_path / "saved_model.pb").write_bytes(b"")
    graph = parse_saved_model(tmp_path).meta_graphs.add()
    _node(graph.graph_def.node, "x", "Placeholder")
    _node(graph.graph_def.node, "y", "StatefulPartitionedCall", "x", calls="serve")
    _node(graph.graph_def.node, "file", "Placeholder")
    _node(graph.graph_def.node, "save", "StatefulPartitionedCall", "file", calls="traced_save")
    _node(graph.graph_def.node, "restore", "StatefulPartitionedCall", "file", calls="traced_restore")
    graph.saver_def.save_tensor_name = "save:0"
    graph.saver_def.restore_op_name = "restore"
    graph.saver_def.filename_tensor_name = "file:0"
    _function(graph, "serve", "MatMul")
    _function(graph, "traced_save", "ShardedFilename", "SaveV2", "MergeV2Checkpoints")
    _function(graph, "traced_restore", "RestoreV2", "AssignVariableOp")
    _signature(graph, "serving_default", "y")
    root, signatures = graph.object_graph_def.nodes.add(), graph.object_graph_def.nodes.add()
    root.user_object.SetInParent()
    signatures.user_object.SetInParent()
    root.children.add(node_id=1, local_name="signatures")
    _child(graph, 1, "serving_default", "serve")
    return graph


def _node(nodes: Any, name: str, op: str, *inputs: str, calls: str | None = None) -> None:
    node = nodes.add(name=name, op=op, input=inputs)
    if calls is not None:
        node.attr["f"].func.name = calls


def _function(graph: Any, name: str, *ops: str) -> Any:
    function = graph.graph_def.library.function.add()
    function.signature.name = name
    for op in ops:
        _node(function.node_def, f"a_{op}", op)
    return function


def _signature(graph: Any, name: str, output: str) -> None:
    info = graph.signature_def[name].outputs["y"]
    info.name, info.dtype = f"{output}:0", _FLOAT
    info.tensor_shape.dim.add(size=2)


def _child(graph: Any, parent: int, local_name: str, function: str) -> int:
    """Add a function below the object `parent`; return the function's index."""
    index = len(graph.object_graph_def.nodes)
    node = graph.object_graph_def.nodes.add()
    node.bare_concrete_function.concrete_function_name = function
    graph.object_graph_def.nodes[parent].children.add(node_id=index, local_name=local_name)
    return index


def _refused(graph: Any, *words: str) -> None:
    with pytest.raises(ModelRefused) as caught:
        check_graph(graph)
    assert all(word in caught.value.found for word in words), caught.value.found


def test_a_saver_may_save_and_restore(graph: Any) -> None:
    check_graph(graph)
    assert [output.name for output in check_signature(graph, "serving_default").outputs] == ["y"]


@pytest.mark.parametrize(
    "op",
    ["SaveV2", "Save", "SaveSlices", "MergeV2Checkpoints", "RestoreV2", "DatasetToTFRecord", "CSVDatasetV2",
     "IteratorGetNext", "InitializeTableFromTextFileV2"],
)  # fmt: skip
def test_what_load_calls_by_itself(graph: Any, op: str) -> None:
    _function(graph, "inner", op)
    _node(_function(graph, "outer").node_def, "call", "StatefulPartitionedCall", calls="inner")
    check_graph(graph)
    _child(graph, 0, "_initialize", "outer")
    _refused(graph, f"operation {op}", "a_" + op, "in function inner")


@pytest.mark.parametrize("name", ["_create_resource", "_restore_from_tensors", "_trackable_children"])
def test_any_private_name_may_be_called(graph: Any, name: str) -> None:
    _function(graph, "hidden", "SaveV2")
    check_graph(graph)
    _child(graph, 0, name, "hidden")
    _refused(graph, "SaveV2", "in function hidden")


def test_an_object_with_a_call_stands_for_its_function(graph: Any) -> None:
    _function(graph, "hidden", "MergeV2Checkpoints")
    _child(graph, 1, "__call__", "hidden")
    check_graph(graph)
    graph.object_graph_def.nodes[0].children.add(node_id=1, local_name="_initialize")
    _refused(graph, "MergeV2Checkpoints", "in function hidden")


def test_functions_that_a_saveable_object_names(graph: Any) -> None:
    _function(graph, "table_save", "LookupTableExportV2")
    _function(graph, "table_restore", "LookupTableImportV2")
    saveable = graph.object_graph_def.nodes[0].saveable_objects["table"]
    saveable.save_function = _child(graph, 0, "a", "table_save")
    saveable.restore_function = _child(graph, 0, "b", "table_restore")
    check_graph(graph)
    # TensorFlow calls both while it loads the checkpoint.
    _node(graph.graph_def.library.function[-2].node_def, "more", "SaveV2")
    _refused(graph, "SaveV2", "in function table_save")


def test_restoring_writes_nothing(graph: Any) -> None:
    _node(graph.graph_def.library.function[2].node_def, "more", "SaveV2")
    _refused(graph, "SaveV2", "in function traced_restore")


def test_saving_reaches_no_other_files(graph: Any) -> None:
    _node(graph.graph_def.library.function[1].node_def, "more", "WriteFile")
    _refused(graph, "WriteFile", "in function traced_save")


@pytest.mark.parametrize("way", ["signature", "collection", "node"])
def test_the_saver_is_for_the_saver_alone(graph: Any, way: str) -> None:
    if way == "signature":
        _signature(graph, "__saved_model_init_op", "save")
    elif way == "collection":
        graph.collection_def["saved_model_main_op"].node_list.value.append("save")
    else:
        _node(graph.graph_def.node, "apart", "StatefulPartitionedCall", calls="traced_save")
    _refused(graph, "in function traced_save")


@pytest.mark.parametrize("op", ["SaveV2", "RestoreV2", "TensorSliceDataset", "OneShotIterator"])
def test_what_a_signature_reaches(graph: Any, op: str) -> None:
    _node(graph.graph_def.library.function[0].node_def, "more", op)
    with pytest.raises(ModelRefused) as caught:
        check_signature(graph, "serving_default")
    assert op in caught.value.found
    _refused(graph, op, "in function serve")


def test_a_signature_is_what_the_object_graph_says(graph: Any) -> None:
    _function(graph, "other", "DatasetToTFRecord")
    graph.object_graph_def.nodes[2].bare_concrete_function.concrete_function_name = "other"
    _refused(graph, "DatasetToTFRecord", "in function other")


def test_functions_that_tensorflow_may_swap(graph: Any) -> None:
    _function(graph, "other", "WriteFile").attr["api_implements"].s = b"lstm"
    check_graph(graph)
    graph.graph_def.library.function[0].attr["api_implements"].s = b"lstm"
    _refused(graph, "WriteFile", "in function other")


def test_a_signature_without_outputs(graph: Any) -> None:
    graph.signature_def["serving_default"].outputs.clear()
    with pytest.raises(ModelRefused) as caught:
        check_graph(graph)
    assert caught.value.wanted == "at least one output of signature serving_default"
    _signature(graph, "second", "y")
    check_graph(graph)


@pytest.mark.parametrize("name", ["many", "only_strings", "writes_on_load"])
def test_what_tensorflow_saves_has_its_saver_apart(models: Path, name: str) -> None:
    meta_graph = parse_saved_model(models / name).meta_graphs[0]
    assert any(
        node.op == "SaveV2"
        for function in meta_graph.graph_def.library.function
        for node in function.node_def
    )
    if name == "many":
        check_graph(meta_graph)
        return
    _refused(meta_graph, "strings" if name == "only_strings" else "WriteFile")


def test_functions_may_share_others_and_constants_may_repeat_a_value(graph: Any) -> None:
    for name in ("left", "right"):
        _node(_function(graph, name).node_def, "call", "PartitionedCall", calls="shared")
        _node(graph.graph_def.library.function[0].node_def, name, "PartitionedCall", calls=name)
    _function(graph, "shared", "MatMul")
    graph.graph_def.node.add(name="ones", op="Const")
    tensor = graph.graph_def.node[-1].attr["value"].tensor
    tensor.dtype = _FLOAT
    tensor.float_val.append(1.0)
    tensor.tensor_shape.dim.add(size=1 << 20)
    check_graph(graph)
