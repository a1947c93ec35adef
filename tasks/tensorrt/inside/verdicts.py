"""Says which TensorRT families took graphs like one that is refused, as far as that was tried.

`verdicts.json` has the kinds of refusal: a pattern of what TensorRT says, graphs of that kind, and what each
TensorRT made of them. `tests/gpu/verdict_table.py` writes it from the results beside it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

_TABLE = Path(__file__).with_name("verdicts.json")
_VERBS = {
    "built": "builds them",
    "some_built": "builds some of them",
    "wrong": "builds them, with wrong values,",
    "refused": "refuses them",
    "crashed": "crashes at them",
}


def tried_elsewhere(said: str) -> str:
    """Return what each family made of graphs that are refused with what TensorRT `said`.

    The text is empty if no graph of that kind was tried.
    """
    table = _table()
    kind = next((row for row in table["kinds"] if re.search(row["said"], said)), None)
    if kind is None or not kind["verdicts"]:
        return ""
    families = {row["family"] for row in kind["verdicts"]}
    others = [family for family in table["families"] if family not in families]
    texts = [_verdict_text(row) for row in kind["verdicts"]]
    return "; ".join(["graphs like this: " + texts[0], *texts[1:], *_not_tried(others)])


def _verdict_text(row: dict[str, Any]) -> str:
    texts = [f"{verb} for {_listed(row[name])}" for name, verb in _VERBS.items() if row.get(name)]
    return f"{row['family']} ({row['version']}, {row['date']}) {' and '.join(texts)}"


def _not_tried(families: list[str]) -> list[str]:
    return [f"not tried: {_listed(families)}"] if families else []


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_TABLE.read_text("utf-8"))
    return table
