"""Names of inputs that are no identifiers come back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.tensorflow.input_names import name_among, read_name, written_name


@pytest.mark.parametrize("name", ["image", "x_1", "_private", "Input2"])
def test_an_identifier_is_written_as_it_is(name: str) -> None:
    assert written_name(name) == name
    assert read_name(name) == name


@pytest.mark.parametrize("name", ["my input", "größe", "class", "a:0", "boxes/raw", "1st", ""])
def test_another_name_is_an_identifier_in_the_file_and_comes_back(name: str) -> None:
    assert written_name(name).isidentifier()
    assert read_name(written_name(name)) == name
    assert name_among({written_name(name)}, name) == written_name(name)
    assert name_among({name}, name) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_name_comes_back(name: str) -> None:
    assert read_name(written_name(name)) == name


@pytest.mark.parametrize("written", ["enginefarm_name_xyz", "enginefarm_name_ff", "enginefarm_name_61"])
def test_what_the_farm_did_not_write_stays(written: str) -> None:
    assert read_name(written) == written
