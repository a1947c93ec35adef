"""Profiles: for people, in records, and in records of before there were any."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tasks.domain.digest import BlobRef
from tasks.domain.errors import RecordInvalid
from tasks.domain.profile import (
    Case,
    Clocks,
    GpuMemory,
    Latency,
    LayerTime,
    Measured,
    Profile,
    not_profiled,
)
from tasks.domain.profile_text import LEGEND, case_rows, layer_rows, notes
from tasks.domain.quiet import Quiet
from tasks.domain.record import EngineRecord
from tasks.store.records import engine_record_from_json, record_to_json

TIMES = Latency(min=0.9, mean=1.01, p50=1.0, p90=1.1, p99=1.2)
CASE = Case(
    name="opt",
    shapes={"x": (8, 3)},
    batch=8,
    iterations=500,
    gpu_ms=TIMES,
    wall_ms=replace(TIMES, p50=1.05),
    items_per_second=8123.4,
    over_bare=0.0042,
    drift=0.01,
    steady=True,
    layers_ms=1.3,
)
PROFILE = Profile(
    state=Measured.MEASURED,
    reason="there was no time for batch 4",
    gpu="NVIDIA L4",
    tensorrt="10.13.3.9",
    driver="580.95.05",
    cases=(replace(CASE, name="batch 2", batch=2, steady=False), CASE),
    layers=(LayerTime(name="conv", ms=1.0, share=0.77),),
    layer_count=3,
    memory=GpuMemory(total=23034.0, free_before=22000.0, free_least=21900.5, scratch=12.25),
    quiet=Quiet(quiet=False, reason="other processes were on the GPU: 7"),
    clocks=Clocks(
        sm_mhz=(1900, 2040), memory_mhz=None, temperature_c=61, power_w=70.5, throttled=("SwPowerCap",)
    ),
    files={"profile.json": BlobRef(sha256="ab" * 32, size=3)},
)


def test_a_record_holds_it_exactly(engine_record: EngineRecord) -> None:
    record = replace(engine_record, profile=PROFILE)
    assert engine_record_from_json(record_to_json(record)) == record


def test_an_older_record_says_that_nothing_was_measured(engine_record: EngineRecord) -> None:
    document: dict[str, Any] = json.loads(record_to_json(engine_record))
    del document["profile"]
    profile = engine_record_from_json(json.dumps(document).encode()).profile
    assert profile.state is Measured.NOT_MEASURED
    assert "older than measurements of engines" in profile.reason


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x\n", "/etc/passwd"])
def test_files_of_a_record_have_plain_names(name: str, engine_record: EngineRecord) -> None:
    """They are written to the folder that a user names."""
    document = json.loads(record_to_json(replace(engine_record, profile=PROFILE)))
    document["profile"]["files"] = {name: document["plan"]}
    with pytest.raises(RecordInvalid, match="not a plain file name"):
        engine_record_from_json(json.dumps(document).encode())


def test_rows_are_short_and_in_the_same_columns() -> None:
    small, best = case_rows(PROFILE)
    assert small.keys() == best.keys()
    assert (small["batch"], best["batch"]) == ("2", "8 opt")
    assert " | ".join(best.values()) == "8 opt | 1 | 1.1 | 1.2 | 1.01 | 0.9 | 1.05 | 8123 | +0.4% | 1.3"
    (other,) = case_rows(replace(PROFILE, cases=(replace(CASE, batch=None, layers_ms=None, name="min/opt"),)))
    assert (other["batch"], other["layers"]) == ("min/opt", "")
    assert layer_rows(PROFILE) == [{"layer at opt": "conv", "ms": "1", "share": "77.0%"}]


def test_notes_say_where_and_what_is_doubtful() -> None:
    assert notes(PROFILE) == [
        LEGEND,
        "Measured on NVIDIA L4 with TensorRT 10.13.3.9, driver 580.95.05.",
        "The GPU was NOT QUIET, so these figures are doubtful: other processes were on the GPU: 7.",
        "The times had not settled when the measurement began: batch 2.",
        (
            "GPU memory: 99.5 MiB for the engine and its tensors, of which activations may take 12.2; 22000 "
            "of 23034 MiB were free before."
        ),
        "During the measurement: SM 1900 to 2040 MHz, up to 61 °C, 70 W, throttled by SwPowerCap.",
        "There was no time for batch 4.",
    ]
    assert notes(not_profiled("no GPU")) == ["Not measured: no GPU."]
