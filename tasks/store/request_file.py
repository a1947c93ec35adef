"""`build.yaml`: the written form of a `BuildRequest`. It is untrusted: a model's uploader writes it."""

from __future__ import annotations

import difflib
import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tasks.domain.compatibility import Compatibility, HardwareLevel
from tasks.domain.errors import RequestInvalid
from tasks.domain.priority import Priority
from tasks.domain.release import REQUEST_FILE
from tasks.domain.request import BuildRequest, Calibration, Plugin, Precision, ShapeRange, TimingMode
from tasks.store.plain_yaml import LARGEST_BYTES, KeyPath, PlainYaml, Problem, dump_plain

_LONGEST_SHOWN = 60
_MOST_SHOWN = 30
_ADAPTER = TypeAdapter(BuildRequest)
_KEYS = [field.name for field in fields(BuildRequest)]
_CORNERS = [field.name for field in fields(ShapeRange)]
_BY_NAME = ("inputs", "tolerances", "top1")
_KEYS_BELOW = {
    key: [field.name for field in fields(kind)]
    for key, kind in {"compatibility": Compatibility, "plugins": Plugin}.items()
}
_WORDS: dict[str, type[StrEnum]] = {
    "calibration": Calibration,
    "compatibility": HardwareLevel,
    "priority": Priority,
    "timing": TimingMode,
}
_SHAPE = "a list such as [8, 28, 28, 1] for a fixed shape, or min, opt and max with such a list each"
_FORMS = {
    "compatibility": "names with values, such as {version: true}",
    "plugins": "library and sha256, such as {library: libroi.so, sha256: …}",
}
_PLACE_OF_CORNER = {"inputs": 2, "profiles": 3}
_WANTED = {
    "int_type": "a whole number, without quotes, dot or underscore, for example 8",
    "float_type": "a number, for example 0.01",
    "string_type": "text; put it in quotes if it looks like a number",
    "tuple_type": "a list in [ ]",
    "bool_type": "true or false",
    "dict_type": "names with values, or leave the key out",
    "dataclass_type": _SHAPE,
}


def parse_request(data: str | bytes, *, source: str = REQUEST_FILE) -> BuildRequest:
    """Parse a request; an empty file asks for the defaults.

    Besides the full form, `targets` and `precisions` may be one word. The shapes of an input may be one list,
    which is then its only shape.

    Raises:
        RequestInvalid: `data` is not a request. The error lists every problem with its line and its fix.
    """
    file = PlainYaml(data if isinstance(data, str) else _text(data, source))
    document = _expanded(file.value)
    problems = sorted(
        dict.fromkeys((*file.problems, *_invalid(document, file))), key=lambda problem: problem.line
    )
    wanted = f"a build request in {source}"
    if not problems:
        return _whole(document, wanted)
    if len(problems) == 1:
        (problem,) = problems
        raise RequestInvalid(wanted=wanted, found=problem.place + problem.actual, fix=problem.fix)
    rows = [f"  {problem.place}{problem.actual}. Fix: {problem.fix}" for problem in problems[:_MOST_SHOWN]]
    listing = "\n".join((f"{len(problems)} problems:", *rows))
    raise RequestInvalid(wanted=wanted, found=listing, fix="change these lines")


def read_bounded(path: Path) -> bytes:
    """Return the bytes of the request in the file `path`, which may be of any size.

    Raises:
        RequestInvalid: it is larger than any request; no more than that is read.
    """
    most = LARGEST_BYTES + len(BOM_UTF8)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise RequestInvalid(
            wanted=f"a build request in {path}",
            found=f"more than {LARGEST_BYTES >> 10} KiB",
            fix="keep only the request",
        )
    return data


def _text(data: bytes, source: str) -> str:
    """Return the text of a file, without the byte order mark that some editors write.

    Raises:
        RequestInvalid: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestInvalid(
            wanted=f"UTF-8 text in {source}", found=str(error), fix="save the file as UTF-8 in an editor"
        ) from error


def _whole(document: Any, wanted: str) -> BuildRequest:
    """Return the request, whose parts are all valid."""
    try:
        return _ADAPTER.validate_json(json.dumps(document), strict=True)
    except ValidationError as refused:  # keys that conflict
        (error,) = refused.errors(include_url=False)
        actual, fix = _explained(error, {key: document[key] for key in sorted(document)})
        raise RequestInvalid(wanted=wanted, found=actual, fix=fix) from refused


def render_request(request: BuildRequest) -> str:
    """Return `request` as YAML that `parse_request` reads."""
    return dump_plain(json.loads(_ADAPTER.dump_json(request)))


def _expanded(document: Any) -> Any:
    """Expand the short forms; an empty file becomes a mapping without keys."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        return document
    full = dict(document)
    for key in ("precisions", "targets"):
        if isinstance(full.get(key), str):
            full[key] = [full[key]]
    full |= {key: _ranges(full[key]) for key in ("inputs", "profiles") if key in full}
    return full


def _ranges(shapes: Any) -> Any:
    """Expand a single list for an input, in `inputs` or in each of `profiles`, to its only shape."""
    if isinstance(shapes, list):
        return [_ranges(item) if isinstance(item, dict) else item for item in shapes]
    if not isinstance(shapes, dict):
        return shapes
    return {
        name: dict.fromkeys(_CORNERS, shape) if isinstance(shape, list) else shape
        for name, shape in shapes.items()
    }


def _invalid(document: Any, file: PlainYaml) -> Iterator[Problem]:
    """Yield the problems of the values. Each part is checked separately: no problem must hide another."""
    if not isinstance(document, dict):
        fix = f"write lines such as `precisions: [fp32]`; the keys are {', '.join(_KEYS)}"
        yield Problem(line=file.line_of(()), path=(), actual=f"{_shown(document)}, no keys", fix=fix)
        return
    for key, value in document.items():
        split = isinstance(value, dict) and value and key in _BY_NAME
        parts = [{name: part} for name, part in value.items()] if split else [value]
        for part in parts:
            yield from _invalid_part(key, part, file)


def _invalid_part(key: str, part: Any, file: PlainYaml) -> Iterator[Problem]:
    try:
        _ADAPTER.validate_json(json.dumps({key: part}), strict=True)
    except ValidationError as refused:
        for error in refused.errors(include_url=False):
            # An error of the whole request has no path: here it can only be about this part.
            part_path: KeyPath = (key, *part) if isinstance(part, dict) else (key,)
            path = tuple(item for item in error["loc"] if item != "[key]") or part_path
            at = _PLACE_OF_CORNER.get(key, len(path))
            if path[at : at + 1] and path[: at + 1] not in file.lines and error["type"] != "missing":
                path = (*path[:at], *path[at + 1 :])  # the input was written as one list
            actual, fix = _explained(error, part)
            yield Problem(line=file.line_of(path), path=path, actual=actual, fix=fix)


def _explained(error: ErrorDetails, part: Any) -> tuple[str, str]:
    """Return the problem and its fix."""
    kind, path = error["type"], error["loc"]
    match kind:
        case "unexpected_keyword_argument":
            below = _KEYS_BELOW.get(str(path[0]), _CORNERS)
            return "the key is unknown", _nearest(str(path[-1]), _KEYS if len(path) == 1 else below)
        case "missing":
            return "the key is missing", "write it" if path[0] in _KEYS_BELOW else f"write {_SHAPE}"
        case "enum":
            words = [str(word) for word in _WORDS.get(str(path[0]), Precision)]
            return f"{_shown(error['input'])} is unknown here", _nearest(str(error["input"]), words)
        case "value_error":
            actual = _shown(error["input"] if path else part)
            return actual, f"change it so that {error['msg'].removeprefix('Value error, ')}"
        case _:
            form = _FORMS.get(str(path[0])) if kind == "dataclass_type" else None
            wanted = form or _WANTED.get(kind)
            return _shown(error["input"]), f"write {wanted}" if wanted else error["msg"]


def _nearest(word: str, choices: list[str]) -> str:
    near = difflib.get_close_matches(word.lower(), choices, 1)
    choice = f"write one of {', '.join(choices)}"
    return f"did you mean {near[0]}? Otherwise {choice}" if near else choice


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} ..."
