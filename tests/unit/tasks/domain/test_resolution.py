"""Which engine a host gets, or why none: one story a rule, and drawn pairs against another program."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.domain.candidate import Candidate, CandidateError, candidate_from_document
from tasks.domain.compatibility import HardwareLevel
from tasks.domain.errors import NoEngineFits, RequestInvalid
from tasks.domain.gpu_table import gpu_table
from tasks.domain.host import DEFAULT_PRECISIONS, Host, Wanted
from tasks.domain.misfits import Field
from tasks.domain.request import Precision
from tasks.domain.resolution import Mark, Resolution, is_not_faster, resolve
from tasks.domain.resolution_rules import HARDWARE, PRECISION_FLOORS, RULES, VERSIONS
from tasks.domain.speed import Speed, measured_speed, ratio
from tasks.domain.target import Flavour
from tasks.domain.triton_releases import TRITON_RELEASES, triton_release
from tests.support.candidates import H200, L4, L40S, T4, WANTED, engine, host, version

ROOT = Path(__file__).parents[4]


def chosen(where: Host, *engines: Candidate, wanted: Wanted = WANTED) -> Resolution:
    return resolve(where, wanted, engines)


def rules(resolution: Resolution) -> tuple[str, ...]:
    return resolution.chosen().rules


def first_misfit(where: Host, candidate: Candidate) -> Field:
    resolution = chosen(where, candidate)
    assert resolution.choice is None
    return resolution.reasons[0].misfit.field


def test_an_engine_of_this_gpu_and_tensorrt_is_taken_without_a_mark() -> None:
    resolution = chosen(host(), engine(L40S), engine(), engine(trt="10.16.1.11"))
    assert resolution.chosen().candidate == engine()
    assert rules(resolution) == ("R1",)
    assert resolution.chosen().marks == ()
    assert {reason.misfit.field for reason in resolution.reasons} == {Field.GPU, Field.TENSORRT}


def test_another_gpu_of_the_same_capability_is_never_taken_unless_that_was_read_back() -> None:
    level = HardwareLevel.SAME_COMPUTE_CAPABILITY
    asked_only = engine(L40S, hardware=level)
    resolution = chosen(host(), asked_only)
    assert resolution.choice is None
    assert resolution.reasons[0].misfit.rule == "R15"
    assert "not read back" in str(resolution.reasons[0])
    assert chosen(host(), replace(asked_only, read_back=HardwareLevel.NONE)).choice is None
    taken = chosen(host(), replace(asked_only, read_back=level))
    assert rules(taken) == ("R13", "R1")
    assert taken.chosen().marks == (Mark.SAME_COMPUTE_CAPABILITY,)


def test_ampere_plus_runs_from_ampere_on_if_it_was_read_back() -> None:
    plan = engine(L4, hardware=HardwareLevel.AMPERE_PLUS, read_back=HardwareLevel.AMPERE_PLUS)
    assert rules(chosen(host(H200), plan)) == ("R12", "R1")
    assert first_misfit(host(T4), plan) is Field.GPU
    assert first_misfit(host("Orin"), plan) is Field.GPU
    fp8 = replace(plan, precision=Precision.FP8)
    a100 = host("NVIDIA A100-SXM4-40GB")
    assert "fp8, from 8.9 on" in str(chosen(a100, fp8).reasons[0])


def test_a_plan_of_rtx_runs_on_its_capabilities_in_its_very_release() -> None:
    plan = engine(rtx="8.6 8.9", trt="1.7.1.116")
    assert rules(chosen(host(trt="1.7.1.116", flavour=Flavour.RTX), plan)) == ("R17", "R16")
    assert first_misfit(host(H200, "1.7.1.116", flavour=Flavour.RTX), plan) is Field.GPU
    assert first_misfit(host(trt="1.7.2.1", flavour=Flavour.RTX), plan) is Field.TENSORRT
    assert first_misfit(host(trt="1.7.1.116"), plan) is Field.FLAVOUR


@pytest.mark.parametrize(
    ("built", "here", "rule"),
    [
        ("10.13.3.9", "10.16.1.11", "R3"),
        ("8.6.0.12", "10.16.1.11", "R4"),
        ("10.16.1.11", "11.4.0.106", "R4"),
        ("8.6.0.12", "11.4.0.106", None),
        ("10.16.1.11", "10.13.3.9", None),
        ("8.5.3.1", "8.6.0.12", None),
    ],
)
def test_version_compatible_plans_run_in_later_versions(built: str, here: str, rule: str | None) -> None:
    resolution = chosen(host(trt=here, host_code=True), engine(trt=built, version_compatible=True))
    if rule is None:
        assert resolution.reasons[0].misfit.field is Field.TENSORRT
    else:
        assert rules(resolution) == ("R1", rule, "R7")
        assert Mark.VERSION_COMPATIBLE in resolution.chosen().marks


def test_a_plan_without_a_runtime_needs_the_lean_runtime_of_its_own_version() -> None:
    plan = engine(trt="8.6.0.12", version_compatible=True, lean_runtime=False)
    later = host(trt="10.16.1.11", host_code=True)
    assert first_misfit(later, plan) is Field.LEAN_RUNTIME
    assert (
        first_misfit(replace(later, lean_runtimes=frozenset({version("10.16.1.11")})), plan)
        is Field.LEAN_RUNTIME
    )
    taken = chosen(replace(later, lean_runtimes=frozenset({version("8.6.0.12")})), plan).chosen()
    assert taken.marks == (Mark.VERSION_COMPATIBLE, Mark.LEAN_RUNTIME)


def test_native_code_in_a_plan_is_the_consumers_to_allow_even_in_its_own_version() -> None:
    plan = engine(version_compatible=True)
    assert first_misfit(host(), plan) is Field.HOST_CODE
    assert chosen(host(host_code=True), plan).chosen().marks == (Mark.HOST_CODE,)
    triton = host(host_code=True, triton="26.02-trtllm")
    assert chosen(triton, plan).chosen().marks == (Mark.HOST_CODE, Mark.TRITON_FLAG)
    assert chosen(host(host_code=True), plan, engine(digit="b")).chosen().candidate.plain


def test_an_old_driver_is_refused_unless_it_takes_the_cuda_all_the_same() -> None:
    old = host(cuda="13.0", driver="575.57.08")
    assert first_misfit(old, engine()) is Field.DRIVER
    for good in ({"driver": "580.65.06"}, {"driver_cuda": "13.1"}, {"driver": None}, {"cuda": None}):
        assert chosen(replace(old, **good), engine()).choice is not None


def test_the_order_of_precisions_decides_among_engines_that_run_equally_well() -> None:
    engines = [engine(precision=precision) for precision in Precision]
    assert chosen(host(), *engines).chosen().candidate.precision is DEFAULT_PRECISIONS[0]
    wanted = replace(WANTED, precisions=(Precision.INT8, Precision.FP32))
    assert chosen(host(), *engines, wanted=wanted).chosen().candidate.precision is Precision.INT8
    refused = chosen(host(), engine(), wanted=wanted)
    assert refused.reasons[0].misfit.field is Field.PRECISION


def test_compatible_choices_show_what_they_were_measured_to_cost() -> None:
    def speed(ms: float) -> Speed:
        return Speed(shapes={"x": (1, 8)}, ms=ms, low=ms * 0.99, high=ms * 1.01, quiet=True)

    level = HardwareLevel.AMPERE_PLUS
    plan = engine(hardware=level, read_back=level, speed=speed(1.2))
    plain = engine(digit="b", speed=speed(1.0))
    cost = chosen(host(H200), plan, plain).chosen().cost
    assert cost is not None
    assert (cost.than, cost.where) == (plain.key, "l4 with 10.13.3.9")
    assert cost.slower.value == pytest.approx(1.2)
    assert cost.slower.low < 1.2 < cost.slower.high
    assert chosen(host(H200), plan).chosen().cost is None
    busy = replace(plain, speed=replace(speed(1.0), quiet=False))
    assert chosen(host(H200), plan, busy).chosen().cost is None


def test_int8_that_gains_less_than_two_percent_over_fp16_is_marked() -> None:
    def case(ms: float) -> dict[str, Any]:
        times = {"p50": ms, "p90": ms * 1.02}
        shapes = {"x": [1, 8]}
        return {"name": "min/opt", "shapes": shapes, "iterations": 400, "gpu_ms": times, "drift": 0.001}

    def speed(ms: float) -> Speed | None:
        return measured_speed({"state": "measured", "cases": [case(ms)], "quiet": {"quiet": True}})

    half, wanted = engine(digit="b", speed=speed(1.0)), replace(WANTED, precisions=(Precision.INT8,))
    for ms, slow in ((0.99, True), (1.1, True), (0.97, False)):
        eight = engine(precision=Precision.INT8, speed=speed(ms))
        gained = ratio(half.speed, eight.speed)
        assert gained is not None
        assert 0.98 / ms < gained.low < 1 / ms < gained.high < 1.02 / ms
        choice = chosen(host(), half, eight, wanted=wanted).chosen()
        assert (Mark.NOT_FASTER in choice.marks) is slow
        assert choice.gain == gained
    assert not is_not_faster(None)
    assert measured_speed({"state": "not_measured"}) is None


def test_a_refusal_names_for_each_engine_what_does_not_fit_and_the_command() -> None:
    far = engine(L40S, "8.6.0.12", precision=Precision.FP32, os="windows")
    resolution = chosen(host(trt="10.16.1.11"), far, engine())
    with pytest.raises(NoEngineFits) as caught:
        resolution.chosen()
    nearest, other = resolution.reasons
    assert nearest.candidate == engine()
    assert (nearest.misfit.wanted, nearest.misfit.actual, nearest.others) == ("10.16.1.11", "10.13.3.9", 0)
    assert (other.misfit.field, other.others) == (Field.PLATFORM, 2)
    assert "built for l4 / 10.13.3.9" in caught.value.found
    command = "enginefarm submit s3://models/resnet/7 --target l4 --precision fp16"
    assert command in nearest.misfit.fix
    assert command in caught.value.fix
    assert resolution.to_document()["reasons"][0]["field"] == "tensorrt"
    with pytest.raises(NoEngineFits, match="no engine at all"):
        chosen(host()).chosen()


def test_an_entry_of_an_index_is_read_back_as_it_was_and_others_are_refused() -> None:
    level = HardwareLevel.AMPERE_PLUS
    speed = Speed(shapes={"x": (1, 8)}, ms=1.0, low=0.9, high=1.1, quiet=None)
    for candidate in (
        engine(),
        engine(rtx="8.6 8.9", trt="1.7.1.116", read_back=level, speed=speed, error=0.1),
    ):
        document = candidate.to_document()
        assert candidate_from_document({**document, "of a later version": 1}) == candidate
        for name in document:
            if name != "signature":
                with pytest.raises(CandidateError):
                    candidate_from_document({key: value for key, value in document.items() if key != name})
    with pytest.raises(CandidateError, match="instead of"):
        candidate_from_document({**engine().to_document(), "precision": "fp32"})


def test_images_of_triton_name_their_tensorrt_and_the_plain_image_is_another() -> None:
    assert str(triton_release("26.07-trtllm-python-py3").tensorrt) == "10.14.1.48"
    with pytest.raises(RequestInvalid, match=r"26\.07-trtllm is another image"):
        triton_release("26.07")
    assert all(row.name == name for name, row in TRITON_RELEASES.items())


def test_every_rule_has_a_source_and_the_floors_are_those_of_the_table() -> None:
    named = {row.rule for row in (*HARDWARE, *VERSIONS)}
    assert named <= RULES.keys()
    assert all(rule.words and rule.source for rule in RULES.values())
    assert gpu_table().compute == PRECISION_FLOORS


MODULES = (
    "host",
    "candidate",
    "speed",
    "misfits",
    "resolution",
    "resolution_rules",
    "triton_releases",
    "gpu_models",
)


@pytest.mark.parametrize("name", MODULES)
def test_what_consumers_run_keeps_to_python_310_and_the_standard_library(name: str) -> None:
    text = (ROOT / f"tasks/domain/{name}.py").read_text("utf-8")
    ast.parse(text, feature_version=(3, 10))
    imported = re.findall(r"^(?:from|import) ([\w.]+)", text, re.MULTILINE)
    assert not {"enum", "tomllib", "pydantic"} & {module.partition(".")[0] for module in imported}
