"""The embedded S3: moto's server with SQS, as a process on the loopback, in memory.

Its bucket has a queue for notifications, as infra/terraform creates on AWS.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from flows.local.processes import HOST, Part, answers, free_port, running
from tasks.domain.errors import ChildFailed, StoreUnreachable

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import FilterRuleTypeDef, QueueConfigurationTypeDef
    from mypy_boto3_sqs.client import SQSClient

BUCKET = "enginefarm"
PREFIX = "models"
RELEASES = f"s3://{BUCKET}/{PREFIX}"
_QUEUE, _DEAD = "enginefarm-releases", "enginefarm-releases-dead"
_ACCOUNT = "123456789012"  # moto's
_RECEIVES = 5


@contextmanager
def embedded_s3() -> Iterator[str]:
    """Run the server and yield its URL; its content is lost afterwards.

    Raises:
        StoreUnreachable: it did not start.
    """
    port = free_port(0, "AWS_ENDPOINT_URL")
    with ExitStack() as stack:
        try:
            stack.enter_context(running(s3_part(port)))
        except ChildFailed as error:
            raise StoreUnreachable(
                wanted="the embedded S3 server",
                found=error.found,
                fix="correct the error above, or set AWS_ENDPOINT_URL to a running server",
            ) from error
        yield endpoint_at(port)


def endpoint_at(port: int) -> str:
    """Return the URL of the server on `port`."""
    return f"http://{HOST}:{port}"


def s3_part(port: int) -> Part:
    """Return the server's process. It starts without a bucket."""
    return Part(
        name="s3",
        command=(sys.executable, "-P", "-m", "moto.server", "-H", HOST, "-p", str(port)),
        ready=lambda: answers(f"{endpoint_at(port)}/moto-api/"),
    )


def environment_for(endpoint: str) -> dict[str, str]:
    """Return the variables that point boto3 to `endpoint`, past the user's own S3 and proxy."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",  # opens nothing but the server above
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Proxies are for other hosts.
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
    }


def queue_url(endpoint: str) -> str:
    """Return the URL of the queue with notifications of new releases."""
    return f"{endpoint}/{_ACCOUNT}/{_QUEUE}"


def make_bucket(endpoint: str) -> None:
    """Create bucket, queue, dead-letter queue and notification on moto's server at `endpoint`.

    Raises:
        ClientError: the server refuses.
    """
    clients = environment_for(endpoint)
    session = boto3.session.Session(
        aws_access_key_id=clients["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=clients["AWS_SECRET_ACCESS_KEY"],
        region_name=clients["AWS_DEFAULT_REGION"],
    )
    directly = Config(proxies={})
    s3 = session.client("s3", endpoint_url=endpoint, config=directly)
    sqs = session.client("sqs", endpoint_url=endpoint, config=directly)
    s3.create_bucket(Bucket=BUCKET)
    dead = _arn(sqs, sqs.create_queue(QueueName=_DEAD)["QueueUrl"])
    policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": _RECEIVES})
    queue = sqs.create_queue(QueueName=_QUEUE, Attributes={"RedrivePolicy": policy})["QueueUrl"]
    rules: list[FilterRuleTypeDef] = [
        {"Name": "prefix", "Value": f"{PREFIX}/"},
        {"Name": "suffix", "Value": "/build.yaml"},
    ]
    created: QueueConfigurationTypeDef = {
        "QueueArn": _arn(sqs, queue),
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": rules}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [created]}
    )


def _arn(sqs: SQSClient, url: str) -> str:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
