from __future__ import annotations

import pytest

from tasks.domain.layers import layer_of, placed


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("StatefulPartitionedCall/encoder_1/attention_1/Softmax", "encoder_1/attention_1"),
        ("StatefulPartitionedCall_1/PartitionedCall/dense_1/MatMul", "dense_1"),
        ("PartitionedCall/conv1d/SpaceToBatchND_pad__1251", "conv1d"),
        ("__inference_cond_2_true_7828_57248_cond_2/sort/TopKV2", "cond_2/sort"),
        ("PartitionedCall/MatrixInverse", None),
        ("Resize__8664", None),
        ("", None),
    ],
)
def test_a_node_leads_to_its_layer(node: str, layer: str | None) -> None:
    assert layer_of(node) == layer


def test_messages_name_the_layer_where_there_is_one() -> None:
    assert placed("PartitionedCall/up_1/Resize") == "layer up_1, node PartitionedCall/up_1/Resize"
    assert placed("Resize__1") == "node Resize__1"
