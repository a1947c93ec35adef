"""`enginefarm engines fetch` and `enginefarm run`, on a stand-in for TensorRT and the GPU."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner, Result

from flows.cli.main import app
from flows.settings import settings
from tasks.children.compare import Arrays
from tasks.domain.errors import (
    DigestMismatch,
    DiskFull,
    FarmError,
    InputInvalid,
    NotStored,
    RequestInvalid,
    RunnerMissing,
    TargetUnavailable,
    ToolchainBroken,
)
from tasks.domain.keys import engine_key
from tasks.domain.record import EngineRecord
from tasks.store.records import record_to_json
from tasks.store.store import Store
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.toolchain import Toolchain
from tests.stand_in.toolchain import H100, L4, SECOND_H100, StandIn, write_toolchain
from tests.support.rounding import assert_equal_but_for_rounding


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An engine in a store, its graph, and the toolchain that built it."""

    url: str
    record: EngineRecord
    graph: Path
    toolchain: StandIn


@pytest.fixture(scope="module")
def made(
    build_below: Callable[[StandIn, Path], tuple[Toolchain, BuiltEngine]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[StandIn, BuiltEngine]:
    """A toolchain with two GPUs, and an engine that it built; not to be changed."""
    toolchain = write_toolchain(tmp_path_factory.mktemp("toolchain") / "stand-in", gpus=(H100, SECOND_H100))
    _, built = build_below(toolchain, tmp_path_factory.mktemp("built"))
    return toolchain, built


@pytest.fixture
def stored(
    s3_env: str,
    made: tuple[StandIn, BuiltEngine],
    conv_net: Callable[..., Path],
    engine_record: EngineRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stored]:
    """A stored engine; its toolchain is named in the settings, whose folder must be empty afterwards."""
    (toolchain, built), url, work = made, f"s3://{s3_env}", tmp_path / "work"
    monkeypatch.setenv("ENGINEFARM_TOOLCHAINS", str(toolchain.interpreter))
    monkeypatch.setenv("ENGINEFARM_WORK_DIR", str(work))
    monkeypatch.delenv("ENGINEFARM_STORE", raising=False)
    settings.cache_clear()
    record = _publish(built, engine_record, Store.connect(url))
    yield Stored(url=url, record=record, graph=conv_net(1), toolchain=toolchain)
    settings.cache_clear()
    assert not work.exists() or list(work.iterdir()) == []


def _publish(built: BuiltEngine, template: EngineRecord, store: Store) -> EngineRecord:
    key = engine_key(
        release=template.release,
        target=built.target,
        precision=template.options.precision,
        build_digest=template.build_key,
    )
    store.put_blob(built.plan)
    return store.commit(replace(template, key=key, target=built.target, plan=built.ref), key)


def command(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


def refusal(kind: type[FarmError], *words: str | Path) -> FarmError:
    result = command(*words)
    assert type(result.exception) is kind, (result.output, result.exception)
    assert isinstance(result.exception, FarmError)
    return result.exception


@pytest.fixture
def plan(stored: Stored, tmp_path: Path) -> Path:
    """The fetched plan."""
    path = tmp_path / "net.plan"
    result = command("engines", "fetch", stored.record.key, "--store", stored.url, "-o", path)
    assert result.exit_code == 0, result
    assert "Its key was not recomputed" in result.output  # the sample's record is from before the opset
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.random.default_rng(1).standard_normal((2, 3, 32, 32)).astype(np.float32))
    return path


def test_a_plan_with_native_code_runs_with_its_users_permission_only(plan: Path, inputs: Path) -> None:
    """Whoever can change a record could otherwise let its users' processes run the plan's code."""
    beside = plan.with_name(f"{plan.name}.json")
    record = json.loads(beside.read_bytes())
    record["options"]["compatibility"] = {"version": True, "lean_runtime": True, "hardware": "none"}
    beside.write_text(json.dumps(record), "utf-8")
    assert "--allow-host-code" in refusal(InputInvalid, "run", plan, "--input", inputs).fix
    assert command("run", plan, "--input", inputs, "--allow-host-code").exit_code == 0


def test_commands_take_a_short_name(stored: Stored, inputs: Path, tmp_path: Path) -> None:
    name, path = stored.record.build_key[:7], tmp_path / "named.plan"
    for words in (("show", name), ("profile", name), ("fetch", name, "-o", path)):
        result = command("engines", *words, "--store", stored.url)
        assert result.exit_code == 0, result
    assert path.exists()
    assert command("run", name, "--input", inputs, "--store", stored.url).exit_code == 0
    error = refusal(NotStored, "engines", "layers", name, "--store", stored.url)
    assert stored.record.key in error.wanted


def by_onnxruntime(stored: Stored) -> Callable[[Arrays], Arrays]:
    session = onnxruntime.InferenceSession(str(stored.graph), providers=["CPUExecutionProvider"])
    return lambda inputs: {"y": np.asarray(session.run(["y"], dict(inputs))[0])}


def test_a_disk_that_fills_leaves_neither_the_plan_nor_half_a_record(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fill)
    folder = tmp_path / "new"
    error = refusal(
        DiskFull, "engines", "fetch", stored.record.key, "--store", stored.url, "-o", folder / "net.plan"
    )
    assert "net.plan.json" in error.wanted
    assert list(folder.iterdir()) == []


def test_the_record_is_fetched_beside_the_plan(stored: Stored, plan: Path) -> None:
    beside = plan.with_name("net.plan.json")
    assert beside.read_bytes() == record_to_json(stored.record)
    for file in (plan, beside):
        other = beside if file == plan else plan
        other.unlink()
        error = refusal(
            RequestInvalid, "engines", "fetch", stored.record.key, "--store", stored.url, "-o", plan
        )
        assert str(file) in error.wanted
        command("engines", "fetch", stored.record.key, "--store", stored.url, "-o", plan, "--force")
        assert plan.is_file()
        assert beside.is_file()


def test_a_fetched_plan_runs(stored: Stored, plan: Path, inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "y.npz"
    result = command("run", plan, "--input", inputs, "--output", output)
    assert result.exit_code == 0, result.exception
    with np.load(inputs) as given, np.load(output) as arrays:
        assert arrays.files == ["y"]
        y = arrays["y"]
        assert_equal_but_for_rounding({"y": y}, by_onnxruntime(stored), dict(given))
    (row,) = [line for line in result.output.splitlines() if "float32" in line]
    assert "[2, 10]" in row
    figures = [float(cell) for cell in row.split()[-3:]]
    np.testing.assert_allclose(figures, [y.min(), y.max(), y.mean()], rtol=1e-4)
    assert str(output) in result.output

    error = refusal(RequestInvalid, "run", plan, "--input", inputs, "--output", output)
    assert error.found == "a file that exists already"
    assert command("run", plan, "--input", inputs, "--output", output, "--force").exit_code == 0
    assert sorted(path.suffix for path in tmp_path.glob(".*")) == [], "no part of a file is left"


def test_outputs_go_to_a_pipe_and_the_summary_beside_it(plan: Path, inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "y.npz"
    assert command("run", plan, "--input", inputs, "--output", output).exit_code == 0
    result = command("run", plan, "--input", inputs, "-o", "-")
    assert result.exit_code == 0, result.exception
    with np.load(io.BytesIO(result.stdout_bytes)) as piped, np.load(output) as written:
        np.testing.assert_array_equal(piped["y"], written["y"])
    assert "float32" in result.stderr


def test_a_key_runs_out_of_the_store(stored: Stored, inputs: Path) -> None:
    result = command(
        "run", stored.record.key, "--store", stored.url, "--input", inputs, "--gpu", "1", "--profile", "0",
        "--toolchain", os.path.relpath(stored.toolchain.folder),
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    assert "[2, 10]" in result.output
    error = refusal(NotStored, "run", "engines/none.json", "--store", stored.url, "--input", inputs)
    assert "engines/none.json" in error.wanted


def test_what_is_neither_is_refused(plan: Path, inputs: Path, tmp_path: Path) -> None:
    error = refusal(RequestInvalid, "run", tmp_path / "gone.plan", "--input", inputs)
    assert error.found == "no such file, and no store"
    plan.with_name("net.plan.json").unlink()
    error = refusal(RequestInvalid, "run", plan, "--input", inputs)
    assert error.found == "a plan without its record"
    assert "engines fetch" in error.fix


def test_changed_bytes_are_not_run(plan: Path, inputs: Path) -> None:
    data = plan.read_bytes()
    plan.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refusal(DigestMismatch, "run", plan, "--input", inputs)


def test_inputs_that_do_not_fit(plan: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.npz"
    np.savez(file, x=np.zeros((9, 3, 32, 32), np.float32))
    error = refusal(InputInvalid, "run", plan, "--input", file)
    assert "from [1, 3, 32, 32] to [8, 3, 32, 32]" in error.wanted
    np.savez(file, image=np.zeros((1, 3, 32, 32), np.float32))
    assert "image" in refusal(InputInvalid, "run", plan, "--input", file).found
    assert "no such file" in refusal(InputInvalid, "run", plan, "--input", tmp_path / "gone").found


def test_files_of_strangers(plan: Path, tmp_path: Path) -> None:
    marker, file = tmp_path / "ran", tmp_path / "hostile.npz"

    class Opens:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (marker,)

    def pickled() -> None:
        np.savez(file, x=np.array([Opens()], dtype=object))

    def text() -> None:
        file.write_bytes(b"no archive")

    def array() -> None:
        with file.open("wb") as out:
            np.save(out, np.zeros((1, 3, 32, 32), np.float32))

    for write in (pickled, text, array):
        write()
        error = refusal(InputInvalid, "run", plan, "--input", file)
        assert "an .npz of plain arrays" in error.wanted
    assert not marker.exists()


def test_a_host_without_the_gpu_or_the_tensorrt(
    plan: Path, inputs: Path, stand_in: Callable[..., StandIn]
) -> None:
    for other in (stand_in(gpus=(L4,)), stand_in(version="8.6.0"), stand_in(gpus=())):
        error = refusal(TargetUnavailable, "run", plan, "--input", inputs, "--toolchain", other.interpreter)
        assert "h100-sxm-80gb with tensorrt 10.13.3.9" in error.wanted
        assert "no such GPU" in error.found
    error = refusal(TargetUnavailable, "run", plan, "--input", inputs, "--gpu", "2")
    assert "no such GPU with index 2" in error.found
    refusal(ToolchainBroken, "run", plan, "--input", inputs, "--toolchain", "/no/python")


def test_a_toolchain_without_pycuda(
    stored: Stored, plan: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A link to each of its parts but pycuda."""
    old = stored.toolchain.interpreter.read_text("utf-8")
    site = Path(__file__).parents[3] / "stand_in/site"
    (tmp_path / "site").mkdir()
    for part in site.iterdir():
        if part.name != "pycuda":
            (tmp_path / "site" / part.name).symlink_to(part)
    without = tmp_path / "python"
    without.write_text(old.replace(str(site), str(tmp_path / "site")), "utf-8")
    without.chmod(0o755)
    monkeypatch.setenv("ENGINEFARM_TOOLCHAINS", str(without))
    settings.cache_clear()
    error = refusal(RunnerMissing, "run", plan, "--input", inputs)
    assert "No module named 'pycuda'" in error.found


def test_a_record_of_another_form_is_refused(plan: Path, inputs: Path) -> None:
    beside = plan.with_name("net.plan.json")
    beside.write_text(json.dumps({"schema": "enginefarm.engine/9"}), "utf-8")
    result = command("run", plan, "--input", inputs)
    assert "enginefarm.engine/9" in str(result.exception)
