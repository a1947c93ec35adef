"""YAML as plain data with line numbers: no tags, no anchors, bounded in size and depth.

Words mean what they mean in JSON: `010` is not 8, `on` is not a boolean, and `1e-2` is a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tasks.domain.printable import printable_name

KeyPath = tuple[str | int, ...]

LARGEST_BYTES = 64 * 1024
_DEEPEST = 8
_LONGEST_SHOWN = 60
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_TEXT = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem that a person has to correct in the file.

    Attributes:
        line: line number from 1; 0 for the whole file.
        path: keys and indices of the value; may be empty.
        actual: the problem.
        fix: how to correct it.
    """

    line: int
    path: KeyPath
    actual: str
    fix: str

    @property
    def place(self) -> str:
        """The line and the key, as in `line 3, inputs.image[0]: `."""
        keys = "".join(f"[{part}]" if isinstance(part, int) else f".{_shortened(part)}" for part in self.path)
        line = f"line {self.line}" if self.line else "the file"
        return f"{line}, {keys.removeprefix('.')}: " if keys else f"{line}: "


class PlainYaml:
    """The values of a YAML text, and their lines.

    Attributes:
        value: mappings, lists, texts, numbers, booleans and None; an empty mapping for an empty text, and for
            a text that was not read because of its problems.
        lines: the line of each value, by its keys.
        problems: the problems of the text itself; it never raises.
    """

    def __init__(self, text: str) -> None:
        self.value: Any = {}
        self.lines: dict[KeyPath, int] = {(): 1}
        self.problems: list[Problem] = []
        try:
            self.problems += _not_plain(text)
            root = None if self.problems else yaml.compose(text, yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            column = f"column {mark.column + 1}, " if mark else ""
            problem = f"{column}{error.problem or error.context}"
            self._note(mark.line + 1 if mark else 0, (), problem, "correct the YAML there")
        except (yaml.YAMLError, ValueError) as error:  # PyYAML passes on ValueErrors of bad escapes
            self._note(0, (), " ".join(str(error).split()), "write plain UTF-8 text")
        else:
            if root is not None:
                self.value = self._read_node(root, ())

    def line_of(self, path: KeyPath) -> int:
        """Return the line of the value at `path`, or of its closest parent."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def _read_node(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self._read_node(item, (*path, index)) for index, item in enumerate(node.value)]
        values: dict[str, Any] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._note(line, path, "a list or mapping as a key", "write a name as the key")
            elif key.value in values:
                first = self.lines[*path, key.value]
                self._note(
                    line, (*path, key.value), f"the key is already on line {first}", "keep one of them"
                )
            else:
                self.lines[*path, key.value] = line
                values[key.value] = self._read_node(item, (*path, key.value))
        return values

    def _note(self, line: int, path: KeyPath, problem: str, fix: str) -> None:
        self.problems.append(Problem(line=line, path=path, actual=problem, fix=fix))


def dump_plain(document: Any) -> str:
    """Return the YAML text of plain data, which `PlainYaml` can read."""
    return yaml.dump(document, Dumper=_QuotingDumper, sort_keys=False, allow_unicode=True)


def _not_plain(text: str) -> Iterator[Problem]:
    """Yield everything that could make a small file large or run code, before anything is built from it."""
    if len(text.encode("utf-8", "replace")) > LARGEST_BYTES:
        yield Problem(
            line=0, path=(), actual=f"more than {LARGEST_BYTES >> 10} KiB", fix="keep only the request"
        )
        return
    depth = documents = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > _DEEPEST or documents > 1:
            problem = "a second document" if documents > 1 else f"more than {_DEEPEST} levels of nesting"
            yield Problem(
                line=line,
                path=(),
                actual=problem,
                fix="write one mapping, as flat as the documentation shows",
            )
            return
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            yield Problem(
                line=line, path=(), actual=f"the anchor or alias {event.anchor}", fix="write it out"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            problem = f"the tag {_shortened(tag)}"
            yield Problem(line=line, path=(), actual=problem, fix="write the value without it")
        if isinstance(event, yaml.ScalarEvent) and (reason := _not_shown(event.value)):
            yield Problem(line=line, path=(), actual=reason, fix="write plain words in UTF-8 on one line")


def _not_shown(text: str) -> str | None:
    """Return why `text` cannot be a name or a value; all of them appear in logs, records and messages."""
    if _SURROGATE.search(text):
        return "half of a surrogate pair (\\ud800 to \\udfff)"
    if not text.isprintable():
        return f'the text "{_shortened(text)}", which has control characters'
    return None


def _shortened(text: str) -> str:
    shown = printable_name(text[:_LONGEST_SHOWN])
    return shown if len(text) <= _LONGEST_SHOWN else f"{shown} ..."


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:  # quoted
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


class _QuotingDumper(yaml.SafeDumper):
    """Quotes texts that this module would read as something else."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN_TEXT.fullmatch(text) and text not in _WORDS else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_QuotingDumper.add_representer(str, _represent_text)
