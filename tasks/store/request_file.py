"""`build.yaml`: the written form of a `BuildRequest`. It comes from whoever uploads a model."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import fields
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tasks.domain.errors import RequestInvalid
from tasks.domain.request import BuildRequest, Calibration, Precision, ShapeRange, TimingMode
from tasks.store.plain_yaml import KeyPath, PlainYaml, Problem, dump_plain

_LONGEST_SHOWN = 60
_MOST_SHOWN = 30
_ADAPTER = TypeAdapter(BuildRequest)
_KEYS = [one.name for one in fields(BuildRequest)]
_CORNERS = [one.name for one in fields(ShapeRange)]
_SHAPE = "a list such as [8, 28, 28, 1] for a fixed shape, or min, opt and max with such a list each"
_WORDS: dict[str, type[StrEnum]] = {"calibration": Calibration, "timing": TimingMode}
_WANTED = {
    "int_type": "a whole number, without quotes, dot or underscore, for example 8",
    "bool_type": "true or false",
    "float_type": "a number, for example 0.01",
    "string_type": "text; put it in quotes if it looks like a number",
    "tuple_type": "a list in [ ]",
    "dict_type": "names with values, or leave the key out",
    "dataclass_type": _SHAPE,
}


def parse_request(text: str, *, source: str = "build.yaml") -> BuildRequest:
    """Read a request; an empty file asks for the defaults.

    Besides the full form, `targets` and `precisions` may be one word, and the shapes of an input one list,
    which is then its only shape.

    Raises:
        RequestInvalid: `text` is no request. The error names every problem with its line, and its fix.
    """
    file = PlainYaml(text)
    document = _expanded(file.value)
    problems = sorted(
        dict.fromkeys((*file.problems, *_invalid(document, file))), key=lambda problem: problem.line
    )
    if not problems:
        return _ADAPTER.validate_json(json.dumps(document), strict=True)
    wanted = f"a build request in {source}"
    if len(problems) == 1:
        (one,) = problems
        raise RequestInvalid(wanted=wanted, found=one.place + one.found, fix=one.fix)
    rows = [f"  {one.place}{one.found}. Fix: {one.fix}" for one in problems[:_MOST_SHOWN]]
    found = "\n".join((f"{len(problems)} problems:", *rows))
    raise RequestInvalid(wanted=wanted, found=found, fix="change these lines")


def render_request(request: BuildRequest) -> str:
    """Return `request` in the form that `parse_request` reads."""
    return dump_plain(json.loads(_ADAPTER.dump_json(request)))


def _expanded(document: Any) -> Any:
    """Write the short forms out; nothing at all is a mapping without keys."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        return document
    full = dict(document)
    for key in ("precisions", "targets"):
        if isinstance(full.get(key), str):
            full[key] = [full[key]]
    if isinstance(full.get("inputs"), dict):
        full["inputs"] = {
            name: dict.fromkeys(_CORNERS, shape) if isinstance(shape, list) else shape
            for name, shape in full["inputs"].items()
        }
    return full


def _invalid(document: Any, file: PlainYaml) -> Iterator[Problem]:
    """Yield what is wrong with the values. Each is tried alone: one problem must not hide another."""
    if not isinstance(document, dict):
        fix = f"write lines such as `precisions: [fp32]`; the keys are {', '.join(_KEYS)}"
        yield Problem(line=file.line_of(()), path=(), found=f"{_shown(document)}, no keys", fix=fix)
        return
    for key, value in document.items():
        parts = (
            [{name: part} for name, part in value.items()] if isinstance(value, dict) and value else [value]
        )
        for part in parts:
            yield from _invalid_part(key, part, file)


def _invalid_part(key: str, part: Any, file: PlainYaml) -> Iterator[Problem]:
    try:
        _ADAPTER.validate_json(json.dumps({key: part}), strict=True)
    except ValidationError as refused:
        for error in refused.errors(include_url=False):
            # A rule of the whole request has no place of its own: here it can only be this part's.
            own: KeyPath = (key, *part) if isinstance(part, dict) else (key,)
            path = tuple(item for item in error["loc"] if item != "[key]") or own
            if (
                path[2:3]
                and path[2] in _CORNERS
                and (*path[:3],) not in file.lines
                and error["type"] != "missing"
            ):
                path = (*path[:2], *path[3:])  # the input was written as one list
            found, fix = _explained(error, part)
            yield Problem(line=file.line_of(path), path=path, found=found, fix=fix)


def _explained(error: ErrorDetails, part: Any) -> tuple[str, str]:
    """Return what was found and the fix."""
    kind, path = error["type"], error["loc"]
    match kind:
        case "unexpected_keyword_argument":
            return "the key is unknown", _nearest(str(path[-1]), _KEYS if len(path) == 1 else _CORNERS)
        case "missing":
            return "the key is missing", f"write {_SHAPE}"
        case "enum":
            known = [str(one) for one in _WORDS.get(str(path[0]), Precision)]
            return f"{_shown(error['input'])} is not known here", _nearest(str(error["input"]), known)
        case "value_error":
            found = _shown(error["input"] if path else part)
            return found, f"change it so that {error['msg'].removeprefix('Value error, ')}"
        case _:
            return _shown(error["input"]), f"write {_WANTED[kind]}" if kind in _WANTED else error["msg"]


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word.lower(), known, 1)
    choice = f"write one of {', '.join(known)}"
    return f"did you mean {near[0]}? Otherwise {choice}" if near else choice


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} ..."
