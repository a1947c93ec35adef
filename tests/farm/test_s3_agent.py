"""The way in through S3: a real agent process between a real S3, SQS and Prefect server.

No worker runs: what the agent starts stays scheduled, to be counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from agents.s3.queue import Message, NotificationQueue
from tasks.store.s3 import s3_client
from tests.support.farm.commands import run
from tests.support.farm.gate import gate_to
from tests.support.farm.s3_world import World, arn_of, deploy, notify
from tests.support.waiting import PATIENCE, until, wait_until

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient


@pytest.fixture
def sqs(s3_env: str) -> SQSClient:
    del s3_env
    return boto3.session.Session().client("sqs")


@pytest.fixture
def world(
    s3_env: str,
    s3_server: str,
    sqs: SQSClient,
    prefect_server: str,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> Iterator[World]:
    name = uuid.uuid4().hex
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    policy = {"deadLetterTargetArn": arn_of(sqs, dead), "maxReceiveCount": "5"}
    queue = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(policy)})["QueueUrl"]
    asyncio.run(deploy())
    with gate_to(s3_server) as s3, gate_to(prefect_server) as api:
        yield World(
            bucket=s3_env,
            queue=queue,
            dead_letters=dead,
            sqs=sqs,
            s3=s3,
            api=api,
            log=tmp_path / "log",
            health_port=free_port(),
        )


def test_releases_become_runs_whatever_happens_on_the_way(world: World) -> None:
    world.upload("models/early/1/build.yaml", b"priority: production")  # before there were notifications
    notify(world.bucket, world.queue, world.sqs)  # sends a test event
    with world.agent() as agent:
        wait_until(lambda: world.names() == ["early/1"], "the listing finds what no message told")
        assert world.health()["workers"].keys() == {"queue", "listing"}
        _is_shown(world)
        _uploads_and_copies_of_messages(world)
        _what_is_no_release(world)
        _server_refuses(world)
        _store_away(world)
        _server_away_and_agent_ends(world, agent)
    with world.agent():
        world.api.open()
        wait_until(lambda: world.names()[-1] == "late/1")
        wait_until(world.is_quiet)
    assert world.buried() == {}
    assert world.names() == ["early/1", "m/1", "m/1", "stored/1", "late/1"]
    assert world.api.requests["POST /api/deployments/…/create_flow_run"] >= len(world.names())
    queues = [run.work_queue_name for run in world.runs()]
    assert queues == ["production", "default", "nightly", "default", "default"]


def _is_shown(world: World) -> None:
    def shown() -> dict[str, Any]:
        view = json.loads(run("status", "--json"))
        (agent,) = [each for each in view["s3_agents"] if each["queue"] == world.queue]
        return dict(agent)

    agent = wait_until(lambda: (view := shown())["listed"] and view, world.log.read_text, every=1.0)
    assert agent["online"]
    assert agent["places"] == [f"s3://{world.bucket}/models", f"s3://{world.bucket}/other models/a+b"]
    assert (agent["waiting"], agent["in_flight"]) == (0, 0)


def _uploads_and_copies_of_messages(world: World) -> None:
    world.upload("other models/a+b/m/1/model.keras", b"model")
    world.upload("other models/a+b/m/1/build.yaml")
    for _ in range(3):
        world.send(world.record("other+models/a%2Bb/m/1/build.yaml"))
        world.send(world.record("models%2Fearly%2F1%2Fbuild.yaml"))
    world.send(world.record("models/gone/1/build.yaml"))
    wait_until(world.is_quiet)
    expected = {"bucket": world.bucket, "prefix": "other models/a+b", "model": "m", "version": "1"}
    assert world.releases()[1:] == [expected]
    world.upload("other models/a+b/m/1/build.yaml", b"priority: nightly")  # another content
    wait_until(lambda: world.releases()[2:] == [expected])


def _what_is_no_release(world: World) -> None:
    before = world.names()
    bodies = {
        "<hello>": "no JSON object",
        "{}": "KeyError",
        json.dumps(world.record("secret/m/1/build.yaml")): "not <model>/<version>/build.yaml right below",
        json.dumps(world.record("models/m/1/saved_model/assets/build.yaml")): "right below",
        json.dumps(world.record("models/.m/1/build.yaml")): "not a name of a model",
    }
    for body in bodies:
        world.send(body)
    wait_until(world.is_quiet)
    buried = world.buried()
    assert buried.keys() == bodies.keys()
    assert all(bodies[body] in reason for body, reason in buried.items()), buried
    assert world.names() == before


def _server_refuses(world: World) -> None:
    asyncio.run(deploy(more=("purpose",)))
    world.upload("models/refused/1/build.yaml")
    (reason,) = wait_until(world.buried).values()
    assert "409" in reason
    assert "purpose" in reason
    s3_client().delete_object(Bucket=world.bucket, Key="models/refused/1/build.yaml")
    asyncio.run(deploy())


def _store_away(world: World) -> None:
    world.s3.shut()
    world.upload("models/stored/1/build.yaml")
    wait_until(lambda: world.s3.refused > 3)
    assert not world.is_quiet()
    assert world.health()["well"]  # a server that is away is no fault of the agent's
    world.s3.open()
    wait_until(lambda: world.names()[-1] == "stored/1")
    wait_until(world.is_quiet)


def _server_away_and_agent_ends(world: World, agent: subprocess.Popen[bytes]) -> None:
    world.api.shut()
    world.upload("models/late/1/build.yaml")
    wait_until(lambda: world.api.refused)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE) == 0
    assert not world.is_quiet()
    assert world.names()[-1] == "stored/1"


def test_a_message_is_held_as_long_as_somebody_works_on_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.s3.queue.VISIBILITY_SECONDS", 12)
    hide, held_for = NotificationQueue.hide, list[int]()

    async def noted(queue: NotificationQueue, message: Message, seconds: int) -> None:
        await hide(queue, message, seconds)
        held_for.append(seconds)

    monkeypatch.setattr(NotificationQueue, "hide", noted)

    async def work() -> None:
        queue = await asyncio.to_thread(NotificationQueue.connect, world.queue)
        world.send("work")
        message = await queue.receive()
        assert message is not None
        async with queue.extending_visibility(message):
            await until(lambda: held_for == [12, 12], lambda: held_for)
            assert "Messages" not in world.sqs.receive_message(QueueUrl=world.queue)
        await queue.hide(message, 0)
        again = await queue.receive()
        assert again is not None
        assert (again.body, again.received) == ("work", 2)

    asyncio.run(work())


@pytest.mark.slow
def test_a_queue_without_dead_letters_or_without_itself_is_refused(sqs: SQSClient, s3_server: str) -> None:
    url = sqs.create_queue(QueueName=uuid.uuid4().hex)["QueueUrl"]
    for queue, message in ((url, "redrive policy"), (f"{s3_server}/123456789012/none", "no such queue")):
        arguments = ["agent", "s3", "--queue", queue, "--releases", "s3://b"]
        command = [sys.executable, "-m", "flows.cli.main", *arguments]
        environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 10
        assert message in done.stderr
