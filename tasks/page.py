"""Tables and texts on a run's page in Prefect: what could be markup and is not `Markdown` becomes code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from tasks.domain.markdown import Markdown, as_code

_WORD = r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)*(?:e[+-]?[0-9]+)?%?"
_PLAIN = re.compile(rf"(?:{_WORD}|{_NUMBER})(?: (?:{_WORD}|{_NUMBER}))*")
"""What no Markdown takes for markup: words and numbers between single spaces."""


async def add_table(key: str, rows: Sequence[Mapping[str, str]], description: Markdown) -> None:
    """Add a table to this run's page; cells that could be markup and are not `Markdown` become code.

    Args:
        key: the artifact's key, of `a-z`, `0-9` and `-`.
        rows: the cells by column. Prefect's page shows the columns of the first row only.
        description: what the table shows.
    """
    table = [{column: _as_cell(text) for column, text in row.items()} for row in rows]
    await acreate_table_artifact(key=key, table=table, description=description)


async def add_text(key: str, text: Markdown, description: Markdown) -> None:
    """Add a text to this run's page; `key` and `description` as for `add_table`."""
    await acreate_markdown_artifact(key=key, markdown=text, description=description)


@contextmanager
def shown_if_possible(what: str) -> Iterator[None]:
    """Log it if `what` cannot be shown inside: an error of Prefect's server must not fail a build."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (see above)
        get_run_logger().warning("%s could not be shown: %s", what, error)


def _as_cell(text: str) -> str:
    return str(text if isinstance(text, Markdown) or _PLAIN.fullmatch(text) else as_code(text))
