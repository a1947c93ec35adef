"""`build.yaml`: what it may say, and how each mistake is told."""

from __future__ import annotations

import pytest

from tasks.domain.compatibility import Compatibility, HardwareLevel
from tasks.domain.errors import RequestInvalid
from tasks.domain.request import ALL_TARGETS, BuildRequest, Precision, ShapeRange, TimingMode
from tasks.store.request_file import parse_request

FULL = """
signature: serving_default
inputs:
  image:
    min: [1, 28, 28, 1]
    opt: [8, 28, 28, 1]
    max: [32, 28, 28, 1]
  scale: []
precisions: [fp32, fp16]
targets: [rtx-sm89, l4]
tolerances: {fp16: 1e-2, fp32: 0.001}
samples: samples.npz
workspace_mib: 512
optimization_level: 5
timing: reproducible
timing_cache: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
"""


def refusal(text: str) -> str:
    with pytest.raises(RequestInvalid) as caught:
        parse_request(text)
    return str(caught.value)


def test_every_key_is_read() -> None:
    assert parse_request(FULL) == BuildRequest(
        signature="serving_default",
        inputs={
            "image": ShapeRange(min=(1, 28, 28, 1), opt=(8, 28, 28, 1), max=(32, 28, 28, 1)),
            "scale": ShapeRange(min=(), opt=(), max=()),
        },
        precisions=(Precision.FP32, Precision.FP16),
        targets=("rtx-sm89", "l4"),
        tolerances={Precision.FP16: 0.01, Precision.FP32: 0.001},
        samples="samples.npz",
        workspace_mib=512,
        optimization_level=5,
        timing=TimingMode.REPRODUCIBLE,
        timing_cache="0123456789abcdef" * 4,
    )


def test_what_is_asked_of_plans_is_read() -> None:
    request = parse_request(
        "inputs: {mask: [1, 4]}\n"
        "profiles:\n"
        "  - image: {min: [1, 8], opt: [2, 8], max: [4, 8]}\n"
        "  - image: [32, 8]\n"
        "compatibility: {version: true, lean_runtime: false, hardware: ampere_plus}\n"
        "refittable: true\n"
        "stripped: false\n"
    )
    assert request == BuildRequest(
        inputs={"mask": ShapeRange(min=(1, 4), opt=(1, 4), max=(1, 4))},
        profiles=(
            {"image": ShapeRange(min=(1, 8), opt=(2, 8), max=(4, 8))},
            {"image": ShapeRange(min=(32, 8), opt=(32, 8), max=(32, 8))},
        ),
        compatibility=Compatibility(version=True, lean_runtime=False, hardware=HardwareLevel.AMPERE_PLUS),
        refittable=True,
    )


@pytest.mark.parametrize("text", ["", "\n", "# nothing to say\n", "---\n", "{}"])
def test_an_empty_file_asks_for_the_defaults(text: str) -> None:
    assert parse_request(text) == BuildRequest()


def test_short_forms() -> None:
    request = parse_request("targets: all\nprecisions: fp16\ninputs: {image: [8, 28, 28, 1]}\n")
    assert request.targets == (ALL_TARGETS,)
    assert request.precisions == (Precision.FP16,)
    shape = request.inputs["image"]
    assert shape.min == shape.opt == shape.max == (8, 28, 28, 1)
    assert parse_request("targets: rtx-sm89").targets == ("rtx-sm89",)


def test_words_mean_what_they_mean_in_json() -> None:
    request = parse_request("signature: on\ninputs: {1: [2], no: [3]}\ntolerances: {tf32: 1e-3}\n")
    assert request.signature == "on"
    assert list(request.inputs) == ["1", "no"]
    assert request.tolerance(Precision.TF32) == 0.001


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timing: share", ['timing: "share" is unknown here', "did you mean shared?", "reproducible"]),
        ("timing_cache: abc", ['timing_cache: "abc"', "64 lower-case hexadecimal digits"]),
        ("\nprecision: [fp16]", ["line 2, precision: the key is unknown", "did you mean precisions?"]),
        ("inputs: {x: {mni: [1], opt: [1], max: [1]}}", ["inputs.x.mni: the key is unknown", "mean min?"]),
        (
            "inputs:\n  x: {opt: [1], max: [1]}",
            ["line 2, inputs.x.min: the key is missing", "[8, 28, 28, 1]"],
        ),
        ("inputs: {x: 7}", ["inputs.x: 7", "min, opt and max"]),
        ("inputs: [1]", ["line 1, inputs: [1]", "names with values"]),
        ("inputs:\n", ["line 1, inputs: nothing", "leave the key out"]),
        (
            "inputs: {x: {min: [2, 9], opt: [1, 9], max: [1, 8]}}",
            ["dimension 0 needs 1 <= min <= opt <= max, not 2, 1, 1", "dimension 1 needs"],
        ),
        ("inputs: {x: {min: [1], opt: [1, 2], max: [1]}}", ["the same number of dimensions"]),
        ("inputs:\n  x: [1,\n    0]", ["dimension 1 needs 1 <="]),
        ("inputs:\n  x:\n    - 1\n    - two", ['line 4, inputs.x[1]: "two"', "a whole number"]),
        ("inputs: {x: [1, 2.0]}", ["inputs.x[1]: 2.0", "a whole number"]),
        ("inputs: {x: [true]}", ["inputs.x[0]: true", "a whole number"]),
        ("inputs: {x: ['8']}", ['inputs.x[0]: "8"', "without quotes"]),
        ("workspace_mib: 010", ['workspace_mib: "010"', "a whole number"]),
        ("workspace_mib: 1_000", ['"1_000"', "underscore"]),
        ("workspace_mib: 1e3", ["workspace_mib: 1000.0", "a whole number"]),
        ("workspace_mib: 0", ["workspace_mib: 0", "at least 1"]),
        (f"workspace_mib: {'9' * 5000}", ["workspace_mib:", "a whole number"]),
        ("optimization_level: 6", ["between 0 and 5"]),
        ("precisions: [fp61]", ['precisions[0]: "fp61"', "did you mean fp16?", "fp32, tf32, fp16"]),
        ("precisions: int4", ['"int4" is unknown here', "fp32, tf32, fp16"]),
        ("precisions: []", ["at least one"]),
        ("precisions: [fp16, fp16]", ["each once"]),
        ("targets: [all, l4]", ["either all or a list"]),
        ("targets: ['']", ["a target has a name"]),
        ("targets: [1]", ["targets[0]: 1", "write text"]),
        ("targets: {l4: 1}", ["targets", "a list in [ ]"]),
        ("signature: 3", ["signature: 3", "quotes"]),
        ("tolerances: {fp16: .nan}", ["tolerances.fp16", "a number above 0"]),
        ("tolerances: {fp16: -.inf}", ["a number above 0"]),
        ("tolerances: {fp16: 0}", ["a number above 0"]),
        ("tolerances: {fp16: true}", ["tolerances.fp16: true", "a number, for example"]),
        ("tolerances: {half: 1}", ['tolerances.half: "half" is unknown here']),
        ("profiles: {x: [1]}", ["profiles: {", "a list in [ ]"]),
        ("profiles: [7]", ["profiles[0]: 7", "names with values"]),
        ("profiles:\n  - x: [1]\n  - x: [0]", ["line 3, profiles[1].x", "dimension 0 needs 1 <="]),
        ("profiles:\n  - x:\n      - one", ['line 3, profiles[0].x[0]: "one"', "a whole number"]),
        ("profiles: [{x: {mni: [1], opt: [1], max: [1]}}]", ["profiles[0].x.mni: the key is", "mean min?"]),
        ("profiles: [{x: [1]}, {y: [1]}]", ["every profile gives shapes for the same inputs"]),
        ("profiles: [{}]", ["at least one"]),
        ("profiles: [{x: [1]}, {x: [1]}]", ["no profile is listed twice"]),
        ("inputs: {x: [1]}\nprofiles: [{x: [2]}]", ["x has its shapes either in inputs or in profiles"]),
        ("compatibility: ampere_plus", ["compatibility:", "names with values, such as {version: true}"]),
        ("compatibility: {hardware: ampere}", ['hardware: "ampere" is unknown', "mean ampere_plus?"]),
        ("compatibility: {versions: true}", ["compatibility.versions: the key is", "mean version?"]),
        ("compatibility: {version: 1}", ["compatibility.version: 1", "true or false"]),
        ("compatibility: {lean_runtime: false}", ["with version: true only"]),
        ("refittable: yes", ['refittable: "yes"', "true or false"]),
        ("plugins: [{library: a.so}]", ["plugins[0].sha256: the key is missing"]),
        ("plugins: [{lib: a.so}]", ["plugins[0].lib: the key is unknown", "mean library?"]),
        ("samples: a\n\nsamples: b", ["line 3, samples: the key is already on line 1"]),
        ("inputs: {x: [1], x: [2]}", ["inputs.x: the key is already on line 1"]),
        ("- targets: all", ["no keys", "precisions: [fp32]"]),
        ("all", ['line 1: "all", no keys']),
        ("? [1]\n: 2", ["a list or mapping as a key"]),
        ("a: [1\nb: 2", ["line 2: column 2, expected ',' or ']'"]),
        ("a:\n\t- b", ["line 2: column 1", "'\\t'"]),
        ("a: 1\n---\nb: 2", ["line 2: a second document"]),
        ("a: &x [1]\nb: *x", ["line 1: the anchor or alias x", "line 2: the anchor or alias x"]),
        ("a: !!python/object/apply:os.system ['true']", ["line 1: the tag", "python/object"]),
        ("workspace_mib: !!int '5'", ["the tag tag:yaml.org,2002:int"]),
        ("<<: {targets: all}", ["<<: the key is unknown"]),
        ("a: \x00", ["the file: unacceptable character #x0000"]),
        ('signature: "\\U00110000"', ["plain UTF-8"]),
        ('signature: "\\ud800"', ["line 1: half of a surrogate pair"]),
        ('signature: "a\\nb"', ["line 1: the text", "control characters"]),
        ('"a\\nb": 1', ['line 1: the text "a\\nb"', "control characters"]),
        ("[" * 3000, ["levels of nesting"]),
        ("# " + "x" * 65536, ["more than 64 KiB"]),
        ("\ud800", ["the file: unacceptable character"]),
    ],
)
def test_each_mistake_is_told_with_its_place_and_fix(text: str, says: list[str]) -> None:
    message = refusal(text)
    assert message.startswith("wanted a build request in build.yaml; found ")
    for words in says:
        assert words in message
    assert message.partition("To fix: ")[2]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    message = refusal(
        "precsions: [fp16]\n"
        "inputs:\n"
        "  a: {min: [2], opt: [1], max: [1]}\n"
        "  b: [zero, 0.5]\n"
        "tolerances:\n"
        "  fp61: 1\n"
        "  fp16: .nan\n"
        "workspace_mib: 0\n"
        "workspace_mib: 8\n"
        "optimization_level: 9\n"
    )
    places = [row.split(": ")[0].strip() for row in message.splitlines()[1:]]
    assert "found 9 problems:" in message
    assert places == [
        "line 1, precsions",
        "line 3, inputs.a",
        "line 4, inputs.b[0]",
        "line 4, inputs.b[1]",
        "line 6, tolerances.fp61",
        "line 7, tolerances.fp16",
        "line 8, workspace_mib",
        "line 9, workspace_mib",
        "line 10, optimization_level",
    ]


def test_a_file_full_of_mistakes_makes_no_endless_message() -> None:
    message = refusal("".join(f"key{number}: 1\n" for number in range(5000)))
    assert "5000 problems" in message
    assert len(message) < 10_000


def test_the_error_names_the_file_and_escapes_what_a_terminal_would_obey() -> None:
    with pytest.raises(RequestInvalid) as caught:
        parse_request('"\\e[2Jx": 1', source="s3://models/mnist/7/build.yaml")
    assert "s3://models/mnist/7/build.yaml" in str(caught.value)
    assert "\x1b" not in str(caught.value)
