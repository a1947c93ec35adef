"""`enginefarm build`, `engines` and `doctor` on a user's bucket."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.domain import errors
from tasks.store.s3 import s3_client
from tests.stand_in.toolchain import H100, StandIn
from tests.support.farm.commands import clear, on_server

Command = Callable[..., tuple[int, str, str]]
DEMO = Path(__file__).parents[2] / "flows/demo_release"


@pytest.mark.long
def test_build_list_show_fetch(enginefarm: Command, s3_env: str, prefect_server: str, tmp_path: Path) -> None:
    client = s3_client()
    client.upload_file(str(DEMO / "model.keras"), s3_env, "models/digits/v2/model.keras")
    client.put_object(Bucket=s3_env, Key="models/digits/v2/build.yaml", Body=b"targets: all\n")
    server = {"PREFECT_API_URL": prefect_server}
    release = f"s3://{s3_env}/models/digits/v2"

    code, output, problems = enginefarm(
        "build", release, "--precision", "fp16", "--target", "rtx-sm86", "--json", **server
    )
    assert code == 0, problems
    document = json.loads(output)
    assert (document["found"], document["built"]) == (0, 1)
    (record,) = document["engines"]
    assert record["target"]["compute_capabilities"] == [{"major": 8, "minor": 6}]

    # Whether anything is to be built is asked before Prefect: its server may even be away.
    away = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    code, output, problems = enginefarm(
        "build", release, "--precision", "fp16", "--target", "rtx-sm86", **away
    )
    assert code == 0, problems
    assert "1 found, 0 built" in output
    assert "Shapes of image, from the signature: min (1, 8, 8, 1), opt (8, 8, 8, 1)" in output
    client.put_object(Bucket=s3_env, Key="models/digits/v2/build.yaml", Body=b"target: all\n")
    code, output, problems = enginefarm("build", release, **away)
    assert (code, output) == (errors.RequestInvalid.exit_code, "")
    assert "did you mean targets" in problems

    store = {"ENGINEFARM_STORE": f"s3://{s3_env}"}
    assert json.loads(enginefarm("engines", "list", "--json", **store)[1]) == [record]
    assert json.loads(enginefarm("engines", "list", "--target", "l4", "--json", **store)[1]) == []
    assert json.loads(enginefarm("engines", "show", record["key"], **store)[1]) == record
    code, output, problems = enginefarm("engines", "layers", record["key"], **store)
    assert (code, output) == (errors.NotStored.exit_code, "")
    assert "built without a GPU" in problems
    plan = tmp_path / "digits.plan"
    code, output, problems = enginefarm("engines", "fetch", record["key"], "-o", str(plan), **store)
    assert code == 0, problems
    assert hashlib.sha256(plan.read_bytes()).hexdigest() == record["plan"]["sha256"]
    assert record["plan"]["sha256"] in output
    assert json.loads((tmp_path / "digits.plan.json").read_text("utf-8")) == record

    client.put_object(
        Bucket=s3_env,
        Key=f"blobs/sha256/{record['plan']['sha256'][:2]}/{record['plan']['sha256']}",
        Body=b"x",
    )
    plan.unlink()
    code, _, problems = enginefarm("engines", "fetch", record["key"], "--force", "-o", str(plan), **store)
    assert code == errors.DigestMismatch.exit_code
    assert "DigestMismatch" in problems
    assert not plan.exists()


def test_errors_are_told_once_with_their_exit_code(
    enginefarm: Command, s3_env: str, prefect_server: str
) -> None:
    code, output, problems = enginefarm(
        "build", f"s3://{s3_env}/models/absent/1", PREFECT_API_URL=prefect_server
    )
    assert code == errors.ReleaseIncomplete.exit_code
    assert output == ""
    assert problems.count("ReleaseIncomplete") == 1
    assert "Traceback" not in problems
    assert "to fix" in problems

    code, _, problems = enginefarm("build", "digits/1")
    assert code == errors.RequestInvalid.exit_code
    assert "s3://BUCKET/PREFIX/MODEL/VERSION" in problems

    code, _, problems = enginefarm("engines", "show", "engines/absent.json", "--store", f"s3://{s3_env}")
    assert code == errors.NotStored.exit_code

    assert enginefarm("engines", "list")[0] == errors.RequestInvalid.exit_code
    assert enginefarm("no-such-command")[0] == 2


def test_what_rtx_cannot_build_is_refused_before_anything_is_converted(
    enginefarm: Command, s3_env: str, prefect_server: str
) -> None:
    client = s3_client()
    client.upload_file(str(DEMO / "model.keras"), s3_env, "models/digits/v3/model.keras")
    client.put_object(Bucket=s3_env, Key="models/digits/v3/build.yaml", Body=b"")
    release = f"s3://{s3_env}/models/digits/v3"
    code, output, problems = enginefarm(
        "build", release, "--target", "rtx-sm90", PREFECT_API_URL=prefect_server
    )
    assert (code, output) == (errors.TargetUnavailable.exit_code, "")
    text = " ".join(problems.split())
    assert "wanted to build for rtx-sm90" in text
    assert "TensorRT-RTX builds for rtx-sm75, rtx-sm80, rtx-sm86, rtx-sm89, rtx-sm120, rtx-sm121 and" in text
    assert "for rtx-sm90 use TensorRT itself on a host with that GPU" in text
    listed = client.list_objects_v2(Bucket=s3_env)["Contents"]
    assert {entry["Key"].partition("/")[0] for entry in listed} == {"models"}


@pytest.mark.slow
def test_doctor_examines_a_folder_of_environments(
    enginefarm: Command, stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    folder = tmp_path / "toolchains"
    for version in ("8.6.0", "10.13.3.9"):
        shutil.copytree(stand_in(version=version).folder, folder / version)
    (folder / "broken/bin").mkdir(parents=True)
    (folder / "broken/bin/python").symlink_to("/bin/false")
    code, output, _ = enginefarm("doctor", "--json", "--toolchain", str(folder))
    lines = json.loads(output)
    assert code == 1
    texts = [line["text"] for line in lines if line["subject"] == "Toolchain tensorrt"]
    assert [text.split()[0] for text in texts] == ["10.13.3.9", "8.6.0.12"]
    assert all("can build for h100-sxm-80gb; its GPU processes are closed off" in text for text in texts)
    gpus = [line["text"] for line in lines if line["subject"] == "GPU"]  # this host's own, if any, among them
    assert gpus.count(f"{H100.name} (h100-sxm-80gb, 9.0, {H100.memory_mib} MiB, {H100.uuid})") == 1
    (broken,) = [line for line in lines if line["level"] == "broken"]
    assert broken["text"].startswith(str(folder / "broken/bin/python"))


def test_doctor(enginefarm: Command, s3_env: str, prefect_server: str) -> None:
    on_server(clear)
    code, output, problems = enginefarm(
        "doctor", "--json", "--store", f"s3://{s3_env}", PREFECT_API_URL=prefect_server
    )
    assert code == 0, problems
    lines = {line["subject"]: line for line in json.loads(output)}
    assert {name: line["level"] for name, line in lines.items() if name not in {"GPU", "Sandbox"}} == {
        "Python": "fine",
        "TensorFlow": "fine",
        "Toolchain tensorrt_rtx": "fine",
        "S3": "fine",
        "Prefect API": "fine",
        "Schedules": "absent",
    }
    assert "rtx-sm89" in lines["Toolchain tensorrt_rtx"]["text"]
    assert lines["Sandbox"]["level"] == "fine" or "this host lacks" in lines["Sandbox"]["fix"]

    code, output, _ = enginefarm(
        "doctor", "--json", "--store", "s3://no-such-bucket",
        PREFECT_API_URL="http://127.0.0.1:9/api", ENGINEFARM_TOOLCHAINS=f"{os.devnull}:/no/python",
    )  # fmt: skip
    assert code == 1
    broken = [line for line in json.loads(output) if line["level"] == "broken"]
    assert [line["subject"] for line in broken] == ["Toolchain", "Toolchain", "S3", "Prefect API"]
    assert all(line["fix"] for line in broken)
