"""What a caller may ask for instead of what a release's request says."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks.domain.errors import RequestInvalid
from tasks.domain.request import BuildRequest, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Empty fields leave the request as it is.

    Attributes:
        precisions: build these precisions.
        targets: build for these devices, or `all`.
    """

    precisions: tuple[Precision, ...] = ()
    targets: tuple[str, ...] = ()

    def applied_to(self, request: BuildRequest) -> BuildRequest:
        """Return `request` with what is set here.

        Raises:
            RequestInvalid: a precision or a device twice, or `all` beside a device.
        """
        try:
            return replace(
                request,
                precisions=self.precisions or request.precisions,
                targets=self.targets or request.targets,
            )
        except ValueError as error:
            raise RequestInvalid(
                wanted="precisions and targets to build",
                found=str(error),
                fix="give each --precision and each --target once, or only --target all",
            ) from error
