"""Arguments as people give them: folders, pipes, URLs of files, and a command that is interrupted."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.addresses import release_at
from flows.cli import entry, publish
from flows.cli.main import app
from tasks.domain.errors import Interrupted, RequestInvalid
from tasks.domain.record import EngineRecord
from tasks.store.store import Store

URL = "s3://my-bucket/models/resnet/v7"


def test_the_url_of_a_request_file_is_its_releases() -> None:
    for url in (URL, f"{URL}/", f"{URL}/build.yaml"):
        assert release_at(url).url == f"{URL}/"


def test_a_folder_in_place_of_a_url_is_to_be_published(tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match=f"enginefarm publish {tmp_path} s3://BUCKET"):
        release_at(str(tmp_path))


@pytest.fixture
def engine(s3_env: str, engine_record: EngineRecord, tmp_path: Path) -> tuple[str, str]:
    """The key of an engine whose plan is `plan`, and the store."""
    store = Store.connect(f"s3://{s3_env}")
    (tmp_path / "plan").write_bytes(b"plan")
    record = replace(engine_record, plan=store.put_blob(tmp_path / "plan"))
    store.commit(record, record.key)
    return record.key, store.url


def test_a_plan_goes_into_a_folder_or_a_pipe(engine: tuple[str, str], tmp_path: Path) -> None:
    key, store = engine
    folder = tmp_path / "plans"
    folder.mkdir()
    result = CliRunner().invoke(app, ["engines", "fetch", key, "--store", store, "-o", str(folder)])
    assert result.exit_code == 0, result.output
    plan, record = sorted(folder.iterdir(), key=lambda path: len(path.name))
    assert (plan.suffix, plan.read_bytes(), record.name) == (".plan", b"plan", f"{plan.name}.json")
    result = CliRunner().invoke(app, ["engines", "fetch", key, "--store", store, "-o", "-"])
    assert result.stdout_bytes == b"plan"


def test_ctrl_c_ends_every_command_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def press(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "s3_client", press)
    result = CliRunner().invoke(app, ["publish", str(tmp_path), URL])
    assert isinstance(result.exception, Interrupted)


def test_ctrl_c_while_python_imports_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = builtins.__import__

    def press(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "flows.cli.main":
            raise KeyboardInterrupt
        return imported(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", press)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == Interrupted.exit_code
    assert capsys.readouterr().err == "Interrupted (exit code 130)\n"
