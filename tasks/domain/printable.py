"""Texts that may be shown on terminals and in logs. Runs inside toolchains: Python 3.10."""

from __future__ import annotations

import re

# Up to the last @ before the path: a password may contain an @.
_USER_OF_URL = re.compile(r"://[^/\s]*@")
# A signed URL, or the credentials in it, gives its holder the rights of the signer.
_SIGNED = re.compile(
    r"(?i)([?&](?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|Signature|AWSAccessKeyId)=)[^&\s'\"]+"
)


def printable(text: str) -> str:
    """Return `text` with control characters escaped, except line feeds: for messages of the farm's own.

    Escape an untrusted name with `printable_name` first: with a line feed it could forge lines that look like
    the farm's.
    """
    return "".join(c if c == "\n" else printable_name(c) for c in text)


def printable_name(text: str) -> str:
    """Return untrusted `text` with control characters escaped, including line feeds."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_secrets(text: str) -> str:
    """Return `text` without the users, passwords and signatures in its URLs."""
    return _SIGNED.sub(r"\1…", _USER_OF_URL.sub("://", text))
