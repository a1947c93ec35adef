from __future__ import annotations

import pytest

from tasks.tensorflow.preflight.graph_rules import (
    NEVER_RUN,
    NOT_IN_AN_ENGINE,
    READS_CHECKPOINTS,
    WRITES_CHECKPOINTS,
    first_match,
    nearest_fix,
)


@pytest.mark.parametrize(
    "op",
    ["PyFunc", "EagerPyFunc", "ReadFile", "WriteFile", "TFRecordDatasetV2", "PrintV2", "Print", "DumpTensor",
     "InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "DatasetToTFRecord",
     "ExperimentalDatasetToTFRecord", "DistributedSave", "CSVDataset", "LMDBDataset", "MatchingFilesDataset",
     "ExperimentalSqlDataset", "DataServiceDatasetV4", "RegisterDatasetV2", "SnapshotDatasetReader",
     "IteratorV2", "MultiDeviceIterator", "DeserializeIterator"],
)  # fmt: skip
def test_what_never_runs(op: str) -> None:
    assert first_match(op, NEVER_RUN)


@pytest.mark.parametrize(
    "op",
    ["RandomUniform", "StatelessRandomNormalV2", "AssignVariableOp", "ResourceScatterUpdate",
     "LookupTableFindV2", "DecodeJpeg", "StringLower", "ScatterNdUpdate", "Multinomial"],
)  # fmt: skip
def test_what_no_engine_holds(op: str) -> None:
    assert first_match(op, NOT_IN_AN_ENGINE)
    assert not first_match(op, NEVER_RUN)


@pytest.mark.parametrize("op", ["Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints"])
def test_what_writes_checkpoints(op: str) -> None:
    assert first_match(op, WRITES_CHECKPOINTS)
    assert not first_match(op, NEVER_RUN + READS_CHECKPOINTS)


@pytest.mark.parametrize("op", ["Restore", "RestoreV2", "RestoreSlice", "DTensorRestoreV2"])
def test_what_reads_checkpoints(op: str) -> None:
    assert first_match(op, READS_CHECKPOINTS)
    assert not first_match(op, NEVER_RUN + WRITES_CHECKPOINTS)


@pytest.mark.parametrize(
    "op",
    ["Conv2D", "ReadVariableOp", "VarHandleOp", "ResourceGather", "ScatterNd", "TensorScatterUpdate",
     "Softmax",
     "StatefulPartitionedCall", "StatelessWhile", "StatelessIf", "SplitV", "TensorListReserve",
     "NoOp", "Const"],
)  # fmt: skip
def test_ordinary_operations_pass(op: str) -> None:
    assert not first_match(op, NEVER_RUN + READS_CHECKPOINTS + WRITES_CHECKPOINTS + NOT_IN_AN_ENGINE)


def test_every_fix_says_something() -> None:
    assert "antialias=False" in nearest_fix("ScaleAndTranslate")
    assert "tf.saved_model.save" in nearest_fix("SaveV2")
    assert "StaticHashTable" in nearest_fix("LookupTableFindV2")
    assert "Zeta" in nearest_fix("Zeta")
