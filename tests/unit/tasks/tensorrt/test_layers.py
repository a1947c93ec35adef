"""What the engine inspector tells. It needs a GPU: the engine here stands in for one that is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.domain.compatibility import Compatibility, HardwareLevel, ReadBack
from tasks.domain.digest import blob_ref
from tasks.domain.errors import DigestMismatch, GpuUnavailable, PlanLacksOption
from tasks.tensorrt.documents import read_form
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.inside import layers
from tasks.tensorrt.inside.layers import NoLayersError, load_built, read_back, read_layers
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.options import Options
from tasks.tensorrt.toolchain import Toolchain
from tests.stand_in.toolchain import StandIn

OPTIONS = Options(
    precision="fp32", workspace_mib=1, optimization_level=3, profiles=(), compute_capabilities=("8.9",),
    gpu_index=1, version_compatible=True, lean_runtime=True, hardware="none", refittable=False,
    stripped=False,
)  # fmt: skip
TOLD = '{"Layers": [{"Name": "conv\\u001b[2J"}]}'


@dataclass
class Runtime:
    """Stands in for TensorRT's runtime: loads one plan, if it may run the code in it."""

    engine_host_code_allowed: bool = False
    tells: str = TOLD

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if plan != b"plan" or not self.engine_host_code_allowed:
            return None
        inspector = SimpleNamespace(get_engine_information=lambda form: self.tells if form == "json" else "")
        return SimpleNamespace(create_engine_inspector=lambda: inspector)


@pytest.fixture
def layers_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that asks for the layers of a plan."""
    used: list[int] = []
    monkeypatch.setattr(layers, "use_gpu", used.append)

    def ask(
        data: bytes = b"plan",
        tells: str = TOLD,
        messages: Messages | None = None,
        built: bytes | None = None,
    ) -> str:
        trt = SimpleNamespace(
            Runtime=lambda _: Runtime(tells=tells), LayerInformationFormat=SimpleNamespace(JSON="json")
        )
        (tmp_path / "plan").write_bytes(data)
        expected = asdict(blob_ref(data if built is None else built))
        plan = tmp_path / "plan"
        answer = read_layers(
            trt, load_built(trt, None, messages or Messages(), OPTIONS, plan, built=expected)
        )
        assert used == [1]
        return answer

    return ask


def test_the_document_is_json_that_no_terminal_obeys(layers_of: Callable[..., str]) -> None:
    document = layers_of()
    assert json.loads(document) == json.loads(TOLD)
    assert "\x1b" not in document


def test_control_characters_in_strings_are_taken(layers_of: Callable[..., str]) -> None:
    document = layers_of(tells='{"Layers": [{"Name": "one\ntwo\tthree"}]}')
    assert json.loads(document) == {"Layers": [{"Name": "one\ntwo\tthree"}]}


def test_a_plan_that_does_not_load_has_no_layers(layers_of: Callable[..., str]) -> None:
    with pytest.raises(NoLayersError, match="does not load the plan here: no message"):
        layers_of(b"other", messages=Messages(errors=["of the build"]))


@pytest.mark.parametrize("data", [b"plaN", b"pla", b"plan\0"])
def test_other_bytes_than_were_built_are_never_given_to_tensorrt(
    data: bytes, layers_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    monkeypatch.setattr(Runtime, "deserialize_cuda_engine", lambda _, plan: seen.append(plan))
    with pytest.raises(DigestMismatch, match="the plan that was just built"):
        layers_of(data, built=b"plan")
    assert seen == []


def test_what_is_no_json_is_told(layers_of: Callable[..., str]) -> None:
    with pytest.raises(NoLayersError, match="did not return JSON"):
        layers_of(tells="Layer 1: conv")


def test_a_gpu_that_is_gone_is_told(layers_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: int) -> None:
        raise GpuUnavailable(wanted="the GPU", found="that it is gone", fix="look for it")

    monkeypatch.setattr(layers, "use_gpu", gone)
    with pytest.raises(NoLayersError, match="that it is gone"):
        layers_of()


@pytest.mark.parametrize("asked", ["none", "ampere_plus"])
@pytest.mark.parametrize("refittable", [False, True])
def test_what_tensorrt_reports_of_a_plan_is_kept_and_what_it_dropped_ends_the_build(
    asked: str, *, refittable: bool
) -> None:
    options = replace(OPTIONS, hardware=asked, refittable=refittable)

    def engine(hardware: str, *, refits: bool) -> SimpleNamespace:
        level = SimpleNamespace(name=hardware.upper())
        return SimpleNamespace(hardware_compatibility_level=level, refittable=refits)

    document = read_back(engine(asked, refits=refittable), options)
    assert document == {"hardware": asked, "refittable": refittable}
    if asked != "none":
        for dropped in ("none", "same_compute_capability"):
            with pytest.raises(PlanLacksOption, match=f"compatibility {asked}.*{dropped}"):
                read_back(engine(dropped, refits=refittable), options)
    if refittable:
        with pytest.raises(PlanLacksOption, match="cannot be refitted"):
            read_back(engine(asked, refits=False), options)


def test_a_level_of_a_later_tensorrt_is_none_that_this_version_relies_on() -> None:
    level = SimpleNamespace(name="BLACKWELL_PLUS")
    document = read_back(SimpleNamespace(hardware_compatibility_level=level, refittable=False), OPTIONS)
    assert read_form(document) == ReadBack(hardware=None, refittable=False)
    assert read_form(None) is None


def test_the_build_reads_the_finished_plan_back(
    stand_in: Callable[..., StandIn],
    build_below: Callable[..., tuple[Toolchain, BuiltEngine]],
    tmp_path: Path,
) -> None:
    asked = Compatibility(hardware=HardwareLevel.AMPERE_PLUS)
    toolchain = stand_in()
    _, built = build_below(toolchain, tmp_path, compatibility=asked)
    assert built.read_back == ReadBack(hardware=HardwareLevel.AMPERE_PLUS, refittable=False)
    toolchain.becomes(loses=["hardware"])
    with pytest.raises(PlanLacksOption, match="TensorRT reports of the finished plan"):
        build_below(toolchain, tmp_path, compatibility=asked)
