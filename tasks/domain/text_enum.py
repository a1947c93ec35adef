"""`StrEnum`, also for consumers on Python 3.10, which does not have it."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):  # noqa: UP036 (the farm needs 3.11, but its consumers do not)
    from enum import StrEnum
else:
    from enum import Enum

    class StrEnum(str, Enum):  # noqa: UP042 (this is what replaces it)
        """Members are their values as texts."""

        __str__ = str.__str__
        __format__ = str.__format__


__all__ = ["StrEnum"]
