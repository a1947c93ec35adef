"""A bucket, its queue and the ways to the servers, for tests of what stands between them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.store.s3 import s3_client
from tests.support.farm.gate import Gate
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient
    from prefect.client.schemas.objects import FlowRun


@dataclass(frozen=True, kw_only=True)
class World:
    """A bucket whose notifications go to a queue, and the ways to the servers."""

    bucket: str
    queue: str
    dead_letters: str
    sqs: SQSClient
    s3: Gate
    api: Gate
    log: Path
    health_port: int

    def upload(self, key: str, body: bytes = b"") -> None:
        s3_client().put_object(Bucket=self.bucket, Key=key, Body=body)

    def send(self, body: object) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=text)

    def record(self, key: str) -> dict[str, Any]:
        """A message as a server would write it that quotes all of a key."""
        record = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": self.bucket}, "object": {"key": key}},
        }
        return {"Records": [record]}

    def is_quiet(self) -> bool:
        """Whether the queue has nothing left, nor in anybody's hands."""
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["All"])["Attributes"]
        left = attributes["ApproximateNumberOfMessages"], attributes["ApproximateNumberOfMessagesNotVisible"]
        return left == ("0", "0")

    def buried(self) -> dict[str, str]:
        """The reason of each dead letter by its body; they are gone afterwards."""
        reasons = {}
        while messages := self.sqs.receive_message(
            QueueUrl=self.dead_letters, MessageAttributeNames=["All"], MaxNumberOfMessages=10
        ).get("Messages"):
            for message in messages:
                reasons[message["Body"]] = message["MessageAttributes"]["reason"]["StringValue"]
                self.sqs.delete_message(QueueUrl=self.dead_letters, ReceiptHandle=message["ReceiptHandle"])
        return reasons

    def runs(self) -> list[FlowRun]:
        """The runs that were started, in their order."""
        from prefect.client.orchestration import get_client  # noqa: PLC0415
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags  # noqa: PLC0415

        # Other tests use the same server.
        ours = FlowRunFilter(tags=FlowRunFilterTags(all_=["way:s3"]))

        async def read() -> list[FlowRun]:
            async with get_client() as client:
                return await client.read_flow_runs(flow_run_filter=ours)

        runs = asyncio.run(read())
        mine = [run for run in runs if run.parameters["release"]["bucket"] == self.bucket]
        assert all(run.state_name in {"Scheduled", "Late"} for run in mine)
        for run in mine:
            release = run.parameters["release"]
            assert run.name == f"{release['model']}-{release['version']}"
        return sorted(mine, key=lambda run: str(run.created))

    def releases(self) -> list[dict[str, str]]:
        """What runs were started for, in their order."""
        return [run.parameters["release"] for run in self.runs()]

    def names(self) -> list[str]:
        return [f"{release['model']}/{release['version']}" for release in self.releases()]

    def health(self) -> dict[str, Any]:
        """What the agent says of itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/healthz", timeout=5) as answer:
            report: dict[str, Any] = json.load(answer)
        assert json.loads(self.log.with_name("heartbeat").read_text())["well"]
        return report

    @contextmanager
    def agent(self) -> Iterator[subprocess.Popen[bytes]]:
        """An agent process; it must have ended well when the block ends."""
        places = [f"s3://{self.bucket}/{prefix}" for prefix in ("models", "other models/a+b")]
        command = [
            sys.executable,
            "-m",
            "flows.cli.main",
            "agent",
            "s3",
            "--queue",
            self.queue,
            "--list-every",
            "0.02",
            "--health-port",
            str(self.health_port),
            "--heartbeat",
            str(self.log.with_name("heartbeat")),
        ]
        environment = os.environ | {"PREFECT_API_URL": self.api.url, "AWS_ENDPOINT_URL_S3": self.s3.url}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--releases", places[0], "--releases", places[1]],
                stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, self.log.read_text()
        finally:
            process.kill()
            process.wait()


def arn_of(sqs: SQSClient, url: str) -> str:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def notify(bucket: str, queue: str, sqs: SQSClient) -> None:
    s3_client().put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn_of(sqs, queue), "Events": ["s3:ObjectCreated:*"]}]
        },
    )


async def deploy(*, more: tuple[str, ...] = ()) -> None:
    """Register the flow on a pool without a worker; its runs must have `more` parameters."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.actions import WorkPoolCreate  # noqa: PLC0415

    from flows.build_release import build_release  # noqa: PLC0415

    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="nobody", type="process"), overwrite=True)
        deployment = await build_release.ato_deployment("farm", work_pool_name="nobody")
        schema = deployment._parameter_openapi_schema.model_dump()
        schema["required"] = [*schema["required"], *more]
        await client.create_deployment(
            await client.create_flow(build_release), "farm", work_pool_name="nobody",
            enforce_parameter_schema=True, parameter_openapi_schema=schema,
        )  # fmt: skip
