"""What logs say of a step."""

from __future__ import annotations

from dataclasses import replace

from tasks.domain.record import EngineRecord, Verdict
from tasks.domain.step_text import built_text, graph_text, verification_text


def test_a_graph_is_told_in_one_line_with_its_figures(engine_record: EngineRecord) -> None:
    verification = engine_record.graph_verification
    worst = verification.worst
    assert worst is not None
    text = graph_text(
        engine_record.options.precision,
        opset=17,
        nodes=16,
        size=80_000,
        verification=verification,
        key="k.json",
    )
    assert text == (
        f"graph in fp16: opset 17, 16 nodes, 78 KiB; passed, error {worst.relative:.1e} of at most "
        f"{verification.tolerance:g}, noise {worst.noise:.1e}; k.json"
    )
    unmeasured = replace(verification, verdict=Verdict.NOT_MEASURED, comparisons=(), reason="no GPU")
    assert verification_text(unmeasured) == "not measured: no GPU"


def test_the_first_warning_of_tensorrt_is_shown_and_the_others_are_counted() -> None:
    assert built_text(size=3 << 20, seconds=1.25, warnings=()) == "built 3.0 MiB in 1.2 s"
    text = built_text(size=2048, seconds=1.25, warnings=("w" * 300, "another"))
    assert text.startswith("built 2 KiB in 1.2 s; 2 warnings of TensorRT, the first: www")
    assert text.endswith("w…")
