"""The form that Prefect makes of `build-release`, and what it lets through."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from agents.server.flow_runs import release_of
from flows.build_release import build_release
from flows.settings import settings
from tasks.domain.errors import LocationRefused, RequestInvalid
from tasks.domain.overrides import Overrides
from tasks.domain.priority import Priority
from tasks.domain.release import ReleaseRef
from tasks.domain.request import BuildRequest, Precision, ShapeRange

_SCHEMA = parameter_schema(build_release).model_dump()
_RELEASE = {"bucket": "my-bucket", "prefix": "a/b", "model": "resnet", "version": "7"}
_SHAPE = {"min": [1, 4], "opt": [2, 4], "max": [8, 4]}


def test_every_field_says_what_it_is() -> None:
    release, overrides = (_SCHEMA["definitions"][name] for name in ("ReleaseRef", "Overrides"))
    fields = release["properties"] | overrides["properties"]
    assert list(fields) == [
        "bucket", "prefix", "model", "version", "precisions", "targets", "inputs", "priority"
    ]  # fmt: skip
    assert all(field["description"] for field in fields.values())
    assert all(fields[name]["examples"] for name in fields.keys() - {"priority"})
    assert release["required"] == ["bucket", "model", "version"]
    assert "required" not in overrides
    assert _SCHEMA["required"] == ["release"]
    assert _SCHEMA["definitions"]["Precision"]["enum"] == list(Precision)
    assert _SCHEMA["definitions"]["Priority"]["enum"] == list(Priority)
    assert fields["priority"]["default"] == "default"
    assert all(len(field["description"]) > 20 for field in _SCHEMA["properties"].values())


@pytest.mark.parametrize(
    ("release", "overrides"),
    [
        ({}, {}),
        ({"prefix": ""}, {"precisions": ["fp16", "int8"], "targets": ["rtx-sm86-sm89", "l4"]}),
        ({}, {"inputs": {"x": _SHAPE}, "priority": "production"}),
    ],
)
def test_what_is_right_passes(release: dict[str, Any], overrides: dict[str, Any]) -> None:
    parameters = {"release": _RELEASE | release, "overrides": overrides}
    assert validate(parameters, _SCHEMA) == []
    read = build_release.validate_parameters(parameters)
    assert isinstance(read["release"], ReleaseRef)
    assert isinstance(read["overrides"], Overrides)


def test_a_url_is_taken_in_place_of_its_parts() -> None:
    for url in ("s3://my-bucket/a/b/resnet/7", "s3://my-bucket/a/b/resnet/7/"):
        parameters = {"release": url}
        assert validate(parameters, _SCHEMA) == []
        assert build_release.validate_parameters(parameters)["release"] == url
        assert release_of(parameters) == ReleaseRef(**_RELEASE)
    assert release_of({"release": _RELEASE}) == ReleaseRef(**_RELEASE)
    assert release_of({}) is None
    assert validate({"release": "my-bucket/resnet/7"}, _SCHEMA) != []


@pytest.mark.parametrize(
    ("release", "overrides"),
    [
        ({"bucket": "UPPER"}, {}),
        ({"bucket": "s3://my-bucket"}, {}),
        ({"prefix": "/a"}, {}),
        ({"prefix": "a//b"}, {}),
        ({"model": "../x"}, {}),
        ({"version": ""}, {}),
        ({"version": 7}, {}),
        ({"store": "s3://mine"}, {}),
        ({}, {"store": "s3://mine"}),
        ({}, {"precisions": ["fp64"]}),
        ({}, {"targets": ["all of them"]}),
        ({}, {"priority": "now"}),
        ({}, {"inputs": {"x": [1]}}),
        ({}, {"inputs": {"x": _SHAPE | {"min": [0, 4]}}}),
    ],
)
def test_what_is_wrong_is_refused_by_the_server_and_by_the_flow(
    release: dict[str, Any], overrides: dict[str, Any]
) -> None:
    parameters = {"release": _RELEASE | release, "overrides": overrides}
    assert validate(parameters, _SCHEMA) != []
    if overrides != {"targets": ["all of them"]}:  # the flow says it when it knows which targets there are
        with pytest.raises(ParameterTypeError):
            build_release.validate_parameters(parameters)


@pytest.mark.parametrize("prefix", ["..", "a/../b", "./a", "a\nb"])
def test_a_prefix_leads_nowhere_else(prefix: str) -> None:
    with pytest.raises(ValueError, match="is not a prefix"):
        ReleaseRef(**_RELEASE | {"prefix": prefix})


def test_shapes_replace_those_of_the_request() -> None:
    first, other = (ShapeRange(min=(1, n), opt=(1, n), max=(1, n)) for n in (4, 5))
    request = BuildRequest(inputs={"x": first, "y": first})
    assert Overrides(inputs={"y": other}).applied_to(request).inputs == {"x": first, "y": other}
    with pytest.raises(RequestInvalid, match="x has its shapes either"):
        Overrides(inputs={"x": other}).applied_to(BuildRequest(profiles=({"x": first}, {"x": other})))


@pytest.mark.parametrize(
    ("allowed", "url", "passes"),
    [
        ("", "s3://any/where", True),
        ("s3://models", "s3://models", True),
        ("s3://models", "s3://models/x/y/1/", True),
        ("s3://models", "s3://models-2/x/1/", False),
        ("s3://other s3://models/team/", "s3://models/team/x/1/", True),
        ("s3://models/team", "s3://models/team-2/x/1/", False),
        ("s3://models/team", "s3://models", False),
    ],
)
def test_places_that_are_not_allowed(
    allowed: str, url: str, *, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEFARM_ALLOWED", allowed)
    settings.cache_clear()
    try:
        if passes:
            settings().check_allowed(url)
        else:
            with pytest.raises(LocationRefused, match="ENGINEFARM_ALLOWED"):
                settings().check_allowed(url)
        monkeypatch.setenv("ENGINEFARM_ALLOWED", "models")
        settings.cache_clear()
        with pytest.raises(RequestInvalid, match="a place is"):
            settings()
    finally:
        settings.cache_clear()


@pytest.mark.parametrize(
    ("said", "asked", "effective"),
    [
        (Priority.PRODUCTION, Priority.DEFAULT, Priority.PRODUCTION),
        (Priority.PRODUCTION, Priority.NIGHTLY, Priority.NIGHTLY),
        (Priority.DEFAULT, Priority.PRODUCTION, Priority.PRODUCTION),
    ],
)
def test_the_requests_own_priority_counts_where_none_is_asked_for(
    said: Priority, asked: Priority, effective: Priority
) -> None:
    request = BuildRequest(priority=said)
    assert Overrides(priority=asked).applied_to(request).priority is effective
