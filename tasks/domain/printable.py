"""Texts that may be shown on terminals and in logs. Runs inside toolchains: Python 3.10."""

from __future__ import annotations

import re

# Up to the last @ before the path: a password may hold one itself.
_USER_OF_URL = re.compile(r"://[^/\s]*@")
# Who has a signed URL, or what was signed with, may do what its signer may.
_SIGNED = re.compile(
    r"(?i)([?&](?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|Signature|AWSAccessKeyId)=)[^&\s'\"]+"
)


def printable(text: str) -> str:
    """Return `text` with control characters escaped, but for line feeds: for messages of the farm's own.

    A name from strangers goes through `printable_name` first: with a line feed it could write lines that
    look like the farm's.
    """
    return "".join(c if c == "\n" else printable_name(c) for c in text)


def printable_name(text: str) -> str:
    """Return `text` with control characters, line feeds too, escaped: it comes from strangers."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_secrets(text: str) -> str:
    """Return `text` with users, passwords and signatures taken out of its URLs."""
    return _SIGNED.sub(r"\1…", _USER_OF_URL.sub("://", text))
