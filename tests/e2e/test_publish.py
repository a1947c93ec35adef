"""`enginefarm check`, `publish` and `requests`: a release that is checked, uploaded once and corrected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.domain import errors
from tasks.store.s3 import s3_client

Command = Callable[..., tuple[int, str, str]]
DEMO = Path(__file__).parents[2] / "flows/demo_release"


def _keys(bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3_client().list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.slow
def test_a_release_is_checked_published_and_corrected(
    enginefarm: Command, s3_env: str, tmp_path: Path
) -> None:
    folder, release = tmp_path / "digits", f"s3://{s3_env}/models/digits/1"
    folder.mkdir()
    shutil.copy(DEMO / "model.keras", folder)
    request = folder / "build.yaml"

    request.write_text("precisions: [fp16]\ntargets: [rtx4090]\n")
    for command in (("check",), ("publish", release)):
        code, output, problems = enginefarm(command[0], str(folder), *command[1:])
        assert (code, output) == (errors.RequestInvalid.exit_code, "")
        assert "for rtx4090 write rtx-4090, or rtx-sm89" in " ".join(problems.split())
    assert _keys(s3_env) == []

    request.write_text("precisions: [fp16]\ntargets: [rtx-sm89]\n")
    whole = (folder / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(whole[: len(whole) // 2])
    for command in (("check",), ("publish", release)):
        code, _, problems = enginefarm(command[0], str(folder), *command[1:])
        assert code == errors.ModelUnreadable.exit_code
        assert "model.keras" in problems
    assert _keys(s3_env) == []

    (folder / "model.keras").write_bytes(whole)
    code, output, problems = enginefarm("check", str(folder))
    assert code == 0, problems
    assert "Request: fp16 for rtx-sm89" in output
    code, output, _ = enginefarm("publish", str(folder), release, "--dry-run")
    assert code == 0
    assert "Would upload build.yaml" in output
    assert _keys(s3_env) == []
    assert enginefarm("publish", str(folder), release)[0] == 0

    corrected = tmp_path / "corrected"
    corrected.mkdir()
    (corrected / "build.yaml").write_text("targets: [rtx-sm86]\n")
    code, output, problems = enginefarm("publish", str(corrected), release, "--replace-request")
    assert code == 0, problems
    assert "the former ones" in output
    versions = json.loads(enginefarm("requests", release, "--json")[1])
    assert [version["number"] for version in versions] == [1, 2]
    assert enginefarm("requests", release, "--show", "1")[1] == request.read_text()
    assert enginefarm("publish", "absent", release)[0] == errors.RequestInvalid.exit_code
