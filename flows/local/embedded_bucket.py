"""The bucket of the embedded S3, with a queue for its notifications: what infra/terraform makes on AWS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3

from flows.local.s3 import environment_for

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import FilterRuleTypeDef, QueueConfigurationTypeDef
    from mypy_boto3_sqs.client import SQSClient

BUCKET = "enginefarm"
PREFIX = "models"
RELEASES = f"s3://{BUCKET}/{PREFIX}"
_QUEUE, _DEAD = "enginefarm-releases", "enginefarm-releases-dead"
_ACCOUNT = "123456789012"  # moto's
_RECEIVES = 5


def queue_url(endpoint: str) -> str:
    """Return the URL of the queue that tells of new releases."""
    return f"{endpoint}/{_ACCOUNT}/{_QUEUE}"


def make_bucket(endpoint: str) -> None:
    """Make bucket, queue, dead-letter queue and notification on moto's server at `endpoint`.

    Raises:
        ClientError: the server refuses.
    """
    wanted = environment_for(endpoint)
    session = boto3.session.Session(
        aws_access_key_id=wanted["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=wanted["AWS_SECRET_ACCESS_KEY"],
        region_name=wanted["AWS_DEFAULT_REGION"],
    )
    s3, sqs = session.client("s3", endpoint_url=endpoint), session.client("sqs", endpoint_url=endpoint)
    s3.create_bucket(Bucket=BUCKET)
    dead = _arn(sqs, sqs.create_queue(QueueName=_DEAD)["QueueUrl"])
    policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": _RECEIVES})
    queue = sqs.create_queue(QueueName=_QUEUE, Attributes={"RedrivePolicy": policy})["QueueUrl"]
    rules: list[FilterRuleTypeDef] = [
        {"Name": "prefix", "Value": f"{PREFIX}/"},
        {"Name": "suffix", "Value": "/build.yaml"},
    ]
    told: QueueConfigurationTypeDef = {
        "QueueArn": _arn(sqs, queue),
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": rules}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [told]}
    )


def _arn(sqs: SQSClient, url: str) -> str:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
