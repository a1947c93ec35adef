"""`enginefarm status` lists S3 agents, also those that are gone."""

from __future__ import annotations

import io

from flows.cli.output import Output
from flows.cli.status import page
from flows.server.view import FarmView, S3AgentView


def agent(host: str, *, online: bool, place: str = "s3://b/models") -> S3AgentView:
    return S3AgentView(
        host=host, places=(place,), queue="https://sqs/q", online=online, seen="2026-11-30T00:00:00+00:00",
        listed="2026-11-30T00:00:00+00:00", waiting=7, in_flight=1, variable=f"enginefarm_s3_agent_{host}",
    )  # fmt: skip


def printed(*agents: S3AgentView) -> str:
    file = io.StringIO()
    console = Output(file=file)
    console.print(page(FarmView(pools=(), failures=(), s3_agents=agents), wide=True))
    return file.getvalue()


def test_a_dead_s3_agent_is_listed_with_what_it_leaves_unwatched() -> None:
    text = printed(agent("dead", online=False), agent("other", online=True, place="s3://b/others"))
    (row,) = [line for line in text.splitlines() if line.startswith("dead")]
    assert "offline, " in row
    assert "7 waiting, 1 in flight" in row
    assert "No S3 agent watches s3://b/models: uploads there start no builds." in text
    assert "delete the variable enginefarm_s3_agent_dead in Prefect's UI" in text


def test_a_dead_s3_agent_whose_places_another_one_watches_asks_for_nothing() -> None:
    text = printed(agent("dead", online=False), agent("new", online=True))
    assert "offline, " in text
    assert "No S3 agent watches" not in text
