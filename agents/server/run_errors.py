"""The error of a flow run, which travels with the run's state through Prefect's server.

A state's message is for people. Programs (workers, the release that waits for its builds, the commands) read
the document that the server stores beside it as the state's data. Prefect's client sends only the metadata
of a result as data, so the error is sent as a result whose metadata is the document. Measured with Prefect
3.8.8: every call that returns a run returns the data. Prefect 3.9.1 has the same code (read, not run).

The state keeps the name Failed, because Prefect names events after states. A state with a name of its own is
missed by automations that wait for `prefect.flow-run.Failed`, and by the filters for states in Prefect's UI,
which go by name. The class of the error is at the head of the message instead, where automations can match it
(`"prefect.state-message": "VerificationFailed: *"`), and in a tag of the run, which lists of runs show.
Measured with a server of Prefect 3.8.8 and its UI.
"""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.results import ResultRecord  # type: ignore[attr-defined]
from prefect.states import Failed
from pydantic import BaseModel

from tasks.domain.error_documents import error_from_document
from tasks.domain.errors import FarmError, RunUnsuccessful


class _ErrorData(BaseModel):
    """What the server stores with the state.

    Attributes:
        artifact_type: removed by the server; Prefect's UI lists no artifacts of this type.
        farm_error: the error as `FarmError.to_document` writes it.
    """

    artifact_type: str = "result"
    farm_error: dict[str, Any]


def failed_with(error: FarmError) -> State[Any]:
    """Return the state of a run that failed with `error`, for people and programs."""
    data = _ErrorData(farm_error=error.to_document())
    # Not validated: Prefect's own metadata class has no field for a document.
    record: ResultRecord[FarmError] = ResultRecord.model_construct(metadata=data, result=error)
    record.mark_persisted()  # what is not persisted is not sent
    return Failed(message=f"{error.class_name}: {error}", data=record)


def error_of(state: State[Any] | None) -> FarmError | None:
    """Return the error that a run failed with, read from its state as the server returns it.

    Returns:
        None if the run did not fail, failed with another exception, or ran code from before these documents.
    """
    if state is None or not state.is_failed() or not isinstance(state.data, dict):
        return None
    try:
        return error_from_document(state.data["farm_error"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def why_unsuccessful(run: FlowRun, *, wanted: str, fix: str) -> FarmError:
    """Return why `run`, which is over, did not complete.

    Args:
        run: as the server returns it.
        wanted: what it should have done, for `RunUnsuccessful`.
        fix: what to do then, for `RunUnsuccessful`.

    Returns:
        The error that it failed with, if its state has one; else `RunUnsuccessful` with the state's message.
    """
    error = error_of(run.state)
    if error is not None:
        return error
    text = (run.state.message if run.state else None) or "no reason was given"
    return RunUnsuccessful(wanted=wanted, found=f"{run.state_name}: {text}", fix=fix)
