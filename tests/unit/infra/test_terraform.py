"""infra/terraform: its form, and that each kind of process may do what it does and nothing else.

It has been applied nowhere, and `terraform validate` needs a provider from a registry.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import hcl2
import pytest

from tests.stand_in.toolchain import ROOT

TERRAFORM = ROOT / "infra/terraform"
FILES = sorted(TERRAFORM.glob("*.tf"))
READ_WRITE = {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
RELEASES = "${local.releases}/${var.releases_prefix}"
WRITTEN = '${[for folder in local.written_by_agents : "${local.store}/${folder}/*"]}'
CONVERTED = '${[for folder in local.written_by_converters : "${local.store}/${folder}/*"]}'
DELETED = '${[for folder in local.deleted_by_agents : "${local.store}/${folder}/*"]}'
QUEUE, DEAD = "${aws_sqs_queue.releases.arn}", "${aws_sqs_queue.dead_letters.arn}"

ALLOWED: dict[str, dict[str, set[str]]] = {
    "agent": {
        "${local.store}": {"s3:ListBucket"},
        CONVERTED: {"s3:GetObject"},
        WRITTEN: READ_WRITE,
        DELETED: {"s3:DeleteObject"},
    },
    "converter": {
        CONVERTED: {"s3:PutObject", "s3:AbortMultipartUpload"},
        "${local.releases}": {"s3:ListBucket"},
        f"{RELEASES}/*": {"s3:GetObject", "s3:GetObjectVersion"},
        f"{RELEASES}/*/requests/*": {"s3:PutObject"},
    },
    "s3_agent": {
        QUEUE: {
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        },
        DEAD: {"sqs:GetQueueUrl", "sqs:SendMessage"},
        "${local.releases}": {"s3:ListBucket"},
        f"{RELEASES}/*/build.yaml": {"s3:GetObject"},
        "${local.store}": {"s3:ListBucket"},
        "${local.store}/wanted/*": {"s3:GetObject", "s3:DeleteObject"},
    },
    "consumer": {
        "${local.store}": {"s3:ListBucket"},
        "${local.store}/channels/*": {"s3:GetObject"},
        "${local.store}/engines/*": {"s3:GetObject"},
        "${local.store}/signatures/*": {"s3:GetObject"},
        "${local.store}/blobs/*": {"s3:GetObject"},
        "${local.store}/wanted/*": {"s3:PutObject"},
    },
    "promoter": {
        "${local.store}/targets/*": {"s3:GetObject"},
        "${local.store}/channels/*": {"s3:PutObject"},
        "${local.store}/signatures/*": {"s3:PutObject"},
        "${local.store}/probes/*": {"s3:PutObject", "s3:DeleteObject"},
        "${local.releases}": {"s3:ListBucket"},
        f"{RELEASES}/*/build.yaml": {"s3:GetObject"},
    },
    "publisher": {"${local.releases}": {"s3:ListBucket"}, f"{RELEASES}/*": READ_WRITE},
    "notifications": {QUEUE: {"sqs:SendMessage"}},
}


def _plain(value: Any) -> Any:
    """Take the quotes off what the parser returns."""
    if isinstance(value, dict):
        return {_plain(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value[1:-1] if isinstance(value, str) and value.startswith('"') else value


DOCUMENT = [_plain(hcl2.loads(path.read_text("utf-8"))) for path in FILES]


def _blocks(kind: str, of: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for document in DOCUMENT:
        for block in document.get(kind, []):
            yield from block.get(of, {}).items()


def _statements(name: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = dict(_blocks("data", "aws_iam_policy_document"))[name]["statement"]
    return statements


DECIDED = {
    "sid": "LeaveChannelsToPeople",
    "effect": "Deny",
    "actions": ["s3:PutObject"],
    "resources": ["${local.store}/channels/*/history/*", "${local.store}/channels/policies.json"],
    "__is_block__": True,
}


def test_each_kind_of_process_may_do_what_it_does() -> None:
    documents = dict(_blocks("data", "aws_iam_policy_document"))
    assert documents.keys() == ALLOWED.keys() | {"tls_only"}
    for name, allowed in ALLOWED.items():
        actions: dict[str, set[str]] = {}
        for statement in _statements(name):
            if statement == DECIDED:
                continue
            assert statement.get("effect", "Allow") == "Allow"
            resources = statement["resources"]
            for resource in resources if isinstance(resources, list) else [resources]:
                actions.setdefault(resource, set()).update(statement["actions"])
        assert actions == allowed, name


def test_no_star_stands_for_an_action_or_for_a_place() -> None:
    for name in ALLOWED:
        for statement in _statements(name):
            assert not any("*" in action for action in statement["actions"])
            resources = statement["resources"]
            for resource in resources if isinstance(resources, list) else [resources]:
                assert resource.startswith("${"), resource
                assert re.fullmatch(
                    r"[^*]*(/\*(/build\.yaml|/requests/\*|/history/\*)?(\"\]\})?)?", resource
                ), resource
    (refusal,) = _statements("tls_only")
    assert refusal["effect"] == "Deny"  # the one place where everything is meant


def test_a_converter_overwrites_nothing_of_a_release() -> None:
    writes = [each for each in _statements("converter") if "/requests/*" in str(each["resources"])]
    ((condition,),) = [each["condition"] for each in writes]
    assert (condition["test"], condition["variable"]) == ("Null", "s3:if-none-match")
    assert condition["values"] == ["false"]


def test_agents_do_not_decide_what_a_channel_points_to() -> None:
    assert DECIDED in _statements("agent")


def test_only_the_bucket_of_this_account_may_notify() -> None:
    (statement,) = _statements("notifications")
    assert statement["principals"] == [
        {"type": "Service", "identifiers": ["s3.amazonaws.com"], "__is_block__": True}
    ]
    assert {condition["variable"] for condition in statement["condition"]} == {
        "aws:SourceArn",
        "aws:SourceAccount",
    }


def test_dead_letters_and_notifications_are_those_of_the_agent() -> None:
    queues = dict(_blocks("resource", "aws_sqs_queue"))
    assert "maxReceiveCount = var.receives" in queues["releases"]["redrive_policy"]
    assert queues["releases"]["visibility_timeout_seconds"] == 60
    (notification,) = dict(_blocks("resource", "aws_s3_bucket_notification"))["releases"]["queue"]
    assert notification["events"] == ["s3:ObjectCreated:*"]
    assert notification["filter_suffix"] == "/build.yaml"


def test_agents_may_write_every_folder_of_the_store() -> None:
    (folders,) = (document["locals"][0] for document in DOCUMENT if "written_by_agents" in str(document))
    architecture = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    described = set(re.findall(r"^    (\w+)/\S+", architecture, re.MULTILINE))
    converters = set(folders["written_by_converters"])
    consumers = {"wanted"}
    assert {"blobs", "engines"} <= described - converters - consumers <= set(folders["written_by_agents"])
    assert consumers <= described
    # A GPU host that was taken over plants no conversion and no release, so the gate's reference is real.
    assert converters == {"conversions", "hashed", "signatures"} <= described
    assert not converters & set(folders["written_by_agents"])
    assert set(folders["deleted_by_agents"]) <= set(folders["written_by_agents"])


def test_what_it_refers_to_is_there() -> None:
    text = "\n".join(path.read_text("utf-8") for path in FILES)
    for kind, name in set(re.findall(r"\b(aws_\w+)\.(\w+)(?=[.\[\s])", text)):
        data = name if kind != "aws_caller_identity" else "current"
        assert data in dict((*_blocks("resource", kind), *_blocks("data", kind))), f"{kind}.{name}"
    variables = {name for document in DOCUMENT for block in document.get("variable", []) for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == variables


def test_it_is_laid_out_as_terraform_does() -> None:
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not installed")
    done = subprocess.run(
        [program, "fmt", "-check", "-diff", TERRAFORM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
