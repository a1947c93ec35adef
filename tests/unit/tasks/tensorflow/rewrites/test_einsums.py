"""Einsums keep their numbers; those that are one matrix product are one in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rounding import beyond_rounding

pytestmark = pytest.mark.slow

PRODUCTS = ("scores", "scores_with_keys_first", "values", "no_columns", "no_rows", "no_batch", "dots")
OTHERS = (
    "dots_on_one_side", "several_columns", "several_summed", "outer", "summed_alone", "diagonal", "three",
    "attention",
)  # fmt: skip


@pytest.fixture(scope="module")
def einsums(convert_functions: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What became of every case, by name."""
    return convert_functions("einsum_functions.py")


def test_every_case_is_here(einsums: dict[str, Any]) -> None:
    assert set(einsums) == {*PRODUCTS, *OTHERS}


@pytest.mark.parametrize("name", [*PRODUCTS, *OTHERS])
def test_an_einsum_keeps_its_numbers_and_builds(einsums: dict[str, Any], name: str) -> None:
    case = einsums[name]
    assert "error" not in case
    assert {"min", "opt", "max"} <= {row["corner"] for row in case["comparisons"]}
    assert beyond_rounding(case["comparisons"]) == []
    assert case["engine"] == "built"


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_computes_no_sizes(einsums: dict[str, Any], name: str) -> None:
    """TensorRT 8.6 builds engines with wrong numbers from products between reshapes to computed sizes."""
    nodes = einsums[name]["nodes"]
    assert nodes.count("MatMul") == 1
    assert {"Reshape", "ReduceProd"}.isdisjoint(nodes)
