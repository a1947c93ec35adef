"""Hypothesis strategies for dataclasses, from their annotations, so that new fields are covered."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from typing import Any

from hypothesis import strategies as st

from tasks.domain.release import ReleaseRef
from tasks.domain.request import ALL_TARGETS, BuildRequest, Plugin, ShapeRange
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion

WORDS_OF_YAML = ["yes", "null", "1e5", "010", "~", "<<", "=", "2001-01-01", ".nan", "a: b", "a#b", "- x"]
NAMES = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=12) | st.sampled_from(
    WORDS_OF_YAML
)
_CORNERS = st.lists(st.tuples(*[st.integers(1, 2**40)] * 3).map(sorted), max_size=4)
SHAPES = _CORNERS.map(
    lambda axes: ShapeRange(
        **{name: tuple(axis[place] for axis in axes) for place, name in enumerate(("min", "opt", "max"))}
    )
)
_DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
_TARGETS = st.lists(NAMES.filter(lambda name: name.strip() != ""), min_size=1, max_size=3, unique=True)

_PROFILES = st.lists(NAMES, min_size=1, max_size=2, unique=True).flatmap(
    lambda names: st.lists(
        st.fixed_dictionaries(dict.fromkeys(names, SHAPES)),
        max_size=3,
        unique_by=str,
    )
)

# Only what a type does not say. A field that is not here, and that most values do not fit, makes the
# strategy fail, which Hypothesis tells.
_KNOWN: dict[tuple[type, str], st.SearchStrategy[Any]] = {
    (BuildRequest, "targets"): st.just((ALL_TARGETS,))
    | _TARGETS.map(tuple).filter(lambda names: names == (ALL_TARGETS,) or ALL_TARGETS not in names),
    (BuildRequest, "optimization_level"): st.integers(0, 5),
    (BuildRequest, "profiles"): _PROFILES.map(tuple),
    (BuildRequest, "timing_cache"): st.none() | _DIGESTS,
    (Plugin, "library"): st.from_regex(
        r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,9}\.so(\.[0-9]{1,3})?", fullmatch=True
    ),
    (Plugin, "sha256"): _DIGESTS,
    (TensorRTVersion, ""): st.from_regex(r"[1-9][0-9]?(\.[1-9]?[0-9]){3}", fullmatch=True).map(
        TensorRTVersion.parse
    ),
    (ComputeCapability, "major"): st.integers(1, 20),
    (ComputeCapability, "minor"): st.integers(0, 9),
    (ReleaseRef, "bucket"): st.just("models"),
    (ReleaseRef, "model"): st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True),
    (ReleaseRef, "version"): st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True),
    (EngineTarget, "flavour"): st.sampled_from(Flavour),
    (EngineTarget, "compute_capabilities"): st.lists(
        st.builds(ComputeCapability, major=st.integers(1, 20), minor=st.integers(0, 9)),
        min_size=1,
        max_size=1,
    ).map(tuple),
    (EngineTarget, "os"): st.just("linux"),
    (EngineTarget, "architecture"): st.sampled_from(["x86_64", "aarch64"]),
}
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: NAMES,
    int: st.integers(1, 2**40),
    bool: st.booleans(),
    float: st.floats(0, 1, exclude_min=True),
    type(None): st.none(),
}
_UNIQUE = {(BuildRequest, "precisions"), (BuildRequest, "plugins")}


def of(hint: Any, *, unique: bool = False) -> st.SearchStrategy[Any]:
    """Return values of the annotated type `hint`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(of, arguments))
    if origin is tuple:
        return st.lists(of(arguments[0]), max_size=3, unique=unique).map(tuple)
    if origin in (Mapping, dict):
        return st.dictionaries(of(arguments[0]), of(arguments[1]), max_size=3)
    if isinstance(hint, type) and is_dataclass(hint):
        return SHAPES if hint is ShapeRange else built(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return _PLAIN[hint]


def built(cls: type) -> st.SearchStrategy[Any]:
    """Return objects of the dataclass `cls`, each field by its annotation; what it refuses is left out."""
    if (cls, "") in _KNOWN:
        return _KNOWN[cls, ""]
    hints = typing.get_type_hints(cls)
    parts = {
        field.name: _KNOWN[cls, field.name]
        if (cls, field.name) in _KNOWN
        else of(hints[field.name], unique=(cls, field.name) in _UNIQUE)
        for field in fields(cls)
    }
    return st.fixed_dictionaries(parts).map(partial(_tried, cls)).filter(lambda made: made is not None)


def _tried(cls: type, parts: dict[str, Any]) -> Any:
    try:
        return cls(**parts)
    except ValueError:
        return None
