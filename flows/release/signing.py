"""Signs the engines of a release, if this host has the key. Hosts that build do not have it."""

from __future__ import annotations

from dataclasses import replace

from flows.server.step_log import log_step
from tasks.domain.cells import CellAnswer
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.order import CellOutcome
from tasks.sign import sign_engine
from tasks.step import steps_of


async def signed_answers(
    store: str, answers: tuple[CellAnswer, ...], signing_key: str
) -> tuple[CellAnswer, ...]:
    """Sign the engine of each of `answers`; an engine that must not be signed counts as failed.

    Args:
        store: URL of the store.
        answers: the cells of a release.
        signing_key: the key, as `sign_engine` takes it; empty: nothing is signed.
    """
    return tuple(
        [await _signed(store, answer, signing_key) for answer in answers] if signing_key else answers
    )


async def _signed(store: str, answer: CellAnswer, signing_key: str) -> CellAnswer:
    if not isinstance(answer.outcome, CellOutcome):
        return answer
    try:
        with steps_of(f"{device_slug(answer.order.target)} {answer.order.options.precision}"):
            if await sign_engine(store, answer.outcome.key, signing_key, plan=answer.outcome.plan):
                log_step(f"signed {answer.outcome.key}")
    except FarmError as error:
        return replace(answer, outcome=error)
    return answer
