"""What a caller may ask for instead of the release's request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from tasks.domain.errors import RequestInvalid
from tasks.domain.priority import Priority
from tasks.domain.request import BuildRequest, Precision, ShapeRange

_ONCE = {"uniqueItems": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Empty fields leave the request as it is.

    Attributes:
        precisions: build these precisions.
        targets: build for these devices, or `all`.
        inputs: shapes of these inputs; the others keep theirs.
        priority: the work queue of each pool that the runs wait in; `default`: that of the request.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    precisions: tuple[Precision, ...] = field(
        default=(),
        metadata={
            "description": "Build these precisions. Empty: those of build.yaml.",
            "examples": [["fp32", "fp16"]],
            "json_schema_extra": _ONCE,
        },
    )
    targets: tuple[str, ...] = field(
        default=(),
        metadata={
            "description": "Build for these devices, such as l4, rtx-sm89 or rtx-sm86-sm89 (one plan for "
            "both), or only `all`. Empty: those of build.yaml.",
            "examples": [["rtx-sm89", "l4"], ["all"]],
            "json_schema_extra": {
                **_ONCE,
                "items": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,127}$"},
            },
        },
    )
    inputs: Mapping[str, ShapeRange] = field(
        default_factory=dict,
        metadata={
            "description": "Shapes by the name of the input. Empty: those of build.yaml. Otherwise such as "
            '`{"image": {"min": [1, 28, 28, 1], "opt": [8, 28, 28, 1], "max": [32, 28, 28, 1]}}`.',
            "examples": [{"image": {"min": [1, 28, 28, 1], "opt": [8, 28, 28, 1], "max": [32, 28, 28, 1]}}],
        },
    )
    priority: Priority = field(
        default=Priority.DEFAULT,
        metadata={
            "description": "What is built first: production before default before nightly. "
            "With default, the priority in build.yaml."
        },
    )

    def applied_to(self, request: BuildRequest) -> BuildRequest:
        """Return `request` with these values.

        Raises:
            RequestInvalid: a precision or a device twice, `all` beside a device, or shapes of an input that
                the request gives several ranges.
        """
        try:
            return replace(
                request,
                precisions=self.precisions or request.precisions,
                targets=self.targets or request.targets,
                inputs={**request.inputs, **self.inputs},
                priority=request.priority if self.priority is Priority.DEFAULT else self.priority,
            )
        except ValueError as error:
            raise RequestInvalid(
                wanted="precisions, targets and shapes to build",
                found=str(error),
                fix="give each --precision and each --target once, or only --target all; an input with "
                "`profiles` in build.yaml keeps its shapes",
            ) from error


AS_REQUESTED = Overrides()
"""Exactly what the request says."""
