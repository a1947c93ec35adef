"""The SQS queue that receives an S3 server's notifications, and its dead-letter queue."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tasks.domain.errors import FarmError, RequestInvalid
from tasks.domain.printable import printable_name
from tasks.store.s3 import s3_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

_LOG = logging.getLogger(__name__)
VISIBILITY_SECONDS = 60
_WAIT_SECONDS = 10  # stopping waits for it, too
_MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message, as it was received this time.

    Attributes:
        body: its text.
        receipt: SQS's receipt handle.
        received: how many times it has been received, including this time.
    """

    body: str
    receipt: str
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationQueue:
    """A queue that `connect` returned. Thread-safe.

    Attributes:
        client: the SQS client.
        url: URL of the queue.
        dead_letters: URL of the queue for messages that can never be processed.
    """

    client: SQSClient
    url: str
    dead_letters: str

    @classmethod
    def connect(cls, url: str) -> NotificationQueue:
        """Return the queue at `url` with the dead-letter queue that its redrive policy names.

        Raises:
            RequestInvalid: there is no such queue, or it has no dead-letter queue.
            FarmError: as `s3_errors`.
        """
        with _sqs_errors(f"to use the queue {url}"):
            client = boto3.session.Session().client("sqs", config=_CONFIG)
            answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
            policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
            if "deadLetterTargetArn" not in policy:
                raise RequestInvalid(
                    wanted=f"a dead-letter queue behind {url}",
                    found="no redrive policy: an unreadable message would be redelivered forever",
                    fix="give the queue a RedrivePolicy, as infra/terraform does",
                )
            *_, account, name = policy["deadLetterTargetArn"].split(":")
            dead_letters = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        return cls(client=client, url=url, dead_letters=dead_letters["QueueUrl"])

    async def receive(self) -> Message | None:
        """Wait up to 10 s for a message; return None if none arrives.

        Raises:
            FarmError: as `s3_errors`.
        """
        with _sqs_errors(f"to receive from {self.url}"):
            answer = await asyncio.to_thread(
                self.client.receive_message,
                QueueUrl=self.url,
                MaxNumberOfMessages=1,
                WaitTimeSeconds=_WAIT_SECONDS,
                VisibilityTimeout=VISIBILITY_SECONDS,
                AttributeNames=["ApproximateReceiveCount"],
            )
        for message in answer.get("Messages", []):
            count = int(message.get("Attributes", {}).get("ApproximateReceiveCount", "1"))
            return Message(body=message["Body"], receipt=message["ReceiptHandle"], received=count)
        return None

    async def depth(self) -> tuple[int, int]:
        """Return how many messages wait and how many are being processed, as SQS counts them.

        Raises:
            FarmError: as `s3_errors`.
        """
        with _sqs_errors(f"to count the messages of {self.url}"):
            answer = await asyncio.to_thread(
                self.client.get_queue_attributes, QueueUrl=self.url, AttributeNames=["All"]
            )
        counts = answer["Attributes"]
        waiting = counts["ApproximateNumberOfMessages"]
        return int(waiting), int(counts["ApproximateNumberOfMessagesNotVisible"])

    async def delete(self, message: Message) -> None:
        """Delete a message that has been processed.

        Raises:
            FarmError: as `s3_errors`.
        """
        with _sqs_errors(f"to delete a message of {self.url}"):
            await asyncio.to_thread(
                self.client.delete_message, QueueUrl=self.url, ReceiptHandle=message.receipt
            )

    async def bury(self, message: Message, reason: str) -> None:
        """Move a message to the dead-letter queue, with `reason` as an attribute.

        Raises:
            FarmError: as `s3_errors`; the message stays, and SQS moves it after too many receives.
        """
        text = printable_name(reason)[:_LONGEST_REASON]
        with _sqs_errors(f"to send to {self.dead_letters}"):
            await asyncio.to_thread(
                self.client.send_message,
                QueueUrl=self.dead_letters,
                MessageBody=message.body,
                MessageAttributes={"reason": {"DataType": "String", "StringValue": text}},
            )
        await self.delete(message)

    async def hide(self, message: Message, seconds: int) -> None:
        """Hide the message from other receivers for `seconds`; 0 hands it back at once.

        Raises:
            FarmError: as `s3_errors`.
        """
        with _sqs_errors(f"to hide a message of {self.url}"):
            await asyncio.to_thread(
                self.client.change_message_visibility,
                QueueUrl=self.url,
                ReceiptHandle=message.receipt,
                VisibilityTimeout=seconds,
            )

    @asynccontextmanager
    async def extending_visibility(self, message: Message) -> AsyncIterator[None]:
        """Hide the message from other receivers while the block runs, however long that takes.

        SQS limits that to 12 hours. Processing a message twice does no harm.
        """
        renewing = asyncio.create_task(self._renew(message))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})

    async def _renew(self, message: Message) -> None:
        while True:
            await asyncio.sleep(VISIBILITY_SECONDS / 3)
            try:
                await self.hide(message, VISIBILITY_SECONDS)
            except FarmError as error:
                _LOG.warning("%s", error)


_CONFIG = Config(
    connect_timeout=3,
    read_timeout=_WAIT_SECONDS + 10,
    retries={"mode": "standard", "total_max_attempts": 3},
)


@contextmanager
def _sqs_errors(wanted: str) -> Iterator[None]:
    """Translate botocore's errors into the farm's, as `s3_errors`.

    Raises:
        RequestInvalid: there is no such queue.
        FarmError: as `s3_errors`.
    """
    try:
        with s3_errors(wanted):
            yield
    except FarmError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") in _MISSING:
            raise RequestInvalid(
                wanted=wanted,
                found="there is no such queue",
                fix="correct --queue and AWS_DEFAULT_REGION, or create the queue (infra/terraform)",
            ) from cause
        raise
    except (BotoCoreError, ValueError) as error:
        raise RequestInvalid(wanted=wanted, found=str(error), fix="correct the AWS_ variables") from error
