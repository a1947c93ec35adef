"""Markdown for pages that people read in a browser, in which names from strangers are never markup."""

from __future__ import annotations

import re

from tasks.domain.printable import printable_name

_BACKTICKS = re.compile("`+")


class Markdown(str):
    """Text that is Markdown on purpose: nothing in it comes from a request, a model, S3 or an exception.

    `markdown` and `as_code` put such text into it.
    """

    __slots__ = ()


def markdown(template: str, **values: str) -> Markdown:
    """Return `template` with each `{name}` replaced; a value that is not Markdown becomes code.

    Args:
        template: Markdown of the farm's own.
        values: what to insert, by name.
    """
    parts = {name: value if isinstance(value, Markdown) else as_code(value) for name, value in values.items()}
    return Markdown(template.format(**parts))


def as_code(text: str) -> Markdown:
    """Return `text` so that nothing in it is Markdown or HTML, on one line; a browser may wrap it.

    Prefect's page cuts off long lines of code blocks.
    """
    plain = printable_name(text).strip()
    if not plain:
        return Markdown()
    fence = "`" * (1 + max(map(len, _BACKTICKS.findall(plain)), default=0))
    space = " " if plain.startswith("`") or plain.endswith("`") else ""
    return Markdown(f"{fence}{space}{plain}{space}{fence}")
