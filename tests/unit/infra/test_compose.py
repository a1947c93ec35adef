"""compose.yaml and the Dockerfiles: their form, their versions, and what they keep closed.

Nothing here starts a container.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from agents.host import agent as host_agent
from flows.cli import agent
from tests.stand_in.toolchain import ROOT

INFRA = ROOT / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VERSIONS = tomllib.loads((INFRA / "images/versions.toml").read_text("utf-8"))
DOCKERFILES = sorted((INFRA / "images").glob("*.Dockerfile"))


def test_it_is_what_the_compose_specification_says() -> None:
    # The specification's own schema, as check-jsonschema carries it (Apache-2.0).
    schema = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text("utf-8")))
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert list(validator.iter_errors({"services": {"server": {"imagee": "x"}}}))


def test_versions_stand_in_one_table() -> None:
    for name, image in VERSIONS["services"].items():
        assert SERVICES[name]["image"] == image
    farm = {f"enginefarm/{name}": " ".join(left_out) for name, left_out in VERSIONS["farm"].items()}
    gpu = {f"enginefarm/gpu-trt{major}": row for major, row in VERSIONS["gpu"].items()}
    built = {
        service["image"]: service["build"]["args"] for service in SERVICES.values() if "build" in service
    }
    assert built.keys() == farm.keys() | gpu.keys()
    for image, left_out in farm.items():
        assert built[image] == {**VERSIONS["arguments"], "LEFT_OUT": left_out}
    for image, row in gpu.items():
        uv = {"UV_VERSION": VERSIONS["arguments"]["UV_VERSION"]}
        assert built[image] == {**uv, "LEFT_OUT": farm["enginefarm/server"], **row}
    used = {service["image"] for service in SERVICES.values()}
    assert used == set(VERSIONS["services"].values()) | built.keys()


def test_what_an_image_does_without_is_in_the_lock() -> None:
    locked = {package["name"] for package in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]}
    assert {name for left_out in VERSIONS["farm"].values() for name in left_out} <= locked


def test_every_family_of_tensorrt_has_its_agent() -> None:
    families = {
        path.stem.removeprefix("trt") for path in (ROOT / "tasks/tensorrt/inside/families").glob("trt*.py")
    }
    assert families == VERSIONS["gpu"].keys()
    for major, row in VERSIONS["gpu"].items():
        assert re.match(rf"tensorrt(-cu1\d)?=={major}\.", row["TOOLCHAIN_PACKAGES"])
        service = SERVICES[f"gpu-agent-trt{major}"]
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        assert service["profiles"] == ["gpu"]
        assert service["volumes"] == ["gpu-locks:/locks"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_images_take_their_versions_from_the_table_and_run_as_nobody(path: Path) -> None:
    text = path.read_text("utf-8")
    table = VERSIONS["gpu"]["10"] if path.stem == "gpu" else {}
    known = {*VERSIONS["arguments"], "LEFT_OUT", *table}
    asked = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    assert asked <= known
    for service in SERVICES.values():
        if service.get("build", {}).get("dockerfile") == f"infra/images/{path.name}":
            assert service["build"]["args"].keys() == asked
    stages = text.split("\nFROM ")
    assert len(stages) == 4  # the first is what stands before; then uv, the build and the image
    assert all(re.match(r"\S*\$\{\w+\}\S*( AS \w+)?\n", stage) for stage in stages[1:])
    assert "\nUSER 10001:10001\n" in stages[-1]
    assert "--frozen" in text
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", text, re.MULTILINE)
    ignored = Path(f"{path}.dockerignore").read_text("utf-8").splitlines()
    assert {f"!{name}" for names in copied for name in names.split()} <= set(ignored)


def test_nothing_is_open_to_other_machines() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged")
        assert "latest" not in service["image"]
        assert "volumes" not in service or not any(
            volume.startswith(("/", ".")) for volume in service["volumes"]
        )


def test_no_secret_stands_in_the_file() -> None:
    secrets = COMPOSE["secrets"].keys()
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= secrets
        variables = service.get("environment", {})
        assert not secrets & variables.keys()
        assert all(
            value.startswith("/run/secrets/") for name, value in variables.items() if name.endswith("_FILE")
        )
    server = SERVICES["server"]["secrets"]
    assert "PREFECT_SERVER_API_AUTH_STRING" in server
    agents = [service for service in SERVICES.values() if "agent" in (service.get("command") or [])]
    assert len(agents) == 6
    assert all("PREFECT_API_AUTH_STRING" in agent["secrets"] for agent in agents)


def test_docker_asks_every_agent_how_it_is() -> None:
    agents = [service for service in SERVICES.values() if "agent" in (service.get("command") or [])]
    for service in agents:
        port = " ".join(service["command"]).replace("=", " ").partition("--health-port ")[2].split()[0]
        assert f"http://127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]


def test_docker_waits_for_what_an_agent_lets_end() -> None:
    commands: dict[str, Callable[..., None]] = {"cpu": agent.cpu, "gpu": agent.gpu}
    agents = [
        service
        for service in SERVICES.values()
        if (service.get("command") or [])[:2] == ["enginefarm", "agent"]
    ]
    kinds = [service["command"][2] for service in agents]
    assert set(kinds) == {*commands, "s3"}
    for kind, service in zip(kinds, agents, strict=True):
        if kind in commands:
            drains = inspect.signature(commands[kind]).parameters["drain_seconds"].default
            grace = re.fullmatch(r"(\d+)m", service["stop_grace_period"])
            assert grace is not None
            assert 60 * int(grace[1]) > drains + 2 * host_agent._HAND_BACK_SECONDS


def test_secrets_are_made_once_and_become_variables(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run([sys.executable, INFRA / "make_secrets.py", folder], check=True)
    assert folder.stat().st_mode & 0o777 == 0o700
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} == made.keys()
    assert f":{made['POSTGRES_PASSWORD']}@" in made["PREFECT_API_DATABASE_CONNECTION_URL"]
    (folder / "ODD").write_text("a b'\"$HOME;\n")
    show = "import json, os; print(json.dumps({**os.environ}))"
    shown = subprocess.run(
        [INFRA / "images/with_secrets.sh", sys.executable, "-c", show],
        env=os.environ | {"SECRETS_FOLDER": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.items() <= json.loads(shown.stdout).items()
    assert json.loads(shown.stdout)["ODD"] == "a b'\"$HOME;"
